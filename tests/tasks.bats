#!/usr/bin/env bats
# Several tasks, several nodes, how they end.

load common

setup() { image=$(image busybox); }

@test "all tasks of a node share one container" {
    run_srun_wide -N1 -n8 --overcommit --container-image="$image" readlink /proc/self/ns/mnt
    [ "$(sort -u <<< "$output" | wc -l)" -eq 1 ]
    [ "$(wc -l <<< "$output")" -eq 8 ]
}

@test "64 tasks on one node" {
    run_srun_wide -N1 -n64 --overcommit --container-image="$image" sh -c 'echo $SLURM_PROCID'
    [ "$(sort -n <<< "$output" | tr '\n' ' ')" = "$(seq 0 63 | tr '\n' ' ')" ]
}

@test "a process with the node's root by a mount of it does not keep the step" {
    only_pyxis "such a process is Slurm's to end there"
    SECONDS=0
    run_srun --container-image="$image" --container-remap-root --container-mounts=/:/host \
        sh -c 'chroot /host sleep 300 < /dev/null > /dev/null 2>&1 & sleep 0.3'
    output_lacks "another step is using"
    # Nowhere near the process's own end, however busy the machine is.
    ((SECONDS < 120))
}

@test "each node has its own container" {
    needs_two_nodes
    run_srun_wide -N2 -n4 --overcommit --container-image="$image" --container-writable sh -c 'echo $SLURMD_NODENAME >> /who; sleep 0.5; sort -u /who'
    [ "$(sort -u <<< "$output" | wc -l)" -eq 2 ]
}

@test "a failed start fails every task with a line and runs none" {
    run_srun_wide_unchecked -N1 -n4 --overcommit --container-image=/nonexistent.sqsh echo ran-anyway
    ((status != 0))
    output_lacks ran-anyway
    # The second as enroot has it.
    [ "$(grep -cE '(cannot open image|No such file or directory:) /nonexistent.sqsh' <<< "$output")" -eq 1 ]
    [ "$(grep -c 'not started successfully by another task' <<< "$output")" -eq 3 ]
}

@test "exit codes and signals of tasks" {
    run_srun_unchecked --container-image="$image" sh -c 'exit 42'
    [ "$status" -eq 42 ]
    run_srun_unchecked --container-image="$image" sh -c 'kill -TERM $$'
    [ "$status" -eq 143 ]
    run_srun_unchecked --container-image="$image" /no/such/program
    ((status != 0))
}

@test "tasks that end at different times keep their file system" {
    run_srun_wide -N1 -n3 --overcommit --container-image="$image" sh -c 'sleep 0.$SLURM_PROCID; ls /bin > /dev/null && echo fine'
    [ "$(grep -c fine <<< "$output")" -eq 3 ]
}

@test "scancel --signal reaches the program and not the image's server" {
    local id
    # On every node of the allocation: Slurm 22.05 cannot signal a step on some of them.
    # shellcheck disable=SC2086
    srun ${PYXIS_SRUN_ARGS:-} --container-image="$image" \
        sh -c 'trap "ls /bin > /dev/null && echo survived; exit 0" USR1; echo ready $SLURM_JOB_ID.$SLURM_STEP_ID; while :; do sleep 0.1; done' \
        > "$BATS_TEST_TMPDIR/out" 2>&1 &
    # All of them: one that is not in its container yet has no trap.
    for _ in $(seq 600); do
        if (($(grep -c ready "$BATS_TEST_TMPDIR/out") >= ${SLURM_NTASKS:-${SLURM_NNODES:-1}})); then break; fi
        sleep 0.1
    done
    id=$(sed -n 's/^ready //p' "$BATS_TEST_TMPDIR/out" | head -n 1)
    scancel --signal=USR1 "$id"
    wait
    cat "$BATS_TEST_TMPDIR/out"
    grep -q survived "$BATS_TEST_TMPDIR/out"
}

@test "a terminal" {
    # shellcheck disable=SC2086
    run_logged script -q -e -c "srun ${PYXIS_SRUN_ARGS:-} ${one_node[*]} --pty --container-image=$image sh -c 'test -t 0 && tty && cat /etc/os-release'" /dev/null < /dev/null
    ((status == 0))
    output_has /dev/pts/
    output_has ID=pyxis-test
}
