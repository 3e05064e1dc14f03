#!/bin/sh
# Stands for the GPUs of containers, which pyxis sees to by itself: it knows this text and does not run it. Moved away, removed or not
# executable, containers get no GPUs by it; changed, or another file in its place, that one is run instead.
exit 0
