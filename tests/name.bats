#!/usr/bin/env bats
# --container-name and its flags.

load common

setup() {
    image=$(image busybox)
    name=test-$$-$BATS_TEST_NUMBER
}

teardown() { remove_container "$name"; }

@test "a named container is made once and keeps what was written" {
    run_srun --container-image="$image" --container-name="$name" --container-writable sh -c 'echo kept > /file'
    run_srun --container-name="$name" cat /file
    output_has kept
    run_srun --container-image=/nonexistent.sqsh --container-name="$name" cat /file
    output_has kept
}

@test "a name without a container and without an image" {
    run_srun_unchecked --container-name="$name" echo ran-anyway
    ((status != 0))
    output_has "container with name"
    output_has "does not exist, and --container-image is not set"
    output_lacks ran-anyway
}

@test "a source that does not exist is named, and the container not made" {
    run_srun_unchecked --container-image="$image" --container-name="$name" --container-mounts=/nonexistent/source:/mnt echo ran-anyway
    ((status != 0))
    output_has "source path does not exist: /nonexistent/source"
    run_srun_unchecked --container-name="$name:no_exec" echo ran-anyway
    ((status != 0))
    output_has "does not exist, and --container-image is not set"
    run_srun --container-image="$image" --container-name="$name" true
    run_srun_unchecked --container-name="$name" --container-mounts=/nonexistent/source:/mnt echo ran-anyway
    ((status != 0))
    output_has "source path does not exist: /nonexistent/source"
    output_lacks ran-anyway
}

@test "a named container that cannot be started does not keep its step waiting" {
    run_srun --container-image="$image" --container-name="$name" true
    SECONDS=0
    run_srun_unchecked --time=5 --container-name="$name" --container-mounts=/usr:../mnt echo ran-anyway
    ((status != 0))
    output_lacks ran-anyway
    output_lacks "another step is using"
    # The step would be ended by its time limit.
    ((SECONDS < 150))
}

@test "an image of which no container can be made is named" {
    echo "not a squashfs" > "$BATS_TEST_TMPDIR/broken.sqsh"
    run_srun_unchecked --container-image="$BATS_TEST_TMPDIR/broken.sqsh" --container-name="$name" echo ran-anyway
    ((status != 0))
    output_has "failed to create container filesystem for image: $BATS_TEST_TMPDIR/broken.sqsh"
    output_lacks ran-anyway
}

@test "create: only if it does not exist" {
    run_srun --container-image="$image" --container-name="$name:create" true
    run_srun_unchecked --container-image="$image" --container-name="$name:create" echo ran-anyway
    ((status != 0))
    output_has '"create" flag was passed to --container-name but the container already exists'
    output_lacks ran-anyway
}

@test "exec: only if it runs" {
    run_srun_unchecked --container-image="$image" --container-name="$name:exec" echo ran-anyway
    ((status != 0))
    output_has '"exec" flag was passed to --container-name but the container is not running'
    output_lacks ran-anyway
}

# Starts a step that stays in the container until $BATS_TEST_TMPDIR/stop appears.
start_in_background() {
    # shellcheck disable=SC2086
    srun ${PYXIS_SRUN_ARGS:-} "${one_node[@]}" --overlap --container-image="$image" --container-name="$name" --container-writable \
        --container-mounts="$BATS_TEST_TMPDIR:/shared" \
        sh -c 'echo from-first > /tmp/file; echo $SLURM_STEP_ID > /tmp/step; touch /shared/ready; while [ ! -e /shared/stop ]; do sleep 0.1; done' \
        > "$BATS_TEST_TMPDIR/background" 2>&1 3>&- &
    background=$!
    for _ in $(seq 600); do [[ ! -e $BATS_TEST_TMPDIR/ready ]] || return 0; sleep 0.1; done
    cat "$BATS_TEST_TMPDIR/background"
    return 1
}

@test "a running container is joined, with its mounts" {
    start_in_background
    run_srun --overlap --container-name="$name:exec" sh -c 'cat /tmp/file; ls /shared'
    output_has from-first
    output_has ready
    run_srun --overlap --container-name="$name" --container-mounts=/usr:/ignored sh -c 'cat /tmp/file; test ! -e /ignored'
    output_has "ignoring --container-mounts when attaching to a running container"
    output_has from-first
    run_srun --overlap --container-name="$name" --container-mounts=/nonexistent/source:/ignored cat /tmp/file
    output_has "ignoring --container-mounts when attaching to a running container"
    output_has from-first
    touch "$BATS_TEST_TMPDIR/stop"
    wait $background
}

@test "a running container that shares the namespaces asked for is not joined" {
    local which
    start_in_background
    for which in "ipc IPC" "uts UTS"; do
        run_srun_unchecked --overlap --container-name="$name" --container-unshare="${which% *}" echo ran-anyway
        ((status != 0))
        output_has "--container-unshare=${which% *} requested but the container is not in a separate ${which#* } namespace"
        output_lacks ran-anyway
    done
    touch "$BATS_TEST_TMPDIR/stop"
    wait $background
}

@test "no_exec: the file system of a running container, but not its namespaces" {
    start_in_background
    run_srun --overlap --container-name="$name:no_exec" sh -c 'test ! -e /tmp/file && test ! -e /shared/ready && echo apart'
    output_has apart
    touch "$BATS_TEST_TMPDIR/stop"
    wait $background
}

@test "who joins has its own step's variables" {
    only_builtin "with enroot those of the first process win"
    start_in_background
    run_srun --overlap --container-name="$name:exec" sh -c 'echo "steps $SLURM_STEP_ID $(cat /tmp/step)"'
    [[ $output =~ steps\ ([0-9]+)\ ([0-9]+) ]]
    ((BASH_REMATCH[1] > BASH_REMATCH[2]))
    touch "$BATS_TEST_TMPDIR/stop"
    wait $background
}

@test "a running container without a name is joined by its step's" {
    # shellcheck disable=SC2086
    srun ${PYXIS_SRUN_ARGS:-} "${one_node[@]}" --overlap --container-image="$image" --container-mounts="$BATS_TEST_TMPDIR:/shared" \
        sh -c 'echo first > /tmp/file; echo $SLURM_JOB_ID.$SLURM_STEP_ID > /shared/new; mv /shared/new /shared/ready
            while [ ! -e /shared/stop ]; do sleep 0.1; done' > "$BATS_TEST_TMPDIR/background" 2>&1 3>&- &
    background=$!
    for _ in $(seq 600); do [[ ! -e $BATS_TEST_TMPDIR/ready ]] || break; sleep 0.1; done
    run_srun --overlap --container-name="$(cat "$BATS_TEST_TMPDIR/ready"):exec" cat /tmp/file
    output_has first
    touch "$BATS_TEST_TMPDIR/stop"
    wait $background
}

@test "steps that race for one absent name: all succeed" {
    only_pyxis "the original's steps race"
    local i pids=() failed=0
    for i in $(seq 12); do
        # shellcheck disable=SC2086
        srun ${PYXIS_SRUN_ARGS:-} "${one_node[@]}" -n1 --overlap --overcommit --container-image="$image" --container-name="$name" \
            cat /etc/os-release > "$BATS_TEST_TMPDIR/$i" 2>&1 3>&- &
        pids+=($!)
    done
    for i in "${pids[@]}"; do wait "$i" || failed=$((failed + 1)); done
    cat "$BATS_TEST_TMPDIR"/[0-9]*
    ((failed == 0))
    [ "$(cat "$BATS_TEST_TMPDIR"/[0-9]* | grep -c '^ID=pyxis-test')" -eq 12 ]
}
