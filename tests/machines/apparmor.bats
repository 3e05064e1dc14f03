#!/usr/bin/env bats
# AppArmor as Ubuntu ships it: users' programs make no user namespaces but for those that have a profile, and the package brings
# pyxis's. MACHINE is the state of one that is up (noble).

load common

setup() {
    machine_setup
    setting=kernel.apparmor_restrict_unprivileged_userns
}

# Also after a test that failed in the middle.
undo() {
    root sysctl -q -w "$setting=1"
    root apparmor_parser -r /etc/apparmor.d/pyxis
}
teardown() { machine_teardown; }

# The profile is loaded, and a step's container starts.
profile_lets_containers_start() {
    run root cat /sys/kernel/security/apparmor/profiles
    tail -n 3 <<< "$output"
    [ "$status" -eq 0 ]
    output_has 'pyxis (unconfined)'
    run_srun --container-image="$images"/busybox.sqsh echo runs
    [ "$status" -eq 0 ]
    output_has runs
}

@test "it is as shipped: the setting is on, users' programs make no user namespaces, and containers start" {
    [ "$(root sysctl -n "$setting")" = 1 ]
    [ "$(root systemctl is-active apparmor)" = active ]
    run user unshare --user --map-root-user echo made
    echo "$output"
    [ "$status" -ne 0 ]
    profile_lets_containers_start
    run user pyxis start "$images"/busybox.sqsh echo runs, too
    echo "$output"
    [ "$status" -eq 0 ]
    output_has "runs, too"
    nothing_left
}

@test "helpers have the profile, and a step's program has what it has on the node" {
    hold --container-image="$images"/busybox.sqsh
    run root_sh 'for pid in $(pgrep "^pyxis-"); do echo "$(cat /proc/$pid/comm) $(cat /proc/$pid/attr/current)"; done'
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$(sort -u <<< "$output")" = $'pyxis-image pyxis (unconfined)\npyxis-keeper pyxis (unconfined)' ]
    run_srun --container-image="$images"/busybox.sqsh cat /proc/self/attr/current
    [ "$status" -eq 0 ]
    [ "$output" = unconfined ]
    # As in a container of the command's.
    run user pyxis start "$images"/busybox.sqsh cat /proc/self/attr/current
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$output" = unconfined ]
    [ "$(user srun cat /proc/self/attr/current)" = unconfined ]
    release
    nothing_left
}

@test "remapped root mounts inside, in a step and in a container of the command's" {
    mounts='mount -t tmpfs inside /mnt && echo written > /mnt/file && cat /mnt/file && umount /mnt && echo done'
    run_srun --container-image="$images"/debian.sqsh --container-remap-root sh -c "$mounts"
    [ "$status" -eq 0 ]
    output_has $'written\ndone'
    run user pyxis start --root "$images"/debian.sqsh sh -c "$mounts"
    echo "$output"
    [ "$status" -eq 0 ]
    output_has $'written\ndone'
    nothing_left
}

@test "a program inside makes user namespaces as one on the node does, in a step and in a container of the command's" {
    makes='unshare --user --map-root-user --mount sh -c "mount -t tmpfs made /mnt && echo made" || echo refused'
    [ "$(user sh -c "$makes" 2> /dev/null)" = refused ]
    run_srun --container-image="$images"/debian.sqsh sh -c "$makes"
    [ "$status" -eq 0 ]
    output_has refused
    run user pyxis start "$images"/debian.sqsh sh -c "$makes"
    echo "$output"
    [ "$status" -eq 0 ]
    output_has refused
    root sysctl -q -w "$setting=0"
    run_srun --container-image="$images"/debian.sqsh sh -c "$makes"
    [ "$status" -eq 0 ]
    output_has made
    run user pyxis start "$images"/debian.sqsh sh -c "$makes"
    echo "$output"
    [ "$status" -eq 0 ]
    output_has made
}

@test "doctor: healthy as shipped; without the profile it names the setting, and what it says to do mends it" {
    run root pyxis doctor
    echo "$output"
    [ "$status" -eq 0 ]
    root apparmor_parser -R /etc/apparmor.d/pyxis
    run_srun --container-image="$images"/busybox.sqsh echo ran-anyway
    [ "$status" -ne 0 ]
    output_lacks $'\nran-anyway'
    output_has apparmor
    run root pyxis doctor
    echo "$output"
    [ "$status" -eq 1 ]
    output_has "$setting is 1"
    mend=$(sed -n 's/^ *-> \(apparmor_parser .*\)/\1/p' <<< "$output" | head -n 1)
    [ -n "$mend" ]
    root_sh "$mend"
    run root pyxis doctor
    echo "$output"
    [ "$status" -eq 0 ]
    run_srun --container-image="$images"/busybox.sqsh echo runs
    [ "$status" -eq 0 ]
}

@test "doctor: healthy where users may make them, with the profile and without" {
    root sysctl -q -w "$setting=0"
    run root pyxis doctor
    echo "$output"
    [ "$status" -eq 0 ]
    root apparmor_parser -R /etc/apparmor.d/pyxis
    run root pyxis doctor
    echo "$output"
    [ "$status" -eq 0 ]
    run_srun --container-image="$images"/busybox.sqsh echo runs
    [ "$status" -eq 0 ]
}

@test "the profile goes with the package, and comes with it" {
    run root_sh 'dpkg -r --force-depends pyxis > /dev/null; ls /etc/apparmor.d/pyxis; cat /sys/kernel/security/apparmor/profiles'
    again=$(root sh -c 'apt-get -q -y -o Dpkg::Use-Pty=0 install pyxis > /run/apt.out 2>&1 || cat /run/apt.out')
    echo "$output $again"
    [ "$status" -eq 0 ]
    output_has "cannot access '/etc/apparmor.d/pyxis'"
    output_lacks 'pyxis (unconfined)'
    profile_lets_containers_start
}
