# shellcheck shell=bash
# The state directory of a cluster: finding it, knowing whether its cluster lives, removing what a dead one left.
#
#   STATE/machine.pid   process 1 of the cluster, as seen from outside: "pid starttime"
#   STATE/owner.pid     optional: whoever asked for the cluster; a dead owner's cluster may be swept
#   STATE/etc  log      configuration and log files of munged and Slurm
#   STATE/work home     CLUSTER_WORK and the users' homes, shared by all nodes
#   STATE/repo          this repository, bound read-only inside the cluster
#   STATE/lib           the scripts that run inside (a copy: the cluster survives edits and a `git checkout`)

say() { [[ -n ${quiet:-} ]] || printf 'cluster: %s\n' "$*" >&2; }
die() { printf 'cluster: %s\n' "$*" >&2; exit 1; }

state_base() { printf '%s' "${TMPDIR:-/tmp}"; }

# When process $1 was started, in clock ticks since boot: together with the pid, an identity that is never reused.
start_time() {
    local stat
    { read -r stat < "/proc/$1/stat"; } 2> /dev/null || return 1
    stat=${stat##*) }
    # Field 22 of the line; the name, which may hold spaces, and what precedes it are cut off.
    # shellcheck disable=SC2086
    set -- $stat
    printf '%s' "${20}"
}

# Is the process noted in file $1 still the same process, and alive? Sets $pid.
noted_alive() {
    local noted
    { read -r pid noted < "$1"; } 2> /dev/null || return 1
    [[ $(start_time "$pid") == "$noted" ]]
}

alive() { noted_alive "$1/machine.pid"; }

states() {
    local dir
    for dir in "$(state_base)"/pyxis-cluster.*/; do
        [[ -d $dir/etc ]] && printf '%s\n' "${dir%/}"
    done
    return 0
}

# Sets $state to the cluster that a verb is about: --state, CLUSTER_STATE, or the only one that is up.
need_cluster() {
    local dir found=()
    state=${state:-${CLUSTER_STATE:-}}
    if [[ -z $state ]]; then
        while read -r dir; do
            if alive "$dir"; then found+=("$dir"); fi
        done < <(states)
        case ${#found[@]} in
            0) die "no cluster is up; start one with 'cluster up'" ;;
            1) state=${found[0]} ;;
            *) die "several clusters are up, name one with --state or CLUSTER_STATE: ${found[*]}" ;;
        esac
    fi
    state=$(realpath -m -- "$state")
    alive "$state" || die "no cluster is up in $state"
    machine=$pid
    read -ra nodes < "$state/nodes"
}

# Ends whatever still runs in state directory $1 and removes it. Killing process 1 of the cluster's pid namespace
# ends every process of it, jobs and FUSE servers included, and the mounts go with the last of them.
remove_state() {
    local dir=$1 i
    if alive "$dir"; then
        kill -KILL "$pid" 2> /dev/null || true
        for ((i = 0; i < 500; i++)); do
            alive "$dir" || break
            sleep 0.02
        done
        ! alive "$dir" || die "process $pid of $dir does not end"
    fi
    remove_cgroups "$(cgroup_of "$dir")"
    give_back_ports "$dir/machine.pid"
    # Whatever is mounted below the directory is somebody else's doing and not ours to delete.
    rm -rf --one-file-system -- "$dir"
}

# The cgroup of the cluster in state directory $1. By the whole path: in one cgroup two clusters take each other's
# steps for their own, as nodes and jobs are named alike in all.
cgroup_of() {
    local sum
    sum=$(printf '%s' "$1" | cksum)
    printf '%s.%s' "$(basename -- "$1")" "${sum%% *}"
}

# The cluster's cgroups outlive its processes. A private mount finds them, wherever the machine mounts cgroups itself.
remove_cgroups() {
    unshare --mount --propagation unchanged -- "$here/inside/unchroot" bash -s -- "$1" << 'END' 2> /dev/null || true
mount -t tmpfs tmpfs /mnt && mkdir /mnt/1 /mnt/2
mount -t cgroup -o freezer cgroup /mnt/1
mount -t cgroup2 cgroup2 /mnt/2
for dir in "/mnt/1/$1" "/mnt/2/$1"; do
    for ((i = 0; i < 100; i++)); do
        [[ -d $dir ]] || break
        find "$dir" -depth -type d -exec rmdir {} +
        [[ ! -d $dir ]] || sleep 0.02
    done
done
END
}

# Removes clusters that were never completed, that have died, or whose owner has: a harness that was killed leaves such.
sweep() {
    local dir
    while read -r dir; do
        if [[ -e $dir/booting ]]; then
            noted_alive "$dir/booting" && continue
        elif alive "$dir"; then
            [[ -e $dir/owner.pid ]] || continue
            noted_alive "$dir/owner.pid" && continue
        fi
        say "removing what is left of $dir"
        remove_state "$dir"
    done < <(states)
}
