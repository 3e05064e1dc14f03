# shellcheck shell=bash
# Starting and restarting what a cluster consists of. Nothing sleeps for a fixed time; everything is polled for.

# Runs a command inside: login or a node, as root or a user, in a directory.
inside() {
    local where=$1 user=$2 dir=$3
    shift 3
    nsenter --target "$machine" --mount --uts --ipc --pid --cgroup -- \
        "$state/lib/inside/enter" "$state" "$where" "$user" "$dir" "$@"
}
as_root() { inside "$1" root / -- "${@:2}"; }

# A daemon must not keep the harness's output, or a descriptor of bats, open.
daemon() {
    local where=$1
    as_root "$where" setsid bash -c 'for fd in /proc/$$/fd/*; do
        fd=${fd##*/}; ((fd < 3 || fd == 255)) || eval "exec $fd>&-"; done; exec "$@"' daemon "${@:2}" \
        < /dev/null >> "$state/log/$where.out" 2>&1
}

# Waits at most $1 seconds for a command to succeed.
wait_for() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < end)) || return 1
        sleep 0.02
    done
}

exists() { [[ -e $1 ]]; }

start_machine() {
    # --kill-child: nothing of the cluster outlives its process 1, and that not this unshare.
    setsid unshare --mount --propagation unchanged --pid --fork --uts --ipc --kill-child -- \
        "$state/lib/inside/unchroot" "$state/lib/inside/machine" "$state" "$(cgroup_of "$state")" "$repo" "$root" \
        < /dev/null > "$state/log/machine.out" 2>&1 &
    local unshare_pid=$!
    disown
    machine_ready() { exists "$state/machine.ready" || ! kill -0 "$unshare_pid" 2> /dev/null; }
    wait_for 180 machine_ready || die "process 1 of the cluster does not start, see $state/log/machine.out"
    exists "$state/machine.ready" || die "the cluster's namespaces: $(tail -n 3 "$state/log/machine.out")"
    alive "$state" || die "process 1 of the cluster has ended, see $state/log/machine.out"
    machine=$pid
}

start_node() {
    daemon login unshare --mount --pid --fork --uts --ipc --kill-child -- \
        "$state/lib/inside/node" "$state" "$1" < /dev/null > /dev/null 2>&1 &
    disown
}

start_munged() {
    as_root login bash -c '
        install -d -m 755 -o munge -g munge /run/munge
        install -d -m 700 -o munge -g munge /run/munge/private
        head -c 128 /dev/urandom > /run/munge/private/key
        chown munge:munge /run/munge/private/key
        chmod 600 /run/munge/private/key
        exec setpriv --reuid munge --regid munge --clear-groups munged --num-threads 2 \
            --key-file /run/munge/private/key --seed-file /run/munge/private/seed \
            --log-file /run/munge/private/log --pid-file /run/munge/munged.pid \
            --socket /run/munge/munge.socket.2' < /dev/null >> "$state/log/login.out" 2>&1 ||
        die "munged does not start: $(tail -n 3 "$state/log/login.out")"
}

start_slurmctld() {
    daemon login mkdir -p /run/slurm/state
    daemon login slurmctld || die "slurmctld does not start: $(tail -n 3 "$state/log/slurmctld.log" "$state/log/login.out")"
}

start_slurmd() {
    daemon "$1" slurmd -N "$1" || die "slurmd of $1 does not start: $(tail -n 3 "$state/log/slurmd.$1.log" "$state/log/$1.out")"
}

# Ends daemon $2 of $1 and waits until it is gone: its successor binds the same port.
stop_daemon() {
    as_root "$1" bash -c '
        read -r pid < "/run/slurm/$1.pid" || exit 0
        kill "$pid" 2> /dev/null
        for ((i = 0; i < 500; i++)); do
            kill -0 "$pid" 2> /dev/null || exit 0
            sleep 0.02
        done
        kill -KILL "$pid"' stop "$2" < /dev/null || true
}

all_idle() {
    local states
    states=$(as_root login sinfo -h -N -o %T < /dev/null 2> /dev/null | sort -u)
    [[ $states == idle ]]
}

# "idle" alone may be what slurmctld remembers; a slurmd that answers is one that listens.
answering() {
    as_root login scontrol ping < /dev/null 2> /dev/null | grep -q 'is UP' && all_idle
}

nodes_known() {
    local states
    states=$(as_root login sinfo -h -N -o %T < /dev/null 2> /dev/null) || return 1
    [[ -n $states && $states != *'*'* && $states != *unk* && $states != *down* ]]
}

# After a restart nodes may well be busy: what can be asked for is that every daemon answers and slurmctld knows it.
answers_again() {
    local node
    nodes_known || return 1
    for node in "${nodes[@]}"; do
        as_root "$node" env SLURMD_NODENAME="$node" scontrol show slurmd > /dev/null 2>&1 < /dev/null || return 1
    done
}

wait_until_idle() {
    wait_for 180 answering || die "the nodes do not become idle: $(as_root login sinfo -h -N -o '%N %T %E' 2>&1 | tr '\n' ';')"
}
