#!/usr/bin/env bats
# What sites set on their nodes beside Slurm, and containers all the same. MACHINE is the state of one that is up, of `machine up`.

load common

setup() { machine_setup; }
teardown() { machine_teardown; }

# What users may see of and do to processes, as strict as it can be taken back.
@test "hidepid and yama: containers start, are joined and end" {
    yama=$(root sysctl -n kernel.yama.ptrace_scope)
    undo() {
        root mount -o remount,hidepid=0 /proc
        root sysctl -q -w "kernel.yama.ptrace_scope=$yama"
    }
    root mount -o remount,hidepid=2 /proc
    root sysctl -q -w kernel.yama.ptrace_scope=2
    hold --container-image="$images"/busybox.sqsh --container-name=hidden
    run_srun --overlap -Q --jobid="$held" --container-name=hidden:exec sh -c 'echo joined'
    [ "$status" -eq 0 ]
    output_has joined
    release
    run user pyxis start "$images"/busybox.sqsh echo runs
    echo "$output"
    [ "$status" -eq 0 ]
    user pyxis remove -f pyxis_hidden
    undo
    nothing_left
}

@test "a /tmp in which nothing may be executed, and no devices are" {
    undo() { root sh -c 'umount -l /tmp'; undo() { :; }; }
    root mount -t tmpfs -o noexec,nosuid,nodev,mode=1777 tmp /tmp
    run_srun --container-image="$images"/debian.sqsh --container-remap-root --container-writable sh -c 'cp /bin/sh /made && /made -c "echo runs"; rm -r /etc/pam.d && echo removed'
    [ "$status" -eq 0 ]
    output_has runs
    output_has removed
    eventually is_clean
    undo
    nothing_left
}

@test "a full disk: the program is told, a save fails with a line, and nothing is left" {
    undo() { root sh -c 'umount -l /srv/small'; undo() { :; }; }
    root sh -c 'mkdir -p /srv/small && mount -t tmpfs -o size=8m,mode=1777 small /srv/small'
    run_srun --container-image="$images"/busybox.sqsh --container-mounts=/srv/small:/small sh -c 'dd if=/dev/zero of=/small/fill bs=64k; echo went on'
    [ "$status" -eq 0 ]
    output_has "No space left"
    output_has "went on"
    run_srun --container-image="$images"/busybox.sqsh --container-save=/srv/small/saved.sqsh true
    [ "$status" -ne 0 ]
    output_has "No space left"
    left=$(root ls -A /srv/small)
    [ "$left" = fill ]
    undo
    nothing_left
}

@test "what a step says is in slurmd's log where there is one, what slurmd says in its unit's journal" {
    undo() {
        root sh -c 'sed -i /^SlurmdLogFile/d /etc/slurm/slurm.conf; rm -f /srv/slurmd.log; systemctl restart slurmctld slurmd'
        eventually idle
    }
    root sh -c 'echo SlurmdLogFile=/srv/slurmd.log >> /etc/slurm/slurm.conf; systemctl restart slurmctld slurmd'
    eventually idle
    run_srun --container-image=/nowhere.sqsh true
    [ "$status" -ne 0 ]
    output_has "cannot open image /nowhere.sqsh"
    eventually root grep -q 'pyxis.*/nowhere.sqsh' /srv/slurmd.log
    run root journalctl -q -n 50 -o cat -u slurmd
    [ "$status" -eq 0 ]
    output_lacks "core dump"
    output_lacks "segfault"
    undo
}

@test "an upgrade by apt, plugin and command, under a running container: it lives and ends well, and others start" {
    undo() {
        root sh -c 'apt-get -q -y -o Dpkg::Use-Pty=0 --allow-downgrades install "pyxis=$(cat /srv/new/was)" "$(cat /srv/new/plugin)=$(cat /srv/new/was)" \
            > /run/apt.out 2>&1 || { cat /run/apt.out; exit 1; }; rm -r /srv/new'
        undo() { :; }
    }
    hold --container-image="$images"/busybox.sqsh --container-name=lives --container-writable
    run root_sh 'set -e; rm -rf /srv/new; mkdir /srv/new; cd /srv/new
        plugin=$(dpkg-query -W -f "\${db:Status-Status} \${Package}\n" "pyxis-slurm*" | sed -n "s/^installed //p"); echo "$plugin" > plugin
        dpkg-query -W -f "\${Version}" pyxis > was
        for deb in /payload/repo/deb/pyxis_*.deb "/payload/repo/deb/${plugin}_"*.deb; do
            dpkg-deb -R "$deb" tree
            sed -i "s/^Version: .*/Version: 9.0-1/; s/, pyxis (= [^)]*)/, pyxis (= 9.0-1)/" tree/DEBIAN/control
            dpkg-deb -Znone -b tree . > /dev/null
            rm -r tree
        done
        apt-get -q -y -o Dpkg::Use-Pty=0 install ./*.deb > /run/apt.out 2>&1 || { cat /run/apt.out; exit 1; }
        dpkg-query -W -f "\${Version}\n" pyxis "$plugin"'
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$output" = $'9.0-1\n9.0-1' ]
    run_srun --overlap --jobid="$held" --container-name=lives:exec sh -c 'echo joined > /written'
    [ "$status" -eq 0 ]
    run_srun --container-image="$images"/busybox.sqsh echo started
    [ "$status" -eq 0 ]
    output_has started
    release
    run_srun --container-name=lives cat /written
    [ "$status" -eq 0 ]
    output_has joined
    user pyxis remove -f pyxis_lives
    undo
    nothing_left
}

@test "a session of logind's: containers are in its scope, and go when it is ended" {
    bob_holds
    every_cgroup_has '/user.slice/user-[0-9]*.slice/session-'
    # Its connection ends with it.
    root loginctl terminate-user bob
    nothing_left
}
# A container of bob's from a session, until that is ended. It reads nothing.
bob_holds() {
    as_bob sh -c 'rm -f ~/begun; (pyxis start --mount $HOME:/mnt '"$images"'/busybox.sqsh sh -c "touch /mnt/begun; sleep 100000" > /dev/null 2>&1 &)'
    eventually as_bob test -e begun
}
# All processes of it, as the node sees them: inside they are at the top of what they see.
every_cgroup_has() {
    local others
    run root_sh 'for pid in $(pgrep -u bob -x sleep; pgrep -u bob "^pyxis-"); do echo "$(cat /proc/$pid/comm) $(tr "\n" " " < /proc/$pid/cgroup)"; done'
    echo "$output"
    output_has sleep
    others=$(grep -v "$1" <<< "$output" || true)
    [ -z "$others" ]
}

@test "systemd-run: a scope and a service of the user's have containers; one that is stopped leaves nothing" {
    run user systemd-run --user --scope --quiet pyxis start "$images"/busybox.sqsh echo in a scope
    echo "$output"
    [ "$status" -eq 0 ]
    output_has "in a scope"
    run root systemd-run --quiet --wait --pipe --uid=alice --setenv=HOME=/home/alice srun --container-image="$images"/busybox.sqsh echo by a service
    echo "$output"
    [ "$status" -eq 0 ]
    output_has "by a service"
    user systemd-run --user --quiet --unit=held pyxis start --mount "$work:/mnt" "$images"/busybox.sqsh sh -c 'touch /mnt/up; sleep 100000'
    eventually user test -e "$work/up"
    user systemctl --user stop held
    nothing_left
}

# Whether this Slurm has a plugin of that name.
has_plugin() { root_sh "ls /usr/lib/*/slurm*/$1.so" > /dev/null 2>&1; }
# own_tmp FILE TEXT LINE: what holds with that line of slurm.conf, and that text of another file of its.
own_tmp() {
    undo() {
        root_sh 'sed -i "/^JobContainerType/d; /^NamespaceType/d" /etc/slurm/slurm.conf; rm -f /etc/slurm/namespace.yaml /etc/slurm/job_container.conf; systemctl restart slurmctld slurmd'
        eventually idle
    }
    root_sh "mkdir -p /srv/jobs; printf '$2' > /etc/slurm/$1; echo $3 >> /etc/slurm/slurm.conf; systemctl restart slurmctld slurmd"
    eventually idle
    run_srun --container-image="$images"/busybox.sqsh --container-mounts=/tmp:/of-job --container-writable sh -c 'ls -A /of-job; touch /of-job/mine; echo runs'
    [ "$status" -eq 0 ]
    output_has runs
    output_lacks "${work##*/}"
    settle
    made=$(root find /tmp -name mine)
    [ -z "$made" ]
    left=$(root_sh 'find /srv/jobs -mindepth 2 ! -name ".*"; grep " /srv/jobs/[^ ]*/" /proc/self/mountinfo' || true)
    [ -z "$left" ]
    # Two tasks in one container, which stays.
    run_srun -n2 --overcommit --container-image="$images"/debian.sqsh --container-name=of-job --container-writable sh -c 'readlink /proc/self/ns/mnt; touch /etc/made-$SLURM_PROCID'
    [ "$status" -eq 0 ]
    [ "$(grep '^mnt:' <<< "$output" | sort -u | wc -l)" -eq 1 ]
    run_srun --container-name=of-job ls /etc/made-0 /etc/made-1
    [ "$status" -eq 0 ]
    user pyxis remove -f pyxis_of-job
    run_srun --container-image="$images"/debian.sqsh sh -c 'exit 7'
    [ "$status" -eq 7 ]
    undo
    nothing_left
}

@test "job_container/tmpfs, from 25.11 on namespace/tmpfs: a container has the job's own /tmp, and both are gone afterwards" {
    line=JobContainerType=job_container/tmpfs
    has_plugin job_container_tmpfs || line=NamespaceType=namespace/tmpfs
    has_plugin job_container_tmpfs || has_plugin namespace_tmpfs || skip "this Slurm has neither"
    own_tmp job_container.conf 'AutoBasePath=true\nBasePath=/srv/jobs\n' "$line"
}

@test "namespace/linux: as with namespace/tmpfs, also where the processes of a job have numbers of their own" {
    has_plugin namespace_linux || skip "this Slurm has no namespace/linux"
    own_tmp namespace.yaml 'defaults:\n  auto_base_path: true\n  base_path: "/srv/jobs"\n' NamespaceType=namespace/linux
    own_tmp namespace.yaml 'defaults:\n  auto_base_path: true\n  base_path: "/srv/jobs"\n  clone_ns_flags:\n    - CLONE_NEWPID\n' NamespaceType=namespace/linux
}

@test "pam_slurm_adopt: who has no job does not get in; who has one is in its cgroup, and so is a container from there" {
    undo() {
        root_sh 'sed -i /pam_slurm_adopt/d /etc/pam.d/sshd; sed -i "s/^#\(.*pam_systemd.so\)/\1/" /etc/pam.d/common-session'
        root scancel -u bob
    }
    # As its manual says: pam_systemd would take the process out of the job again.
    root_sh 'echo "account required pam_slurm_adopt.so" >> /etc/pam.d/sshd; sed -i "s/^[^#].*pam_systemd.so/#&/" /etc/pam.d/common-session'
    # The connection that there was.
    root_sh 'loginctl terminate-user bob; pkill -KILL -u bob; while pgrep -u bob; do sleep 0.1; done' || true
    run as_bob true
    [ "$status" -ne 0 ]
    job=$(root runuser -u bob -- sbatch --parsable -D / -o /dev/null --wrap 'sleep 100000')
    eventually root sh -c "[ \"\$(squeue -h -j $job -o %T)\" = RUNNING ]"
    # The step that adopts is made beside the job's own.
    eventually as_bob true
    bob_holds
    every_cgroup_has "/$(job_directory "$job")/"
    undo
    nothing_left
}
as_bob() { MACHINE_USER=bob user "$@"; }
