#!/usr/bin/env bats
# The rpms, in roots of their own; as root. There is no network to a distribution with rpm: what it would provide is made up in one
# package, and a Debian root lends the shell that scripts run with.

load common

setup() {
    # Nothing of this machine's database or keys.
    export HOME=$BATS_TEST_TMPDIR/home
    mkdir "$HOME"
    main=("$dist/pyxis-$version-1.x86_64.rpm" "$dist/pyxis-all-$version-1.noarch.rpm" "$dist"/pyxis-slurm*[0-9]-"$version"-1.x86_64.rpm)
}

# made_up NAME VERSION [LINE...]: an rpm in $BATS_TEST_TMPDIR/made/noarch, of lines for its spec.
made_up() {
    local name=$1 of=$2
    shift 2
    {
        printf 'Name: %s\nVersion: %s\nRelease: 1\nSummary: made up\nLicense: none\nBuildArch: noarch\n' "$name" "$of"
        printf '%s\n' "$@" | grep -v '^%' || true
        printf '%%description\nmade up\n%%install\nmkdir -p %%{buildroot}/usr/lib64/slurm %%{buildroot}/usr/share/pyxis %%{buildroot}/etc/pyxis\n'
        printf 'echo made up > %%{buildroot}/usr/lib64/slurm/spank_pyxis.so\necho made up > %%{buildroot}/usr/share/pyxis/pyxis.conf\necho "# older" > %%{buildroot}/etc/pyxis/pyxis.toml\n'
        printf '%%define __os_install_post %%{nil}\n%%define _unpackaged_files_terminate_build 0\n%%files\n'
        printf '%s\n' "$@" | grep '^%' | sed 's|^%/|/|' || true
    } > "$BATS_TEST_TMPDIR/$name.spec"
    rpmbuild -bb --quiet --define "_topdir $BATS_TEST_TMPDIR/build" --define "_rpmdir $BATS_TEST_TMPDIR/made" "$BATS_TEST_TMPDIR/$name.spec" > "$BATS_TEST_TMPDIR/rpmbuild" 2>&1 ||
        { cat "$BATS_TEST_TMPDIR/rpmbuild"; return 1; }
}

# What a distribution has: each thing our packages want that is not ours.
made_up_system() {
    local line lines=()
    while read -r line; do lines+=("Provides: $line"); done < <(rpm -qp --requires "${main[@]}" | grep -v -e ^pyxis -e ^rpmlib | sort -u)
    made_up system 1 "${lines[@]}"
}

# A root with a shell, and rpm's own database.
rpm_root() {
    root_of bookworm
    rm -rf "$root"/etc/slurm/{plugstack.conf,plugstack.conf.d}
    # Of the package `filesystem`, which Debian has not.
    mkdir -p "$root/usr/share/licenses"
    rpm --root "$root" --initdb
}

@test "they want of a system no more than it has" {
    run rpm -qp --requires "${main[@]}"
    [ "$status" -eq 0 ]
    grep -v -E -e "^(pyxis[^ ]*|config\(pyxis\)) = $version-1$" -e '^rpmlib\(' <<< "$output" | sort -u | diff - <(
        echo /bin/sh
        echo /usr/bin/getent
        echo /usr/sbin/useradd
        echo ca-certificates
        echo coreutils
        echo grep
        echo 'libc.so.6(GLIBC_2.28)(64bit)'
        # The plugin: the unwinder of the process that it is loaded into.
        echo 'libgcc_s.so.1()(64bit)'
        echo sed
        echo squashfs-tools
    )
    # Before the script that runs them.
    [ "$(rpm -qp --qf '[%{REQUIREFLAGS:deptype} %{REQUIRENAME}\n]' "${main[0]}" | sed -n 's/^post //p' | sort | tr '\n' ' ')" = "/usr/bin/getent /usr/sbin/useradd coreutils grep sed " ]
}

@test "each provides itself with the packaging's revision, and says who made it" {
    local rpm name processor
    for rpm in "$dist"/*.rpm; do
        name=$(rpm -qp --qf '%{NAME}' "$rpm")
        processor=$(rpm -qp --qf '%{ARCH}' "$rpm" | sed -n 's/x86_64/x86-64/p; s/aarch64/aarch-64/p')
        diff <(echo "$name = $version-1"; [[ -z $processor ]] || echo "$name($processor) = $version-1") <(rpm -qp --provides "$rpm" | grep -e "^$name = " -e "^$name(")
        [ "$(rpm -qp --qf '%{PACKAGER}|%{VENDOR}|%{SOURCERPM}|%{EPOCH}' "$rpm")" = "$(sed -n 's/^maintainer = "\(.*\)"/\1/p' "$source/packaging/packages.toml")|pyxis|pyxis-$version-1.src.rpm|(none)" ]
    done
}

@test "the licence is there where documents are not wanted" {
    root=$BATS_TEST_TMPDIR/rpm
    rpm --root "$root" --initdb
    rpm --root "$root" --nodeps --noscripts --excludedocs -i "${main[@]}"
    [ ! -e "$root/usr/share/man/man1/pyxis.1.gz" ]
    [ ! -e "$root/usr/share/doc/pyxis" ]
    names=$(rpm --root "$root" -qa --qf '%{NAME} ')
    [ "$(wc -w <<< "$names")" -eq "${#main[@]}" ]
    for name in $names; do
        cmp "$source/LICENSE" "$root/usr/share/licenses/$name/LICENSE"
        [ "$(rpm --root "$root" -q --licensefiles "$name")" = "/usr/share/licenses/$name/LICENSE" ]
    done
}

@test "an empty root: digests, files, removal" {
    root=$BATS_TEST_TMPDIR/rpm
    mkdir "$root"
    rpm -K "$dist"/*.rpm > "$BATS_TEST_TMPDIR/digests"
    run grep -v ': digests OK$' "$BATS_TEST_TMPDIR/digests"
    [ "$status" -eq 1 ]
    rpm --root "$root" --initdb
    rpm --root "$root" --nodeps --noscripts -i "$dist"/*.rpm
    rpm --root "$root" --nodeps -Va
    [ -s "$root/usr/lib64/slurm/spank_pyxis.so" ]
    [ "$(ls "$root/usr/lib64/pyxis")" = "$releases" ]
    # No file in two packages, no directory of ours without an owner.
    rpm --root "$root" -qa --qf '[%{FILEMODES:perms} %{FILENAMES}\n]' > "$BATS_TEST_TMPDIR/files"
    twice=$(sed '/^d/d' "$BATS_TEST_TMPDIR/files" | sort | uniq -d)
    [ -z "$twice" ]
    # shellcheck disable=SC2046
    rpm --root "$root" --noscripts -e $(rpm --root "$root" -qa --qf '%{NAME} ')
    left=$(find "$root" -path '*pyxis*')
    [ -z "$left" ]
    left=$(find "$root" ! -type d ! -path '*/lib/rpm/*' ! -path '*/sysimage/*' ! -path '*/.rpmdb/*')
    [ -z "$left" ]
}

@test "a digest that does not fit is found" {
    cp "$dist/pyxis-all-$version-1.noarch.rpm" "$BATS_TEST_TMPDIR/x.rpm"
    printf x | dd of="$BATS_TEST_TMPDIR/x.rpm" bs=1 conv=notrunc seek=$(($(stat -c %s "$BATS_TEST_TMPDIR/x.rpm") - 20)) 2> /dev/null
    run rpm -K "$BATS_TEST_TMPDIR/x.rpm"
    [ "$status" -ne 0 ]
    has NOT
}

@test "scripts: a hint when new, none when configured, a warning when taken away; no daemon is touched" {
    rpm_root
    files > "$BATS_TEST_TMPDIR/before"
    run rpm --root "$root" --nodeps -i "${main[@]}"
    echo "$output"
    [ "$status" -eq 0 ]
    has 'ln -s /usr/share/pyxis/pyxis.conf'
    [ "$(inside pyxis version)" = "$version" ]
    mkdir -p "$root/etc/slurm/plugstack.conf.d"
    ln -s /usr/share/pyxis/pyxis.conf "$root/etc/slurm/plugstack.conf.d/pyxis.conf"
    run rpm --root "$root" --nodeps --replacepkgs -U "${main[@]}"
    [ "$status" -eq 0 ]
    [[ $output != *pyxis:* ]]
    # shellcheck disable=SC2046
    run rpm --root "$root" -e $(rpm --root "$root" -qa --qf '%{NAME} ')
    [ "$status" -eq 0 ]
    has 'Slurm is still told to load it'
    has plugstack.conf.d/pyxis.conf
    rm -r "$root/etc/slurm/plugstack.conf.d"
    files | diff "$BATS_TEST_TMPDIR/before" -
    [ ! -e "$root/daemons" ]
}

@test "an upgrade keeps the admin's settings, and replaces those nobody changed" {
    rpm_root
    made_up pyxis 0.0.9 '%config(noreplace) /etc/pyxis/pyxis.toml' %/usr/lib64/slurm/spank_pyxis.so %/usr/share/pyxis/pyxis.conf
    for changed in no yes; do
        rpm --root "$root" -i "$BATS_TEST_TMPDIR"/made/noarch/pyxis-0.0.9-1.noarch.rpm
        [[ $changed == no ]] || echo '# changed' >> "$root/etc/pyxis/pyxis.toml"
        rpm --root "$root" --nodeps -U "$dist/pyxis-$version-1.x86_64.rpm"
        if [[ $changed == yes ]]; then
            grep '# changed' "$root/etc/pyxis/pyxis.toml"
            [ -e "$root/etc/pyxis/pyxis.toml.rpmnew" ]
        else
            run grep '# older' "$root/etc/pyxis/pyxis.toml"
            [ "$status" -eq 1 ]
        fi
        rpm --root "$root" -e pyxis
        [ ! -e "$root/usr/lib64/slurm/spank_pyxis.so" ]
    done
}

@test "nvslurm-plugin-pyxis is replaced" {
    rpm_root
    made_up nvslurm-plugin-pyxis 0.24.0 %/usr/lib64/slurm/spank_pyxis.so %/usr/share/pyxis/pyxis.conf
    rpm --root "$root" -i "$BATS_TEST_TMPDIR"/made/noarch/nvslurm*.rpm
    made_up_system
    run rpm --root "$root" -U "$BATS_TEST_TMPDIR"/made/noarch/system-1-1.noarch.rpm "$dist/pyxis-$version-1.x86_64.rpm"
    [ "$status" -ne 0 ]
    has "pyxis-all = $version-1 is needed by pyxis"
    rpm --root "$root" -U "$BATS_TEST_TMPDIR"/made/noarch/system-1-1.noarch.rpm "${main[@]}"
    run rpm --root "$root" -q nvslurm-plugin-pyxis
    [ "$status" -eq 1 ]
    [ "$(rpm --root "$root" -qf --qf '%{NAME}' /usr/lib64/slurm/spank_pyxis.so)" = pyxis ]
    run rpm --root "$root" -i "$BATS_TEST_TMPDIR"/made/noarch/nvslurm*.rpm
    [ "$status" -ne 0 ]
}

@test "a Slurm newer than all builds conflicts, the newest supported does not" {
    root=$BATS_TEST_TMPDIR/rpm
    rpm --root "$root" --initdb
    rpm --root "$root" --nodeps --noscripts -i "$dist/pyxis-$version-1.x86_64.rpm"
    for name in slurm slurm-slurmd slurm-ohpc slurm-slurmd-ohpc; do
        made_up "$name" "$newest.5"
        made_up "$name" "$coming.0"
        rpm --root "$root" --test -i "$BATS_TEST_TMPDIR/made/noarch/$name-$newest.5-1.noarch.rpm"
        run rpm --root "$root" --test -i "$BATS_TEST_TMPDIR/made/noarch/$name-$coming.0-1.noarch.rpm"
        [ "$status" -ne 0 ]
        has "conflicts with"
    done
}

@test "rpmlint finds no error" {
    rpmlint --config "$BATS_TEST_DIRNAME/rpmlint.toml" "$dist"/*.rpm > "$BATS_TEST_TMPDIR/log" || { grep -v '^$' "$BATS_TEST_TMPDIR/log"; false; }
    grep -q ' 0 errors' "$BATS_TEST_TMPDIR/log"
}

@test "a dnf repository, signed: install, and what is not signed is refused" {
    export GNUPGHOME=$BATS_TEST_TMPDIR/gpg
    mkdir -m 700 "$GNUPGHOME"
    gpg --batch --quiet --passphrase '' --quick-gen-key 'pyxis test <test@example.org>' rsa2048 sign never
    mkdir "$BATS_TEST_TMPDIR/from"
    cp "${main[@]}" "$BATS_TEST_TMPDIR/from"
    "$source/target/release/packaging" repo "$BATS_TEST_TMPDIR/repo" --from "$BATS_TEST_TMPDIR/from" --sign test@example.org
    gpgconf --kill gpg-agent
    repo=$BATS_TEST_TMPDIR/repo/rpm
    # rpm -K with the key: signatures, not only digests.
    mkdir "$BATS_TEST_TMPDIR/keys"
    rpm --root "$BATS_TEST_TMPDIR/keys" --initdb
    rpm --root "$BATS_TEST_TMPDIR/keys" --import "$repo/pyxis.asc"
    rpm --root "$BATS_TEST_TMPDIR/keys" -K "$repo"/*.rpm > "$BATS_TEST_TMPDIR/signatures"
    run grep -v ': digests signatures OK$' "$BATS_TEST_TMPDIR/signatures"
    [ "$status" -eq 1 ]

    rpm_root
    made_up_system
    mkdir "$BATS_TEST_TMPDIR/system"
    cp "$BATS_TEST_TMPDIR"/made/noarch/system-*.rpm "$BATS_TEST_TMPDIR/system"
    createrepo_c --quiet "$BATS_TEST_TMPDIR/system"
    printf '[%s]\nname=%s\nbaseurl=file://%s\nenabled=1\n%s\n' system system "$BATS_TEST_TMPDIR/system" gpgcheck=0 \
        pyxis pyxis "$repo" $'gpgcheck=1\nrepo_gpgcheck=1\ngpgkey=file://'"$repo/pyxis.asc" > "$BATS_TEST_TMPDIR/pyxis.repo"
    dnf=(dnf -y -q --installroot="$root" --releasever=1 --setopt=reposdir="$BATS_TEST_TMPDIR" --setopt=cachedir="$BATS_TEST_TMPDIR/cache" --setopt=varsdir=/nonexistent)
    "${dnf[@]}" install pyxis-all
    [ "$(inside pyxis version)" = "$version" ]
    [ "$(ls "$root/usr/lib64/pyxis")" = "$releases" ]
    "${dnf[@]}" remove 'pyxis*'
    [ ! -e "$root/usr/lib64/pyxis" ]
    # As images of nodes are made: nothing that is only recommended, and it works all the same.
    "${dnf[@]}" --setopt=install_weak_deps=False install pyxis
    [ "$(ls "$root/usr/lib64/pyxis")" = "$releases" ]
    "${dnf[@]}" remove 'pyxis*'

    # The unsigned one in its place: dnf takes neither its digest nor, with new lists, its lack of a signature.
    cp "$dist/pyxis-$version-1.x86_64.rpm" "$repo/"
    run "${dnf[@]}" --setopt=cachedir="$BATS_TEST_TMPDIR/cache2" install pyxis
    [ "$status" -ne 0 ]
    createrepo_c --quiet "$repo"
    run "${dnf[@]}" --setopt=cachedir="$BATS_TEST_TMPDIR/cache3" --setopt=pyxis.repo_gpgcheck=0 install pyxis
    [ "$status" -ne 0 ]
    has "not signed"
}

# NVIDIA's rpm, as far as packages go: all that it has in /etc is the administrator's.
their_enroot() {
    local spec=$BATS_TEST_TMPDIR/enroot.spec
    cat > "$spec" << 'END'
Name: enroot
Version: 4.1.2
Release: 1
Summary: made up
License: none
BuildArch: noarch
%description
made up
%define __os_install_post %{nil}
%install
mkdir -p %{buildroot}/usr/bin %{buildroot}/usr/lib64/enroot %{buildroot}/etc/enroot/hooks.d
echo theirs > %{buildroot}/usr/bin/enroot
echo theirs > %{buildroot}/usr/lib64/enroot/runtime.sh
echo '# theirs' > %{buildroot}/etc/enroot/enroot.conf
echo '# home' > %{buildroot}/etc/enroot/hooks.d/10-home.sh
echo '# shadow' > %{buildroot}/etc/enroot/hooks.d/10-shadow.sh
echo '# gpus' > %{buildroot}/etc/enroot/hooks.d/98-nvidia.sh
echo '# adapters' > %{buildroot}/etc/enroot/hooks.d/99-mellanox.sh
%files
/usr/bin/enroot
/usr/lib64/enroot/runtime.sh
%config(noreplace) /etc/*
END
    rpmbuild -bb --quiet --define "_topdir $BATS_TEST_TMPDIR/build" --define "_rpmdir $BATS_TEST_TMPDIR/made" "$spec" > "$BATS_TEST_TMPDIR/rpmbuild" 2>&1 ||
        { cat "$BATS_TEST_TMPDIR/rpmbuild"; return 1; }
}

# A root with NVIDIA's and ours but for the one in its place; dnf for it.
beside_theirs() {
    their_enroot
    rpm_root
    made_up_system
    dnf=(dnf -y -q --installroot="$root" --releasever=1 --setopt=reposdir="$BATS_TEST_TMPDIR" --setopt=cachedir="$BATS_TEST_TMPDIR/cache" --setopt=varsdir=/nonexistent)
    rpm --root "$root" --nodeps -i "$BATS_TEST_TMPDIR"/made/noarch/system-*.rpm "${main[@]}" "$BATS_TEST_TMPDIR"/made/noarch/enroot-4.1.2-1.noarch.rpm
    enroot=$dist/pyxis-enroot-$version-1.noarch.rpm
}

@test "pyxis-enroot in NVIDIA's place: what a site has changed of enroot's configuration holds on" {
    beside_theirs
    echo 'ENROOT_MOUNT_HOME yes' >> "$root/etc/enroot/enroot.conf"
    echo '# changed' >> "$root/etc/enroot/hooks.d/10-shadow.sh"
    echo '# site' > "$root/etc/enroot/hooks.d/60-site.sh"
    "${dnf[@]}" swap enroot "$enroot"
    [ "$(inside enroot version)" = 4.1.2 ]
    [ "$(cat "$root/etc/enroot/enroot.conf")" = $'# theirs\nENROOT_MOUNT_HOME yes' ]
    [ "$(cat "$root/etc/enroot/hooks.d/10-shadow.sh")" = $'# shadow\n# changed' ]
    [ "$(ls "$root/etc/enroot/hooks.d")" = $'10-shadow.sh\n60-site.sh' ]
    # The same in two steps; what lies there already is not written over.
    rpm --root "$root" -e pyxis-enroot
    [ -e "$root/etc/enroot/enroot.conf" ]
    mv "$root/etc/enroot/enroot.conf" "$root/etc/enroot/enroot.conf.rpmsave"
    echo '# another' > "$root/etc/enroot/enroot.conf"
    rpm --root "$root" -i "$enroot"
    [ "$(cat "$root/etc/enroot/enroot.conf")" = '# another' ]
    [ -e "$root/etc/enroot/enroot.conf.rpmsave" ]
}

@test "pyxis-enroot in NVIDIA's place, of whose configuration nothing was changed: recipes find what they edit; gone with it" {
    beside_theirs
    "${dnf[@]}" swap enroot "$enroot"
    cmp "$source/packaging/enroot/share/enroot.conf" "$root/etc/enroot/enroot.conf"
    [ "$(stat -c '%U:%G %a' "$root/etc/enroot/enroot.conf")" = 'root:root 644' ]
    [ "$(cd "$root/etc/enroot" && find . -mindepth 1 | sort | tr '\n' ' ')" = './enroot.conf ./enroot.conf.d ./environ.d ./hooks.d ./hooks.d/98-nvidia.sh ./hooks.d/99-mellanox.sh ./hooks.d/README ./mounts.d ' ]
    cmp "$source/packaging/enroot/share/devices/98-nvidia.sh" "$root/etc/enroot/hooks.d/98-nvidia.sh"
    [ "$(stat -c '%U:%G %a' "$root/etc/enroot/hooks.d/98-nvidia.sh")" = 'root:root 755' ]
    cmp "$source/runtime/containers/src/start/environment/common.sh" "$root/usr/lib64/enroot/common.sh"
    [ ! -L "$root/usr/bin/enroot-mksquashovlfs" ]
    inside sh -euc 'cp /usr/share/enroot/hooks.d/50-slurm-pmi.sh /usr/share/enroot/hooks.d/50-slurm-pytorch.sh /etc/enroot/hooks.d/
        echo A=1 >> /etc/enroot/environ.d/50-site.env'
    rm "$root/etc/enroot/hooks.d/98-nvidia.sh"
    rpm --root "$root" --replacepkgs -U "$enroot"
    [ ! -e "$root/etc/enroot/hooks.d/98-nvidia.sh" ]
    rpm --root "$root" -e pyxis-enroot
    [ ! -e "$root/etc/enroot/enroot.conf" ]
    [ "$(ls "$root/etc/enroot/hooks.d")" = $'50-slurm-pmi.sh\n50-slurm-pytorch.sh' ]
    [ -e "$root/etc/enroot/environ.d/50-site.env" ]
    [ ! -e "$root/usr/share/enroot" ]
    # Changed, it stays.
    rpm --root "$root" -i "$enroot"
    echo '# changed' >> "$root/etc/enroot/enroot.conf"
    rpm --root "$root" -e pyxis-enroot
    grep '# changed' "$root/etc/enroot/enroot.conf"
}

@test "pyxis-enroot in NVIDIA's place, of which a hook was moved away, and back again" {
    beside_theirs
    mv "$root/etc/enroot/hooks.d/98-nvidia.sh"{,.disabled}
    "${dnf[@]}" swap enroot "$enroot"
    [ "$(ls "$root/etc/enroot/hooks.d")" = 98-nvidia.sh.disabled ]
    rpm --root "$root" -e pyxis-enroot
    rm "$root/etc/enroot/hooks.d/98-nvidia.sh.disabled"
    rpm --root "$root" -i "$enroot"
    [ -e "$root/etc/enroot/hooks.d/README" ]
    "${dnf[@]}" swap pyxis-enroot "$BATS_TEST_TMPDIR"/made/noarch/enroot-4.1.2-1.noarch.rpm
    [ "$(cat "$root/etc/enroot/enroot.conf")" = '# theirs' ]
    [ "$(cat "$root/etc/enroot/hooks.d/98-nvidia.sh")" = '# gpus' ]
    [ "$(ls "$root/etc/enroot/hooks.d")" = $'10-home.sh\n10-shadow.sh\n98-nvidia.sh\n99-mellanox.sh' ]
}

@test "pyxis-enroot in NVIDIA's place, of which a hook was removed: containers go on without GPUs" {
    beside_theirs
    rm "$root/etc/enroot/hooks.d/98-nvidia.sh"
    "${dnf[@]}" swap enroot "$enroot"
    [ "$(ls "$root/etc/enroot/hooks.d")" = 98-nvidia.sh.disabled ]
    # On a node where NVIDIA's package has never been no hook was removed.
    rpm --root "$root" -e pyxis-enroot
    rm "$root/etc/enroot/hooks.d/98-nvidia.sh.disabled"
    echo '# site' > "$root/etc/enroot/hooks.d/10-site.sh"
    rpm --root "$root" -i "$enroot"
    [ "$(ls "$root/etc/enroot/hooks.d")" = 10-site.sh ]
}

@test "pyxis-enroot in NVIDIA's place, where /etc/enroot is a link; what was put aside long ago stays there" {
    local script=$BATS_TEST_TMPDIR/script
    beside_theirs
    mkdir "$root/shared"
    mv "$root/etc/enroot" "$root/shared/"
    ln -s ../shared/enroot "$root/etc/enroot"
    echo 'ENROOT_MOUNT_HOME yes' >> "$root/etc/enroot/enroot.conf"
    echo '# changed' >> "$root/etc/enroot/hooks.d/10-shadow.sh"
    "${dnf[@]}" swap enroot "$enroot"
    [ "$(cat "$root/etc/enroot/enroot.conf")" = $'# theirs\nENROOT_MOUNT_HOME yes' ]
    [ "$(cat "$root/etc/enroot/hooks.d/10-shadow.sh")" = $'# shadow\n# changed' ]
    # What a day makes of one: nobody can set back the time of a change.
    mv "$root/etc/enroot/hooks.d/10-shadow.sh"{,.rpmsave}
    sed 's/-cmin -1440/-cmin +1440/' "$source/packaging/enroot/after-all" > "$script"
    absent -e '-cmin -1440' "$script"
    inside sh -e < "$script"
    [ -e "$root/etc/enroot/hooks.d/10-shadow.sh.rpmsave" ]
    inside sh -e < "$source/packaging/enroot/after-all"
    [ -e "$root/etc/enroot/hooks.d/10-shadow.sh" ]
}
