#!/usr/bin/env bats
# Packages for a site's own Slurm: make deb and make rpm with its prefix, its source tree and its tarball, against the spank.h
# found there. The header is a real one, Debian 13's, with a comment and a number of the site's own; as root.

load common

setup_file() {
    local headers=${PYXIS_HEADERS_DIR:-${PYXIS_CACHE:-$source/.cache}/headers} include tree
    "$source/build-matrix/fetch-headers.sh" "$headers" > "$BATS_FILE_TMPDIR/log" 2>&1 || { cat "$BATS_FILE_TMPDIR/log"; return 1; }
    export prefix=$BATS_FILE_TMPDIR/opt/slurm/24.11 site=$BATS_FILE_TMPDIR/dist
    include=$prefix/include/slurm
    mkdir -p "$prefix/include"
    cp -r "$headers/trixie/usr/include/slurm" "$include"
    sed -i 's/^enum spank_context/\/* ours *\/ &/' "$include/spank.h"
    sed -i 's/\(#define SLURM_VERSION_NUMBER \).*/\10x180b63/' "$include/slurm_version.h"
    # The same as its source: not configured, its version is in META.
    tree=$BATS_FILE_TMPDIR/slurm-24.11.99
    mkdir "$tree"
    cp -r "$include" "$tree/slurm"
    rm "$tree/slurm/slurm_version.h"
    printf '  Name:    slurm\n  Major:   24\n  Minor:   11\n  Micro:   99\n  Version: 24.11.99\n' > "$tree/META"
    tar -C "$BATS_FILE_TMPDIR" -czf "$tree.tar.gz" slurm-24.11.99
}

# The number of the Slurm whose header a build was compiled with.
number() { objcopy -O binary --only-section=.pyxis.stamp "$1" /dev/stdout | tr '\0' '\n' | sed -n 's/^number=//p'; }

makes() { run make -s -C "$source" "$@"; echo "$output"; }

@test "make deb SLURM_PREFIX=a prefix: installed beside pyxis, opened by the loader" {
    makes deb SLURM_PREFIX="$prefix" DIST="$site"
    [ "$status" -eq 0 ]
    has "$prefix/include: same interface as 24.11"
    [ "$(find "$site" -name "*.deb" ! -name "*-dbgsym_*" -printf '%f\n' | sed 's/_.*//' | LC_ALL=C sort | tr '\n' ' ')" = "pyxis pyxis-enroot pyxis-slurm24.11 " ]
    root_of trixie "$site"
    cp "$dist/pyxis_$version-1_amd64.deb" "$root/tmp/"
    apt_inside install "/tmp/pyxis_$version-1_amd64.deb" "/packages/pyxis-slurm24.11_$version-1_amd64.deb"
    [ "$(ls "$root/usr/lib/x86_64-linux-gnu/pyxis")" = 24.11 ]
    [ "$(number "$root/usr/lib/x86_64-linux-gnu/pyxis/24.11/spank_pyxis.so")" = 0x180b63 ]
    mkdir -p "$root/etc/slurm/plugstack.conf.d"
    printf 'ClusterName=c\nSlurmctldHost=localhost\nNodeName=localhost\nPartitionName=p Nodes=ALL\n' > "$root/etc/slurm/slurm.conf"
    echo 'include /etc/slurm/plugstack.conf.d/*' > "$root/etc/slurm/plugstack.conf"
    ln -sf /usr/share/pyxis/pyxis.conf "$root/etc/slurm/plugstack.conf.d/pyxis.conf"
    inside srun --help | grep -e --container-image
}

@test "make rpm SLURM_PREFIX=a prefix" {
    makes rpm SLURM_PREFIX="$prefix" DIST="$site"
    [ "$status" -eq 0 ]
    rpm2cpio "$site/pyxis-slurm24.11-$version-1.x86_64.rpm" | (cd "$BATS_TEST_TMPDIR" && cpio -idm --quiet)
    [ "$(number "$BATS_TEST_TMPDIR/usr/lib64/pyxis/24.11/spank_pyxis.so")" = 0x180b63 ]
}

@test "build-matrix build --slurm a tarball, and diff of a source tree" {
    cd "$source"
    run target/release/build-matrix build --slurm "$BATS_FILE_TMPDIR/slurm-24.11.99.tar.gz" --out "$BATS_TEST_TMPDIR/out"
    echo "$output"
    [ "$status" -eq 0 ]
    has "same interface as 24.11"
    [ "$(number "$BATS_TEST_TMPDIR/out/24.11/spank_pyxis.so")" = 0x180b63 ]
    run target/release/build-matrix diff 24.11 "$BATS_FILE_TMPDIR/slurm-24.11.99"
    echo "$output"
    [ "$status" -eq 0 ]
    has "same interface as 24.11"
}

@test "a Slurm with another interface: what differs, and no package" {
    sed -i 's/S_JOB_GID,/S_SITE, S_JOB_GID,/' "$prefix/include/slurm/spank.h"
    makes deb SLURM_PREFIX="$prefix" DIST="$BATS_TEST_TMPDIR/none"
    [ "$status" -ne 0 ]
    grep -E '^item +S_SITE +- +1$' <<< "$output"
    # The directory may not even have been made.
    mkdir -p "$BATS_TEST_TMPDIR/none"
    left=$(find "$BATS_TEST_TMPDIR/none" -type f)
    [ -z "$left" ]
}
