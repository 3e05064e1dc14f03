#!/usr/bin/env bats
# `pyxis doctor` as root on a node where users have processes, files and names of their making: root believes its own only,
# executes nothing of anybody's with its rights, waits for nobody and reads to an end.

load common

setup_file() {
    gcc -O -o "$BATS_FILE_TMPDIR/fake" "$BATS_TEST_DIRNAME/fake.c"
}

setup() {
    attacks_setup
    # Root's own, below directories of root's.
    safe=$(mktemp -d "$CLUSTER_STATE/safe.XXXXXX")
    chmod 755 "$safe"
    plugin=$(sed -n 's/^required \([^ ]*\) .*/\1/p' <<< "$PYXIS_TEST_LINE")
    traps=$work/traps
    mkdir -m 777 "$traps"
}

teardown() {
    rm -rf "$safe"
    attacks_teardown
}

# What tells by whom it was executed.
trap_at() {
    printf '#!/bin/sh\nid -u >> %s/executed\necho 0.0.0\n' "$traps" > "$1"
    chmod 755 "$1"
}

# Slurm's configuration in a directory: configuration DIR LINE
configuration() {
    printf 'ClusterName=c\nSlurmctldHost=localhost\nNodeName=localhost\nPartitionName=p Nodes=ALL\n' > "$1/slurm.conf"
    printf '%s\n' "$2" > "$1/plugstack.conf"
}

# A Slurm in a directory that is the attacker's: bin/srun and sbin/slurmd, which are beside lib/slurm. srun does as a trap.
slurm_in() {
    mkdir -p "$1"/{bin,sbin,lib/slurm}
    touch "$1/lib/slurm/libslurmfull.so"
    printf 'const char plugin_name[] = "x", plugin_type[] = "auth/x"; const unsigned int plugin_version = 0x160508;\n' |
        gcc -shared -fPIC -x c - -o "$1/lib/slurm/auth_x.so"
    printf '#include <stdlib.h>\nint main(void) { return system("id -u >> %s/executed"); }\n' "$traps" |
        gcc -x c - -o "$1/bin/srun"
    cp "$1/bin/srun" "$1/sbin/srun"
    cp "$BATS_FILE_TMPDIR/fake" "$1/sbin/slurmd"
}

# Root types `pyxis doctor` on a node whose own slurmd does not run; the process is what a script starts: doctor SCRIPT [ARG...]
# Memory is limited, so that reading without an end would be seen, and not felt.
doctor() {
    local script=$1
    shift
    run root timeout -k 1 120 unshare --mount --pid --fork --mount-proc --kill-child -- \
        env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin work="$work" safe="$safe" \
        sh -c "$script"$'\n'"sleep 0.2; exec prlimit --as=2000000000 $PYXIS_TEST_COMMAND doctor \"\$@\"" sh "$@"
    echo "$status: $output"
    # Neither killed nor stopped: it has found something, or nothing.
    [ "$status" -le 1 ]
    [[ $output == *"pyxis "* ]]
}

as_attacker='setpriv --reuid 64101 --regid 64101 --clear-groups'

nothing_ran() {
    if [ -e "$traps/executed" ]; then
        echo "executed by: $(cat "$traps/executed")"
        return 1
    fi
}

@test "a user's slurmd -f FILE is not believed" {
    configuration "$work" "required $work/spank_pyxis.so pyxis_path=$work/payload"
    trap_at "$work/payload"
    cp "$plugin" "$work/spank_pyxis.so"
    cp "$BATS_FILE_TMPDIR/fake" "$work/slurmd"
    chown -R 64101:64101 "$work"
    doctor "$as_attacker $work/slurmd -f $work/slurm.conf &"
    nothing_ran
    [[ $output != *"$work"* ]]
}

@test "a user's slurmd with SLURM_CONF is not believed" {
    configuration "$work" "required $work/spank_pyxis.so pyxis_path=$work/payload"
    trap_at "$work/payload"
    cp "$plugin" "$work/spank_pyxis.so"
    cp "$BATS_FILE_TMPDIR/fake" "$work/slurmd"
    chown -R 64101:64101 "$work"
    doctor "SLURM_CONF=$work/slurm.conf $as_attacker $work/slurmd &"
    nothing_ran
}

@test "a user's slurmd beside lib/slurm is no Slurm: its srun is not executed" {
    slurm_in "$work"
    chown -R 64101:64101 "$work"
    configuration "$safe" "$PYXIS_TEST_LINE"
    doctor "$as_attacker $work/sbin/slurmd &" --slurm-conf "$safe/slurm.conf"
    nothing_ran
    [[ $output != *"$work"* ]]
}

@test "root's process is no slurmd by a name that a user has given it" {
    # As a program that is setuid and makes itself root in full (sudo, while it asks for a password).
    configuration "$work" "required $work/spank_pyxis.so pyxis_path=$work/payload"
    trap_at "$work/payload"
    cp "$plugin" "$work/spank_pyxis.so"
    ln -s /usr/bin/tail "$work/slurmd"
    chown -hR 64101:64101 "$work"
    doctor "$work/slurmd -f $work/slurm.conf > /dev/null &"
    nothing_ran
    [[ $output != *"process "* ]]
}

@test "root's slurmd with a user's file, or that users can write: said, and not gone by" {
    configuration "$work" "required $work/spank_pyxis.so pyxis_path=$work/payload"
    trap_at "$work/payload"
    cp "$plugin" "$work/spank_pyxis.so"
    cp "$BATS_FILE_TMPDIR/fake" "$safe/slurmd"
    chown -R 64101:64101 "$work"
    doctor "$safe/slurmd -f $work/slurm.conf &"
    nothing_ran
    [[ $output == *"conf-untrusted"*"belongs to uid 64101"* ]]
    # Root's file in a user's directory, which can be another one at any time.
    chown root:root "$work"/*
    doctor "$safe/slurmd -f $work/slurm.conf &"
    nothing_ran
    [[ $output == *"conf-untrusted"* ]]
    # A program that a user can write.
    chmod 777 "$safe/slurmd"
    doctor "$safe/slurmd -f $work/slurm.conf &"
    nothing_ran
    [[ $output == *"daemon-untrusted"*"chmod go-w $safe/slurmd"* ]]
}

@test "a Slurm named by root that is a user's: said, and nothing of it is executed" {
    slurm_in "$work"
    chown -R 64101:64101 "$work"
    configuration "$safe" "$PYXIS_TEST_LINE"
    doctor : --slurm "$work" --slurm-conf "$safe/slurm.conf"
    nothing_ran
    [[ $output == *"slurm-untrusted"* ]]
    # Nor by way of root's link, nor in a directory that is open to all.
    ln -s "$work" "$safe/link"
    doctor : --slurm "$safe/link" --slurm-conf "$safe/slurm.conf"
    nothing_ran
}

@test "a configuration by way of a user's link, or included from a user's directory" {
    mkdir "$safe/conf"
    configuration "$safe/conf" "include $work/*.conf"
    trap_at "$work/payload"
    echo "required $plugin pyxis_path=$work/payload" > "$work/a.conf"
    chown -R 64101:64101 "$work"
    doctor : --slurm-conf "$safe/conf/slurm.conf"
    nothing_ran
    [[ $output == *"access-writable"*"belongs to uid 64101"* ]]
    ln -s "$safe/conf/slurm.conf" "$work/slurm.conf"
    chown -h 64101:64101 "$work/slurm.conf"
    doctor : --slurm-conf "$work/slurm.conf"
    [[ $output == *"conf-untrusted"* ]]
}

@test "pyxis_path of root's configuration that is a user's program: not executed; root's: as nobody, and with nothing of root's" {
    configuration "$safe" "required $plugin pyxis_path=$work/payload"
    trap_at "$work/payload"
    chown -R 64101:64101 "$work"
    doctor : --slurm-conf "$safe/slurm.conf"
    nothing_ran
    [[ $output == *"access-writable"*"$work"*"belongs to uid 64101"* ]]
    # shellcheck disable=SC2016
    printf '#!/bin/sh\n(id -u; id -G; echo "$SECRET"; grep NoNewPrivs /proc/self/status; (: < /dev/tty) 2>&1) >> %s/executed\n' "$traps" > "$safe/payload"
    chmod 755 "$safe/payload"
    sed -i "s|pyxis_path=.*|pyxis_path=$safe/payload|" "$safe/plugstack.conf"
    doctor 'export SECRET=1' --slurm-conf "$safe/slurm.conf"
    run cat "$traps/executed"
    echo "$output"
    [ "$status" -eq 0 ]
    [ "${lines[0]}" = 65534 ]
    [ "${lines[1]}" = 65534 ]
    [[ $output != *$'\n1\n'* ]]
    [[ $output == *"/dev/tty"* ]]
}

@test "squashfuse and enroot in a user's directory in root's PATH are not executed" {
    configuration "$safe" "$PYXIS_TEST_LINE"
    for tool in squashfuse enroot; do trap_at "$work/$tool"; done
    chown -R 64101:64101 "$work"
    doctor "PATH=$work:\$PATH" --slurm-conf "$safe/slurm.conf"
    nothing_ran
    [[ $output == *"tool-untrusted"* ]]
}

@test "names with quotes, newlines and escapes: no command of theirs is run by who pastes, nothing reaches the terminal" {
    mkdir "$safe/d"
    configuration "$safe" "include $safe/d/*.conf"
    local commands name=$'a\'; touch executed #\n\e]0;t\a\u009b2J$(touch executed).conf'
    echo "optional $plugin pyxis_path=$PYXIS_TEST_COMMAND" > "$safe/d/$name"
    doctor : --slurm-conf "$safe/slurm.conf"
    [[ $output == *"line-optional"* ]]
    [[ $output != *$'\u009b'* ]]
    strange=$(LC_ALL=C tr -d '\n -~' <<< "$output")
    [ -z "$strange" ]
    commands=$(sed -n '/line-optional/{n;s/^ *-> //p}' <<< "$output")
    (cd "$traps" && bash -c "$commands")
    nothing_ran
    grep -q ^required "$safe/d/$name"
    # The same for monitoring.
    doctor : --json --slurm-conf "$safe/slurm.conf"
    [[ $output != *$'\u009b'* && $output != *$'\e'* ]]
    python3 -c 'import json, sys; json.loads(sys.argv[1])' "$output"
}

@test "a FIFO, an endless file, a device and a directory as configuration" {
    local odd
    for odd in fifo zero sparse directory; do
        rm -rf "$safe/odd"
        case $odd in
            fifo) mkfifo -m 644 "$safe/odd" ;;
            zero) ln -s /dev/zero "$safe/odd" ;;
            sparse) truncate -s 1T "$safe/odd" ;;
            directory) mkdir "$safe/odd" ;;
        esac
        doctor : --slurm-conf "$safe/odd"
        [[ $output == *"conf-unreadable"*"$safe/odd cannot be read"* ]]
        configuration "$safe" "include $safe/odd"
        doctor : --slurm-conf "$safe/slurm.conf"
        [[ $output == *"plugstack-unreadable"* ]]
        configuration "$safe" "required $safe/odd pyxis_path=$PYXIS_TEST_COMMAND"
        mv "$safe/odd" "$safe/pyxis.so"
        sed -i "s|$safe/odd|$safe/pyxis.so|" "$safe/plugstack.conf"
        doctor : --slurm-conf "$safe/slurm.conf"
        [[ $output == *"line-file"* ]]
        run root timeout 60 "$PYXIS_TEST_COMMAND" version "$safe/pyxis.so"
        [ "$status" -eq 1 ]
        run root timeout 60 env PYXIS_CONFIG="$safe/pyxis.so" "$PYXIS_TEST_COMMAND" config
        [ "$status" -eq 1 ]
        rm -rf "$safe/pyxis.so"
    done
}

@test "programs that never end, print for ever, or leave their pipe to others" {
    local begin
    configuration "$safe" "required $plugin pyxis_path=$safe/payload"
    for script in 'exec sleep 1000' 'exec yes' 'sleep 1000 & echo 0.0.0' 'trap "" TERM INT HUP; while :; do sleep 1000; done'; do
        printf '#!/bin/sh\n%s\n' "$script" > "$safe/payload"
        chmod 755 "$safe/payload"
        begin=$SECONDS
        doctor : --slurm-conf "$safe/slurm.conf"
        ((SECONDS - begin <= 60)) || false
        [[ $output == *"command-broken"* || $output == *"command-other"* ]]
    done
}

@test "a user's file system that says of its files that they are root's" {
    # Its server takes requests and answers none, so that whoever asks it waits.
    configuration "$safe" "include $work/mnt/*.conf"
    mkdir "$work/mnt"
    chown -R 64101:64101 "$work"
    cp "$BATS_TEST_DIRNAME/silent.py" "$safe/silent.py"
    local mounts="python3 $safe/silent.py $work/mnt 64101 &"$'\n'"until grep -q ' $work/mnt ' /proc/self/mountinfo; do sleep 0.1; done"
    doctor "$mounts" --slurm-conf "$work/mnt/slurm.conf"
    [[ $output == *"conf-untrusted"* ]]
    # All of the way is root's, but for what is mounted there.
    chown root:root "$work"
    chmod 755 "$work"
    doctor "$mounts" --slurm-conf "$work/mnt/slurm.conf"
    [[ $output == *"conf-untrusted"*"that uid 64101 serves"* ]]
    doctor "$mounts" --slurm-conf "$safe/slurm.conf" --slurm "$work/mnt"
    doctor "$mounts" --slurm-conf "$safe/slurm.conf"
    configuration "$safe" "required $work/mnt/spank_pyxis.so pyxis_path=$work/mnt/pyxis runtime_path=$work/mnt/run"
    doctor "$mounts" --slurm-conf "$safe/slurm.conf"
    [[ $output == *"line-file"* ]]
    configuration "$safe" "required $plugin pyxis_path=$work/mnt/pyxis runtime_path=$work/mnt/run"
    doctor "$mounts" --slurm-conf "$safe/slurm.conf"
    [[ $output == *"command-missing"* ]]
    [[ $output == *"runtime-path"*"that uid 64101 serves"* ]]
    chmod 777 "$work"
}

@test "the image of a node is not asked for names: its libraries are not loaded" {
    mkdir -p "$safe/image"/{etc/pyxis,tmp,usr/lib/x86_64-linux-gnu}
    ln -s usr/lib "$safe/image/lib"
    chmod 1777 "$safe/image/tmp"
    printf '#include <fcntl.h>\n__attribute__((constructor)) static void loaded(void) { open("/tmp/loaded", O_CREAT, 0600); }\n' |
        gcc -shared -fPIC -x c - -o "$safe/image/usr/lib/x86_64-linux-gnu/libnss_evil.so.2"
    echo 'passwd: evil' > "$safe/image/etc/nsswitch.conf"
    printf '[paths]\ndata = "%%h/%%U"\n' > "$safe/image/etc/pyxis/pyxis.toml"
    doctor : --root "$safe/image"
    [[ $output != *"settings:"*"unknown"* ]]
    [ ! -e "$safe/image/tmp/loaded" ]
}

@test "a user who asks believes nobody else, and executes nothing of others'" {
    slurm_in "$work"
    cp "$BATS_FILE_TMPDIR/fake" "$work/slurmd"
    configuration "$work" "required $work/spank_pyxis.so pyxis_path=$work/payload"
    cp "$plugin" "$work/spank_pyxis.so"
    trap_at "$work/payload"
    chown -R 64101:64101 "$work"
    run root timeout -k 1 120 unshare --mount --pid --fork --mount-proc --kill-child -- env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        sh -c "$as_attacker $work/slurmd -f $work/slurm.conf & sleep 0.2
               setpriv --reuid 64102 --regid 64102 --clear-groups $PYXIS_TEST_COMMAND doctor
               setpriv --reuid 64102 --regid 64102 --clear-groups $PYXIS_TEST_COMMAND doctor --slurm $work --slurm-conf $work/slurm.conf"
    echo "$output"
    # Whether there is something to be mended or not, it does not hang.
    ((status <= 1))
    [[ $output == *"checks are fine"* || $output == *"healthy"* ]]
    nothing_ran
}
