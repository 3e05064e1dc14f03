#!/usr/bin/env bats
# --container-image with a squashfs file.

load common

@test "a path relative to the directory srun runs in" {
    cp "$(image busybox)" "$BATS_TEST_TMPDIR/here.sqsh"
    cd "$BATS_TEST_TMPDIR"
    run_srun --container-image=./here.sqsh cat /etc/os-release
    output_has ID=pyxis-test
}

@test "an archive, and a layout" {
    only_builtin "enroot reads none"
    local layer work=$BATS_TEST_TMPDIR
    cd "$work"
    mkdir -p root/bin root/etc
    cp /bin/busybox root/bin/
    ln -s busybox root/bin/cat
    echo "of an archive" > root/etc/os-release
    tar -cf root.tar -C root .
    layer=$(sha256sum < root.tar | cut -d' ' -f1)
    echo '{"architecture": "amd64", "os": "linux", "config": {"Env": ["A=b"]}, "rootfs": {"type": "layers", "diff_ids": ["sha256:'"$layer"'"]}}' > config.json
    echo '[{"Config": "config.json", "RepoTags": ["a/b:1"], "Layers": ["root.tar"]}]' > manifest.json
    tar -cf saved.tar config.json manifest.json root.tar
    gzip -c saved.tar > saved.tar.gz
    for image in docker-archive:saved.tar docker-archive:saved.tar:a/b:1 "oci-archive:$work/saved.tar.gz"; do
        run_srun --container-image="$image" cat /etc/os-release
        output_has "of an archive"
    done
    run_srun_unchecked --container-image=docker-archive:absent.tar echo ran-anyway
    ((status != 0))
    output_lacks ran-anyway
    output_has "cannot open $work/absent.tar: No such file or directory"
}

@test "a SIF file" {
    only_builtin "enroot reads none"
    cd "$BATS_TEST_TMPDIR"
    # shellcheck disable=SC2016
    perl -e 'local $/;
        my $image = <STDIN>;
        my $length = length $image;
        print pack("a4096", pack("a32 a10 a3 a3 x16 q<8", "#!/usr/bin/env run-singularity\n", "SIF_MAGIC", "01", "02",
            0, 0, 47, 48, 4096, 48 * 585, 32768, $length));
        print pack("a28672", pack("l< C L<3 q<7 x128 l<2 a384", 0x4004, 1, 1, 0xf0000001, 0, 32768, $length, $length,
            0, 0, 0, 0, 1, 2, "02"));
        print $image' < "$(image busybox)" > x.sif
    run_srun --container-image=./x.sif cat /etc/os-release
    output_has ID=pyxis-test
    run_srun --container-image=./x.sif --container-writable sh -c 'echo x > /f && cat /f'
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

@test "a FIFO and a device as an image: nobody waits for who would write into them" {
    only_pyxis "the original waits"
    mkfifo "$BATS_TEST_TMPDIR/fifo.sqsh"
    for file in "$BATS_TEST_TMPDIR/fifo.sqsh" /dev/zero; do
        # Slurm would end it.
        run_srun_unchecked -t 2 --container-image="$file" echo ran-anyway
        ((status != 0))
        output_lacks ran-anyway
        output_lacks CANCELLED
        output_has "$(basename "$file")"
    done
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
