#!/usr/bin/env bats
# A task's prolog and epilog are the host's, and what the prolog sets and unsets is the program's in its container.

load common

setup() {
    image=$(image busybox)
    cd "$BATS_TEST_TMPDIR" || return
    # shellcheck disable=SC2086
    host=$(srun ${PYXIS_SRUN_ARGS:-} "${one_node[@]}" grep ^ID= /etc/os-release)
    executable prolog 'echo "print at $(grep ^ID= /etc/os-release) $PATH"' 'echo "export FOO=b a=r"' 'echo unset GONE' \
        'echo "export PATH=/first:$PATH:/last"'
}

# A script of that name.
executable() {
    printf '%s\n' '#!/bin/sh' "${@:2}" > "$1"
    chmod 755 "$1"
}

@test "a task prolog runs on the host, and its lines reach the program inside" {
    only_pyxis "there it runs inside"
    export GONE=1 KEPT=1
    for image in "$image" "$(image entrypoint)"; do
        run_srun --container-image="$image" sh -c 'echo "inside $PATH"'
        path=$(sed -n 's/^inside //p' <<< "$output")
        run_srun --task-prolog="$PWD/prolog" --container-image="$image" sh -c 'echo "$FOO,$GONE,$KEPT,$PATH"; grep ^ID= /etc/os-release'
        grep -xF "b a=r,,1,/first:$path:/last" <<< "$output"
        grep -xF "at $host $path" <<< "$output"
        # Of the program and of the prolog.
        [ "$(grep -cF "ID=" <<< "$output")" -eq 2 ]
        grep -xF ID=pyxis-test <<< "$output"
    done
}

@test "a task epilog runs on the host" {
    executable epilog "grep ^ID= /etc/os-release > $PWD/new; mv $PWD/new $PWD/said"
    run_srun --task-epilog="$PWD/epilog" --container-image="$image" true
    until [[ -e said ]]; do sleep 0.1; done
    [ "$(cat said)" = "$host" ]
}

@test "with a prolog each task has its program: of --multi-prog, by PATH, by a relative path, and none" {
    only_pyxis "there it runs inside"
    printf '%s\n' '0 grep ^ID= /etc/os-release' '1 busybox echo task %t' '2 /bin/busybox echo task %t' '3 ./busybox echo task %t' > list
    run_srun_wide -N1 -n4 --overcommit -l --task-prolog="$PWD/prolog" --container-image="$image" --container-workdir=/bin --multi-prog list
    output_has "0: ID=pyxis-test"
    for task in 1 2 3; do output_has "$task: task $task"; done
    run_srun --task-prolog="$PWD/prolog" --container-image="$image" --container-workdir=/bin ./busybox pwd
    grep -x /bin <<< "$output"
    run_srun_unchecked --task-prolog="$PWD/prolog" --container-image="$image" perl -e 'print "ran-anyway"'
    [ "$status" -eq 2 ]
    output_has "execve(): perl: No such file or directory"
}

@test "with a prolog: a container with a name is made, joined while it runs, and used again" {
    only_pyxis "there it runs inside"
    local name=prolog-$$ step
    with=(--task-prolog="$PWD/prolog" --container-name="$name")
    run_srun "${with[@]}" --container-image="$image" --container-writable sh -c 'echo "$FOO" > /kept'
    # shellcheck disable=SC2086
    srun ${PYXIS_SRUN_ARGS:-} "${one_node[@]}" --overlap "${with[@]}" --container-mounts="$PWD:/shared" \
        sh -c '> /shared/runs; until test -e /shared/end; do sleep 0.1; done' < /dev/null > first 2>&1 3>&- &
    step=$!
    until [[ -e runs ]]; do sleep 0.1; done
    run_srun --overlap "${with[@]}" sh -c 'cat /kept; echo "$FOO"; ls /shared'
    [ "$(grep -c '^b a=r$' <<< "$output")" -eq 2 ]
    grep -x runs <<< "$output"
    grep -F "at $host " <<< "$output"
    : > end
    wait "$step"
    remove_container "$name"
}

@test "a prolog that fails, or is not there, is Slurm's to judge: with a container as without" {
    only_pyxis "there it runs inside"
    executable fails 'echo print before' 'exit 3'
    for prolog in "$PWD/fails" "$PWD/none"; do
        run_srun_unchecked --task-prolog="$prolog" echo program
        without=$status said=$(grep -c '^program$' <<< "$output" || true)
        run_srun_unchecked --task-prolog="$prolog" --container-image="$image" echo program
        [ "$status" -eq "$without" ]
        [ "$(grep -c '^program$' <<< "$output" || true)" -eq "$said" ]
    done
}

@test "with a prolog: exit codes, signals, a terminal, saving, and what is wrong with a container, as without" {
    only_pyxis "there it runs inside"
    with=(--task-prolog="$PWD/prolog" --container-image="$image")
    run_srun_unchecked "${with[@]}" sh -c 'exit 7'
    [ "$status" -eq 7 ]
    run_srun_unchecked "${with[@]}" sh -c 'kill -TERM $$'
    [ "$status" -eq 143 ]
    run_srun_unchecked "${with[@]}" --container-workdir=/nowhere echo ran-anyway
    [ "$status" -eq 1 ]
    output_has "pyxis: couldn't chdir to /nowhere: No such file or directory"
    output_lacks ran-anyway
    run_srun "${with[@]}" --container-writable --container-save="$PWD/saved.sqsh" sh -c 'echo kept > /kept'
    run_srun --task-prolog="$PWD/prolog" --container-image="$PWD/saved.sqsh" cat /kept
    grep -x kept <<< "$output"
    # shellcheck disable=SC2086
    run_logged script -q -e -c "srun ${PYXIS_SRUN_ARGS:-} ${one_node[*]} --pty ${with[*]} sh -c 'test -t 0 && grep ^ID= /etc/os-release'" /dev/null < /dev/null
    ((status == 0))
    output_has ID=pyxis-test
}

@test "with a prolog a program is filtered, and has no descriptor of slurmstepd or the container's" {
    only_pyxis "there it runs inside"
    look='ls /proc/self/fd; grep Seccomp: /proc/self/status'
    run_srun --container-image="$image" sh -c "$look"
    # Not what srun says of waiting for its turn.
    without=$(grep -v '^srun: ' <<< "$output")
    run_srun --task-prolog="$PWD/prolog" --container-image="$image" sh -c "$look"
    [ "$(grep -vE '^(at|srun:) ' <<< "$output")" = "$without" ]
    grep -qE $'^Seccomp:\t2$' <<< "$output"
}
