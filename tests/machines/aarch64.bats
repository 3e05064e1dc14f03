#!/usr/bin/env bats
# A node with another processor (Arm's, as Grace has): Debian's own kernel and Slurm, our packages for it. MACHINE is the state of
# one that is up, of `machine up`.

load common

setup() { machine_setup; }
teardown() { machine_teardown; }

@test "packages for this processor are installed, and doctor finds nothing to mend" {
    [ "$(root uname -m)" = aarch64 ]
    [ "$(root dpkg --print-architecture)" = arm64 ]
    run root pyxis doctor
    echo "$output"
    [ "$status" -eq 0 ]
    output_has healthy
}

@test "a job has a container: mounts, remapped root, and an exit status" {
    run_srun --container-image="$images"/debian.sqsh --container-mounts="$work:/mnt" --container-remap-root --container-writable \
        sh -c 'uname -m; id -u; mv /etc/init.d /etc/renamed; echo made > /mnt/made; exit 7'
    [ "$status" -eq 7 ]
    output_has $'aarch64\n0'
    [ "$(user cat "$work/made")" = made ]
    [ "$(user stat -c %U "$work/made")" = alice ]
    nothing_left
}

@test "a named container is made, joined while it runs, kept, and removed" {
    hold --container-image="$images"/debian.sqsh --container-name=kept --container-writable
    run_srun --overlap --jobid="$held" --container-name=kept:exec sh -c 'echo joined > /written; cat /written'
    [ "$status" -eq 0 ]
    output_has joined
    release
    run_srun --container-name=kept cat /written
    [ "$status" -eq 0 ]
    output_has joined
    user pyxis remove -f pyxis_kept
    nothing_left
}
