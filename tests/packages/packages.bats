#!/usr/bin/env bats
# The packages, as root: PYXIS_DIST is where `build-matrix package all` has put them. Debs are installed by apt in copies of the
# roots of tests/cluster/roots, rpms by rpm in an empty root.

dist=${PYXIS_DIST:-$BATS_TEST_DIRNAME/../../dist}

setup_file() {
    export APT=$BATS_FILE_TMPDIR/apt
    mkdir "$APT"
    cp "$dist"/*.deb "$APT"
}

# $root: the root of a suite, with a layer of its own on top.
root_of() {
    local lower
    lower=$("$BATS_TEST_DIRNAME/../cluster/roots" "$1")
    mkdir "$BATS_TEST_TMPDIR"/{layer,root}
    mount -t tmpfs layer "$BATS_TEST_TMPDIR/layer"
    mkdir "$BATS_TEST_TMPDIR"/layer/{upper,work}
    root=$BATS_TEST_TMPDIR/root
    mount -t overlay overlay -o "lowerdir=$lower,upperdir=$BATS_TEST_TMPDIR/layer/upper,workdir=$BATS_TEST_TMPDIR/layer/work" "$root"
    mkdir -p "$root/packages"
    mount --bind "$APT" "$root/packages"
}

teardown() {
    mountpoint -q "$BATS_TEST_TMPDIR/root/packages" && umount "$BATS_TEST_TMPDIR/root/packages"
    mountpoint -q "$BATS_TEST_TMPDIR/root" && umount "$BATS_TEST_TMPDIR/root"
    mountpoint -q "$BATS_TEST_TMPDIR/layer" && umount "$BATS_TEST_TMPDIR/layer"
    true
}

inside() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"; }

files() { (cd "$root" && find . -xdev ! -path './var/*' ! -path './packages*' ! -path './run/*' ! -path './tmp*' ! -path './etc/ld.so.cache' | sort); }

installs() {
    root_of "$1"
    files > "$BATS_TEST_TMPDIR/before"
    inside sh -c 'apt-get install -y --no-install-recommends /packages/pyxis_*_amd64.deb /packages/pyxis-all_*_all.deb /packages/pyxis-slurm*[0-9]_*_amd64.deb' > "$BATS_TEST_TMPDIR/apt" 2>&1 ||
        { cat "$BATS_TEST_TMPDIR/apt"; return 1; }
    grep -q 'ln -s /usr/share/pyxis/pyxis.conf' "$BATS_TEST_TMPDIR/apt"
    [ "$(inside pyxis version)" = "$(sed -n 's/^version = "\(.*\)"/\1/p' "$BATS_TEST_DIRNAME/../../Cargo.toml")" ]
    [ "$(find "$root/usr/lib/x86_64-linux-gnu/pyxis" -name spank_pyxis.so | wc -l)" -eq "$(find "$BATS_TEST_DIRNAME/../../spank-bindings/releases" -name '*.toml' | wc -l)" ]
    # Slurm says which options it has: the plugin is loaded.
    mkdir -p "$root/etc/slurm/plugstack.conf.d"
    printf 'ClusterName=c\nSlurmctldHost=localhost\nPlugStackConfig=/etc/slurm/plugstack.conf\nNodeName=localhost\nPartitionName=p Nodes=ALL\n' > "$root/etc/slurm/slurm.conf"
    echo 'include /usr/share/pyxis/pyxis.conf' > "$root/etc/slurm/plugstack.conf"
    inside srun --help | grep -e --container-image
    rm -f "$root/etc/slurm/slurm.conf"
    # Whoever takes it away is told what still names it.
    inside apt-get purge -y 'pyxis*' > "$BATS_TEST_TMPDIR/apt" 2>&1
    grep -q 'Slurm is still told to load it' "$BATS_TEST_TMPDIR/apt"
    rm "$root/etc/slurm/plugstack.conf"
    rmdir "$root/etc/slurm/plugstack.conf.d" 2> /dev/null || true
    files | diff "$BATS_TEST_TMPDIR/before" - | grep -v -e slurm -e '^[0-9,]*[acd][0-9,]*$' | { ! grep .; }
}

@test "debs: bullseye, Slurm 20.11" { installs bullseye; }
@test "debs: bookworm, Slurm 22.05" { installs bookworm; }
@test "debs: trixie, Slurm 24.11" { installs trixie; }
@test "debs: forky, Slurm 26.05" { installs forky; }

@test "a Slurm that is newer than all builds cannot be installed beside them" {
    root_of bookworm
    inside sh -c 'dpkg -i /packages/pyxis_*_amd64.deb'
    mkdir -p "$BATS_TEST_TMPDIR/new/DEBIAN"
    printf 'Package: slurm-smd-slurmd\nVersion: 26.11.0-1\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: made up\n' > "$BATS_TEST_TMPDIR/new/DEBIAN/control"
    dpkg-deb -b "$BATS_TEST_TMPDIR/new" "$root/tmp/new.deb"
    run inside dpkg -i /tmp/new.deb
    echo "$output"
    [ "$status" -ne 0 ]
    [[ $output == *"breaks slurm-smd-slurmd (>= 26.06~)"* ]]
}

@test "lintian finds no error" {
    command -v lintian > /dev/null || skip "lintian is not installed"
    lintian --allow-root --fail-on error "$dist"/pyxis_*.deb "$dist"/pyxis-slurm24.11_*.deb "$dist"/pyxis-all_*.deb
}

@test "rpms: digests, an empty root, removal" {
    command -v rpm > /dev/null || skip "rpm is not installed"
    rpm -K "$dist"/*.rpm | { ! grep -v 'digests OK$'; }
    root=$BATS_TEST_TMPDIR/rpm
    mkdir "$root"
    rpm --root "$root" --initdb
    main=("$dist"/pyxis-[0-9]*.rpm "$dist"/pyxis-all-*.rpm "$dist"/pyxis-slurm*[0-9]-[0-9]*.rpm)
    # The root has neither glibc nor a shell: what else is missing would be ours.
    run rpm --root "$root" --test -i "${main[@]}"
    [[ $(grep 'is needed by' <<< "$output" | grep -v -e 'libc.so.6(GLIBC_' -e /bin/sh) == "" ]]
    rpm --root "$root" --nodeps --noscripts -i "${main[@]}"
    rpm --root "$root" --nodeps -Va
    [ -s "$root/usr/lib64/slurm/spank_pyxis.so" ]
    [ -s "$root/usr/lib64/pyxis/24.11/spank_pyxis.so" ]
    # No file in two packages.
    rpm --root "$root" -qa --qf '[%{FILEMODES:perms} %{FILENAMES}\n]' | grep -v ^d | sort | uniq -d | { ! grep .; }
    # shellcheck disable=SC2046
    rpm --root "$root" --noscripts -e $(rpm --root "$root" -qa --qf '%{NAME} ')
    find "$root" -path "$root/usr/*" ! -type d ! -path '*/sysimage/*' | { ! grep .; }
    [ ! -e "$root/usr/lib64/pyxis" ]
}
