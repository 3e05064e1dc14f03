#!/usr/bin/env bats
# --container-mounts and what is mounted anyway.

load common

setup() { image=$(image busybox); }

@test "a directory, a file, and a source without a target" {
    mkdir "$BATS_TEST_TMPDIR/dir"
    echo inside > "$BATS_TEST_TMPDIR/dir/file"
    run_srun --container-image="$image" \
        --container-mounts="$BATS_TEST_TMPDIR/dir:/new/place,$BATS_TEST_TMPDIR/dir/file:/a/file,$BATS_TEST_TMPDIR/dir" \
        cat /new/place/file /a/file "$BATS_TEST_TMPDIR/dir/file"
    [ "$(grep -c '^inside$' <<< "$output")" -eq 3 ]
}

@test "several options add up" {
    run_srun --container-image="$image" --container-mounts=/etc/os-release:/one --container-mounts=/etc/os-release:/two \
        cmp /one /two
}

@test "several options add up with --export=NONE and with a list, unseen by the program" {
    only_pyxis "the last one counts there"
    local how
    for how in NONE PATH; do
        run_srun --export=$how --container-image="$image" --container-mounts=/etc/os-release:/one --container-mounts=/etc/os-release:/two \
            /bin/sh -c '/bin/cmp /one /two && /bin/env'
        output_lacks _PYXIS_
    done
}

@test "a relative source" {
    mkdir "$BATS_TEST_TMPDIR/relative"
    echo here > "$BATS_TEST_TMPDIR/relative/file"
    cd "$BATS_TEST_TMPDIR"
    run_srun --container-image="$image" --container-mounts=./relative:/mnt cat /mnt/file
    output_has here
}

@test "a relative source without a target is at its own place" {
    only_pyxis "it is mounted over the root there"
    mkdir "$BATS_TEST_TMPDIR/place"
    echo here > "$BATS_TEST_TMPDIR/place/file"
    cd "$BATS_TEST_TMPDIR"
    run_srun --container-image="$image" --container-mounts=./place cat "$BATS_TEST_TMPDIR/place/file"
    output_has here
    cd place
    run_srun --container-image="$image" --container-mounts=. cat "$BATS_TEST_TMPDIR/place/file"
    output_has here
    run_srun --export=NONE --container-image="$image" --container-mounts=.:/x,. /bin/cat /x/file "$BATS_TEST_TMPDIR/place/file"
    [ "$(grep -c '^here$' <<< "$output")" -eq 2 ]
}

@test "docker's long form, among others" {
    only_pyxis "there is no such form there"
    mkdir "$BATS_TEST_TMPDIR/long"
    echo inside > "$BATS_TEST_TMPDIR/long/file"
    cd "$BATS_TEST_TMPDIR"
    run_srun --container-image="$image" \
        --container-mounts=type=bind,src=./long,dst=/x,readonly,type=tmpfs,dst=/y,tmpfs-size=1m,./long/file:/z \
        sh -c 'cat /x/file /z; touch /x/new || echo read-only; touch /y/new && grep " /y tmpfs .*size=1024k" /proc/mounts'
    [ "$(grep -c '^inside$' <<< "$output")" -eq 2 ]
    output_has read-only
    output_has size=1024k
    run_srun_unchecked --container-image="$image" --container-mounts=type=volume,src=data,dst=/x echo ran-anyway
    ((status != 0))
    output_lacks ran-anyway
    output_has "--container-mounts: invalid format: type=volume,src=data,dst=/x ("
}

@test "colons and commas of names follow a backslash" {
    only_pyxis "there is no way to say it there"
    mkdir "$BATS_TEST_TMPDIR/a:b" "$BATS_TEST_TMPDIR/c,d"
    echo colon > "$BATS_TEST_TMPDIR/a:b/file"
    echo comma > "$BATS_TEST_TMPDIR/c,d/file"
    cd "$BATS_TEST_TMPDIR"
    run_srun --container-image="$image" --container-mounts='./a\:b:/x,./c\,d:/y\:z:ro' cat /x/file /y:z/file
    output_has colon
    output_has comma
    run_srun --container-image="$image" --container-mounts='./a\:b:/x' --container-mounts='./c\,d:/y' cat /x/file /y/file
    output_has comma
}

@test "words of fstab that mean nothing to a bind mount" {
    only_builtin "the kernel ignores all of them there"
    run_srun --container-image="$image" --container-mounts=/usr:/mnt:_netdev+ro+x-systemd.automount+comment=x grep ' /mnt ' /proc/self/mountinfo
    output_has ' /mnt ro,'
    run_srun_unchecked --container-image="$image" --container-mounts=/usr:/mnt:r0 echo ran-anyway
    ((status != 0))
    output_lacks ran-anyway
}

@test "a writable mount writes to the host, a read-only one does not" {
    mkdir "$BATS_TEST_TMPDIR/data"
    run_srun --container-image="$image" --container-mounts="$BATS_TEST_TMPDIR/data:/mnt" touch /mnt/made
    [ -e "$BATS_TEST_TMPDIR/data/made" ]
    run_srun_unchecked --container-image="$image" --container-mounts="$BATS_TEST_TMPDIR/data:/mnt:ro" touch /mnt/more
    ((status != 0))
    output_has "Read-only file system"
    [ ! -e "$BATS_TEST_TMPDIR/data/more" ]
}

@test "flags joined by +" {
    run_srun --container-image="$image" --container-mounts=/usr:/mnt:ro+nosuid+noexec+rprivate \
        grep ' /mnt ' /proc/self/mountinfo
    output_has ' /mnt ro,'
    output_has nosuid
    output_has noexec
}

@test "a tmpfs, and taking a mount away" {
    run_srun --container-image="$image" --container-mounts=tmpfs:/scratch:size=1m,umount:/var/lock \
        sh -c 'touch /scratch/x && grep " /scratch " /proc/mounts && ! grep -q " /var/lock " /proc/mounts'
    output_has size=1024k
}

@test "what is in a squashfs file, at a directory" {
    only_builtin "enroot mounts files as files"
    mkdir -p "$BATS_TEST_TMPDIR/data/deep"
    echo of-the-data > "$BATS_TEST_TMPDIR/data/deep/file"
    cd "$BATS_TEST_TMPDIR"
    mksquashfs data data.sqsh -quiet -no-progress
    run_srun -n3 --container-image="$image" --container-mounts=./data.sqsh:/data:sqsh \
        sh -c 'cat /data/deep/file; touch /data/x || echo refused'
    [ "$(grep -c '^of-the-data$' <<< "$output")" -eq 3 ]
    [ "$(grep -c '^refused$' <<< "$output")" -eq 3 ]
    head -c 100 data.sqsh > cut.sqsh
    run_srun_unchecked --container-image="$image" --container-mounts=./cut.sqsh:/data:sqsh echo ran-anyway
    ((status != 0))
    output_lacks ran-anyway
    output_has cut.sqsh
}

@test "white space and backslashes in paths" {
    local directory="$BATS_TEST_TMPDIR/with space\\and backslash"
    mkdir "$directory"
    echo strange > "$directory/file"
    run_srun --container-image="$image" --container-mounts="$directory:/target dir" cat "/target dir/file"
    output_has strange
}

@test "a source that does not exist is named, and nothing runs" {
    run_srun_unchecked --container-image="$image" --container-mounts=/nonexistent/source:/mnt echo ran-anyway
    ((status != 0))
    output_has "source path does not exist: /nonexistent/source"
    output_lacks ran-anyway
}

@test "a target below an absolute symbolic link of the image stays in the container" {
    mkdir "$BATS_TEST_TMPDIR/data"
    run_srun --container-image="$(image hostile)" --container-mounts="$BATS_TEST_TMPDIR/data:/link-to-host/sub" true
    [ ! -e "/var/tmp/pyxis-hostile" ]
    run_srun_unchecked --container-image="$(image hostile)" --container-mounts="$BATS_TEST_TMPDIR/data:/dotdot/../../../sub" echo ran-anyway
    ((status != 0))
    output_lacks ran-anyway
}

@test "a target above the root is refused" {
    run_srun_unchecked --container-image="$image" --container-mounts=/usr:../mnt echo ran-anyway
    ((status != 0))
    grep -q -i "cross-device link" <<< "$output"
    output_lacks ran-anyway
}

@test "what every container has" {
    run_srun --container-image="$image" sh -c \
        'test -e /proc/self/status && test -d /sys/class && test -c /dev/null && touch /tmp/x && touch /dev/shm/$$ && rm /dev/shm/$$'
    run_srun --container-image="$image" cat /etc/resolv.conf
    [ "$output" = "$(cat /etc/resolv.conf)" ]
}

@test "no mount of a container is seen outside" {
    run_srun --container-image="$image" --container-mounts=tmpfs:/mnt touch /mnt/x
    run grep pyxis_ /proc/self/mountinfo
    [ "$status" -eq 1 ]
    run_srun sh -c '! grep -E "squashf|/lower" /proc/self/mountinfo'
}
