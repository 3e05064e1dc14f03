"""What must hold of root during a test: watched.py LINES COMPLETING. LINES is what the two copies of watch.c have written since it
began; COMPLETING has a line "SECOND JOB" for each time that a job was seen ending."""
import collections
import os
import sys

PATIENCE = int(os.environ.get("PYXIS_TEST_PATIENCE", "1"))
# KiB over what slurmstepd has when it begins.
MEMORY = 64 * 1024
# Milliseconds. No wait is longer than 10 s; a step's end may have two, of which the second is all that is cleaned up. A busy machine
# has as much again.
LIMITS = collections.defaultdict(lambda: 20_000 * PATIENCE, task_exit=40_000 * PATIENCE)
COMPLETING = 30 * PATIENCE


def read(path):
    with open(path, encoding="ascii") as file:
        return [line.split() for line in file]


def main():
    faults, begun, first, most, longest = [], {}, {}, {}, {}
    for pid, where, hook, at, resident, peak in read(sys.argv[1]):
        first.setdefault(pid, int(resident))
        most[pid] = max(most.get(pid, 0), int(peak) - first[pid])
        if where == "before":
            begun[pid, hook] = int(at)
        elif (pid, hook) in begun:
            took = int(at) - begun.pop((pid, hook))
            longest[hook] = max(longest.get(hook, 0), took)
            if took > LIMITS[hook]:
                faults.append(f"{hook} of process {pid} took root {took} ms")
    faults += [f"process {pid}: {kib} KiB over its start" for pid, kib in most.items() if kib > MEMORY]
    seen = collections.defaultdict(list)
    for second, job in read(sys.argv[2]):
        seen[job].append(int(second))
    ending = {job: max(when) - min(when) for job, when in seen.items()}
    faults += [f"job {job} was ending for {took} s" for job, took in ending.items() if took > COMPLETING]
    print(f"root: {len(most)} processes, at most {max(most.values(), default=0)} KiB over their start;",
          f"at most {longest} ms; jobs were ending for {max(ending.values(), default=0)} s")
    print("\n".join(faults))
    sys.exit(bool(faults))


main()
