#!/usr/bin/env bats
# The package managers of distributions, as remapped root, in a Debian that is made of the mirror's packages: what they do
# beside writing files (owners, groups, devices, capabilities, attributes). As root; an ordinary user runs the containers.
# PYXIS_COMMAND is the command, PYXIS_TEST_DEBIAN an image that was made before. Where there is no mirror, each test says so.

user=61957

setup_file() {
    export work=$BATS_FILE_TMPDIR
    export command=${PYXIS_COMMAND:-$BATS_TEST_DIRNAME/../../target/release/pyxis}
    chmod 755 "$BATS_RUN_TMPDIR" "$BATS_RUN_TMPDIR/file" "$work"
    cp "$command" "$work/pyxis"
    if [ -n "${PYXIS_TEST_DEBIAN:-}" ]; then
        cp "$PYXIS_TEST_DEBIAN" "$work/debian.sqsh"
    elif mmdebstrap --quiet --variant=apt --include=ca-certificates bookworm "$work/root.tar" > "$work/log" 2>&1 3>&-; then
        mkdir "$work/root"
        tar -C "$work/root" --exclude='./dev/*' -xf "$work/root.tar"
        mksquashfs "$work/root" "$work/debian.sqsh" -all-root -comp zstd -Xcompression-level 1 -quiet -no-progress
        rm -rf "$work/root" "$work/root.tar"
        chmod 644 "$work/debian.sqsh"
    fi
}

setup() {
    [ -e "$work/debian.sqsh" ] || skip "no Debian from the mirror: $(tail -n 1 "$work/log")"
    home=$(mktemp -d -p "$work")
    chown $user:$user "$home"
}

# A script in a new container, as who is root inside.
inside() {
    env -i PATH="$PATH" HOME="$home" XDG_RUNTIME_DIR="$home/run" ENROOT_DATA_PATH="$home/data" DEBIAN_FRONTEND=noninteractive \
        setpriv --reuid $user --regid $user --clear-groups "$work/pyxis" start --root --rw "$work/debian.sqsh" sh -ec "$1"
}

install='export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -q --no-install-recommends'

@test "apt installs packages that make users, devices, capabilities and lists of access" {
    run inside "$install acl attr libcap2-bin iputils-ping dbus systemd cron man-db udev openssh-server > /root/log 2>&1 || { tail /root/log; exit 1; }
        dpkg --audit
        echo audited
        getent passwd messagebus sshd
        getcap /bin/ping
        apt-get purge -y -q openssh-server cron > /root/log 2>&1 || { tail /root/log; exit 1; }
        apt-get install -y -q --reinstall dbus > /root/log 2>&1 || { tail /root/log; exit 1; }
        dpkg --audit
        echo again"
    echo "$output"
    [ "$status" -eq 0 ]
    [[ ${lines[0]} == audited ]]
    [[ $output == *messagebus:*sshd:*"/bin/ping cap_net_raw=ep"* ]]
    [[ ${lines[-1]} == again ]]
}

@test "rpm installs a package with owners, modes, capabilities and scripts" {
    run inside "$install rpm libcap2-bin cpio > /root/log 2>&1 || { tail /root/log; exit 1; }
        cd /root
        cat > t.spec << 'END'
Name: t
Version: 1
Release: 1
Summary: t
License: MIT
%description
t
%install
mkdir -p %{buildroot}/opt/t
echo x > %{buildroot}/opt/t/file
cp /bin/true %{buildroot}/opt/t/ping
echo y > %{buildroot}/opt/t/secret
%files
/opt/t/file
%caps(cap_net_raw=ep) /opt/t/ping
%attr(2750, root, mail) /opt/t/secret
%pre
groupadd -r tgroup
useradd -r -g tgroup tuser
%post
chown tuser:tgroup /opt/t/file
END
        rpmbuild --define '_topdir /root/r' -bb t.spec > log 2>&1 || { tail log; exit 1; }
        rpm -i --nodeps r/RPMS/*/t-1-1.*.rpm 2> log || { tail log; exit 1; }
        stat -c %a /opt/t/secret
        getcap /opt/t/ping
        getent group tgroup
        rpm -e t 2> log || { tail log; exit 1; }
        [ ! -e /opt/t/file ] && echo removed"
    echo "$output"
    [ "$status" -eq 0 ]
    [ "${lines[0]}" = 2750 ]
    [ "${lines[1]}" = "/opt/t/ping cap_net_raw=ep" ]
    [[ ${lines[2]} == tgroup:* ]]
    [ "${lines[-1]}" = removed ]
}

@test "what package managers do to files succeeds, but for what no kernel does for a user" {
    run inside "$install acl attr libcap2-bin > /root/log 2>&1 || { tail /root/log; exit 1; }
        cd /root
        touch f
        tar -C / -cf t.tar etc/passwd
        useradd -m joe
        for call in 'mknod a c 1 3' 'mknod b b 7 0' 'mkfifo p' 'chown 1:1 f' 'chown -R man: /var/cache' 'chgrp mail f' 'chmod 6755 f' \\
            'setfattr -n user.x -v 1 f' 'setfattr -n security.x -v 1 f' 'setcap cap_net_raw+ep f' 'setfacl -m u:root:rwx f' \\
            'groupadd grp' 'usermod -aG grp joe' 'su joe -c id' 'install -o man -g man -m 4755 f g' 'chroot / true' \\
            'setpriv --reuid 6 --regid 12 --init-groups id' 'tar --same-owner --acls --xattrs --numeric-owner -xpf t.tar' 'cp -a f h'; do
            \$call > log 2>&1 || { echo \"\$call: \$(cat log)\"; exit 1; }
        done
        [ -p p ] || echo no FIFO
        getcap f
        # Ids that are not mapped, and attributes that are for the node's root alone.
        setfacl -m g:adm:rx f 2>&1 || setfattr -n trusted.x -v 1 f 2>&1 || echo refused"
    echo "$output"
    [ "$status" -eq 0 ]
    [ "${lines[0]}" = "f cap_net_raw=ep" ]
    [ "${lines[1]}" = "setfacl: f: Invalid argument" ]
    [ "${lines[2]}" = "setfattr: f: Operation not permitted" ]
    [ "${lines[3]}" = refused ]
}
