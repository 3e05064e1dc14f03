#!/usr/bin/env python3
"""Root at a terminal: terminal.py STEP... types to a shell that has one of 45 lines and 123 columns, and shows what it shows.

A STEP is a line to be typed; `^C` or another letter, a key; `?TEXT`, to wait for this to be shown after what was waited for
before; `~SECONDS`, to wait; `<COLUMNS`, another width; or `!`, to hang up.
"""

import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time

LIMIT = 30


def resize(columns):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 45, columns, 0, 0))


def show(seconds, text=None):
    """Shows for so long, or until there is a text, and says whether it is there."""
    global unseen
    end = time.monotonic() + seconds
    while text is None or text not in unseen:
        left = end - time.monotonic()
        if left <= 0 or not select.select([terminal], [], [], left)[0]:
            return False
        try:
            shown = os.read(terminal, 65536)
        except OSError:
            return False
        unseen += shown
        sys.stdout.buffer.write(shown)
        sys.stdout.buffer.flush()
    unseen = unseen.split(text, 1)[1]
    return True


unseen = b""
shell, terminal = pty.fork()
if shell == 0:
    os.environ["PS1"] = "> "
    os.execvp("bash", ["bash", "--norc", "--noediting"])
resize(123)
for step in sys.argv[1:]:
    if step == "!":
        os.close(terminal)
        break
    if step[0] == "^":
        os.write(terminal, bytes([ord(step[1]) & 31]))
    elif step[0] == "~":
        show(float(step[1:]))
    elif step[0] == "<":
        resize(int(step[1:]))
    elif step[0] != "?":
        os.write(terminal, step.encode() + b"\r")
    elif not show(LIMIT, step[1:].encode()):
        sys.exit(f"\n{step[1:]!r} has not been shown in {LIMIT} s")
else:
    show(0.5)
