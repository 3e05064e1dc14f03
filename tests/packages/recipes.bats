#!/usr/bin/env bats
# What is typed at sites to build and install the original pyxis, typed here: its README, and the recipes that copy it. The
# Slurm is Debian 13's headers with a number of their own; as root. PYXIS_DIST is where `build-matrix package all` has put the
# packages.

load common

setup_file() {
    local headers=${PYXIS_HEADERS_DIR:-${PYXIS_CACHE:-$source/.cache}/headers}
    "$source/build-matrix/fetch-headers.sh" "$headers" > "$BATS_FILE_TMPDIR/log" 2>&1 || { cat "$BATS_FILE_TMPDIR/log"; return 1; }
    # A clone, so that what lies beside it is ours; what was compiled before is not compiled again.
    export clone=$BATS_FILE_TMPDIR/pyxis include=$BATS_FILE_TMPDIR/opt/slurm/include
    mkdir -p "$clone" "$include"
    (cd "$source" && git ls-files -z | xargs -0 tar -c --ignore-failed-read 2> /dev/null) | tar -x -C "$clone"
    ln -s "$source/target" "$clone/target"
    cp -r "$headers/trixie/usr/include/slurm" "$include/"
    sed -i 's/\(#define SLURM_VERSION_NUMBER \).*/\10x180b63/' "$include/slurm/slurm_version.h"
}

# make, with CPPFLAGS in the environment as the recipes have it.
makes() { run env CPPFLAGS="-I $include/" make -s -C "$clone" "$@"; echo "$output"; }

# The number of the Slurm whose header a build was compiled with.
number() { objcopy -O binary --only-section=.pyxis.stamp "$1" /dev/stdout | tr '\0' '\n' | sed -n 's/^number=//p'; }

@test "CPPFLAGS='-I DIR' make; cp spank_pyxis.so elsewhere" {
    makes
    [ "$status" -eq 0 ]
    [ "$(number "$clone/spank_pyxis.so")" = 0x180b63 ]
    cp "$clone/spank_pyxis.so" "$BATS_TEST_TMPDIR"
    # make install without a word about the headers: what was built is taken, and nothing is written here, where root may have no say.
    touch "$BATS_TEST_TMPDIR/now"
    make -s -C "$clone" install DESTDIR="$BATS_TEST_TMPDIR/dest" > /dev/null
    cmp "$clone/spank_pyxis.so" "$BATS_TEST_TMPDIR/dest/usr/local/lib/slurm/spank_pyxis.so"
    [ "$(cat "$BATS_TEST_TMPDIR/dest/usr/local/share/pyxis/pyxis.conf")" = 'required /usr/local/lib/slurm/spank_pyxis.so pyxis_path=/usr/local/bin/pyxis' ]
    written=$(find "$clone" "$clone/target/make" -newer "$BATS_TEST_TMPDIR/now")
    [ -z "$written" ]
    # Sites include all of it.
    [ "$(ls "$BATS_TEST_TMPDIR/dest/usr/local/share/pyxis")" = pyxis.conf ]
    [ -s "$BATS_TEST_TMPDIR/dest/usr/local/share/apparmor/extra-profiles/pyxis" ]
}

@test "make install to two prefixes: a profile of AppArmor's for each; make uninstall takes its own" {
    local dir=$BATS_TEST_TMPDIR name
    name=pyxis-make${dir//\//.}
    mkdir -p "$dir/apparmor.d/abi" "$dir/bin"
    touch "$dir/apparmor.d/abi/4.0"
    printf '#!/bin/sh\n' | install -m 755 /dev/stdin "$dir/bin/apparmor_parser"
    to() { PATH=$dir/bin:$PATH make -s -C "$clone" "$1" prefix="$dir/$2" apparmord="$dir/apparmor.d" > /dev/null; }
    to install one
    to install two/
    [ "$(cd "$dir/apparmor.d" && echo pyxis*)" = "$name.one.bin $name.two.bin" ]
    grep -qx "profile $name.one.bin $dir/one/bin/pyxis flags=(unconfined) {" "$dir/apparmor.d/$name.one.bin"
    grep -qx "  include if exists <local/$name.one.bin>" "$dir/apparmor.d/$name.one.bin"
    to uninstall two/
    [ "$(cd "$dir/apparmor.d" && echo pyxis*)" = "$name.one.bin" ]
    # The usual one has the short name.
    make -s -C "$clone" install DESTDIR="$dir/dest" > /dev/null
    grep -qx 'profile pyxis-make /usr/local/bin/pyxis flags=(unconfined) {' "$dir/dest/usr/local/share/apparmor/extra-profiles/pyxis"
}

@test "a folder of cargo's that a site has set: what is built goes where make install takes it from" {
    # shellcheck disable=SC2016
    printf '#!/bin/sh\necho "$CARGO_TARGET_DIR"\n' | install -m 755 /dev/stdin "$BATS_TEST_TMPDIR/cargo"
    run env CARGO_TARGET_DIR=/elsewhere make -s -C "$clone" repo CARGO="$BATS_TEST_TMPDIR/cargo"
    [ "$status" -eq 0 ]
    [ "$output" = "$clone/target" ]
}

@test "make uninstall-enroot: what enroot's own make install has put there since stays" {
    local dest=$BATS_TEST_TMPDIR/dest file
    make -s -C "$clone" install-enroot DESTDIR="$dest" > /dev/null
    for file in lib/enroot/common.sh share/enroot/hooks.d/50-slurm-pmi.sh bin/enroot-mount; do echo '# theirs' > "$dest/usr/local/$file"; done
    make -s -C "$clone" uninstall-enroot DESTDIR="$dest" > /dev/null
    [ "$(cd "$dest/usr/local" && find . -type f | sort | tr '\n' ' ')" = './bin/enroot-mount ./lib/enroot/common.sh ./share/enroot/hooks.d/50-slurm-pmi.sh ' ]
}

@test "make install-enroot, with the words of enroot's make install: what recipes edit, copy and link next; make uninstall-enroot" {
    local dest=$BATS_TEST_TMPDIR/dest conf
    make -s -C "$clone" install-enroot DESTDIR="$dest" > /dev/null
    [ "$(readlink "$dest/usr/local/bin/enroot")" = pyxis ]
    # As AWS's go on.
    make -s -C "$clone" setcap DESTDIR="$dest" > /dev/null
    [ "$(cd "$dest/usr/local/bin" && find . -type f -name 'enroot-*' | wc -l)" = 6 ]
    cmp "$clone/runtime/containers/src/start/environment/common.sh" "$dest/usr/local/lib/enroot/common.sh"
    mv "$dest/usr/local/etc/enroot/hooks.d/98-nvidia.sh"{,.disabled}
    conf=$dest/usr/local/etc/enroot/enroot.conf
    sed -i 's!#ENROOT_DATA_PATH           ${XDG_DATA_HOME}/enroot!ENROOT_DATA_PATH        /shared/data/${UID}!g' "$conf"
    grep -qx 'ENROOT_DATA_PATH        /shared/data/${UID}' "$conf"
    # It is the site's from now on.
    make -s -C "$clone" install-enroot DESTDIR="$dest" > /dev/null
    grep -qx 'ENROOT_DATA_PATH        /shared/data/${UID}' "$conf"
    [ "$(ls "$dest/usr/local/etc/enroot/hooks.d")" = $'98-nvidia.sh.disabled\n99-mellanox.sh\nREADME' ]
    make -s -C "$clone" uninstall-enroot DESTDIR="$dest" > /dev/null
    [ "$(find "$dest" -type f | sort)" = "$conf"$'\n'"$dest/usr/local/etc/enroot/hooks.d/98-nvidia.sh.disabled" ]
    [ ! -L "$dest/usr/local/bin/enroot" ]
    rm -r "$dest"
    prefix=/usr sysconfdir=/etc DESTDIR=$dest make -s -C "$clone" install-enroot > /dev/null
    [ -x "$dest/etc/enroot/hooks.d/98-nvidia.sh" ]
    cp "$dest"/usr/share/enroot/hooks.d/50*.sh "$dest/etc/enroot/hooks.d/"
    [ -x "$dest/etc/enroot/hooks.d/50-slurm-pmi.sh" ]
    echo A=1 >> "$dest/etc/enroot/environ.d/50-site.env"
    cmp "$dest/etc/enroot/enroot.conf" "$clone/packaging/enroot/share/enroot.conf"
    prefix=/usr sysconfdir=/etc DESTDIR=$dest make -s -C "$clone" uninstall-enroot > /dev/null
    [ ! -e "$dest/etc/enroot/enroot.conf" ]
    [ ! -e "$dest/usr/share/enroot" ]
    [ ! -e "$dest/usr/lib/enroot" ]
    [ ! -e "$dest/etc/enroot/hooks.d/README" ]
    [ -e "$dest/etc/enroot/environ.d/50-site.env" ]
}

@test "make install-enroot and uninstall-enroot: a site's links stay, one that leads nowhere just now as well" {
    local dest=$BATS_TEST_TMPDIR/dest
    mkdir -p "$dest/usr/local/bin" "$dest/usr/local/etc/enroot"
    ln -s /shared/enroot.conf "$dest/usr/local/etc/enroot/enroot.conf"
    make -s -C "$clone" install-enroot DESTDIR="$dest" > /dev/null
    ln -sf /opt/nvidia/bin/enroot "$dest/usr/local/bin/enroot"
    make -s -C "$clone" uninstall-enroot DESTDIR="$dest" > /dev/null
    [ "$(readlink "$dest/usr/local/etc/enroot/enroot.conf")" = /shared/enroot.conf ]
    [ "$(readlink "$dest/usr/local/bin/enroot")" = /opt/nvidia/bin/enroot ]
}

@test "a prefix or DESTDIR with a space: refused, and nothing is made" {
    local made
    run make -s -C "$clone" install-enroot prefix="$BATS_TEST_TMPDIR/my programs"
    [ "$status" -ne 0 ]
    [[ $output == *"there is a space in bindir"* ]]
    run make -s -C "$clone" install-enroot uninstall-enroot DESTDIR="$BATS_TEST_TMPDIR/my root"
    [ "$status" -ne 0 ]
    [[ $output == *"there is a space in DESTDIR"* ]]
    made=$(ls -A "$BATS_TEST_TMPDIR")
    [ -z "$made" ]
}

@test "the Slurm is named as for a compiler of C" {
    local variable
    for variable in "CFLAGS=-O2 -I $include" "CFLAGS=-I $include/slurm" "CPPFLAGS=-isystem $include" "CPATH=/none:$include" "C_INCLUDE_PATH=$include/"; do
        # What `make` would run.
        run env "$variable" make -n -C "$clone" all
        [ "$status" -eq 0 ]
        [[ $output == *" --slurm $include --out "* ]]
    done
    run env CFLAGS=-O2 CPATH=/none make -n -C "$clone" all
    [ "$status" -eq 0 ]
    [[ $output != *--slurm* ]]
}

@test "make orig; make deb; dpkg -i ../nvslurm-plugin-pyxis_*_amd64.deb" {
    makes orig
    [ "$status" -eq 0 ]
    makes deb
    [ "$status" -eq 0 ]
    debs=("$clone"/../nvslurm-plugin-pyxis_*_amd64.deb)
    [ "${#debs[@]}" -eq 1 ]
    [ "$(basename "${debs[0]}")" = nvslurm-plugin-pyxis_24.11.99-0.24.0-1_amd64.deb ]
    [ "$(dpkg-deb -f "${debs[0]}" Version)" = 24.11.99-0.24.0-1 ]
    mkdir "$BATS_TEST_TMPDIR/packages"
    cp "${debs[0]}" "$BATS_TEST_TMPDIR/packages"
    root_of trixie "$BATS_TEST_TMPDIR/packages"
    inside sh -c 'dpkg -i /packages/nvslurm-plugin-pyxis_*_amd64.deb' > /dev/null
    [ "$(number "$root/usr/lib/x86_64-linux-gnu/slurm/spank_pyxis.so")" = 0x180b63 ]
    [ "$(inside pyxis version)" = "$version" ]
    mkdir -p "$root/etc/slurm/plugstack.conf.d"
    printf 'ClusterName=c\nSlurmctldHost=localhost\nPlugStackConfig=/etc/slurm/plugstack.conf\nNodeName=localhost\nPartitionName=p Nodes=ALL\n' > "$root/etc/slurm/slurm.conf"
    echo 'include /etc/slurm/plugstack.conf.d/*' > "$root/etc/slurm/plugstack.conf"
    ln -sf /usr/share/pyxis/pyxis.conf "$root/etc/slurm/plugstack.conf.d/pyxis.conf"
    inside srun --help | grep -e --container-image
    # Ours takes its place, and it does not come beside ours.
    cp "$dist/pyxis_$version-1_amd64.deb" "$dist/pyxis-slurm24.11_$version-1_amd64.deb" "$root/tmp/"
    apt_inside install "/tmp/pyxis_$version-1_amd64.deb" "/tmp/pyxis-slurm24.11_$version-1_amd64.deb"
    state=$(inside sh -c "dpkg-query -W -f '\${db:Status-Status}' nvslurm-plugin-pyxis 2> /dev/null || echo absent")
    [ "$state" != installed ]
    inside srun --help | grep -e --container-image
    run inside sh -c 'dpkg -i /packages/nvslurm-plugin-pyxis_*_amd64.deb'
    [ "$status" -ne 0 ]
}

@test "make rpm; rpm -i x86_64/nvslurm-plugin-pyxis-*.rpm" {
    makes rpm
    [ "$status" -eq 0 ]
    rpms=("$clone"/x86_64/nvslurm-plugin-pyxis-*.rpm)
    [ "${#rpms[@]}" -eq 1 ]
    [ "$(rpm -qp --qf '%{NAME} %{VERSION}-%{RELEASE}' "${rpms[0]}")" = "nvslurm-plugin-pyxis 24.11.99-0.24.0" ]
    cmp "${rpms[0]}" "$clone/rpm/RPMS/x86_64/$(basename "${rpms[0]}")"
    root=$BATS_TEST_TMPDIR/rpm
    rpm --root "$root" --initdb
    rpm --root "$root" --nodeps --noscripts -i "${rpms[0]}"
    [ "$(number "$root/usr/lib64/slurm/spank_pyxis.so")" = 0x180b63 ]
    [ "$(cat "$root/usr/share/pyxis/pyxis.conf")" = 'required /usr/lib64/slurm/spank_pyxis.so pyxis_path=/usr/bin/pyxis shared_store=/var/cache/pyxis' ]
    run rpm --root "$root" --nodeps --noscripts --test -i "$dist/pyxis-$version-1.x86_64.rpm"
    [ "$status" -ne 0 ]
}

@test "a source that is no clone: make orig all the same" {
    [ ! -e "$clone/.git" ]
    makes orig
    [ "$status" -eq 0 ]
    tar -tf "$clone/dist/pyxis-$version.tar.gz" > "$BATS_TEST_TMPDIR/list"
    grep -qx "pyxis-$version/rpm/pyxis.spec" "$BATS_TEST_TMPDIR/list"
    grep -qx "pyxis-$version/Makefile" "$BATS_TEST_TMPDIR/list"
    run grep -e /target -e /dist -e '\.so$' "$BATS_TEST_TMPDIR/list"
    [ "$status" -ne 0 ]
}
