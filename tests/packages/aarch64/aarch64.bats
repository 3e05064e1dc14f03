#!/usr/bin/env bats
# The packages for aarch64, run by qemu: PYXIS_DIST has those of one release. binfmt_misc is not needed.

load ../common

setup_file() {
    export TREE=$BATS_FILE_TMPDIR/tree
    for deb in "$PYXIS_DIST"/*_arm64.deb; do dpkg-deb -x "$deb" "$TREE"; done
    [ -n "$(ls "$TREE")" ]
}

qemu() { qemu-aarch64-static -L /usr/aarch64-linux-gnu "$@"; }

lib=usr/lib/aarch64-linux-gnu

@test "the command runs" {
    [ "$(qemu "$TREE/usr/bin/pyxis" version)" = "$version" ]
    qemu "$TREE/usr/bin/pyxis" --help | grep -i usage
}

@test "the loader opens the build for the running release, and its options are registered" {
    aarch64-linux-gnu-gcc -Wno-unused-parameter -rdynamic -o "$BATS_TEST_TMPDIR/host" "$BATS_TEST_DIRNAME/host.c" -ldl
    # The loader refuses what others than root could change.
    chmod 755 "$BATS_RUN_TMPDIR" "$BATS_FILE_TMPDIR"
    release=$(ls "$TREE/$lib/pyxis")
    api=$(sed -n 's/^api = //p' "$source/slurm-releases/releases/$release.toml")
    run qemu "$BATS_TEST_TMPDIR/host" "$api" "$TREE/$lib/slurm/spank_pyxis.so"
    echo "$output"
    [ "$status" -eq 0 ]
    has "name pyxis type spank version 0x$(printf %x $((10#${release%.*})))$(printf %02x $((10#${release#*.})))"
    has "option container-image"
    has "init returns 0"
    # And none for another.
    run qemu "$BATS_TEST_TMPDIR/host" 36 "$TREE/$lib/slurm/spank_pyxis.so"
    [ "$status" -eq 0 ]
    has "version 0"
    has "installed: $release"
}

@test "the files are for aarch64 and an old glibc" {
    for file in "$TREE/usr/bin/pyxis" "$TREE/$lib"/slurm/spank_pyxis.so "$TREE/$lib"/pyxis/*/spank_pyxis.so; do
        readelf -h "$file" | grep 'Machine: *AArch64'
        newest=$(aarch64-linux-gnu-objdump -T "$file" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -n 1)
        [ "$(printf '%s\n' "$newest" GLIBC_2.28 | sort -V | tail -n 1)" = GLIBC_2.28 ]
    done
    [ "$(rpm -qp --qf '%{ARCH}' "$PYXIS_DIST/pyxis-$version-1.aarch64.rpm")" = aarch64 ]
    rpm -qlp "$PYXIS_DIST/pyxis-$version-1.aarch64.rpm" | grep -x /usr/lib64/slurm/spank_pyxis.so
    # As in debs.bats: there is no bug of Debian's to close.
    lintian --allow-root --fail-on error,warning --suppress-tags initial-upload-closes-no-bugs "$PYXIS_DIST"/*.deb
}
