#!/usr/bin/env bats
# --container-save.

load common

setup() { image=$(image busybox); }

@test "an unnamed container is saved and can be started again" {
    local file=$BATS_TEST_TMPDIR/saved.sqsh
    run_srun --container-image="$image" --container-writable --container-save="$file" sh -c 'echo saved > /file; rm /bin/vi'
    output_has "exported container pyxis_"
    output_has "to $file"
    run_srun --container-image="$file" sh -c 'cat /file; test ! -e /bin/vi'
    output_has saved
    [ "$(stat -c %U "$file")" = "$(id -un)" ]
}

@test "a path relative to the job's directory" {
    cd "$BATS_TEST_TMPDIR"
    run_srun --container-image="$image" --container-save=relative.sqsh true
    [ -s "$BATS_TEST_TMPDIR/relative.sqsh" ]
}

@test "an existing file is replaced" {
    local file=$BATS_TEST_TMPDIR/again.sqsh
    echo old > "$file"
    run_srun --container-image="$image" --container-save="$file" true
    run_srun --container-image="$file" cat /etc/os-release
    output_has ID=pyxis-test
}

@test "a named container" {
    local file=$BATS_TEST_TMPDIR/named.sqsh name=save-$$
    run_srun --container-image="$image" --container-name="$name" --container-writable --container-save="$file" touch /here
    remove_container "$name"
    run_srun --container-image="$file" ls /here
}

@test "a place where nothing can be saved is refused before the program starts" {
    only_pyxis "it notices when the program has ended"
    if ((EUID == 0)); then skip "root may write anywhere"; fi
    mkdir "$BATS_TEST_TMPDIR/directory"
    local place
    for place in "$BATS_TEST_TMPDIR/directory" "$BATS_TEST_TMPDIR/none/x.sqsh" /usr/x.sqsh /proc/nowhere.sqsh /dev/null "$image/x"; do
        run_srun_unchecked --container-image="$image" --container-save="$place" echo ran-anyway
        ((status != 0))
        output_has "--container-save: cannot save to $place: "
        output_lacks ran-anyway
    done
}

@test "a save that fails fails the step, of several tasks, too" {
    only_pyxis "srun exits with 0 there"
    local place=$BATS_TEST_TMPDIR/place n
    for n in 1 3; do
        mkdir "$place"
        run_srun_wide_unchecked -N1 -n$n --overcommit --container-image="$image" --container-mounts="$BATS_TEST_TMPDIR" --container-save="$place/x.sqsh" \
            sh -c "test \$SLURM_PROCID != 0 || rmdir $place; echo ran"
        ((status != 0))
        [ "$(grep -c '^ran$' <<< "$output")" -eq $n ]
        output_has "failed to export container pyxis_"
        [ "$(grep -c ' Exited with exit code 1$' <<< "$output")" -eq 1 ]
    done
}

@test "a step that saves ends as its program did, and says where the container is" {
    local file=$BATS_TEST_TMPDIR/code.sqsh
    run_srun_unchecked --container-image="$image" --container-save="$file" sh -c 'exit 42'
    [ "$status" -eq 42 ]
    output_has "to $file"
    run_srun_unchecked --container-image="$image" --container-save="$file" sh -c 'kill -TERM $$'
    [ "$status" -eq 143 ]
    run_srun --container-image="$file" true
}

@test "what a program has left running does not keep the container from being saved" {
    run_srun --container-image="$image" --container-writable --container-save="$BATS_TEST_TMPDIR/left.sqsh" \
        sh -c 'echo kept > /file; sleep 300 < /dev/null > /dev/null 2>&1 &'
    run_srun --container-image="$BATS_TEST_TMPDIR/left.sqsh" cat /file
    output_has kept
}

@test "a relative path, with an environment of a list and with none, and with a directory of Slurm's" {
    only_pyxis "PWD and HOME of the job are asked there"
    local how
    cd "$BATS_TEST_TMPDIR"
    for how in NONE NIL A=1 PATH; do
        run_srun --export=$how --container-image="$image" --container-save=./$how.sqsh /bin/true
        [ -s "$BATS_TEST_TMPDIR/$how.sqsh" ]
    done
    mkdir there
    run_srun --chdir=there --container-image="$image" --container-save=./chdir.sqsh true
    [ -s "$BATS_TEST_TMPDIR/there/chdir.sqsh" ]
}
