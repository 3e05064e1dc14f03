#!/usr/bin/env bats
# `pyxis doctor` and `pyxis version FILE`, as root in a mount namespace of its own: this machine's own Slurm, in a copy (an
# overlay) of its root with pyxis installed as the package does it, one planted fault per test. Where the doctor's command can
# be run, it is, and the node must be healthy then.
#
# PYXIS_BUILD, PYXIS_OTHER_BUILD: plugins built for this Slurm and for 24.11; PYXIS_LOADER: the loader; PYXIS_COMMAND: pyxis.

bats_require_minimum_version 1.5.0
lib=/usr/lib/x86_64-linux-gnu
loader=$lib/slurm/spank_pyxis.so
conf=/usr/share/pyxis/pyxis.conf

overlay() { mount -t overlay overlay -o "lowerdir=$1,upperdir=$2,workdir=$3" "$4"; }

# A plugin of Slurm: plugin FILE NAME TYPE NUMBER
plugin() {
    printf 'const char plugin_name[] = "%s", plugin_type[] = "%s"; const unsigned int plugin_version = %s;\n' "$2" "$3" "$4" |
        gcc -shared -fPIC -x c - -o "$1"
}

setup_file() {
    # In an overlay no other overlay can have its layers.
    mount -t tmpfs -o mode=755 layers "$BATS_FILE_TMPDIR"
    base=$BATS_FILE_TMPDIR
    mkdir "$base"/{layer,work,root,fixtures}
    overlay / "$base/layer" "$base/work" "$base/root"
    cd "$base/root" || return 1
    rm -rf etc/slurm usr/local/lib/slurm etc/pyxis
    mkdir -p .$lib/slurm .$lib/pyxis/{22.05,24.11} usr/share/pyxis etc/slurm/plugstack.conf.d usr/local/bin
    install -m 755 "$PYXIS_COMMAND" usr/bin/pyxis
    install -m 644 "$PYXIS_LOADER" .$loader
    install -m 644 "$PYXIS_BUILD" .$lib/pyxis/22.05/spank_pyxis.so
    install -m 644 "$PYXIS_OTHER_BUILD" .$lib/pyxis/24.11/spank_pyxis.so
    echo "required $loader pyxis_path=/usr/bin/pyxis" > .$conf
    printf 'ClusterName=c\nSlurmctldHost=localhost\nNodeName=localhost\nPartitionName=p Nodes=ALL\n' > etc/slurm/slurm.conf
    echo 'include /etc/slurm/plugstack.conf.d/*.conf' > etc/slurm/plugstack.conf
    ln -s $conf etc/slurm/plugstack.conf.d/pyxis.conf
    rm -f etc/sysctl.conf etc/sysctl.d/*
    cd /
    umount "$base/root"
    plugin "$base/fixtures/original.so" pyxis spank 0x160508
    plugin "$base/fixtures/newer.so" x auth/x 0x1b0500
}

teardown_file() { umount "$BATS_FILE_TMPDIR"; }

setup() {
    node=$BATS_FILE_TMPDIR/$BATS_TEST_NUMBER
    mkdir "$node" "$node"/{layer,work,root}
    overlay "$BATS_FILE_TMPDIR/layer:/" "$node/layer" "$node/work" "$node/root"
    root=$node/root
    fixtures=$BATS_FILE_TMPDIR/fixtures
    mount --rbind /proc "$root/proc"
    mount -t tmpfs -o mode=755 dev "$root/dev"
    mknod -m 666 "$root/dev/null" c 1 3
    mknod -m 666 "$root/dev/urandom" c 1 9
    mknod -m 666 "$root/dev/fuse" c 10 229
    mount -t tmpfs -o mode=755,size=256m run "$root/run"
}

teardown() {
    umount "$root/run" "$root/dev"
    umount -l "$root/proc"
    umount "$root"
}

# In a chroot the kernel makes no user namespaces: the copy becomes the root itself.
inside() {
    unshare --mount -- sh -c 'cd "$1" && pivot_root . mnt && cd / && umount -l /mnt && shift &&
        exec env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"' sh "$root" "$@"
}

doctor() { run inside pyxis doctor "$@"; echo "$output"; }

healthy() {
    doctor --verbose
    [ "$status" -eq 0 ]
    [[ $output == *"healthy: "* ]]
}

# All findings are these, no other ones: finds LEVEL:CHECK...
finds() {
    doctor
    [ "$status" -eq 1 ]
    diff <(printf '%s\n' "$@" | sort) <(sed -n 's/^\(error\|warning\) *\([a-z-]*\): .*/\1:\2/p' <<< "$output" | sort -u)
    # Each with what to do.
    [ "$(grep -c -E '^(error|warning) ' <<< "$output")" -eq "$(grep -c '^ *-> .' <<< "$output")" ]
}

# What the doctor says helps.
mends() {
    local commands
    commands=$(sed -n 's/^ *-> //p' <<< "$output")
    inside sh -ec "$commands"
    healthy
}

@test "nothing is found on a healthy node" {
    healthy
    [[ $output == *"in Slurm 22.05.8: $lib/pyxis/22.05/spank_pyxis.so (pyxis "* ]]
    [[ $output == *"/usr/bin/srun has the options --container-*"* ]]
    # Nor by a user.
    run inside setpriv --reuid 65534 --regid 65534 --clear-groups pyxis doctor
    echo "$output"
    [ "$status" -eq 0 ]
}

@test "nothing is found after make install" {
    rm "$root$loader" "$root$conf" "$root/etc/slurm/plugstack.conf.d/pyxis.conf"
    make -s -C "$BATS_TEST_DIRNAME/../.." install prefix=/usr/local DESTDIR="$root" > /dev/null
    rm -r "$root$lib/pyxis" "$root/usr/bin/pyxis"
    echo 'include /usr/local/share/pyxis/pyxis.conf' > "$root/etc/slurm/plugstack.conf"
    healthy
}

@test "an image of a node, from outside" {
    run "$root/usr/bin/pyxis" doctor --root "$root"
    echo "$output"
    [ "$status" -eq 0 ]
    chmod 666 "$root$conf"
    run "$root/usr/bin/pyxis" doctor --root "$root"
    [[ $status -eq 1 && $output == *"$conf can be written by others"* ]]
    run "$root/usr/bin/pyxis" doctor --root /nonexistent
    [[ $status -eq 1 && $output == *"cannot look into /nonexistent"* ]]
}

@test "one JSON document, for monitoring" {
    run inside pyxis doctor --json
    [ "$status" -eq 0 ]
    [[ $output == *'"healthy": true'* && $output == *'"version": "22.05.8"'* ]]
    sed -i s/required/optional/ "$root$conf"
    run inside pyxis doctor --json
    [ "$status" -eq 1 ]
    [[ $output == *'"warnings": 1'* && $output == *'"check": "line-optional"'* && $output == *'"level": "warning"'* ]]
}

@test "version FILE: a build, the loader, the original, others" {
    run inside pyxis version $lib/pyxis/24.11/spank_pyxis.so
    [ "$status" -eq 0 ]
    [[ $output == *"slurm     24.11"*"number    0x180b"*"api       42"*"bindings  "* ]]
    run inside pyxis version $loader
    [ "$status" -eq 0 ]
    [[ $output == *"the loader"*"$lib/pyxis"*"22.05 24.11" ]]
    run inside pyxis version --json $lib/pyxis/22.05/spank_pyxis.so
    [ "$status" -eq 0 ]
    [[ $output == '{'*'"slurm":"22.05"'*'}' ]]
    run "$PYXIS_COMMAND" version "$fixtures/original.so"
    [ "$status" -eq 0 ]
    [[ $output == *"original in C"*"22.05.8"* ]]
    run "$PYXIS_COMMAND" version /bin/true
    [[ $status -eq 1 && ${#lines[@]} -eq 1 && $output == *"/bin/true is no plugin of Slurm"* ]]
}

@test "fault: no line for pyxis" {
    rm "$root/etc/slurm/plugstack.conf.d/pyxis.conf"
    finds error:line-missing
    mends
}

@test "fault: optional" {
    sed -i s/required/optional/ "$root$conf"
    finds warning:line-optional
    mends
}

@test "fault: two lines" {
    echo "required $loader" > "$root/etc/slurm/plugstack.conf.d/z.conf"
    finds error:line-twice
    mends
}

@test "fault: the line loads the original" {
    cp "$fixtures/original.so" "$root$lib/slurm/old.so"
    echo "required $lib/slurm/old.so" > "$root/etc/slurm/plugstack.conf.d/z.conf"
    finds error:line-twice error:line-original
}

@test "fault: the original is there too" {
    cp "$fixtures/original.so" "$root$lib/slurm-wlm/spank_pyxis.so"
    finds warning:copy-original
}

@test "fault: a stale copy of a make install" {
    mkdir -p "$root/usr/local/lib/slurm"
    cp "$PYXIS_BUILD" "$root/usr/local/lib/slurm/spank_pyxis.so"
    finds warning:copy-unused
    mends
}

# A package of these files, installed: packaged NAME FILE...
packaged() {
    local name=$1 tree=$node/package file
    shift
    mkdir -p "$tree/DEBIAN"
    printf 'Package: %s\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: made up\n' "$name" > "$tree/DEBIAN/control"
    for file in "$@"; do install -D -m 644 "$root$file" "$tree$file"; done
    dpkg-deb -b "$tree" "$root/tmp/$name.deb" > /dev/null
    inside dpkg -i "/tmp/$name.deb" > /dev/null
    rm -r "$tree"
}

@test "fault: a copy that a package has installed is not to be removed by hand" {
    local other=/opt/slurm/lib/slurm/spank_pyxis.so
    mkdir -p "$root${other%/*}" "$root/usr/local/lib/slurm"
    # The line has the copy of a make install, and the package's loader lies beside it.
    cp "$PYXIS_BUILD" "$root/usr/local/lib/slurm/spank_pyxis.so"
    sed -i "s|$loader|/usr/local/lib/slurm/spank_pyxis.so|" "$root$conf"
    packaged pyxis $loader
    finds warning:copy-unused
    [[ $output == *"$loader is a loader of pyxis, of package pyxis that no line loads"* ]]
    [[ $output == *"-> ln -sf $loader /usr/local/lib/slurm/spank_pyxis.so"* ]]
    mends
    cmp "$root$loader" "$PYXIS_LOADER"
    # A build that another package has left, and the original.
    cp "$PYXIS_BUILD" "$root$other"
    packaged leftover $other
    cp "$fixtures/original.so" "$root$lib/slurm-wlm/spank_pyxis.so"
    packaged nvslurm-plugin-pyxis $lib/slurm-wlm/spank_pyxis.so
    finds warning:copy-unused warning:copy-original
    [[ $output == *"-> dpkg -r leftover"* ]]
    [[ $output == *"-> dpkg -r nvslurm-plugin-pyxis"* ]]
    mends
    [ ! -e "$root$other" ]
}

@test "fault: no build for this Slurm" {
    rm -r "$root$lib/pyxis/22.05"
    finds error:build-missing
    [[ $output == *"no build for Slurm 22.05 in $lib/pyxis; installed: 24.11"* && $output == *"pyxis-slurm22.05"* ]]
}

@test "fault: a line that names the build for another Slurm" {
    sed -i "s|$loader|$lib/pyxis/24.11/spank_pyxis.so|" "$root$conf"
    rm "$root$loader"
    finds error:build-other
    [[ $output == *"is for Slurm 24.11, installed is 22.05.8"* ]]
}

@test "fault: a build that others can write" {
    chmod 666 "$root$lib/pyxis/22.05/spank_pyxis.so"
    finds error:build-refused
    mends
}

@test "fault: a build for another Slurm is truncated" {
    truncate -s 100000 "$root$lib/pyxis/24.11/spank_pyxis.so"
    finds warning:build-broken
}

@test "fault: a build in the wrong directory" {
    mkdir "$root$lib/pyxis/25.05"
    mv "$root$lib/pyxis/24.11/spank_pyxis.so" "$root$lib/pyxis/25.05"
    finds warning:build-misplaced
    mends
}

@test "fault: a build of an older pyxis" {
    sed -i 's/version=[0-9]\.[0-9]\.[0-9]/version=0.0.0/' "$root$lib/pyxis/24.11/spank_pyxis.so"
    finds warning:build-stale
}

@test "fault: the plugin's file is gone" {
    rm "$root$loader"
    finds error:line-file
}

@test "fault: the plugin's file is another's" {
    cp "$fixtures/newer.so" "$root$loader"
    finds error:line-file
}

@test "fault: no plugstack.conf" {
    rm "$root/etc/slurm/plugstack.conf"
    finds error:plugstack-missing
    mends
}

@test "fault: a line that Slurm ignores" {
    echo "Required $loader" >> "$root/etc/slurm/plugstack.conf"
    finds warning:plugstack-syntax
    mends
}

@test "fault: a link to a file that is gone" {
    ln -s /nowhere "$root/etc/slurm/plugstack.conf.d/z.conf"
    finds error:plugstack-dangling
    mends
}

@test "fault: a file that includes itself" {
    echo 'include /etc/slurm/plugstack.conf.d/z.conf' > "$root/etc/slurm/plugstack.conf.d/z.conf"
    finds error:plugstack-loop
}

@test "fault: an argument that the plugin does not know" {
    sed -i 's/$/ runtime_paths=\/x/' "$root$conf"
    finds error:srun
    [[ $output == *"unknown configuration option: runtime_paths=/x"* ]]
}

@test "fault: files that others can write" {
    chmod o+w "$root$conf"
    chown 1000 "$root$loader"
    chmod g+w "$root/usr/share/pyxis"
    finds error:access-writable
    [ "$(grep -c ^error <<< "$output")" -eq 3 ]
    mends
}

@test "fault: files that users cannot read" {
    chmod 600 "$root$conf"
    chmod 700 "$root$lib/pyxis/22.05"
    finds error:access-unreadable error:access-closed
    mends
}

@test "fault: pyxis_path leads nowhere" {
    sed -i 's|pyxis_path=.*|pyxis_path=/opt/bin/pyxis|' "$root$conf"
    finds error:command-missing
    mends
}

@test "fault: the command is of another version" {
    printf '#!/bin/sh\necho 0.0.1\n' > "$root/usr/bin/pyxis-old"
    chmod 755 "$root/usr/bin/pyxis-old"
    sed -i 's|pyxis_path=.*|pyxis_path=/usr/bin/pyxis-old|' "$root$conf"
    finds error:command-other
}

@test "fault: /dev/fuse is closed to users, or missing" {
    chmod 600 "$root/dev/fuse"
    finds warning:fuse-device
    inside chmod 666 /dev/fuse
    healthy
    rm "$root/dev/fuse"
    finds warning:fuse-device
}

@test "no squashfuse is no fault; no squashfs-tools are one" {
    rm "$root/usr/bin/squashfuse"
    healthy
    rm "$root/usr/bin/unsquashfs"
    finds warning:squashfs-tools-missing
}

@test "fault: squashfuse is too old" {
    printf '#!/bin/sh\necho "squashfuse 0.1.100 (c) 2012"\n' > "$root/usr/local/bin/squashfuse"
    chmod 755 "$root/usr/local/bin/squashfuse"
    finds error:squashfuse-old
}

@test "fault: runtime=enroot without enroot, and an old one" {
    sed -i 's/$/ runtime=enroot/' "$root$conf"
    [ -z "$(inside sh -c 'command -v enroot')" ] || skip "enroot is installed on this machine"
    finds error:enroot-missing
    printf '#!/bin/sh\necho 2.1.0\n' > "$root/usr/local/bin/enroot"
    chmod 755 "$root/usr/local/bin/enroot"
    finds error:enroot-old
}

@test "fault: no user namespaces, by their limit" {
    # The limit of a user namespace of our own, in which everybody has the same number.
    inside() {
        # shellcheck disable=SC2016
        unshare --mount -- sh -c 'cd "$1" && pivot_root . mnt && cd / && umount -l /mnt && shift
            # The second shell has the rights of the root that it is by then.
            unshare --user sh -c "read -r go; exec sh -c \"echo 0 > /proc/sys/user/max_user_namespaces; exec env -i PATH=/usr/sbin:/usr/bin $*\"" < /run/go &
            exec 9> /run/go
            while [ "$(readlink /proc/$!/ns/user)" = "$(readlink /proc/$$/ns/user)" ]; do sleep 0.01; done
            echo "0 0 65536" > /proc/$!/uid_map; echo "0 0 65536" > /proc/$!/gid_map; echo go >&9; wait $!' sh "$root" "$@"
    }
    mkfifo "$root/run/go"
    finds error:kernel-setting
    [[ $output == *"user.max_user_namespaces is 0"* ]]
}

@test "fault: no user namespaces, by Debian's setting and by Ubuntu's" {
    # What this kernel does not have, in a folder of files in the place of its own.
    mount --make-rprivate "$root/proc"
    mkdir "$node/kernel"
    mount --bind "$node/kernel" "$root/proc/sys/kernel"
    echo 0 > "$node/kernel/unprivileged_userns_clone"
    echo 1 > "$node/kernel/apparmor_restrict_unprivileged_userns"
    # They set what is not there now.
    rm -rf "$root"/usr/lib/sysctl.d "$root"/run/sysctl.d
    mkdir -p "$root/etc/sysctl.d"
    # Containers start all the same, as with a profile of AppArmor's: no fault, now or after the next boot.
    echo 'kernel.apparmor_restrict_unprivileged_userns = 1' > "$root/etc/sysctl.d/90-hardening.conf"
    healthy
    rm "$root/etc/sysctl.d/90-hardening.conf"
    # Where they do not start (in a chroot the kernel makes no user namespaces), the settings say why.
    local whole
    whole=$(declare -f inside)
    inside() { chroot "$root" env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin "$@"; }
    finds error:kernel-setting
    [[ $output == *"kernel.unprivileged_userns_clone is 0"* ]]
    [[ $output == *"kernel.apparmor_restrict_unprivileged_userns is 1"* ]]
    eval "$whole"
    mends
    # For the next boot, too: one command does not take back the other.
    [ "$(grep -c '^kernel' "$root/etc/sysctl.d/60-pyxis.conf")" -eq 2 ]
    echo 1 > "$node/kernel/unprivileged_userns_clone"
    echo 0 > "$node/kernel/apparmor_restrict_unprivileged_userns"
    printf 'kernel.unprivileged_userns_clone=0\n-kernel/apparmor_restrict_unprivileged_userns = 1\n' > "$root/etc/sysctl.d/90-hardening.conf"
    finds warning:kernel-boot
    [ "$(grep -c ^warning <<< "$output")" -eq 2 ]
}

@test "AppArmor's profile is what mends, where the parser knows it, and the setting stays" {
    mkdir "$node/kernel"
    mount --bind "$node/kernel" "$root/proc/sys/kernel"
    echo 1 > "$node/kernel/apparmor_restrict_unprivileged_userns"
    rm -rf "$root"/usr/lib/sysctl.d "$root"/run/sysctl.d
    mkdir -p "$root"/etc/sysctl.d "$root/usr/share/apparmor/extra-profiles" "$root/etc/apparmor.d/abi"
    cp "$BATS_TEST_DIRNAME/../../packaging/apparmor" "$root/usr/share/apparmor/extra-profiles/pyxis"
    touch "$root/etc/apparmor.d/abi/4.0"
    # As on a node where it forbids them, which is any chroot.
    local whole
    whole=$(declare -f inside)
    inside() { chroot "$root" env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin "$@"; }
    finds error:kernel-setting
    [[ $output == *"-> cp /usr/share/apparmor/extra-profiles/pyxis /etc/apparmor.d/pyxis && apparmor_parser -r /etc/apparmor.d/pyxis"* ]]
    [[ $output != *"sysctl --system"* ]]
    # There and not loaded.
    cp "$root/usr/share/apparmor/extra-profiles/pyxis" "$root/etc/apparmor.d/pyxis"
    finds error:kernel-setting
    [[ $output == *"-> apparmor_parser -r /etc/apparmor.d/pyxis"* ]]
    # Loaded: containers start. The setting is no fault, now or after the next boot.
    eval "$whole"
    echo 'kernel.apparmor_restrict_unprivileged_userns = 1' > "$root/etc/sysctl.d/90-hardening.conf"
    healthy
    echo 0 > "$node/kernel/apparmor_restrict_unprivileged_userns"
    healthy
    # A parser that does not: as ever.
    rm -r "$root/etc/apparmor.d"
    finds warning:kernel-boot
    [[ $output == *"sed -i"* ]]
}

@test "Slurm's configuration in each of the places that the packages' scripts know" {
    local place text prefix
    # Those below a folder of Slurm's own are found by the Slurm that is there.
    second_slurm 22.05 0x160508
    mv "$root/opt/slurm/22.05" "$root/etc/below"
    mv "$root/etc/slurm" "$root/etc/aside"
    text=$(sed -n '/^places="/,/"$/p' "$BATS_TEST_DIRNAME/../../packaging/after-install" | tr -d '"\\\n')
    set -o noglob
    # shellcheck disable=SC2086
    set -- ${text#places=}
    set +o noglob
    [ $# -gt 15 ]
    for place; do
        prefix=
        [[ $place != *'/*/etc' ]] || prefix=${place%/etc}
        place=${place//\*/22.05} prefix=${prefix//\*/22.05}
        mkdir -p "$root$(dirname "${prefix:-$place}")"
        if [[ -n $prefix ]]; then cp -a "$root/etc/below" "$root$prefix"; fi
        rm -rf "${root:?}$place"
        cp -a "$root/etc/aside" "$root$place"
        echo "include $place/plugstack.conf.d/*.conf" > "$root$place/plugstack.conf"
        healthy
        [[ $output == *"$place/plugstack.conf"* ]]
        rm -r "${root:?}${prefix:-$place}"
    done
}

@test "fault: in what slurmctld has given out, which is mended where that runs" {
    mkdir -p "$root/var/spool/slurmd" "$root/run/slurm"
    mv "$root/etc/slurm" "$root/var/spool/slurmd/conf-cache"
    ln -s /var/spool/slurmd/conf-cache "$root/run/slurm/conf"
    echo "include $conf" > "$root/var/spool/slurmd/conf-cache/plugstack.conf"
    healthy
    [[ $output == *"$conf:1: required"* ]]
    : > "$root/var/spool/slurmd/conf-cache/plugstack.conf"
    finds error:line-missing
    [[ $output == *"-> echo 'include $conf' >> /run/slurm/conf/plugstack.conf (a copy of slurmctld's: "*"scontrol reconfigure)"* ]]
    # As Debian has it: slurmctld runs as who owns that, and has given out what is in there.
    echo "include $conf" > "$root/var/spool/slurmd/conf-cache/plugstack.conf"
    chown daemon "$root/var/spool/slurmd"
    finds warning:access-spool warning:conf-untrusted
    [[ $output != *chown* ]]
    [[ $output == *"-> SlurmdSpoolDir="* ]]
    chown root "$root/var/spool/slurmd"
    # What is this node's own is mended here.
    echo "include $conf" > "$root/var/spool/slurmd/conf-cache/plugstack.conf"
    sed -i s/required/optional/ "$root$conf"
    finds warning:line-optional
    [[ $output == *"-> sed -i '1s/optional/required/' $conf"$'\n'* ]]
}

@test "a loader copied elsewhere opens the builds that packages have installed" {
    mkdir "$root/opt/pyxis"
    mv "$root$loader" "$root/opt/pyxis/"
    echo "required /opt/pyxis/spank_pyxis.so pyxis_path=/usr/bin/pyxis" > "$root$conf"
    healthy
    [[ $output == *"in Slurm 22.05.8: $lib/pyxis/22.05/spank_pyxis.so (pyxis "* ]]
    # Beside it the original, which is no build.
    mkdir "$root/opt/pyxis/original"
    cp "$fixtures/original.so" "$root/opt/pyxis/original/spank_pyxis.so"
    healthy
}

@test "fault: no user namespaces, for reasons no setting gives" {
    # As in a chroot.
    inside() { chroot "$root" env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin "$@"; }
    finds error:kernel-namespace
}

@test "fault: no user namespaces after the next boot" {
    mkdir -p "$root/etc/sysctl.d"
    echo 'user.max_user_namespaces = 0' > "$root/etc/sysctl.d/90-hardening.conf"
    finds warning:kernel-boot
    mends
}

@test "fault: no user namespaces after the next boot, by a package's file, which stays as it is" {
    mkdir -p "$root/etc/sysctl.d" "$root/usr/lib/sysctl.d"
    echo 'user.max_user_namespaces = 0' > "$root/usr/lib/sysctl.d/90-other.conf"
    finds warning:kernel-boot
    [[ $output != *"sed -i"* ]]
    mends
    [ "$(cat "$root/usr/lib/sysctl.d/90-other.conf")" = 'user.max_user_namespaces = 0' ]
    # One of the same name in /etc takes its place.
    rm "$root"/etc/sysctl.d/*pyxis.conf
    echo '# nothing' > "$root/etc/sysctl.d/90-other.conf"
    healthy
}

@test "fault: runtime_path" {
    touch "$root/run/pyxis"
    finds warning:runtime-path
    rm "$root/run/pyxis"
    mkdir -m 777 "$root/run/pyxis"
    finds warning:runtime-path
    mends
    chmod 700 "$root/run/pyxis"
    finds warning:runtime-path
    mends
    sed -i 's/$/ runtime_path=\/srv\/none\/pyxis/' "$root$conf"
    finds warning:runtime-path
    mends
}

@test "fault: no space" {
    mount -o remount,size=1m "$root/run"
    finds warning:space
    mount -o remount,ro,size=256m "$root/run"
    finds error:space
    mount -o remount,rw "$root/run"
}

@test "fault: pyxis.toml" {
    mkdir -m 755 "$root/etc/pyxis"
    printf '[container]\nwriteable = true\n' > "$root/etc/pyxis/pyxis.toml"
    finds error:settings
    [[ $output == *"did you mean \`writable\`"* ]]
    sed -i s/writeable/writable/ "$root/etc/pyxis/pyxis.toml"
    healthy
    chmod o+w "$root/etc/pyxis/pyxis.toml"
    finds error:settings
    mends
    chmod 600 "$root/etc/pyxis/pyxis.toml"
    finds error:settings
    mends
}

@test "fault: spank.h of another Slurm" {
    echo '#define SLURM_VERSION_NUMBER 0x180b07' > "$root/usr/include/slurm/slurm_version.h"
    sed -i '/define SLURM_VERSION_NUMBER/d' "$root/usr/include/slurm/slurm.h"
    finds warning:header-other
}

@test "fault: Slurm's own upgrade did not end" {
    cp "$fixtures/newer.so" "$root$lib/slurm-wlm/auth_x.so"
    finds error:slurm-mixed
}

@test "fault: a Slurm that this pyxis does not know" {
    find "$root$lib/slurm-wlm" -name '*.so' ! -name libslurmfull.so -delete
    cp "$fixtures/newer.so" "$root$lib/slurm-wlm/auth_x.so"
    finds error:slurm-unknown warning:header-other error:srun
    [[ $output == *"Slurm 27.05.0"* ]]
}

# A Slurm below /opt/slurm, as one built from source: second_slurm RELEASE NUMBER. Its programs have options that the plugin has
# given them, and nothing else; its configuration is its own.
second_slurm() {
    local prefix=$root/opt/slurm/$1 program
    mkdir -p "$prefix"/{bin,sbin,lib/slurm,etc}
    touch "$prefix/lib/slurm/libslurmfull.so"
    plugin "$prefix/lib/slurm/auth_x.so" x auth/x "$2"
    for program in bin/srun sbin/slurmd; do
        printf '#include <stdio.h>\nint main(void) { puts("--container-image"); }\n' | gcc -x c - -o "$prefix/$program"
    done
    cp "$root/etc/slurm/slurm.conf" "$prefix/etc/slurm.conf"
    echo "include $conf" > "$prefix/etc/plugstack.conf"
}

@test "several Slurms on a node, each with its configuration" {
    second_slurm 24.11 0x180b05
    # As a site names the one in use.
    ln -s 24.11 "$root/opt/slurm/current"
    healthy
    [[ $output == *"Slurm 22.05.8: "* && $output == *"Slurm 24.11.5: /opt/slurm/24.11/bin/srun"* ]]
    [ "$(grep -c "^$conf:1: " <<< "$output")" -eq 1 ]
    [[ $output == *"in Slurm 22.05.8: $lib/pyxis/22.05/"* && $output == *"in Slurm 24.11.5: $lib/pyxis/24.11/"* ]]
}

@test "fault: the second Slurm does not load pyxis; there is no build for a third" {
    second_slurm 24.11 0x180b05
    sed -i d "$root/opt/slurm/24.11/etc/plugstack.conf"
    finds error:line-missing
    [[ $output == *"/opt/slurm/24.11/etc/plugstack.conf and what it includes have no line"* ]]
    mends
    second_slurm 25.05 0x190503
    finds error:build-missing
    [[ $output == *"no build for Slurm 25.05 in $lib/pyxis; installed: 22.05 24.11"* ]]
}

@test "fault: no Slurm, no slurm.conf" {
    rm "$root/etc/slurm/slurm.conf"
    finds error:conf-missing
    cp "$BATS_FILE_TMPDIR/layer/etc/slurm/slurm.conf" "$root/etc/slurm/slurm.conf"
    rm "$root$lib/slurm-wlm/libslurmfull.so"
    finds error:slurm-missing
}

@test "fault: slurmd still runs what an upgrade has replaced" {
    # A process of that name.
    inside() {
        # shellcheck disable=SC2016
        unshare --mount -- sh -c 'cd "$1" && pivot_root . mnt && cd / && umount -l /mnt && shift
            cp /bin/sleep /tmp/slurmd && { /tmp/slurmd 60 > /dev/null 2>&1 & }
            until [ "$(readlink /proc/$!/exe)" = /tmp/slurmd ]; do sleep 0.01; done
            rm /tmp/slurmd
            env -i PATH=/usr/sbin:/usr/bin "$@"; status=$?; kill $!; exit $status' sh "$root" "$@"
    }
    mount -t tmpfs tmp "$root/tmp"
    finds error:daemon-old
    umount "$root/tmp"
}

@test "whether the kernel mounts images of the shared store, and why not" {
    sed -i 's,$, shared_store=/var/cache/pyxis,' "$root$conf"
    mount --rbind /sys "$root/sys"
    doctor --verbose
    [[ $output == *"kernel-image: an image of the shared store has a server for each container, as the kernel does not mount it: a loop device: "* ]]
    [[ $output == *" (modprobe loop; "* ]]
    run inside setpriv --reuid 65534 --regid 65534 --clear-groups pyxis doctor --verbose
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *"kernel-image: whether the kernel mounts images of the shared store only root can try: "* ]]
    if [[ -e /dev/loop-control ]]; then
        mknod -m 600 "$root/dev/loop-control" c 10 237
        for ((i = 0; i < 64; i++)); do mknod -m 600 "$root/dev/loop$i" b 7 "$i"; done
        doctor --verbose
        [[ $output == *"kernel-image: the kernel mounts images of the shared store, once for all containers"* ]]
    fi
    sed -i 's/$/ kernel_mounts=0/' "$root$conf"
    doctor --verbose
    [[ $output == *"kernel-image: kernel_mounts=0: "* ]]
    umount -l "$root/sys"
}
