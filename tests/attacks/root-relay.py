#!/usr/bin/env python3
"""Stands in for the runtime: starts the container by the real one, and tampers with its message on the way.

root-relay.py COMMAND MODE [ARGUMENT] -- what the plugin says to the runtime
"""
import array
import os
import socket
import subprocess
import sys

command, mode, argument = sys.argv[1:4]
arguments = sys.argv[sys.argv.index("--") + 1:]
if arguments[0] != "start":
    os.execv(command, [command, *arguments])


def take(sock):
    data, ancillary, _, _ = sock.recvmsg(256, socket.CMSG_SPACE(253 * 4))
    fds = array.array("i")
    for level, kind, payload in ancillary:
        fds.frombytes(payload)
    return data.decode().split(" "), list(fds)


def fuse_file(path):
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client.connect(path)
    return take(client)[1][0]


# The plugin's socket stays here, out of the way; the runtime's is a new one.
given = [int(number) for number in arguments[1].removeprefix("--request=").split(",")]
handover = given[1]
plugin = socket.socket(fileno=os.dup(handover))
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
os.dup2(theirs.fileno(), handover, inheritable=True)
theirs.close()
done = subprocess.run([command, *arguments], pass_fds=given)
os.close(handover)
if done.returncode:
    sys.exit(done.returncode)
words, fds = take(ours)
names = words[1:]


def replace(part, fd):
    if part in names:
        fds[names.index(part)] = fd
    else:
        names.append(part)
        fds.append(fd)


times = 1
if mode == "without":
    at = names.index(argument)
    del names[at], fds[at]
elif mode == "twice":
    names.append(argument)
    fds.append(fds[names.index(argument)])
elif mode == "null":
    replace(argument, os.open("/dev/null", os.O_RDONLY))
elif mode == "own":
    own = {"mount": "mnt"}.get(argument, argument)
    replace(argument, os.open("/proc/self/ns/" + own, os.O_RDONLY))
elif mode == "host":
    replace("cwd", os.open(argument, os.O_PATH | os.O_DIRECTORY))
elif mode == "fuse":
    part, path = argument.split(":")
    replace(part, fuse_file(path))
elif mode == "again":
    times = 2
text = " ".join([words[0], *names]).encode()
rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
for _ in range(times):
    plugin.sendmsg([text], rights)
