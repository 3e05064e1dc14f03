# shellcheck shell=bash
# What the cluster's daemons are configured with: accounts, names, munge, slurm.conf, cgroup.conf, plugstack.conf.

# Ordinary users of the cluster. They exist inside it only.
users=(pyxistest pyxistest{2..50})
first_uid=64101

# Blocks of ports, below the range the kernel hands out itself, each with a note of the cluster that has it: one that boots
# has not bound its ports yet, and one whose daemons restart not any more.
ports=${CLUSTER_PORTS:-/run/pyxis-cluster.ports}
port_block=100

# The first of a block of ports that nobody has and nobody listens on. It is the cluster's while the process noted in file $1 lives.
free_ports() {
    local pid used base i try first=$RANDOM blocks=120
    mkdir -p "$ports"
    exec 8> "$ports/lock"
    flock 8
    used=$(awk 'FNR > 1 { split($2, a, ":"); print a[2] }' /proc/net/tcp /proc/net/tcp6 2> /dev/null | sort -u)
    for ((try = 0; try < blocks; try++)); do
        base=$((20000 + (first + try) % blocks * port_block))
        ! noted_alive "$ports/$base" || continue
        for ((i = 0; i < port_block; i++)); do
            [[ $used != *"$(printf '%04X' $((base + i)))"* ]] || continue 2
        done
        cat "$1" > "$ports/$base"
        exec 8>&-
        printf '%s' "$base"
        return
    done
    die "no $port_block free ports in a row between 20000 and 32000"
}

# What the process noted in file $1 has.
give_back_ports() {
    [[ -e $ports/lock && -e $1 ]] || return 0
    exec 8> "$ports/lock"
    flock 8
    find "$ports" -type f ! -name lock -exec cmp -s "$1" '{}' ';' -delete
    exec 8>&-
}

write_accounts() {
    local i uid
    for i in "${!users[@]}"; do
        uid=$((first_uid + i))
        printf '%s:x:%d:%d::%s:/bin/bash\n' "${users[i]}" $uid $uid "$state/home/${users[i]}" >> "$state/etc/passwd"
        printf '%s:x:%d:\n' "${users[i]}" $uid >> "$state/etc/group"
        printf '%s:*:1::::::\n' "${users[i]}" >> "$state/etc/shadow"
        install -d -m 700 -o $uid -g $uid "$state/home/${users[i]}"
    done
    # Like /tmp: every user may write, nobody may remove the other's files.
    install -d -m 1777 "$state/work"
    printf '127.0.0.1 localhost login %s %s\n' "$(hostname)" "${nodes[*]}" > "$state/etc/hosts"
}

# Key=Value lines on stdin, those of "$@" put over them.
override() {
    local lines setting
    lines=$(cat)
    for setting in "$@"; do
        [[ $setting == ?*=* ]] || die "--slurm-conf wants Key=Value, not '$setting'"
        lines=$(grep -v -i "^${setting%%=*}=" <<< "$lines" || true)
    done
    printf '%s\n' "$lines" "$@"
}

write_slurm_conf() {
    local port i proctrack=proctrack/cgroup release
    release=$(as_root login slurmctld -V < /dev/null) || die "slurmctld does not run"
    release=${release##* }
    release=${release%.*}
    release=${release/./}
    port=$(free_ports "$state/machine.pid")
    if ! grep -q freezer "$state/cgroups" 2> /dev/null; then proctrack=proctrack/linuxproc; fi
    {
        override "$@" << END
ClusterName=pyxis
SlurmctldHost=login(127.0.0.1)
SlurmctldPort=$port
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
PlugStackConfig=$state/etc/plugstack.conf
StateSaveLocation=/run/slurm/state
SlurmctldPidFile=/run/slurm/slurmctld.pid
SlurmctldLogFile=$state/log/slurmctld.log
SlurmdSpoolDir=/run/slurm/spool
SlurmdPidFile=/run/slurm/slurmd.pid
SlurmdLogFile=$state/log/slurmd.%n.log
SlurmctldDebug=info
SlurmdDebug=verbose
ProctrackType=$proctrack
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
SlurmdParameters=config_overrides
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
SlurmdTimeout=0
SlurmctldTimeout=30
InactiveLimit=0
KillWait=5
MailProg=/bin/true
UnkillableStepTimeout=30
MinJobAge=10
GetEnvTimeout=120
END
        for i in "${!nodes[@]}"; do
            echo "NodeName=${nodes[i]} NodeHostname=${nodes[i]} NodeAddr=127.0.0.1 Port=$((port + i + 1)) CPUs=8 State=UNKNOWN"
        done
        echo "PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=YES:64"
    } > "$state/etc/slurm.conf"
    {
        echo "CgroupMountpoint=/sys/fs/cgroup"
        # From 22.05 on there are two plugins; left to itself Slurm guesses from what else is mounted there.
        if ((release >= 2205)); then echo "CgroupPlugin=cgroup/v1"; fi
        echo "ConstrainCores=no"
        echo "ConstrainRAMSpace=no"
        echo "ConstrainDevices=no"
    } > "$state/etc/cgroup.conf"
}

# One argument per line of plugstack.conf.
write_plugstack() {
    if (($# == 0)); then set -- "# no plugin"; fi
    printf '%s\n' "$@" > "$state/etc/plugstack.conf"
}
