#!/usr/bin/env bats
# --container-image with a squashfs file.

load common

@test "a path relative to the directory srun runs in" {
    cp "$(image busybox)" "$BATS_TEST_TMPDIR/here.sqsh"
    cd "$BATS_TEST_TMPDIR"
    run_srun --container-image=./here.sqsh cat /etc/os-release
    output_has ID=pyxis-test
}

@test "an image without a shell" {
    only_builtin "enroot and the original start a shell in the image"
    run_srun --container-image="$(image noshell)" /cat /message
    output_has "no shell here"
}

@test "a file that is no squashfs" {
    echo text > "$BATS_TEST_TMPDIR/text.sqsh"
    run_srun_unchecked --container-image="$BATS_TEST_TMPDIR/text.sqsh" echo ran-anyway
    ((status != 0))
    output_lacks ran-anyway
    output_has text.sqsh
}

@test "a truncated image" {
    head -c 20000 "$(image busybox)" > "$BATS_TEST_TMPDIR/cut.sqsh"
    run_srun_unchecked --container-image="$BATS_TEST_TMPDIR/cut.sqsh" echo ran-anyway
    ((status != 0))
    output_lacks ran-anyway
    if [[ $SUT == pyxis && $runtime == pyxis ]]; then output_has truncated; fi
}

@test "an image with a good head and a broken table" {
    local size
    cp "$(image busybox)" "$BATS_TEST_TMPDIR/broken.sqsh"
    chmod u+w "$BATS_TEST_TMPDIR/broken.sqsh"
    size=$(stat -c %s "$BATS_TEST_TMPDIR/broken.sqsh")
    head -c 4096 /dev/urandom | dd of="$BATS_TEST_TMPDIR/broken.sqsh" bs=1 seek=$((size - 4096)) conv=notrunc status=none
    run_srun_unchecked --container-image="$BATS_TEST_TMPDIR/broken.sqsh" echo ran-anyway
    ((status != 0))
    output_lacks ran-anyway
    # With enroot the container that was made of it is what cannot be started.
    if [[ $runtime == pyxis ]]; then output_has broken.sqsh; else output_has image.sqsh; fi
}

@test "an image the user may not read" {
    if ((EUID == 0)); then skip "root may read everything"; fi
    install -m 000 "$(image busybox)" "$BATS_TEST_TMPDIR/secret.sqsh"
    run_srun_unchecked --container-image="$BATS_TEST_TMPDIR/secret.sqsh" echo ran-anyway
    ((status != 0))
    output_lacks ran-anyway
    output_has "ermission denied"
}

@test "what is written to the container is gone afterwards" {
    local image
    image=$(image busybox)
    run_srun --container-image="$image" --container-writable sh -c 'echo x > /left && cat /left'
    run_srun --container-image="$image" --container-writable sh -c 'test ! -e /left'
}

@test "the root file system is read-only unless asked otherwise" {
    local image
    image=$(image busybox)
    run_srun_unchecked --container-image="$image" --container-readonly touch /x
    ((status != 0))
    output_has "Read-only file system"
    run_srun --container-image="$image" --container-writable sh -c 'echo y > /etc/passwd && rm -r /usr && mkdir /usr'
}

@test "an image that cannot be had: once, the cause first, and a hint for a file without a path" {
    only_pyxis "the original has no hints"
    cd "$BATS_TEST_TMPDIR"
    # A registry before a slash, where nobody listens.
    run_srun_unchecked --container-image=localhost:1/x.sqsh echo ran-anyway
    [ "$status" -eq 1 ]
    output_lacks ran-anyway
    output_has "hint: a squashfs file is given as a path: ./localhost:1/x.sqsh or /path/localhost:1/x.sqsh"
    [ "$(grep -c "failed to import docker image: localhost:1/x.sqsh" <<< "$output")" -eq 1 ]
    [[ $(grep -m 1 "error: pyxis: " <<< "$output") == *"failed to import docker image: localhost:1/x.sqsh: "*"onnection refused"* ]]
    mkdir localhost:1
    touch localhost:1/x.sqsh
    run_srun_unchecked --container-image=localhost:1/x.sqsh echo ran-anyway
    [ "$status" -eq 1 ]
    output_has "hint: a file of this name exists: --container-image=./localhost:1/x.sqsh would use it"
}
