"""A FUSE file system that a user has mounted for all, whose server takes requests and answers none: silent.py PATH UID"""
import ctypes
import os
import sys
import time

path, uid = sys.argv[1], int(sys.argv[2])
fd = os.open("/dev/fuse", os.O_RDWR)
libc = ctypes.CDLL(None, use_errno=True)
options = f"fd={fd},rootmode=40755,user_id={uid},group_id={uid},allow_other"
if libc.mount(b"evil", path.encode(), b"fuse", 6, options.encode()) != 0:
    raise OSError(ctypes.get_errno(), "mount")
time.sleep(1000)
