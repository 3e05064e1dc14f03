"""Prints the most memory that processes with argv[1] in their command lines have had, in KiB, for as long as there is no file
argv[2]. It looks again and again without a pause: some live for moments."""
import os
import re
import sys

wanted, over = sys.argv[1].encode(), sys.argv[2]
most = {}
while not os.path.exists(over):
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if wanted not in file.read().replace(b"\0", b" ") or int(pid) == os.getpid():
                    continue
            with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
                peak = re.search(r"VmHWM:\s*(\d+)", file.read())
        except OSError:
            continue
        if peak and int(peak[1]) > most.get(pid, 0):
            most[pid] = int(peak[1])
            print(most[pid], flush=True)
