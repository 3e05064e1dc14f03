#!/usr/bin/env bats
# debian/ and rpm/pyxis.spec make the packages that build-matrix writes: dpkg-buildpackage and rpmbuild run for real, on files that
# were compiled before. (By hand, with compiling: dpkg-buildpackage -us -uc -b -d; make orig && rpmbuild -tb dist/pyxis-*.tar.gz.)

load common

setup() {
    copy=$BATS_TEST_TMPDIR/pyxis-$version
    mkdir -p "$copy"/{debian,rpm}/tree
    (cd "$source" && git ls-files -z | xargs -0 tar -c --ignore-failed-read 2> /dev/null) | tar -x -C "$copy"
}

# The fields that decide what a package does, one relation a line.
relations_of_deb() {
    local field
    for field in Package Version Architecture Section Priority Depends Recommends Suggests Breaks Conflicts Replaces Provides Description; do
        # dpkg-shlibdeps names versions of the C library and of gcc's by the symbols files of this machine's.
        echo "$field: $(dpkg-deb -f "$1" "$field" | sed 's/libc6 (>= [^)]*)/libc6/; s/libgcc-s1 \((>= [^)]*)\|| libgcc1\)/libgcc/' | sed 's/, /\n/g' | sort)"
    done
    dpkg-deb -c "$1" | awk '{ print $1, $2, $6 }' | sort -k3
    for field in postinst prerm postrm conffiles; do
        echo "$field:"
        dpkg-deb --ctrl-tarfile "$1" | tar -xO "./$field" 2> /dev/null | grep -v '^# Automatically added' || true
    done
}

@test "debian/: dpkg-buildpackage makes the debs that build-matrix writes" {
    for deb in "$dist"/pyxis*.deb; do
        name=$(basename "${deb%%_*}")
        [[ $name == *-dbgsym ]] || dpkg-deb -x "$deb" "$copy/debian/tree/$name"
    done
    (cd "$copy" && dpkg-buildpackage -nc -us -uc -b -d) > "$BATS_TEST_TMPDIR/log" 2>&1 || { tail -n 40 "$BATS_TEST_TMPDIR/log"; false; }
    for deb in "$dist"/pyxis*.deb; do
        [[ $deb != *-dbgsym* ]] || continue
        diff <(relations_of_deb "$deb") <(relations_of_deb "$BATS_TEST_TMPDIR/$(basename "$deb")")
    done
    [ "$(find "$BATS_TEST_TMPDIR" -maxdepth 1 -name 'pyxis*.deb' ! -name '*dbgsym*' | wc -l)" -eq "$(find "$dist" -name 'pyxis*.deb' ! -name '*dbgsym*' | wc -l)" ]
}

relations_of_rpm() {
    rpm -qp --qf 'name %{NAME}\nepoch %{EPOCH}\nversion %{VERSION}-%{RELEASE}\narch %{ARCH}\nsummary %{SUMMARY}\nlicense %{LICENSE}\ngroup %{GROUP}\n' "$1"
    rpm -qp --qf 'packager %{PACKAGER}\nvendor %{VENDOR}\nsource %{SOURCERPM}\nurl %{URL}\n%{DESCRIPTION}\n' "$1"
    local what
    for what in requires recommends suggests conflicts obsoletes provides; do
        echo "$what:"
        # rpmbuild names what it finds in the files, by this machine's libraries.
        rpm -qp --"$what" "$1" | grep -v -e '^rpmlib(' -e '^lib.*\.so' -e '^ld-linux' -e '^rtld' -e '^spank_pyxis.so' | sort -u
    done
    rpm -qp --qf '[%{FILEMODES:perms} %{FILEUSERNAME} %{FILEFLAGS:fflags} %{FILENAMES}\n]' "$1" | sort -k4
    rpm -qp --scripts "$1"
}

@test "rpm/pyxis.spec: rpmbuild makes the rpms that build-matrix writes" {
    for rpm in "$dist"/pyxis*.rpm; do
        name=$(rpm -qp --qf '%{NAME}' "$rpm")
        [[ $name != *-debuginfo ]] || continue
        mkdir -p "$copy/rpm/tree/$name"
        rpm2cpio "$rpm" | (cd "$copy/rpm/tree/$name" && cpio -idm --quiet)
    done
    tar -C "$BATS_TEST_TMPDIR" -czf "$BATS_TEST_TMPDIR/pyxis-$version.tar.gz" "pyxis-$version"
    rpmbuild -tb --nodeps --define "_topdir $BATS_TEST_TMPDIR/top" "$BATS_TEST_TMPDIR/pyxis-$version.tar.gz" > "$BATS_TEST_TMPDIR/log" 2>&1 || { tail -n 40 "$BATS_TEST_TMPDIR/log"; false; }
    for rpm in "$dist"/pyxis*.rpm; do
        [[ $rpm != *-debuginfo* ]] || continue
        made=$(find "$BATS_TEST_TMPDIR/top/RPMS" -name "$(basename "$rpm")")
        diff <(relations_of_rpm "$rpm") <(relations_of_rpm "$made")
    done
}

@test "make orig: the committed source, the same bytes each time" {
    (cd "$source" && packaging/orig "$BATS_TEST_TMPDIR/a" && packaging/orig "$BATS_TEST_TMPDIR/b")
    cmp "$BATS_TEST_TMPDIR/a/pyxis_$version.orig.tar.gz" "$BATS_TEST_TMPDIR/b/pyxis-$version.tar.gz"
    [ "$(tar -tf "$BATS_TEST_TMPDIR/a/pyxis_$version.orig.tar.gz" | grep -cx -e "pyxis-$version/rpm/pyxis.spec" -e "pyxis-$version/debian/rules")" = 2 ]
}
