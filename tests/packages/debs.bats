#!/usr/bin/env bats
# The debs, installed by apt in copies of the roots of tests/cluster/roots; as root.

load common

# A Slurm's configuration that names the plugin as the packages ship it.
configure() {
    mkdir -p "$root/etc/slurm/plugstack.conf.d"
    printf 'ClusterName=c\nSlurmctldHost=localhost\nPlugStackConfig=/etc/slurm/plugstack.conf\nNodeName=localhost\nPartitionName=p Nodes=ALL\n' > "$root/etc/slurm/slurm.conf"
    echo 'include /etc/slurm/plugstack.conf.d/*' > "$root/etc/slurm/plugstack.conf"
    ln -s /usr/share/pyxis/pyxis.conf "$root/etc/slurm/plugstack.conf.d/pyxis.conf"
}

unconfigure() { rm -rf "$root"/etc/slurm/{plugstack.conf.d,plugstack.conf,slurm.conf}; }

installs() {
    root_of "$1"
    unconfigure
    files > "$BATS_TEST_TMPDIR/before"
    # shellcheck disable=SC2046
    apt_inside install $(all_debs)
    grep 'ln -s /usr/share/pyxis/pyxis.conf' "$BATS_TEST_TMPDIR/apt"
    [ "$(inside pyxis version)" = "$version" ]
    [ "$(ls "$root/usr/lib/x86_64-linux-gnu/pyxis")" = "$releases" ]
    # What is installed is what the packages say.
    run inside dpkg --verify
    [[ $output != *pyxis* ]]
    # The store of all users is there, and its account, which has no shell.
    [ "$(inside stat -c '%U %G %a' /var/cache/pyxis)" = 'pyxis pyxis 755' ]
    [[ $(inside getent passwd pyxis) == *:/var/cache/pyxis:/usr/sbin/nologin ]]
    grep -w 'shared_store=/var/cache/pyxis' "$root/usr/share/pyxis/pyxis.conf"
    # The settings that are shipped can be read.
    inside pyxis config > /dev/null
    # Slurm says which options it has: the plugin is loaded.
    configure
    inside srun --help | grep -e --container-image
    [ ! -e "$root/daemons" ]

    # Whoever takes it away is told what still names it.
    echo '# changed' >> "$root/etc/pyxis/pyxis.toml"
    apt_inside remove 'pyxis*'
    grep -A2 'Slurm is still told to load it' "$BATS_TEST_TMPDIR/apt" | grep plugstack.conf.d/pyxis.conf
    unconfigure
    # A removal leaves what the admin has written, a purge nothing.
    grep '# changed' "$root/etc/pyxis/pyxis.toml"
    apt_inside purge 'pyxis*'
    files | diff "$BATS_TEST_TMPDIR/before" -
    [ ! -e "$root/var/cache/pyxis" ]
    [ ! -e "$root/daemons" ]
}

@test "bullseye, Slurm 20.11: installed, loaded, purged" { installs bullseye; }
@test "bookworm, Slurm 22.05: installed, loaded, purged" { installs bookworm; }
@test "trixie, Slurm 24.11: installed, loaded, purged" { installs trixie; }
@test "forky, Slurm 26.05: installed, loaded, purged" { installs forky; }

@test "a Slurm newer than all builds cannot be installed beside them, the newest supported can" {
    root_of bookworm
    # Their real packages need much else.
    inside dpkg --purge --force-depends slurmctld slurmd slurm-client > /dev/null 2>&1
    inside dpkg -i /packages/pyxis_"$version"-1_amd64.deb /packages/pyxis-slurm22.05_"$version"-1_amd64.deb > /dev/null
    for name in slurmd slurm-client slurm-smd slurm-smd-client slurm-smd-slurmd; do
        for fine in 24.11.5-3 "$newest.0-1" "$newest.0~rc1-1" "$newest.5-1" "$newest.12-1~bpo13+1"; do
            made_up_deb "$name" "$fine"
            inside dpkg -i "/tmp/${name}_$fine.deb" > /dev/null
        done
        for next in "$coming.0-1" "$coming.0~rc1-1" "$((${coming%.*} + 1)).05.0-1"; do
            made_up_deb "$name" "$next"
            run inside dpkg -i "/tmp/${name}_$next.deb"
            [ "$status" -ne 0 ]
            has "breaks $name"
            run inside apt-get install -y "/tmp/${name}_$next.deb" --no-remove
            [ "$status" -ne 0 ]
        done
        inside dpkg --purge "$name" > /dev/null
    done
}

# The packages of this version as an older one.
older() {
    local name
    mkdir "$BATS_TEST_TMPDIR/older"
    for name in pyxis pyxis-slurm22.05 pyxis-slurm24.11; do
        rm -rf "$BATS_TEST_TMPDIR/deb"
        dpkg-deb -R "$dist/${name}_$version-1_amd64.deb" "$BATS_TEST_TMPDIR/deb"
        sed -i "s/$version-1/0.0.9-1/" "$BATS_TEST_TMPDIR/deb/DEBIAN/control"
        # A default of that time.
        [[ $name != pyxis ]] || sed -i '1i# older' "$BATS_TEST_TMPDIR/deb/etc/pyxis/pyxis.toml"
        dpkg-deb -b "$BATS_TEST_TMPDIR/deb" "$root/tmp/${name}_0.0.9-1_amd64.deb" > /dev/null
    done
}

@test "an upgrade: the admin's settings and links stay, no daemon is touched, nobody is told twice" {
    root_of bookworm
    unconfigure
    files > "$BATS_TEST_TMPDIR/before"
    older
    apt_inside install /tmp/pyxis_0.0.9-1_amd64.deb /tmp/pyxis-slurm22.05_0.0.9-1_amd64.deb /tmp/pyxis-slurm24.11_0.0.9-1_amd64.deb
    configure
    takes_the_option
    sed -i 's/^#\[store\]/[store]/; s/^#max_size/max_size/' "$root/etc/pyxis/pyxis.toml"
    cp "$root/etc/pyxis/pyxis.toml" "$BATS_TEST_TMPDIR/changed"

    # shellcheck disable=SC2046
    apt_inside -o Dpkg::Options::=--force-confold install $(all_debs)
    cmp "$BATS_TEST_TMPDIR/changed" "$root/etc/pyxis/pyxis.toml"
    [ -L "$root/etc/slurm/plugstack.conf.d/pyxis.conf" ]
    absent -e 'ln -s' -e 'still told' "$BATS_TEST_TMPDIR/apt"
    [[ $(inside pyxis config | grep '^max_size') == *pyxis.toml* ]]
    takes_the_option

    # The scripts once more, as dpkg may run them after an interruption.
    files > "$BATS_TEST_TMPDIR/files"
    inside sh -e /var/lib/dpkg/info/pyxis.postinst configure "$version-1"
    inside dpkg-reconfigure pyxis
    inside sh -e /var/lib/dpkg/info/pyxis.prerm upgrade "$version-2"
    inside sh -e /var/lib/dpkg/info/pyxis.postinst abort-upgrade "$version-2"
    files | diff "$BATS_TEST_TMPDIR/files" -
    [ ! -e "$root/daemons" ]

    unconfigure
    apt_inside purge 'pyxis*'
    files | diff "$BATS_TEST_TMPDIR/before" -
}

@test "settings nobody has changed follow the package" {
    root_of bookworm
    older
    apt_inside install /tmp/pyxis_0.0.9-1_amd64.deb /tmp/pyxis-slurm22.05_0.0.9-1_amd64.deb
    grep -q '^# older' "$root/etc/pyxis/pyxis.toml"
    apt_inside install "/packages/pyxis_$version-1_amd64.deb" "/packages/pyxis-slurm22.05_$version-1_amd64.deb"
    absent '^# older' "$root/etc/pyxis/pyxis.toml"
}

@test "a version of the loader wants builds of the same" {
    root_of bookworm
    older
    apt_inside install /tmp/pyxis_0.0.9-1_amd64.deb /tmp/pyxis-slurm22.05_0.0.9-1_amd64.deb
    run inside dpkg -i "/packages/pyxis-slurm24.11_$version-1_amd64.deb"
    [ "$status" -ne 0 ]
    has "depends on pyxis (= $version-1)"
}

@test "nvslurm-plugin-pyxis is replaced: its files become ours, its line in plugstack.conf stays" {
    root_of bookworm
    lib=usr/lib/x86_64-linux-gnu/slurm
    mkdir -p "$BATS_TEST_TMPDIR/nvslurm-plugin-pyxis/$lib" "$BATS_TEST_TMPDIR/nvslurm-plugin-pyxis/usr/share/pyxis"
    echo original > "$BATS_TEST_TMPDIR/nvslurm-plugin-pyxis/$lib/spank_pyxis.so"
    echo "required /$lib/spank_pyxis.so" > "$BATS_TEST_TMPDIR/nvslurm-plugin-pyxis/usr/share/pyxis/pyxis.conf"
    made_up_deb nvslurm-plugin-pyxis 0.24.0-1
    inside dpkg -i /tmp/nvslurm-plugin-pyxis_0.24.0-1.deb > /dev/null
    configure
    apt_inside install "/packages/pyxis_$version-1_amd64.deb" "/packages/pyxis-slurm22.05_$version-1_amd64.deb"
    run inside dpkg-query -W -f '${db:Status-Status}' nvslurm-plugin-pyxis
    echo "$status: $output"
    [[ $status -eq 1 || $output == config-files || $output == not-installed ]]
    inside dpkg -S "/$lib/spank_pyxis.so" /usr/share/pyxis/pyxis.conf > "$BATS_TEST_TMPDIR/owners"
    absent -v '^pyxis:' "$BATS_TEST_TMPDIR/owners"
    takes_the_option
    absent 'ln -s' "$BATS_TEST_TMPDIR/apt"
    # And it does not come back beside ours.
    run inside dpkg -i /tmp/nvslurm-plugin-pyxis_0.24.0-1.deb
    [ "$status" -ne 0 ]
}

# A root with an AppArmor whose parser leaves a line, where apt has scripts look for it, and knows abi/$1.
apparmor() {
    mkdir -p "$root/etc/apparmor.d/abi" "$root/sys/kernel/security/apparmor"
    touch "$root/etc/apparmor.d/abi/$1" "$root/sys/kernel/security/apparmor/profiles"
    # shellcheck disable=SC2016
    printf '#!/bin/sh\necho "$*" >> /parser\n' | install -m 755 /dev/stdin "$root/usr/sbin/apparmor_parser"
}

some_debs() { echo "/packages/pyxis_$version-1_amd64.deb /packages/pyxis-slurm22.05_$version-1_amd64.deb"; }

@test "AppArmor's profile: only for a parser that knows it, loaded, and gone with the package" {
    root_of bookworm
    apparmor 3.0
    # shellcheck disable=SC2046
    apt_inside install $(some_debs)
    [ ! -e "$root/etc/apparmor.d/pyxis" ]
    [ ! -e "$root/parser" ]
    apt_inside purge 'pyxis*'
    apparmor 4.0
    # shellcheck disable=SC2046
    apt_inside install $(some_debs)
    cmp "$root/etc/apparmor.d/pyxis" "$source/packaging/apparmor"
    [ "$(cat "$root/parser")" = "-r -W -T /etc/apparmor.d/pyxis" ]
    apt_inside remove 'pyxis*'
    [ ! -e "$root/etc/apparmor.d/pyxis" ]
    [ "$(tail -n 1 "$root/parser")" = "-R /etc/apparmor.d/pyxis" ]
}

@test "AppArmor's profile: not loaded into the kernel of another system, nor taken out of it" {
    root_of bookworm
    apparmor 4.0
    # shellcheck disable=SC2016
    printf '#!/bin/sh\n[ "$*" = "-q --chroot" ]\n' | install -m 755 /dev/stdin "$root/usr/bin/systemd-detect-virt"
    # shellcheck disable=SC2046
    apt_inside install $(some_debs)
    cmp "$root/etc/apparmor.d/pyxis" "$source/packaging/apparmor"
    apt_inside remove 'pyxis*'
    [ ! -e "$root/etc/apparmor.d/pyxis" ]
    [ ! -e "$root/parser" ]
}

@test "AppArmor's profile: what the parser passes over is none of the site's, and a link that leads nowhere is" {
    local place
    root_of bookworm
    apparmor 4.0
    mkdir "$root"/etc/apparmor.d/{disable,cache.d}
    for place in pyxis.dpkg-old pyxis.rpmsave usr.bin.pyxis~ .pyxis disable/usr.bin.pyxis cache.d/pyxis; do
        echo '/usr/bin/pyxis {' > "$root/etc/apparmor.d/$place"
    done
    mkfifo "$root/etc/apparmor.d/pipe"
    # shellcheck disable=SC2046
    apt_inside install $(some_debs)
    absent "a profile of this site" "$BATS_TEST_TMPDIR/apt"
    cmp "$root/etc/apparmor.d/pyxis" "$source/packaging/apparmor"
    ln -sf /nowhere/pyxis "$root/etc/apparmor.d/pyxis"
    rm "$root/parser"
    run inside timeout 10 /var/lib/dpkg/info/pyxis.postinst configure
    [ "$status" -eq 0 ]
    [ "$(readlink "$root/etc/apparmor.d/pyxis")" = /nowhere/pyxis ]
    [ ! -e "$root/parser" ]
}

@test "AppArmor's profile: the administrator's own stays, in our file or in another" {
    root_of bookworm
    apparmor 4.0
    printf 'abi <abi/4.0>,\n/usr/bin/pyxis flags=(unconfined) {\n  userns,\n}\n' > "$root/etc/apparmor.d/usr.bin.pyxis"
    # shellcheck disable=SC2046
    apt_inside install $(some_debs)
    grep "a profile of this site" "$BATS_TEST_TMPDIR/apt"
    [ ! -e "$root/etc/apparmor.d/pyxis" ]
    apt_inside purge 'pyxis*'
    [ -e "$root/etc/apparmor.d/usr.bin.pyxis" ]
    mv "$root/etc/apparmor.d/usr.bin.pyxis" "$root/etc/apparmor.d/pyxis"
    # A rule of another program's profile is none for pyxis.
    printf '/usr/bin/other {\n  /usr/bin/pyxis Ux,\n}\n' > "$root/etc/apparmor.d/other"
    # shellcheck disable=SC2046
    apt_inside install $(some_debs)
    apt_inside purge 'pyxis*'
    [ "$(sed -n 2p "$root/etc/apparmor.d/pyxis")" = "/usr/bin/pyxis flags=(unconfined) {" ]
    rm "$root/etc/apparmor.d/pyxis"
    # shellcheck disable=SC2046
    apt_inside install $(some_debs)
    cmp "$root/etc/apparmor.d/pyxis" "$source/packaging/apparmor"
}

@test "without recommended packages, what a job needs is there: a build, and what packs an image" {
    root_of bookworm
    inside dpkg --purge --force-depends squashfs-tools > /dev/null 2>&1
    inside dpkg --purge ca-certificates > /dev/null 2>&1
    run inside dpkg -i "/packages/pyxis_$version-1_amd64.deb"
    [ "$status" -ne 0 ]
    has "pyxis depends on pyxis-all | pyxis-slurm"
    has "pyxis depends on squashfs-tools"
    has "pyxis depends on ca-certificates"
    [[ "$(dpkg-deb -f "$dist/pyxis_$version-1_amd64.deb" Depends)" == *"pyxis-all | pyxis-slurm, squashfs-tools, ca-certificates, passwd" ]]
}

@test "Slurm elsewhere: the hint names its folder, and the warning finds the line" {
    local place
    root_of bookworm
    unconfigure
    rm -rf "$root/etc/slurm"
    for place in /opt/slurm/etc /etc/aws/pcs/scheduler/slurm-24.11 /cm/shared/apps/slurm/var/etc; do
        mkdir -p "$root$place/plugstack.conf.d"
        touch "$root$place/slurm.conf"
        # shellcheck disable=SC2046
        apt_inside install $(some_debs)
        grep "ln -s /usr/share/pyxis/pyxis.conf $place/plugstack.conf.d/pyxis.conf" "$BATS_TEST_TMPDIR/apt"
        ln -s /usr/share/pyxis/pyxis.conf "$root$place/plugstack.conf.d/pyxis.conf"
        # shellcheck disable=SC2046
        apt_inside --reinstall install $(some_debs)
        absent 'ln -s' "$BATS_TEST_TMPDIR/apt"
        apt_inside purge 'pyxis*'
        grep -A2 'Slurm is still told to load it' "$BATS_TEST_TMPDIR/apt" | grep "$place/plugstack.conf.d/pyxis.conf"
        rm -r "${root:?}$place"
    done
}

@test "include /usr/share/pyxis/*, as Slinky has it: there is nothing but a line for Slurm" {
    root_of bookworm
    # shellcheck disable=SC2046
    apt_inside install $(some_debs)
    unconfigure
    configure
    rm -r "$root/etc/slurm/plugstack.conf.d"
    echo 'include /usr/share/pyxis/*' > "$root/etc/slurm/plugstack.conf"
    inside srun --help > "$BATS_TEST_TMPDIR/help" 2> "$BATS_TEST_TMPDIR/errors"
    grep -e --container-image "$BATS_TEST_TMPDIR/help"
    # Of what else lies there Slurm says that the line is invalid, at each srun.
    absent spank "$BATS_TEST_TMPDIR/errors"
    run inside /var/lib/dpkg/info/pyxis.postinst configure
    [ "$status" -eq 0 ]
    [[ $output != *"ln -s"* ]]
    apt_inside purge 'pyxis*'
    grep -A2 'Slurm is still told to load it' "$BATS_TEST_TMPDIR/apt" | grep /etc/slurm/plugstack.conf
}

@test "Slurm elsewhere: each place that the scripts know has its hint, and its warning" {
    local place text info
    root_of bookworm
    unconfigure
    rm -rf "$root/etc/slurm"
    # shellcheck disable=SC2046
    apt_inside install $(some_debs)
    info=/var/lib/dpkg/info/pyxis
    text=$(sed -n '/^places="/,/"$/p' "$root$info.postinst" | tr -d '"\\\n')
    [ -n "$text" ]
    # One list.
    [ "$text" = "$(sed -n '/^places="/,/"$/p' "$root$info.prerm" | tr -d '"\\\n')" ]
    set -o noglob
    # shellcheck disable=SC2086
    set -- ${text#places=}
    set +o noglob
    [ $# -gt 15 ]
    for place; do
        place=${place//\*/some}
        mkdir -p "$root$place/plugstack.conf.d"
        touch "$root$place/slurm.conf"
        run inside "$info.postinst" configure
        [ "$status" -eq 0 ]
        case $place in
            # There it would be gone with the next word of slurmctld's.
            /run/slurm/conf | */conf-cache) has "include /usr/share/pyxis/pyxis.conf"; [[ $output != *"ln -s"* ]] ;;
            *) has "ln -s /usr/share/pyxis/pyxis.conf $place/plugstack.conf.d/pyxis.conf" ;;
        esac
        ln -s /usr/share/pyxis/pyxis.conf "$root$place/plugstack.conf.d/pyxis.conf"
        run inside "$info.postinst" configure
        [ "$status" -eq 0 ]
        [[ $output != *"to have Slurm load it"* ]]
        # A line with the plugin's own path.
        rm "$root$place/plugstack.conf.d/pyxis.conf"
        echo 'optional /opt/pyxis/spank_pyxis.so' > "$root$place/plugstack.conf"
        run inside "$info.postinst" configure
        [ "$status" -eq 0 ]
        [[ $output != *"to have Slurm load it"* ]]
        run inside "$info.prerm" remove
        [ "$status" -eq 0 ]
        has "$place/plugstack.conf"
        case $place in
            /run/slurm/conf | */conf-cache) has "$place/plugstack.conf (a copy: where slurmctld runs)" ;;
            *) [[ $output != *"a copy"* ]] ;;
        esac
        rm -r "${root:?}$place"
    done
}

@test "Slurm's configuration by links: the warning finds the line, and nothing in it holds up dpkg" {
    local info=/var/lib/dpkg/info/pyxis link
    root_of bookworm
    unconfigure
    rm -rf "$root/etc/slurm"
    # shellcheck disable=SC2046
    apt_inside install $(some_debs)
    for link in slurm slurm/plugstack.conf.d slurm/plugstack.conf; do
        mkdir -p "$root/shared/slurm/plugstack.conf.d"
        touch "$root/shared/slurm/slurm.conf"
        mkfifo "$root/shared/slurm/pipe"
        case $link in
            slurm) ln -s /usr/share/pyxis/pyxis.conf "$root/shared/slurm/plugstack.conf.d/" ;;
            *) mkdir "$root/etc/slurm"; echo 'optional /opt/pyxis/spank_pyxis.so' | tee "$root/shared/slurm/plugstack.conf" > "$root/shared/slurm/plugstack.conf.d/site.conf"; ln -s /shared/slurm/pipe "$root/etc/slurm/pipe" ;;
        esac
        ln -s "/shared/$link" "$root/etc/$link"
        run inside timeout 10 "$info.postinst" configure
        echo "$status: $output"
        [ "$status" -eq 0 ]
        [[ $output != *"to have Slurm load it"* ]]
        run inside timeout 10 "$info.prerm" remove
        echo "$status: $output"
        [ "$status" -eq 0 ]
        has 'Slurm is still told to load it'
        has "/etc/${link%.d}"
        rm -r "$root/etc/slurm" "$root/shared"
    done
}

@test "a loader copied or mounted elsewhere opens the installed builds" {
    root_of bookworm
    # shellcheck disable=SC2046
    apt_inside install $(some_debs)
    configure
    mkdir "$root/opt/pyxis"
    cp "$root/usr/lib/x86_64-linux-gnu/slurm/spank_pyxis.so" "$root/opt/pyxis/"
    rm "$root/etc/slurm/plugstack.conf.d/pyxis.conf"
    echo 'required /opt/pyxis/spank_pyxis.so' > "$root/etc/slurm/plugstack.conf.d/pyxis.conf"
    takes_the_option
    # As a jail or a pod has it: the one file, with the original's path, and the builds beside it nowhere but where they are installed.
    mkdir -p "$root/usr/local/lib/slurm"
    touch "$root/usr/local/lib/slurm/spank_pyxis.so"
    echo 'required /usr/local/lib/slurm/spank_pyxis.so' > "$root/etc/slurm/plugstack.conf.d/pyxis.conf"
    mount --bind "$root/usr/lib/x86_64-linux-gnu/slurm/spank_pyxis.so" "$root/usr/local/lib/slurm/spank_pyxis.so"
    opens() { takes_the_option; }
    run opens
    umount "$root/usr/local/lib/slurm/spank_pyxis.so"
    [ "$status" -eq 0 ]
}

@test "pyxis-enroot: the command under enroot's name, in place of enroot" {
    root_of bookworm
    mkdir -p "$BATS_TEST_TMPDIR/enroot/usr/bin"
    printf '#!/bin/sh\necho the real one\n' | install -m 755 /dev/stdin "$BATS_TEST_TMPDIR/enroot/usr/bin/enroot"
    made_up_deb enroot 4.0.1-1
    inside dpkg -i /tmp/enroot_4.0.1-1.deb > /dev/null
    # shellcheck disable=SC2046
    apt_inside install $(some_debs)
    [ "$(inside enroot version)" = "the real one" ]
    apt_inside install "/packages/pyxis-enroot_$version-1_all.deb"
    # What scripts compare.
    [ "$(inside enroot version)" = 4.1.2 ]
    run inside env HOME=/root enroot info
    [ "$status" -eq 0 ]
    has "Enroot version: 4.1.2"
    has "  ENROOT_DATA_PATH=/root/.local/share/enroot"
    [ "$(inside pyxis version)" = "$version" ]
    # Another package that wants enroot has it.
    made_up_deb wants 1 $'Depends: enroot (>= 4)\n'
    inside dpkg -i /tmp/wants_1.deb > /dev/null
    run inside dpkg -i /tmp/enroot_4.0.1-1.deb
    [ "$status" -ne 0 ]
}

@test "no file is in two debs" {
    for deb in "$dist"/*.deb; do
        dpkg-deb -c "$deb" > "$BATS_TEST_TMPDIR/list"
        awk '$1 !~ /^d/ { print $6 }' "$BATS_TEST_TMPDIR/list" >> "$BATS_TEST_TMPDIR/files"
    done
    sort "$BATS_TEST_TMPDIR/files" | uniq -d > "$BATS_TEST_TMPDIR/twice"
    grep -q /usr/bin/pyxis "$BATS_TEST_TMPDIR/files"
    absent . "$BATS_TEST_TMPDIR/twice"
}

@test "what is shipped needs no glibc newer than 2.28" {
    for deb in "$dist"/pyxis_*.deb "$dist"/pyxis-slurm*[0-9]_*.deb; do dpkg-deb -x "$deb" "$BATS_TEST_TMPDIR/deb"; done
    for rpm in "$dist"/pyxis-[0-9]*.rpm "$dist"/pyxis-slurm*[0-9]-[0-9]*.rpm; do rpm2cpio "$rpm" | (mkdir -p "$BATS_TEST_TMPDIR/rpm" && cd "$BATS_TEST_TMPDIR/rpm" && cpio -idm --quiet); done
    mapfile -t files < <(find "$BATS_TEST_TMPDIR"/{deb,rpm} -name spank_pyxis.so -o -path '*/bin/pyxis')
    [ "${#files[@]}" -eq $((2 * (2 + $(wc -l <<< "$releases")))) ]
    for file in "${files[@]}"; do
        newest=$(objdump -T "$file" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -n 1)
        echo "$file: $newest"
        [ "$(printf '%s\n' "$newest" GLIBC_2.28 | sort -V | tail -n 1)" = GLIBC_2.28 ]
    done
}

@test "debug symbols belong to what is shipped" {
    for name in pyxis pyxis-slurm24.11; do
        dpkg-deb -x "$dist/${name}_$version-1_amd64.deb" "$BATS_TEST_TMPDIR/x"
        dpkg-deb -x "$dist/$name-dbgsym_$version-1_amd64.deb" "$BATS_TEST_TMPDIR/x"
    done
    for file in usr/bin/pyxis usr/lib/x86_64-linux-gnu/slurm/spank_pyxis.so usr/lib/x86_64-linux-gnu/pyxis/24.11/spank_pyxis.so; do
        id=$(readelf -n "$BATS_TEST_TMPDIR/x/$file" | sed -n 's/.*Build ID: //p')
        symbols=$BATS_TEST_TMPDIR/x/usr/lib/debug/.build-id/${id:0:2}/${id:2}.debug
        readelf -S "$symbols" > "$BATS_TEST_TMPDIR/sections"
        grep -q debug_line "$BATS_TEST_TMPDIR/sections"
        readelf -S "$BATS_TEST_TMPDIR/x/$file" > "$BATS_TEST_TMPDIR/sections"
        grep -q -F .dynsym "$BATS_TEST_TMPDIR/sections"
        absent -e debug_line -e '\.symtab' "$BATS_TEST_TMPDIR/sections"
    done
}

@test "lintian finds neither error nor warning" {
    # There is no bug of Debian's to close.
    lintian --allow-root --fail-on error,warning --suppress-tags initial-upload-closes-no-bugs "$dist"/*.deb
}

@test "an apt repository: update, install, a changed package is refused" {
    export GNUPGHOME=$BATS_TEST_TMPDIR/gpg
    mkdir -m 700 "$GNUPGHOME"
    gpg --batch --quiet --passphrase '' --quick-gen-key 'pyxis test <test@example.org>' rsa2048 sign never
    mkdir "$BATS_TEST_TMPDIR/from" "$BATS_TEST_TMPDIR/repo"
    cp "$dist"/pyxis_*.deb "$dist"/pyxis-slurm2[24]*[0-9]_*.deb "$BATS_TEST_TMPDIR/from"
    "$source/target/release/packaging" repo "$BATS_TEST_TMPDIR/repo" --from "$BATS_TEST_TMPDIR/from" --sign test@example.org
    gpgconf --kill gpg-agent
    root_of bookworm "$BATS_TEST_TMPDIR/repo"
    rm -f "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/*
    echo 'deb [signed-by=/packages/deb/pyxis.asc] file:/packages/deb ./' > "$root/etc/apt/sources.list"
    apt_inside update
    absent -e ^W: -e ^E: "$BATS_TEST_TMPDIR/apt"
    # As sites pin the original.
    apt_inside install nvslurm-plugin-pyxis=22.05.8-0.24.0-1 pyxis-slurm22.05
    [ "$(inside pyxis version)" = "$version" ]
    run apt_inside install nvslurm-plugin-pyxis=22.05.8-0.23.0-1
    [ "$status" -ne 0 ]
    inside apt-cache policy pyxis | grep "$version-1 500"

    apt_inside purge 'pyxis*'
    printf x >> "$BATS_TEST_TMPDIR/repo/deb/pyxis-slurm22.05_$version-1_amd64.deb"
    run apt_inside install pyxis-slurm22.05
    [ "$status" -ne 0 ]
    printf '\n' >> "$BATS_TEST_TMPDIR/repo/deb/InRelease"
    sed -i 's/^Suite: .*/Suite: other/' "$BATS_TEST_TMPDIR/repo/deb/InRelease"
    run apt_inside -o APT::Update::Error-Mode=any update
    [ "$status" -ne 0 ]
}
