#!/usr/bin/env python3
"""Keeps a way of somebody's that is to end: keep.py hold SOCKET, and keep.py give SOCKET, which gives it the descriptor 3."""
import array
import os
import socket
import sys

path = sys.argv[2]
if sys.argv[1] == "hold":
    here = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    here.bind(path)
    os.chmod(path, 0o777)
    here.listen(8)
    kept = []
    while True:
        client, _ = here.accept()
        _, ancillary, _, _ = client.recvmsg(16, socket.CMSG_SPACE(4))
        for _, _, payload in ancillary:
            kept.append(array.array("i", payload)[0])
            print("held", kept[-1], flush=True)
        client.send(b"done")
else:
    there = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    there.connect(path)
    there.sendmsg([b"keep"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [3]))])
    there.recv(16)
