#!/usr/bin/env bats
# What an image asks for of the host, and what must not depend on the user's circumstances.

load common

setup() { attacks_setup; }
teardown() { attacks_teardown; }

@test "an image's own fstab gets nothing of the node, and one line says what would allow it" {
    unsquashfs -no-progress -dest "$work/root" "$PYXIS_TEST_IMAGES/busybox.sqsh" > /dev/null
    printf '/ /node none x-create=dir,rbind\no /laid overlay x-create=dir,nofail,lowerdir=/proc/self/fd/4/host/etc:/etc\ntmpfs /own tmpfs x-create=dir\n' > "$work/root/etc/fstab"
    mksquashfs "$work/root" "$work/asking.sqsh" -noappend -no-progress -quiet > /dev/null
    chmod 644 "$work/asking.sqsh"
    step -v --container-image="$work/asking.sqsh" sh -c 'test -e /node || test -e /laid || echo nothing; stat -f -c %T /own'
    [ "$status" -eq 0 ]
    [[ $output == *nothing*tmpfs* ]]
    run env PYXIS_IMAGE_MOUNTS=y "$here/../cluster/cluster" run --env PYXIS_IMAGE_MOUNTS=y --user pyxistest -- \
        srun -w n1 --container-image="$work/asking.sqsh" sh -c 'test -e /node/etc && echo asked'
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *asked* ]]
}

@test "umask 777: containers, named or not, can be used" {
    run attacker sh -c "umask 777; srun -w n1 --container-image=$PYXIS_TEST_IMAGES/busybox.sqsh sh -c 'ls / > /dev/null && umask'"
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *0777* ]]
    run attacker sh -c "umask 777; for i in 1 2; do srun -w n1 --container-image=$PYXIS_TEST_IMAGES/busybox.sqsh --container-name=masked sh -c 'ls / > /dev/null && umask' || exit 1; done"
    echo "$output"
    [ "$status" -eq 0 ]
    attacker_on_node env -u HOME "$PYXIS_TEST_COMMAND" remove -f pyxis_masked
}

@test "without HOME: containers, named or not, can be used" {
    local name
    for name in "" --container-name=homeless --container-name=homeless; do
        run attacker env -u HOME srun -w n1 --container-image="$PYXIS_TEST_IMAGES/busybox.sqsh" $name sh -c 'grep ^ID= /etc/os-release'
        echo "$output"
        [ "$status" -eq 0 ]
        [[ $output == *ID=pyxis-test* ]]
    done
    attacker_on_node env -u HOME "$PYXIS_TEST_COMMAND" remove -f pyxis_homeless
}
