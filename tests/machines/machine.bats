#!/usr/bin/env bats
# What only a machine can show: a distribution's own kernel, systemd and cgroups, Slurm by its units, as an ordinary user. MACHINE
# is the state of one that is up, of `machine up`. Nothing is said about time: the processor is emulated.

load common

setup_file() {
    mkdir -p "$BATS_FILE_TMPDIR"/deb/{DEBIAN,usr/share/doc/adduser,usr/share/made-up}
    printf 'Package: made-up\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: made up\n' > "$BATS_FILE_TMPDIR/deb/DEBIAN/control"
    echo new > "$BATS_FILE_TMPDIR/deb/usr/share/made-up/file"
    dpkg-deb --root-owner-group -b "$BATS_FILE_TMPDIR/deb" "$BATS_FILE_TMPDIR/made-up.deb" > /dev/null
    machine root sh -c 'cat > /srv/made-up.deb' < "$BATS_FILE_TMPDIR/made-up.deb"
}

setup() { machine_setup; }
teardown() { machine_teardown; }

@test "the machine is as a site has it: cgroups, Slurm by its units, memory and devices constrained" {
    # Slurm before 22.05 knows their first version only.
    version=cgroup2fs
    [[ $suite != bullseye && $suite != jammy ]] || version=tmpfs
    [ "$(root stat -f -c %T /sys/fs/cgroup)" = "$version" ]
    [ "$(root systemctl is-active munge slurmctld slurmd | sort -u)" = active ]
    [ "$(user id -u)" -ne 0 ]
    run root scontrol show config
    [ "$status" -eq 0 ]
    [[ $output =~ ProctrackType\ *=\ proctrack/cgroup ]]
    [[ $output =~ ConstrainRAMSpace\ *=\ yes ]]
    [[ $output =~ ConstrainDevices\ *=\ yes ]]
}

@test "doctor finds nothing to mend, but what a kernel before 5.11 has not" {
    run root pyxis doctor
    echo "$output"
    if [[ $suite == bullseye ]]; then
        [ "$status" -eq 1 ]
        output_has "kernel-overlay: users cannot mount overlays"
        output_has "1 error, 0 warnings"
    else
        [ "$status" -eq 0 ]
        output_has healthy
    fi
}

@test "a container is its user's, and all processes of it are in the cgroup of the step" {
    hold --container-image="$images"/busybox.sqsh
    run root_sh 'for pid in $(pgrep "^pyxis-"); do echo "$(cat /proc/$pid/comm) $(stat -c %U /proc/$pid) $(tr "\n" " " < /proc/$pid/cgroup)"; done'
    echo "$output"
    [ "$status" -eq 0 ]
    keeper=$(grep pyxis-keeper <<< "$output")
    step=/$(job_directory "$held")/step_0/
    if [[ $suite == bullseye ]]; then
        # What is unpacked needs no server.
        output_lacks pyxis-image
    else
        image=$(grep pyxis-image <<< "$output")
        [[ $image == *"$step"* ]]
    fi
    [[ $keeper == *"$step"* ]]
    release
    nothing_left
}

@test "tasks of a step share one container, and a mount, a working directory and remapped root are as asked for" {
    run_srun -n2 --overcommit --container-image="$images"/entrypoint.sqsh --container-mounts="$work:/mnt" --container-workdir=/mnt \
        --container-remap-root --container-writable sh -c 'id -u; pwd; readlink /proc/self/ns/mnt; touch /mnt/$SLURM_PROCID'
    [ "$status" -eq 0 ]
    [ "$(grep -c '^0$' <<< "$output")" -eq 2 ]
    [ "$(grep -c '^/mnt$' <<< "$output")" -eq 2 ]
    [ "$(grep '^mnt:' <<< "$output" | sort -u | wc -l)" -eq 1 ]
    [ "$(user ls "$work" | tr '\n' ' ')" = "0 1 " ]
    [ "$(user stat -c %U "$work/0")" = alice ]
    nothing_left
}

@test "directories of the image are renamed and removed, and dpkg installs and removes, in a container without a name" {
    run_srun --container-image="$images"/debian.sqsh --container-mounts=/srv:/srv:ro --container-remap-root --container-writable sh -ec '
        mv /etc/init.d /etc/renamed
        rm -r /etc/renamed /usr/share/bash-completion /etc/pam.d
        dpkg -i /srv/made-up.deb
        cat /usr/share/made-up/file
        dpkg --force-depends --force-remove-essential -P made-up squashfuse
        ls -d /etc/init.d /usr/share/made-up 2> /dev/null || echo gone'
    [ "$status" -eq 0 ]
    output_has $'\nnew\n'
    output_has gone
    output_lacks "cross-device"
    nothing_left
}

@test "a named container is written to, kept over a reboot, and removed by its user" {
    run_srun --container-image="$images"/busybox.sqsh --container-name=kept --container-writable sh -c 'echo stays > /etc/written; rm -r /var/tmp'
    [ "$status" -eq 0 ]
    # Running when the machine goes down.
    hold --container-name=kept
    machine reboot
    user scancel "$held"
    nothing_left
    run_srun --container-name=kept sh -c 'cat /etc/written; test -e /var/tmp || echo still gone'
    [ "$status" -eq 0 ]
    output_has stays
    output_has "still gone"
    [ "$(user pyxis list)" = pyxis_kept ]
    user pyxis remove -f pyxis_kept
    names=$(user pyxis list)
    [ -z "$names" ]
    nothing_left
}

@test "slurmd restarted under a running container: it lives, others start, and its end is clean" {
    hold --container-image="$images"/busybox.sqsh --container-name=lives
    root systemctl restart slurmd
    eventually user srun --overlap -Q --jobid="$held" --container-name=lives:exec true
    run_srun --container-image="$images"/busybox.sqsh true
    [ "$status" -eq 0 ]
    release
    user pyxis remove -f pyxis_lives
    nothing_left
}

@test "pyxis installed again by apt under a running container: it lives, and others start" {
    hold --container-image="$images"/busybox.sqsh
    root sh -c 'apt-get -q -y -o Dpkg::Use-Pty=0 install --reinstall pyxis > /run/apt.out 2>&1 || { cat /run/apt.out; exit 1; }'
    run_srun --container-image="$images"/busybox.sqsh echo started
    [ "$status" -eq 0 ]
    output_has started
    release
    nothing_left
}

@test "a step whose container another has joined ends when that one has, and serves its image so long" {
    [[ $suite != bullseye ]] || skip "no image has a server where the kernel has no overlays for users"
    held=$(user sbatch --parsable -o "$work/batch" --wrap "touch $work/runs; while [ ! -e $work/over ]; do sleep 1; done")
    undo() { user touch "$work/over" "$work/end" "$work/read"; }
    # No step begins in a job that does not run yet.
    eventually user test -e "$work/runs"
    user_sh "srun --overlap -v --jobid=$held --container-image=$images/debian.sqsh --container-name=joined --container-mounts=$work \
        sh -c 'touch $work/up; while [ ! -e $work/end ]; do sleep 1; done; echo the program ends' > $work/first 2>&1 < /dev/null &"
    eventually user test -e "$work/up"
    # A file that nobody has read before. Of its step nothing tells its processes but their cgroup.
    user_sh "srun --overlap --jobid=$held --container-name=joined:exec env -i /bin/sh -c '/usr/bin/touch $work/second; while [ ! -e $work/read ]; do /usr/bin/sleep 1; done
        cat /usr/bin/perl | wc -c' > $work/joined 2>&1 < /dev/null &"
    eventually user test -e "$work/second"
    user touch "$work/end"
    eventually user grep -q "the program ends" "$work/first"
    eventually user grep -q "another step is using container" "$work/first"
    user touch "$work/read"
    eventually user_sh "[ \"\$(squeue -h -s -j $held -o %i | grep -c '\.[0-9]')\" = 0 ]"
    user cat "$work/first" "$work/joined"
    [ "$(user cat "$work/joined")" = "$(user stat -c %s /usr/bin/perl)" ]
    undo
    settle
    user pyxis remove -f pyxis_joined
    nothing_left
}

# With cgroups of version 2 Slurm 25.05 and later kill what is in the step's own, where slurmstepd is not.
@test "what slurmstepd saves, as the task that would is killed, is in the step's cgroup, and ends with it" {
    job=$(user sbatch --parsable -o "$work/out" --wrap "srun --container-image=$images/busybox.sqsh --container-writable --container-save=$work/saved.sqsh \
        sh -c 'dd if=/dev/urandom of=/filling bs=1M count=400 2> /dev/null; kill -KILL \$PPID; sleep 1000'")
    saves() { child=$(root_sh "parent=\$(pgrep -o -f 'slurmstepd: \\[$job.0\\]') && pgrep -x pyxis -P \$parent"); [ -n "$child" ]; }
    eventually saves
    run root cat "/proc/$child/cgroup"
    echo "$output"
    [ "$status" -eq 0 ]
    step=/$(job_directory "$job")/step_0
    if [[ $output == 0::* ]]; then output_has "$step/user/task_"; else grep freezer <<< "$output" | grep -F "$step"; fi
    # However slow the machine is, the image is not whole by then.
    root kill -STOP "$child"
    user scancel --signal=KILL "$job.0"
    settle
    gone() { [[ $(root sh -c "test -e /proc/$child || echo gone") == gone ]]; }
    eventually gone
    user cat "$work/out"
    user test ! -e "$work/saved.sqsh"
    eventually idle
    nothing_left
}

# Whose steps are of slurmstepd's own user, which ends what is left of others.
@test "root's own step ends as others do, and is saved" {
    run root timeout 200 srun --container-image="$images/busybox.sqsh" --container-writable --container-save=/srv/saved.sqsh touch /made
    echo "$output"
    [ "$status" -eq 0 ]
    root sh -c 'unsquashfs -l /srv/saved.sqsh | grep -q /made && rm /srv/saved.sqsh'
    eventually idle
    nothing_left
}

@test "a step cancelled, and a slurmstepd killed, leave nothing" { cancelled_and_killed; }

@test "what a container takes is charged to the step, which its limit ends; nothing is left, and the node goes on" {
    run_srun --mem="$((120 + unpacked))M" --container-image="$images"/debian.sqsh perl -e 'my $x = "x" x (300 << 20); print "has it\n"'
    [ "$status" -ne 0 ]
    output_lacks "has it"
    [[ ${output,,} == *oom* ]] || [[ ${output,,} == *"out of memory"* ]] || [[ ${output,,} == *killed* ]]
    nothing_left
    run_srun --mem="$((120 + unpacked))M" --container-image="$images"/debian.sqsh perl -e 'my $x = "x" x (30 << 20); print "has it\n"'
    [ "$status" -eq 0 ]
    output_has "has it"
}

@test "when its limit is met by what no program holds, the kernel ends a program and not the image's server" {
    [[ $suite != bullseye ]] || skip "no image has a server where the kernel has no overlays for users"
    undo() { root rm -f /dev/shm/full; }
    root dmesg --clear
    # The server has read much by then, and the programs have next to nothing.
    run_srun --mem=120M --container-image="$images"/debian.sqsh bash -c 'cat /proc/self/oom_score_adj
        find /usr/lib /usr/bin -xdev -type f -size -1000k | head -n 1500 | xargs cat > /dev/null
        dd if=/dev/zero of=/dev/shm/full bs=1M count=400 && echo has it'
    [ "$status" -ne 0 ]
    output_lacks "has it"
    victims=$(root_sh 'dmesg | sed -n "s/.*Killed process [0-9]* (\([^)]*\)).*/\1/p"')
    echo "ended: $victims"
    [ -n "$victims" ]
    [[ ${victims%%$'\n'*} != pyxis-* ]]
    undo
    nothing_left
}

@test "user namespaces forbidden: no program runs, and the line names the setting; doctor says so; allowed again, it does" {
    undo() { root sysctl -q -w user.max_user_namespaces=10000; }
    root sysctl -q -w user.max_user_namespaces=0
    run_srun --container-image="$images"/busybox.sqsh echo ran-anyway
    [ "$status" -ne 0 ]
    output_lacks $'\nran-anyway'
    output_has "user.max_user_namespaces"
    run root pyxis doctor
    echo "$output"
    [ "$status" -eq 1 ]
    output_has "user.max_user_namespaces"
    undo
    run_srun --container-image="$images"/busybox.sqsh echo runs
    [ "$status" -eq 0 ]
    output_has runs
    nothing_left
}

@test "where a distribution closes /dev/fuse, the package opens it to users; a rule of the site's own comes last" {
    rules() { root_sh 'udevadm control --reload && udevadm trigger --action=change --sysname-match=fuse && udevadm settle'; }
    undo() {
        root rm -f /run/udev/rules.d/50-zz-closed.rules /etc/udev/rules.d/51-pyxis.rules /etc/udev/rules.d/99-site.rules
        rules
    }
    rule='KERNEL=="fuse", SUBSYSTEM=="misc", MODE='
    root_sh "mkdir -p /run/udev/rules.d && echo '$rule\"0600\"' > /run/udev/rules.d/50-zz-closed.rules"
    # Without the package's.
    root ln -s /dev/null /etc/udev/rules.d/51-pyxis.rules
    rules
    [ "$(root stat -c %a /dev/fuse)" = 600 ]
    run root pyxis doctor
    echo "$output"
    output_has /dev/fuse
    # It does not wait for the next boot.
    root rm /etc/udev/rules.d/51-pyxis.rules
    root sh -c 'apt-get -q -y -o Dpkg::Use-Pty=0 install --reinstall pyxis > /run/apt.out 2>&1 || { cat /run/apt.out; exit 1; }'
    root udevadm settle
    [ "$(root stat -c %a /dev/fuse)" = 666 ]
    run_srun --container-image="$images"/busybox.sqsh echo started
    [ "$status" -eq 0 ]
    output_has started
    root_sh "echo '$rule\"0640\"' > /etc/udev/rules.d/99-site.rules"
    rules
    [ "$(root stat -c %a /dev/fuse)" = 640 ]
    undo
    [ "$(root stat -c %a /dev/fuse)" = 666 ]
    nothing_left
}
