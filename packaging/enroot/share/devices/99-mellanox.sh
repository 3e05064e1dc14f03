#!/bin/sh
# Stands for the adapters of Mellanox's, which pyxis sees to by itself: it knows this text and does not run it. Moved away, removed or
# not executable, MELLANOX_VISIBLE_DEVICES means nothing; changed, or another file in its place, that one is run instead.
exit 0
