#!/usr/bin/env python3
"""A process whose /proc/PID/environ has as many bytes as one likes, none of which it pays for. Prints "ready".

root-environ.py BYTES
"""
import ctypes
import mmap
import sys
import time

libc = ctypes.CDLL(None, use_errno=True)
size = int(sys.argv[1])
memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000, mmap.PROT_READ | mmap.PROT_WRITE)
start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
with open("/proc/self/stat") as file:
    stat = file.read().rsplit(")", 1)[1].split()
# Fields of proc(5), from the third on.
field = lambda number: int(stat[number - 3])
words = [field(26), field(27), field(45), field(46), field(47), field(47), field(28), field(48), field(49), start, start + size]
# prctl_mm_map of linux/prctl.h: no auxiliary vector, no other program.
map_ = (ctypes.c_uint64 * 13)(*words, 0, 0)
ctypes.cast(ctypes.byref(map_, 12 * 8 + 4), ctypes.POINTER(ctypes.c_uint32))[0] = 0xFFFFFFFF
libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
if libc.prctl(35, 14, ctypes.addressof(map_), ctypes.sizeof(map_), 0):
    sys.exit("prctl: errno %d" % ctypes.get_errno())
print("ready", flush=True)
time.sleep(600)
