#!/usr/bin/env bats
# Images, names, variables and directories made by an attacker: the node stays untouched, and what cannot be done is said.
# As root, on a cluster of tests/cluster (CLUSTER_STATE): root looks at the node, and makes device nodes and setuid files.

cluster() { "$BATS_TEST_DIRNAME/cluster" "$@"; }
on_node() { cluster node 1 -- "$@"; }
user() { cluster run -- "$@"; }
# One that hangs is stopped.
step() { run timeout 120 "$BATS_TEST_DIRNAME/cluster" run -- srun -w n1 "$@"; echo "$output"; }

setup() {
    work=$(mktemp -d "$CLUSTER_STATE/work/hostile.XXXXXX")
    chmod 777 "$work"
    # Where hostile links point to: a directory that the user could write to, were it reached.
    bait=/var/tmp/bait
    on_node sh -c "rm -rf $bait; mkdir -m 777 $bait; umask 0; echo untouched > $bait/file"
    lined=
}

teardown() {
    user scancel -u pyxistest
    rm -rf "$work"
    [[ -z $lined ]] || cluster plugstack "$PYXIS_TEST_LINE"
}

# Nothing was made or changed behind the links.
bait_untouched() {
    [ "$(on_node sh -c "ls -A $bait; cat $bait/file")" = $'file\nuntouched' ]
}

# An image of busybox with changes: the arguments are run in its root directory.
hostile_image() {
    unsquashfs -q -n -d "$work/root" "$PYXIS_TEST_IMAGES/busybox.sqsh" > /dev/null
    (cd "$work/root" && eval "$1")
    mksquashfs "$work/root" "$work/image.sqsh" -quiet -no-progress -noD > /dev/null
    chmod 644 "$work/image.sqsh"
    rm -rf "$work/root"
}

@test "/etc is a symbolic link to the node: nothing is written there" {
    hostile_image "rm -r etc; ln -s $bait etc"
    step --container-image="$work/image.sqsh" --container-writable sh -c 'echo ran; id -u'
    [[ $status -ne 0 || $output == *ran* ]]
    bait_untouched
}

@test "mount targets that are links to the node, absolute, by .., or by /proc: they stay in the container" {
    hostile_image "rm -r tmp var home; ln -s $bait tmp; ln -s ../../../../..$bait var; ln -s /proc/1/root$bait home
        mkdir run/x; ln -s /proc/self/root$bait magic; rm -f etc/hosts etc/resolv.conf; ln -s $bait/file etc/hosts; ln -s $bait/made etc/resolv.conf"
    local target
    for target in /tmp/made /var/made /home/made /magic/made /run/x/../../magic/made /etc/resolv.conf; do
        step --container-image="$work/image.sqsh" --container-mounts="$work:$target" true
        bait_untouched
    done
    step --container-image="$work/image.sqsh" --container-writable sh -c "echo changed > /etc/hosts; echo changed > $bait/file; echo x > /tmp/y"
    bait_untouched
}

@test "FIFOs and devices where files are expected: the start does not hang, nor read without an end" {
    hostile_image "for f in etc/environment etc/fstab etc/rc etc/passwd etc/group etc/locale.conf etc/hosts; do rm -f \$f; mkfifo -m 666 \$f; done"
    step --container-image="$work/image.sqsh" echo ran
    [ "$status" -eq 0 ]
    [[ $output == *ran* ]]
    rm "$work/image.sqsh"
    hostile_image "for f in etc/environment etc/fstab etc/rc etc/passwd; do rm -f \$f; ln -s /dev/zero \$f; done"
    step --container-image="$work/image.sqsh" echo ran
    [ "$status" -eq 0 ]
    [[ $output == *ran* ]]
    rm "$work/image.sqsh"
    hostile_image "truncate -s 64M etc/environment"
    step --container-image="$work/image.sqsh" echo ran
    [ "$status" -eq 0 ]
    [[ $output == *ran* ]]
}

@test "setuid programs and device nodes of an image: they give nothing" {
    hostile_image "cp bin/busybox busybox-suid; chmod 6755 busybox-suid; mknod -m 666 mem c 1 1; mknod -m 666 disk b 8 0; mknod -m 666 zero c 1 5"
    step --container-image="$work/image.sqsh" --container-writable sh -c '/busybox-suid id -u; for device in mem disk zero; do head -c 1 /$device > /$device.out && echo "read $device"; done; true'
    [ "$(grep -cx "$(cluster login -- id -u pyxistest)" <<< "$output")" -eq 1 ]
    [[ $output != *"read "* ]]
    step --container-image="$work/image.sqsh" --container-writable --container-remap-root \
        sh -c 'mknod /own c 1 5 && head -c 1 /own > /dev/null && echo "read own"; cat /host/etc/shadow /proc/1/root/etc/shadow && echo "read shadow"; true'
    [[ $output != *"read "* ]]
}

@test "mounts of an image's own: nothing of the node that the user could not have, and setuid is off there" {
    hostile_image "echo '/ /node none x-create=dir,rbind,suid,dev' > etc/fstab"
    step --container-image="$work/image.sqsh" sh -c "cat /node/etc/shadow && echo 'read shadow'; echo changed > /node/etc/made && echo wrote; ls /node/root && echo 'read root'; true"
    [[ $output != *"read shadow"* && $output != *wrote* && $output != *"read root"* ]]
    [ ! -e /etc/made ]
}

@test "names with everything a shell or a path could stumble over" {
    local name image=$PYXIS_TEST_IMAGES/busybox.sqsh strange
    strange=$work/$(printf 'a b\t"\047$(touch injected);`touch injected`\134')
    for name in ../../etc/x a/b .hidden /abs ..; do
        step --container-image="$image" --container-name="$name" echo ran-anyway
        [ "$status" -ne 0 ]
        [[ $output == *"pyxis: --container-name: invalid name: $name "* && $output != *ran-anyway* ]]
    done
    cp "$image" "$strange.sqsh"
    step --container-image="$strange.sqsh" echo ran
    [ "$status" -eq 0 ]
    mkdir -m 777 "$strange"
    touch "$strange/inside"
    step --container-image="$image" --container-mounts="$strange:/mnt/$strange" ls "/mnt/$strange"
    [ "$status" -eq 0 ]
    [[ $output == *inside* ]]
    left=$(find "$CLUSTER_STATE/work" -name injected)
    [ -z "$left" ]
    left=$(on_node find /run /tmp -name injected)
    [ -z "$left" ]
}

@test "variables of the job do not steer the runtime: loader, PATH, its directories, the plugin's own" {
    mkdir "$work/bin"
    for name in squashfuse unsquashfs pyxis enroot; do
        printf '#!/bin/sh\ntouch %s/hijacked\n' "$work" > "$work/bin/$name"
        chmod 755 "$work/bin/$name"
    done
    step --export="ALL,PATH=$work/bin:/usr/bin:/bin,LD_PRELOAD=/nonexistent/evil.so,ENROOT_LIBRARY_PATH=$work,ENROOT_DATA_PATH=/etc,PYXIS_RUNTIME_PATH=/etc,PYXIS_VERSION=0,SLURM_JOB_UID=0,ENROOT_ALLOW_SUPERUSER=y" \
        --container-image="$PYXIS_TEST_IMAGES/busybox.sqsh" sh -c 'echo ran as $(id -u)'
    [ "$status" -eq 0 ]
    [[ $output == *"ran as $(cluster login -- id -u pyxistest)"* ]]
    [ ! -e "$work/hijacked" ]
}

@test "a runtime_path below a directory or a link of the user's: nothing is made there, slurmd starts and steps run" {
    lined=1
    local uid way
    uid=$(cluster login -- id -u pyxistest)
    on_node sh -c "mkdir -p /var/tmp/theirs; chown $uid /var/tmp/theirs; rm -f /var/tmp/link; ln -s $bait /var/tmp/link; chown -h $uid /var/tmp/link"
    for way in theirs link; do
        cluster plugstack "$PYXIS_TEST_LINE runtime_path=/var/tmp/$way/pyxis"
        step --container-image="$PYXIS_TEST_IMAGES/busybox.sqsh" echo ran
        [ "$status" -eq 0 ]
        # That slurmd asks no plugin without slurmd_exit.
        if [[ $(cluster login -- slurmd -V) != *" 20.11."* ]]; then
            logs=$(cluster logs)
            grep -q "couldn't trust the runtime directory /var/tmp/$way: it leads to the runtime directory, and others than root could put something else there; /run/pyxis-root is used instead" <<< "$logs"
        fi
        left=$(on_node find /var/tmp/theirs "$bait" -name pyxis)
        [ -z "$left" ]
    done
    on_node rm -rf /var/tmp/theirs /var/tmp/link /run/pyxis-root
    bait_untouched
}

@test "links and files in the place of the user's own directory and of what root removes there" {
    local uid
    uid=$(cluster login -- id -u pyxistest)
    user srun -w n1 --container-image="$PYXIS_TEST_IMAGES/busybox.sqsh" true
    # The user's directory is the user's: names that the plugin will use lead elsewhere.
    on_node sh -c "rm -f /run/pyxis/$uid/*; ln -s $bait/file /run/pyxis/$uid/names.lock; chown -h $uid /run/pyxis/$uid/names.lock"
    step --container-image="$PYXIS_TEST_IMAGES/busybox.sqsh" --container-name=linked echo ran
    user srun -w n1 "$PYXIS_TEST_COMMAND" remove -f pyxis_linked || true
    bait_untouched
    on_node sh -c "rm -rf /run/pyxis/$uid; echo x > /run/pyxis/$uid"
    step --container-image="$PYXIS_TEST_IMAGES/busybox.sqsh" echo ran-anyway
    on_node rm -f "/run/pyxis/$uid"
    [ "$status" -eq 1 ]
    [[ $output == *"couldn't open the runtime directory /run/pyxis/$uid: Not a directory"* && $output != *ran-anyway* ]]
}
