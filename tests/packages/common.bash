# shellcheck shell=bash
# What the suites of packages have in common. PYXIS_DIST is where `build-matrix package all` has put them.

# A suite may be in a folder below.
source=$(realpath -- "$(dirname -- "${BASH_SOURCE[0]}")/../..")
dist=${PYXIS_DIST:-$source/dist}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$source/Cargo.toml")
# shellcheck disable=SC2034 # used by the suites
releases=$(cd "$source/slurm-releases/releases" && for file in *.toml; do echo "${file%.toml}"; done)
# The newest of them, and the one that comes after it: May and November.
newest=$(tail -n 1 <<< "$releases")
# shellcheck disable=SC2034 # used by the suites
if [[ $newest == *.05 ]]; then coming=${newest%.*}.11; else coming=$((${newest%.*} + 1)).05; fi

# $root: the root of a suite, with a layer of its own on top. /packages has the debs, or the folder given.
root_of() {
    local lower
    lower=$("$BATS_TEST_DIRNAME/../cluster/roots" "$1")
    mkdir "$BATS_TEST_TMPDIR"/{layer,root}
    mount -t tmpfs layer "$BATS_TEST_TMPDIR/layer"
    mkdir "$BATS_TEST_TMPDIR"/layer/{upper,work}
    root=$BATS_TEST_TMPDIR/root
    mount -t overlay overlay -o "lowerdir=$lower,upperdir=$BATS_TEST_TMPDIR/layer/upper,workdir=$BATS_TEST_TMPDIR/layer/work" "$root"
    mkdir -p "$root/packages"
    mount --bind "${2:-$dist}" "$root/packages"
    lend ca-certificates
    # Whatever would touch a daemon leaves a line.
    local name
    for name in systemctl service invoke-rc.d deb-systemd-invoke scontrol kill pkill killall; do
        # shellcheck disable=SC2016
        printf '#!/bin/sh\necho "$0 $*" >> /daemons\n' | install -m 755 /dev/stdin "$root/usr/local/sbin/$name"
    done
}

# lend NAME...: packages that are depended on and that these roots have no need of, made up and installed.
lend() {
    local name
    for name in "$@"; do
        mkdir -p "$BATS_TEST_TMPDIR/lent/$name/DEBIAN"
        printf 'Package: %s\nVersion: 99\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: made up\n' "$name" \
            > "$BATS_TEST_TMPDIR/lent/$name/DEBIAN/control"
        dpkg-deb -b "$BATS_TEST_TMPDIR/lent/$name" "$root/tmp/$name.deb" > /dev/null
        inside dpkg -i "/tmp/$name.deb" > /dev/null
        rm "$root/tmp/$name.deb"
    done
}

# made_up_deb NAME VERSION [FIELDS]: a deb in $root/tmp, with the files below $BATS_TEST_TMPDIR/NAME.
made_up_deb() {
    mkdir -p "$BATS_TEST_TMPDIR/$1/DEBIAN"
    printf 'Package: %s\nVersion: %s\nArchitecture: amd64\nMaintainer: x <x@example.org>\nDescription: made up\n%s' "$1" "$2" "${3:-}" > "$BATS_TEST_TMPDIR/$1/DEBIAN/control"
    dpkg-deb -b "$BATS_TEST_TMPDIR/$1" "$root/tmp/$1_$2.deb" > /dev/null
}

teardown() {
    local place
    for place in packages ''; do
        ! mountpoint -q "$BATS_TEST_TMPDIR/root/$place" || umount "$BATS_TEST_TMPDIR/root/$place"
    done
    ! mountpoint -q "$BATS_TEST_TMPDIR/layer" || umount "$BATS_TEST_TMPDIR/layer"
}

inside() { chroot "$root" env -i PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C DEBIAN_FRONTEND=noninteractive "$@"; }

# apt, without a network: packages are files. Its output goes to $BATS_TEST_TMPDIR/apt, and to the log if it fails.
apt_inside() {
    inside apt-get -y --no-install-recommends -o Dpkg::Use-Pty=0 "$@" > "$BATS_TEST_TMPDIR/apt" 2>&1 || { cat "$BATS_TEST_TMPDIR/apt"; return 1; }
}

# What is there, but for the records of package managers.
files() {
    (cd "$root" && find . -xdev \( -path ./var/lib/dpkg -o -path ./var/lib/apt -o -path ./var/cache -o -path ./var/log -o -path './var/lib/rpm*' \
        -o -path ./packages -o -path ./tmp -o -path ./run \) -prune -o ! -path './etc/ld.so.cache' -print | sort)
}

# All packages of ours but the debug symbols, as paths inside.
all_debs() { (cd "$dist" && for deb in pyxis*_*.deb; do [[ $deb == *-dbgsym_* ]] || echo "/packages/$deb"; done); }

has() { [[ $output == *"$1"* ]] || { echo "not in the output: $1"; return 1; }; }

# Fails if grep finds something, and also if it cannot look.
absent() {
    local found=0
    grep "$@" || found=$?
    ((found == 1))
}

# srun has loaded the plugin.
takes_the_option() {
    inside srun --help > "$BATS_TEST_TMPDIR/help"
    grep -q -e --container-image "$BATS_TEST_TMPDIR/help"
}
