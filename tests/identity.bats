#!/usr/bin/env bats
# Who the user is inside, and what that allows.

load common

setup() { image=$(image busybox); }

@test "packages make devices: it succeeds, and there is none; FIFOs and files are made" {
    only_pyxis "making a device fails there"
    run_srun --container-image="$image" --container-remap-root --container-writable \
        sh -c 'mknod /c c 1 3 && mknod /b b 7 0 && mknod /p p && mkfifo /q && test -p /p && test -p /q && test ! -e /c && test ! -e /b && echo all'
    output_has all
    # An overlay's whiteout is no device, and users may make it.
    run_srun --container-image="$image" --container-remap-root --container-mounts=tmpfs:/mnt sh -c 'mknod /mnt/w c 0 0 && test -c /mnt/w && echo made'
    output_has made
}

@test "the user keeps its name, ids and home" {
    run_srun --container-image="$image" sh -c 'echo "$(id -u):$(id -g):$(id -un)"; echo $HOME'
    [ "${lines[0]}" = "$(id -u):$(id -g):$(id -un)" ]
    [ "${lines[1]}" = "$HOME" ]
}

@test "the user's account has no password and asks for no entry in /etc/shadow" {
    only_builtin "enroot adds one to /etc/shadow"
    run_srun --container-image="$image" sh -c 'grep "^$(id -un):" /etc/passwd | cut -d : -f 2'
    [ "${lines[-1]}" = "*" ] # with "x", PAM refuses logins (sshd in a container)
}

@test "remapped to root" {
    run_srun --container-image="$image" --container-remap-root sh -c 'id -u; id -g; id -un'
    [ "${lines[*]}" = "0 0 root" ]
}

@test "root inside is nobody special outside" {
    if ((EUID == 0)); then skip "root is somebody special"; fi
    run_srun_unchecked --container-image="$image" --container-remap-root --container-mounts=/etc/shadow cat /etc/shadow
    ((status != 0))
    output_has "ermission denied"
}

@test "files made by root inside belong to the user outside" {
    run_srun --container-image="$image" --container-remap-root --container-mounts="$BATS_TEST_TMPDIR:/mnt" touch /mnt/made
    [ "$(stat -c %u "$BATS_TEST_TMPDIR/made")" = "$(id -u)" ]
}

@test "changes of owner and of ids seem to succeed" {
    run_srun --container-image="$image" --container-remap-root --container-writable sh -c \
        'touch /f && chown 123:456 /f && chgrp 7 /f && stat -c %u:%g /f && su -s /bin/sh nobody -c "echo still here"'
    output_has 0:0
    output_has "still here"
}

@test "a filter is in force and no privilege is held by an ordinary user" {
    if ((EUID == 0)); then skip "a superuser keeps its capabilities"; fi
    run_srun --container-image="$image" --no-container-remap-root grep -E '^(CapEff|Seccomp):' /proc/self/status
    [[ $output =~ CapEff:[[:space:]]0000000000000000 ]]
    [[ $output =~ Seccomp:[[:space:]]2 ]]
}

@test "set-user-id files and device nodes of an image are inert" {
    run_srun --container-image="$image" sh -c 'grep " / " /proc/self/mountinfo'
    output_has nosuid
    output_has nodev
}

@test "the home directory is mounted on request" {
    if [[ ! -w $HOME ]]; then skip "$HOME cannot be written"; fi
    local file=$HOME/.pyxis-test-$$
    touch "$file"
    run_srun --container-image="$image" --container-mount-home ls -a "$HOME"
    output_has ".pyxis-test-$$"
    run_srun_unchecked --container-image="$image" --no-container-mount-home sh -c 'ls -a "$1" 2>&1; echo looked' sh "$HOME"
    [ "$status" -eq 0 ]
    output_has looked
    output_lacks ".pyxis-test-$$"
    run_srun --container-image="$image" --container-mount-home --container-remap-root sh -c 'echo $HOME; ls -a /root'
    output_has ".pyxis-test-$$"
    [ "${lines[0]}" = /root ]
    rm "$file"
}
