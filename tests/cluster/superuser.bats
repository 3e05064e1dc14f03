#!/usr/bin/env bats
# Root's own containers. As root, on a cluster of tests/cluster that has the plugin (CLUSTER_STATE names it).

cluster() { "$BATS_TEST_DIRNAME/cluster" "$@"; }

# Runs a step as root, with a variable in the job's environment.
step() { cluster login -- env "$1" srun -w n1 --container-image="$PYXIS_TEST_IMAGES/busybox.sqsh" "${@:2}"; }

every_id='         0          0 4294967295'

@test "root without ENROOT_ALLOW_SUPERUSER: a user namespace and the system call filter, as everybody" {
    run step ENROOT_ALLOW_SUPERUSER=n sh -c 'cat /proc/self/uid_map; grep ^Seccomp: /proc/self/status'
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output != *"$every_id"* && $output == *"Seccomp:	2"* ]]
}

@test "root with ENROOT_ALLOW_SUPERUSER: no user namespace is joined and no filter set" {
    run step ENROOT_ALLOW_SUPERUSER=y sh -c 'cat /proc/self/uid_map; grep ^Seccomp: /proc/self/status; grep ^ID= /etc/os-release'
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *"$every_id"* && $output == *"Seccomp:	0"* && $output == *"ID=pyxis-test"* ]]
}

@test "an ordinary user with ENROOT_ALLOW_SUPERUSER is none" {
    run cluster run -- env ENROOT_ALLOW_SUPERUSER=y srun -w n1 --container-image="$PYXIS_TEST_IMAGES/busybox.sqsh" \
        sh -c 'cat /proc/self/uid_map; grep ^Seccomp: /proc/self/status'
    [ "$status" -eq 0 ]
    [[ $output != *"$every_id"* && $output == *"Seccomp:	2"* ]]
}
