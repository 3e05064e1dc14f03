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

@test "a place where nothing can be written: an error, and the container goes all the same" {
    if ((EUID == 0)); then skip "root may write anywhere"; fi
    run_srun_unchecked --container-image="$image" --container-save=/proc/nowhere.sqsh echo ran
    ((status == 0)) # the program had ended well
    output_has "failed to export container"
    output_has ran
}
