#!/usr/bin/env bats
# What pyxis-enroot has in enroot's place: the files that recipes copy, link and edit once enroot's package is there, and what comes of
# them through the life of both packages; as root. PYXIS_DIST is where `build-matrix package` has put the packages.

load common

ours() { echo "/packages/pyxis_$version-1_amd64.deb /packages/pyxis-slurm22.05_$version-1_amd64.deb /packages/pyxis-enroot_$version-1_all.deb"; }

# A root with them, and nothing of enroot's.
fresh() {
    root_of bookworm
    # shellcheck disable=SC2046
    apt_inside install $(ours)
}

# Recipes' lines, as they are typed.
typed() { inside bash -euc "$1"; }

# What the command says of a setting, as a user would see it.
config() { inside env HOME=/root pyxis config | grep "^$1 = "; }

# What the doctor says of hooks that are run.
hooks() {
    # No root without a Slurm that runs is healthy to it.
    inside env HOME=/root pyxis doctor -v > "$BATS_TEST_TMPDIR/doctor" || true
    grep -q '/etc/enroot holds for the built-in runtime' "$BATS_TEST_TMPDIR/doctor" || return 1
    sed -n 's/.*hooks.d\/\([^ ]*\) is run at each start.*/\1/p' "$BATS_TEST_TMPDIR/doctor"
}

@test "enroot.conf comes in comments, and means nothing" {
    root_of bookworm
    # shellcheck disable=SC2046
    apt_inside install $(ours | sed 's/ [^ ]*pyxis-enroot.*//')
    [ ! -e "$root/etc/enroot" ]
    inside env HOME=/root pyxis config > "$BATS_TEST_TMPDIR/without"
    # shellcheck disable=SC2046
    apt_inside install $(ours)
    cmp "$source/packaging/enroot/share/enroot.conf" "$root/etc/enroot/enroot.conf"
    [ "$(stat -c '%U:%G %a' "$root/etc/enroot/enroot.conf")" = 'root:root 644' ]
    # It is named as one that was read.
    inside env HOME=/root pyxis config | grep -vx '# /etc/enroot/enroot.conf' | diff "$BATS_TEST_TMPDIR/without" -
    run=$(hooks)
    [ -z "$run" ]
    [ "$(cd "$root/etc/enroot" && find . -mindepth 1 | sort | tr '\n' ' ')" = './enroot.conf ./enroot.conf.d ./environ.d ./hooks.d ./hooks.d/98-nvidia.sh ./hooks.d/99-mellanox.sh ./hooks.d/README ./mounts.d ' ]
    [ "$(stat -c '%U:%G %a' "$root/etc/enroot/hooks.d/98-nvidia.sh")" = 'root:root 755' ]
    [ "$(stat -c '%U:%G %a' "$root/etc/enroot/hooks.d/README")" = 'root:root 644' ]
}

# Recipes that make a node of one's own stop at what is not there.
@test "soperator, Dockerfiles, AWS: enroot's library copied and read, capabilities for its programs, of which pyxis gets none" {
    fresh
    typed 'cp -r /usr/lib/enroot /usr/bin/enroot-mksquashovlfs /srv/
        source /usr/lib/enroot/common.sh; common::checkcmd sh
        chmod 755 /usr/bin/enroot-aufs2ovlfs /usr/bin/enroot-switchroot /usr/bin/enroot-makeself'
    cmp "$source/runtime/containers/src/start/environment/common.sh" "$root/usr/lib/enroot/common.sh"
    local program
    for program in "$root"/usr/bin/enroot-{aufs2ovlfs,makeself,mksquashovlfs,mount,nsenter,switchroot}; do
        getcap "$program" | grep -q cap_sys_admin || setcap cap_sys_admin+pe "$program"
        [ ! -L "$program" ]
        [ "$(stat -c %a "$program")" = 755 ]
        run inside "/usr/bin/${program##*/}" --help
        [ "$status" -eq 1 ]
        [ "$output" = "${program##*/}: it is not called by anything here: enroot is pyxis, which does its work itself" ]
    done
    run getcap "$root/usr/bin/pyxis"
    [ "$status" -eq 0 ]
    [ -z "$output" ]
    apt_inside purge pyxis-enroot
    [ ! -e "$root/usr/lib/enroot" ]
    [ ! -e "$root/usr/bin/enroot-mount" ]
}

# By enroot 4.1.2's package for Debian.
@test "what enroot installs is there, but for what is named here" {
    fresh
    local path missing=()
    for path in /usr/bin/enroot{,-aufs2ovlfs,-makeself,-mksquashovlfs,-mount,-nsenter,-switchroot} /usr/lib/enroot/{bundle,common,docker,runtime}.sh \
        /etc/apparmor.d/enroot /usr/share/enroot/{bash_completion,environ.d,hooks.d/50-{mig-config,sharp,slurm-pmi,slurm-pytorch}.sh,mounts.d/30-lxcfs.fstab} \
        /etc/enroot/{enroot.conf,enroot.conf.d/README,environ.d/10-terminal.env,mounts.d/{10-system,20-config}.fstab} \
        /etc/enroot/hooks.d/{10-{aptfix,cgroups,devices,home,localtime,shadow},98-nvidia,99-mellanox}.sh; do
        [ -e "$root$path" ] || [ -L "$root$path" ] || missing+=("$path")
    done
    # What these do is done for every container, and nobody has been seen to touch them.
    diff <(printf '%s\n' "${missing[@]}") - << 'END'
/usr/lib/enroot/bundle.sh
/usr/lib/enroot/docker.sh
/usr/lib/enroot/runtime.sh
/etc/apparmor.d/enroot
/etc/enroot/enroot.conf.d/README
/etc/enroot/environ.d/10-terminal.env
/etc/enroot/mounts.d/10-system.fstab
/etc/enroot/mounts.d/20-config.fstab
/etc/enroot/hooks.d/10-aptfix.sh
/etc/enroot/hooks.d/10-cgroups.sh
/etc/enroot/hooks.d/10-devices.sh
/etc/enroot/hooks.d/10-home.sh
/etc/enroot/hooks.d/10-localtime.sh
/etc/enroot/hooks.d/10-shadow.sh
END
}

@test "nodes without GPUs, adapters or both: hooks for devices moved away and removed, which switches them off for good" {
    fresh
    run=$(hooks)
    [ -z "$run" ]
    absent 'taken away' "$BATS_TEST_TMPDIR/doctor"
    typed 'mv /etc/enroot/hooks.d/98-nvidia.sh{,.disabled} && rm /etc/enroot/hooks.d/99-mellanox.sh'
    run=$(hooks)
    [ -z "$run" ]
    grep -q '98-nvidia.sh has been taken away, or is not executable: containers are given no GPUs' "$BATS_TEST_TMPDIR/doctor"
    grep -q '99-mellanox.sh has been taken away' "$BATS_TEST_TMPDIR/doctor"
    # shellcheck disable=SC2046
    apt_inside --reinstall install $(ours)
    [ "$(ls "$root/etc/enroot/hooks.d")" = $'98-nvidia.sh.disabled\nREADME' ]
    typed 'mv /etc/enroot/hooks.d/98-nvidia.sh{.disabled,}'
    run=$(hooks)
    absent '98-nvidia.sh has been taken away' "$BATS_TEST_TMPDIR/doctor"
    apt_inside purge pyxis-enroot
    [ ! -e "$root/etc/enroot" ]
}

@test "hooks for devices are made where a site has its enroot.conf already, and not where it has hooks of enroot's" {
    root_of bookworm
    mkdir -p "$root/etc/enroot/hooks.d"
    echo 'ENROOT_MOUNT_HOME y' > "$root/etc/enroot/enroot.conf"
    echo '# site' > "$root/etc/enroot/hooks.d/60-site.sh"
    # shellcheck disable=SC2046
    apt_inside install $(ours)
    [ "$(ls "$root/etc/enroot/hooks.d")" = $'60-site.sh\n98-nvidia.sh\n99-mellanox.sh\nREADME' ]
    apt_inside purge pyxis-enroot
    [ "$(ls "$root/etc/enroot/hooks.d")" = 60-site.sh ]
    echo '# site' > "$root/etc/enroot/hooks.d/98-nvidia.sh.bak"
    # shellcheck disable=SC2046
    apt_inside install $(ours)
    [ "$(ls "$root/etc/enroot/hooks.d")" = $'60-site.sh\n98-nvidia.sh.bak' ]
}

@test "NVIDIA's wiki, CycleCloud of old: hooks copied, variables and mounts added, completion linked" {
    fresh
    typed 'cp /usr/share/enroot/hooks.d/50-slurm-pmi.sh /usr/share/enroot/hooks.d/50-slurm-pytorch.sh /etc/enroot/hooks.d
        cp /usr/share/enroot/hooks.d/50*.sh /etc/enroot/hooks.d/.
        printf "NVIDIA_VISIBLE_DEVICES=all\nNCCL_IB_HCA=mlx5\n" >> /etc/enroot/environ.d/50-visible-devices.env
        echo "/scratch /scratch none x-create=dir,bind,rw,nofail 0 0" >> /etc/enroot/mounts.d/50-scratch.fstab
        mkdir -p /etc/bash_completion.d
        ln -s /usr/share/enroot/bash_completion /etc/bash_completion.d/enroot.bash_completion
        cp /usr/share/enroot/mounts.d/30-lxcfs.fstab /etc/enroot/mounts.d/'
    [ "$(ls "$root/etc/enroot/hooks.d")" = $'50-mig-config.sh\n50-sharp.sh\n50-slurm-pmi.sh\n50-slurm-pytorch.sh\n98-nvidia.sh\n99-mellanox.sh\nREADME' ]
    run=$(hooks)
    [ -z "$run" ]
    # One that a site has changed is its own.
    typed "sed -i '2a export PATH=/opt/slurm/bin:\$PATH' /etc/enroot/hooks.d/50-slurm-pytorch.sh"
    [ "$(hooks)" = 50-slurm-pytorch.sh ]
    [ -s "$root$(readlink "$root/etc/bash_completion.d/enroot.bash_completion")" ]
    # Not inside, where there is no /proc.
    run bash -euc 'source "$1"; COMP_WORDS=(enroot im); COMP_CWORD=1; _enroot; echo "${COMPREPLY[*]}"' bash "$root/usr/share/enroot/bash_completion"
    [ "$status" -eq 0 ]
    [ "$output" = import ]
}

@test "DeepOps: hooks linked; soperator: drop-ins and a folder of its own; Slinky: four hooks" {
    fresh
    typed 'for name in 50-slurm-pmi.sh 50-slurm-pytorch.sh; do ln -s /usr/share/enroot/hooks.d/$name /etc/enroot/hooks.d/$name; done
        install -m 755 /usr/share/enroot/hooks.d/50-mig-config.sh /usr/share/enroot/hooks.d/50-sharp.sh /etc/enroot/hooks.d/
        mkdir -m 777 /usr/share/enroot/enroot-data
        echo "ENROOT_DATA_PATH /usr/share/enroot/enroot-data/user-\$(id -u)" > /etc/enroot/enroot.conf.d/custom-dirs.conf'
    run=$(hooks)
    [ -z "$run" ]
    [[ $(config data) == *'= "/usr/share/enroot/enroot-data/user-0"  # /etc/enroot/enroot.conf.d/custom-dirs.conf:1' ]]
}

@test "HyperPod, Oracle, Databricks: enroot.conf edited by sed, by the beginning of a line or by the whole of it" {
    fresh
    typed "sed -i -e 's|^#\\(ENROOT_TEMP_PATH  *\\).*\$|\\1/opt/tmp|' -e 's|^#ENROOT_CACHE_PATH.*|ENROOT_CACHE_PATH          /local/cache|' \\
            -e 's!#ENROOT_RUNTIME_PATH        \${XDG_RUNTIME_DIR}/enroot!ENROOT_RUNTIME_PATH        /shared/run/\${UID}!g' \\
            -e 's/^#ENROOT_ROOTFS_WRITABLE.*/ENROOT_ROOTFS_WRITABLE yes/' -e 's/^#\\(ENROOT_NATIVE_OVERLAYFS .*\\)/\\1/' \\
            -e '/^#ENROOT_MOUNT_HOME/s/.*/ENROOT_MOUNT_HOME y/' /etc/enroot/enroot.conf"
    [[ $(config temp) == *'"/opt/tmp"  # /etc/enroot/enroot.conf:'* ]]
    [[ $(config cache) == *'"/local/cache"  # /etc/enroot/enroot.conf:'* ]]
    [[ $(config runtime) == *'"/shared/run/0"  # /etc/enroot/enroot.conf:'* ]]
    [[ $(config writable) == *'true  # /etc/enroot/enroot.conf:'* ]]
    [[ $(config mount_home) == *'true  # /etc/enroot/enroot.conf:'* ]]
    [[ $(config native_overlayfs) == *'true  # /etc/enroot/enroot.conf:'* ]]
}

@test "CycleCloud, ParallelCluster, Google: enroot.conf moved away and replaced" {
    fresh
    echo 'ENROOT_MOUNT_HOME y' > "$root/tmp/enroot.conf"
    typed 'mv /etc/enroot/enroot.conf /etc/enroot/enroot.conf.bak; cp /tmp/enroot.conf /etc/enroot/enroot.conf'
    [[ $(config mount_home) == *'true  # /etc/enroot/enroot.conf:1' ]]
    typed 'mv /tmp/enroot.conf /etc/enroot/enroot.conf; chmod 0644 /etc/enroot/enroot.conf'
    [[ $(config mount_home) == *'true  # /etc/enroot/enroot.conf:1' ]]
    typed "rm /etc/enroot/enroot.conf; printf 'ENROOT_DATA_PATH /mnt/localssd/\${UID}/enroot/data\n' > /etc/enroot/enroot.conf"
    [[ $(config data) == *'"/mnt/localssd/0/enroot/data"  # /etc/enroot/enroot.conf:1' ]]
}

@test "removed and installed again: what nobody has changed goes and comes, what somebody has stays" {
    root_of bookworm
    files > "$BATS_TEST_TMPDIR/before"
    # shellcheck disable=SC2046
    apt_inside install $(ours)
    conf=$root/etc/enroot/enroot.conf
    apt_inside remove pyxis-enroot
    [ ! -e "$root/etc/enroot" ]
    absent -i 'not empty' "$BATS_TEST_TMPDIR/apt"
    # shellcheck disable=SC2046
    apt_inside install $(ours)
    [ -s "$conf" ]
    # The scripts once more, as dpkg may run them after an interruption.
    inside sh -e /var/lib/dpkg/info/pyxis-enroot.postinst configure "$version-1"
    inside sh -e /var/lib/dpkg/info/pyxis-enroot.prerm upgrade "$version-2"
    cmp "$source/packaging/enroot/share/enroot.conf" "$conf"
    sed -i 's/^#\(ENROOT_MOUNT_HOME *\).*/\1yes/' "$conf"
    inside cp /usr/share/enroot/hooks.d/50-sharp.sh /etc/enroot/hooks.d/
    cp "$conf" "$BATS_TEST_TMPDIR/changed"
    # shellcheck disable=SC2046
    apt_inside --reinstall install $(ours)
    cmp "$BATS_TEST_TMPDIR/changed" "$conf"
    apt_inside purge pyxis-enroot
    cmp "$BATS_TEST_TMPDIR/changed" "$conf"
    [ -e "$root/etc/enroot/hooks.d/50-sharp.sh" ]
    rm -r "$root/etc/enroot"
    apt_inside purge 'pyxis*'
    files | diff "$BATS_TEST_TMPDIR/before" -
}

@test "an upgrade from a version that had none of it" {
    root_of bookworm
    dpkg-deb -R "$dist/pyxis-enroot_$version-1_all.deb" "$BATS_TEST_TMPDIR/older"
    rm -r "$BATS_TEST_TMPDIR"/older/{etc,usr/share/enroot,DEBIAN/postinst,DEBIAN/prerm}
    sed -i "s/^Version: .*/Version: 0.0.9-1/; s/pyxis (= $version-1)/pyxis/" "$BATS_TEST_TMPDIR/older/DEBIAN/control"
    dpkg-deb -b "$BATS_TEST_TMPDIR/older" "$root/tmp/older.deb" > /dev/null
    # shellcheck disable=SC2046
    apt_inside install $(ours | sed 's/ [^ ]*pyxis-enroot.*//') /tmp/older.deb
    [ ! -e "$root/etc/enroot" ]
    # shellcheck disable=SC2046
    apt_inside install $(ours)
    [ -s "$root/etc/enroot/enroot.conf" ]
}

# NVIDIA's, as far as packages go: files of its own that are the administrator's, and the package with capabilities for two programs.
# shellcheck disable=SC2016
theirs() {
    local place=$BATS_TEST_TMPDIR/enroot of=4.1.2-1
    rm -rf "$place" "$BATS_TEST_TMPDIR/enroot+caps"
    mkdir -p "$place"/usr/bin "$place"/usr/share/enroot/hooks.d "$place"/etc/enroot/{hooks.d,mounts.d,environ.d,enroot.conf.d} "$place/DEBIAN"
    printf '#!/bin/sh\necho the real one\n' | install -m 755 /dev/stdin "$place/usr/bin/enroot"
    cp "$place/usr/bin/enroot" "$place/usr/bin/enroot-mksquashovlfs"
    echo '# hook' | tee "$place/etc/enroot/hooks.d/10-home.sh" "$place/etc/enroot/hooks.d/98-nvidia.sh" > "$place/usr/share/enroot/hooks.d/50-sharp.sh"
    echo "# theirs, $of" > "$place/etc/enroot/enroot.conf"
    (cd "$place" && find etc -type f -printf '/%p\n') > "$place/DEBIAN/conffiles"
    made_up_deb enroot "$of"
    mkdir -p "$BATS_TEST_TMPDIR/enroot+caps/DEBIAN"
    printf '#!/bin/sh\nset -e\ntest -e "$(command -v enroot-mksquashovlfs)"\n' | install -m 755 /dev/stdin "$BATS_TEST_TMPDIR/enroot+caps/DEBIAN/prerm"
    made_up_deb enroot+caps "$of" "Depends: enroot (= $of)"$'\n'
}

@test "in NVIDIA's place: with its capabilities' package, nothing is asked, what it left stays and holds" {
    root_of bookworm
    theirs
    apt_inside install /tmp/enroot_4.1.2-1.deb /tmp/enroot+caps_4.1.2-1.deb
    echo 'ENROOT_MOUNT_HOME yes' >> "$root/etc/enroot/enroot.conf"
    inside cp /usr/share/enroot/hooks.d/50-sharp.sh /etc/enroot/hooks.d/
    # shellcheck disable=SC2046
    apt_inside install $(ours)
    [ "$(inside enroot version)" = 4.1.2 ]
    [[ $(config mount_home) == *'true  # /etc/enroot/enroot.conf:2' ]]
    [ "$(ls "$root/etc/enroot/hooks.d")" = $'10-home.sh\n50-sharp.sh\n98-nvidia.sh' ]
    [ "$(cat "$root/etc/enroot/hooks.d/10-home.sh")" = '# hook' ]
    # One that would fail when it is removed without the other is not left behind.
    state=$(inside dpkg-query -W -f '${db:Status-Status}' enroot+caps || true)
    [ "$state" != installed ]
    cmp "$source/packaging/enroot/share/hooks.d/50-sharp.sh" "$root/usr/share/enroot/hooks.d/50-sharp.sh"
    # Purged, it takes away what was its own; ours makes its file where there is none.
    apt_inside purge enroot
    [ ! -e "$root/etc/enroot/enroot.conf" ]
    [ -d "$root/etc/enroot/hooks.d" ]
    # shellcheck disable=SC2046
    apt_inside --reinstall install $(ours)
    cmp "$source/packaging/enroot/share/enroot.conf" "$root/etc/enroot/enroot.conf"
    [ "$(ls "$root/etc/enroot/hooks.d")" = $'50-sharp.sh\n98-nvidia.sh\n99-mellanox.sh\nREADME' ]
}

@test "in NVIDIA's place, whose files were removed by hand: no hook that a purge of it takes away later" {
    root_of bookworm
    theirs
    apt_inside install /tmp/enroot_4.1.2-1.deb
    apt_inside remove enroot
    rm -r "$root/etc/enroot"
    # shellcheck disable=SC2046
    apt_inside install $(ours)
    apt_inside purge enroot
    # A README without hooks would say that a site has removed them.
    left=$(ls "$root/etc/enroot/hooks.d")
    [ -z "$left" ]
    # shellcheck disable=SC2046
    apt_inside --reinstall install $(ours)
    [ "$(ls "$root/etc/enroot/hooks.d")" = $'98-nvidia.sh\n99-mellanox.sh\nREADME' ]
}

@test "in NVIDIA's place, whose file the administrator has removed, and back again: nothing is asked" {
    root_of bookworm
    theirs
    apt_inside install /tmp/enroot_4.1.2-1.deb
    rm "$root/etc/enroot/enroot.conf"
    # shellcheck disable=SC2046
    apt_inside install $(ours) < /dev/null
    cmp "$source/packaging/enroot/share/enroot.conf" "$root/etc/enroot/enroot.conf"
    # shellcheck disable=SC2046
    apt_inside --reinstall install $(ours) < /dev/null
    # What is removed as it was made is no file of the administrator's that dpkg finds in its way.
    apt_inside install /tmp/enroot_4.1.2-1.deb /tmp/enroot+caps_4.1.2-1.deb < /dev/null
    [ "$(inside enroot version)" = "the real one" ]
    state=$(inside dpkg-query -W -f '${db:Status-Status}' pyxis-enroot || true)
    [ "$state" != installed ]
}

@test "NVIDIA's in the place of ours, where it has never been: nothing is asked" {
    fresh
    theirs
    apt_inside install /tmp/enroot_4.1.2-1.deb /tmp/enroot+caps_4.1.2-1.deb < /dev/null
    [ "$(cat "$root/etc/enroot/enroot.conf")" = '# theirs, 4.1.2-1' ]
    [ "$(cat "$root/etc/enroot/hooks.d/98-nvidia.sh")" = '# hook' ]
    [ ! -e "$root/etc/enroot/hooks.d/README" ]
    [ "$(inside enroot version)" = "the real one" ]
}

@test "enroot from source in /usr/local goes on being what counts; links stay" {
    root_of bookworm
    mkdir -p "$root/usr/local/etc/enroot"
    echo 'ENROOT_MOUNT_HOME yes' > "$root/usr/local/etc/enroot/enroot.conf"
    # shellcheck disable=SC2046
    apt_inside install $(ours)
    [ ! -e "$root/etc/enroot/enroot.conf" ]
    [[ $(config mount_home) == *'true  # /usr/local/etc/enroot/enroot.conf:1' ]]
    apt_inside purge pyxis-enroot
    rm -rf "$root/etc/enroot"
    ln -s /usr/local/etc/enroot "$root/etc/enroot"
    # shellcheck disable=SC2046
    apt_inside install $(ours)
    [ -L "$root/etc/enroot" ]
    left=$(ls "$root/usr/local/etc/enroot/hooks.d")
    [ -z "$left" ]
    [[ $(config mount_home) == *'true  # /etc/enroot/enroot.conf:1' ]]
    # A link that leads nowhere is nobody's to write through.
    rm "$root/usr/local/etc/enroot/enroot.conf"
    ln -s /tmp/elsewhere "$root/usr/local/etc/enroot/enroot.conf"
    # shellcheck disable=SC2046
    apt_inside --reinstall install $(ours)
    [ ! -e "$root/tmp/elsewhere" ]
}
