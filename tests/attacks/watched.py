"""What must hold of root during a test: watched.py LINES COMPLETING. LINES is what the two copies of watch.c have written since it
began; COMPLETING has a line "SECOND JOB" for each time that a job was seen ending."""
import collections
import os
import sys

PATIENCE = int(os.environ.get("PYXIS_TEST_PATIENCE", "1"))
# KiB over what slurmstepd has when it begins.
MEMORY = 64 * 1024
# Milliseconds: all waits of a hook together are 10 s. A busy machine has as much again, to start what is waited for.
LIMIT = 20_000 * PATIENCE
COMPLETING = 30 * PATIENCE


def read(path):
    with open(path, encoding="ascii") as file:
        return [line.split() for line in file]


def main():
    faults, begun, first, most, longest = [], {}, {}, {}, {}
    for pid, where, hook, at, resident, peak in read(sys.argv[1]):
        first.setdefault(pid, int(resident))
        most[pid] = max(most.get(pid, 0), int(peak) - first[pid])
        # After a hook of pyxis's that fails, Slurm calls no plugin: it has ended when the next one is called.
        if (where, hook) == ("before", "init"):
            begun.pop(pid, None)
        if pid in begun:
            before, since = begun.pop(pid)
            took = int(at) - since
            longest[before] = max(longest.get(before, 0), took)
            if took > LIMIT:
                faults.append(f"{before} of process {pid} took root {took} ms")
        if where == "before":
            begun[pid] = hook, int(at)
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
