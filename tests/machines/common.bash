# shellcheck shell=bash
# Loaded by each file of checks. MACHINE is the state of a machine of tests/machines/machine that is up.

machine() { "$BATS_TEST_DIRNAME/machine" "$1" "$MACHINE" "${@:2}"; }
# A user's command, in a shell or by itself; and root's. They read nothing.
user() { machine user "$@" < /dev/null; }
user_sh() { user bash -c "$@"; }
root() { machine root "$@" < /dev/null; }
root_sh() { root bash -c "$@"; }

# shellcheck disable=SC2034 # used by the checks
images=/payload/images

machine_setup() {
    work=$(user mktemp -d "${shared:-/tmp}/work.XXXXXX")
    # Of which suite it is, and what an image of Debian takes of the job's memory: without overlays it is unpacked there.
    read -r suite _ < "$MACHINE/made"
    unpacked=0
    [[ $suite != bullseye ]] || unpacked=$(user_sh "unsquashfs -lls $images/debian.sqsh | awk '{ size += \$3 } END { print int(size * 1.1 / 1048576) }'")
}

# What a test has set is put back by the test's own `undo`, also if it fails.
machine_teardown() {
    if declare -F undo > /dev/null; then undo; fi
    user scancel -u alice || true
    settle
    user rm -rf "$work"
}

# Waits until no job is left.
settle() {
    local i
    for ((i = 0; i < 3600; i++)); do
        [[ -n $(user squeue -h) ]] || return 0
        sleep 1
    done
    return 1
}

# eventually CMD...: until it succeeds, for what a machine does in its own time.
eventually() {
    local i
    for ((i = 0; i < 3600; i++)); do
        if "$@"; then return; fi
        sleep 1
    done
    return 1
}

# Of containers nothing is left on the node: no process, no mount, no layer, no directory of root's.
is_clean() {
    remains=$(root_sh 'pgrep -a "^(pyxis|fuse-overlayfs)"; grep -E " - (fuse(\.[^ ]*)?|overlay) " /proc/self/mountinfo
        ls -d /tmp/.pyxis* /var/tmp/.pyxis* /home/*/.local/share/*/.pyxis.layer* /home/*/.local/share/*/.pyxis.trash* 2> /dev/null
        find /run/pyxis -mindepth 2 ! -name names.lock 2> /dev/null; true')
    [ -z "$remains" ]
}
nothing_left() {
    settle
    eventually is_clean || { echo "left: $remains"; return 1; }
}

# The node has no job, and its daemons answer.
idle() { [[ $(root sinfo -h -N -o %T) == idle ]]; }

# What the directory of a job with a running step is called in cgroups: from Slurm 26.05 on, its SLUID, in which slurmstepd is as well.
job_directory() {
    local name
    name=$(root_sh "cat /proc/\$(pgrep -f -o 'slurmstepd: \\[$1\\.')/cgroup | sed -n 's:.*/\([^/]*\)/step_.*:\1:p' | head -n 1")
    echo "${name:-job_$1}"
}

# A container that writes to an image, whose step is cancelled, and one whose slurmstepd is killed.
cancelled_and_killed() {
    hold --container-image="$images"/debian.sqsh --container-writable
    user scancel "$held"
    nothing_left
    hold --container-image="$images"/debian.sqsh --container-writable
    root sh -c "pkill -KILL -f 'slurmstepd: \[$held.0\]'"
    # That is all: srun and the batch script wait for a step that nobody ends.
    eventually is_clean
    user scancel "$held"
    nothing_left
    root_sh 'for node in $(sinfo -h -N -t drain,draining,down -o %N); do scontrol update nodename=$node state=resume; done'
    eventually idle
}

# hold OPTION...: a batch job (on the node $where) whose step is a container that runs until `release`; returns when its program runs.
hold() {
    user rm -f "$work/up" "$work/end"
    held=$(user sbatch ${where:+-w "$where"} --parsable -o "$work/out" --wrap "srun --container-mounts=$work $* sh -c 'touch $work/up; while [ ! -e $work/end ]; do sleep 1; done; echo it ends'")
    eventually begun
    user test -e "$work/up" || { user cat "$work/out"; return 1; }
}
# Or has ended before it ran.
begun() { user sh -c "[ -e $work/up ] || [ -z \"\$(squeue -h -j $held)\" ]"; }
# Its step has ended well.
release() {
    user touch "$work/end"
    settle
    run user cat "$work/out"
    echo "$output"
    output_has "it ends"
}

output_has() { [[ $output == *"$1"* ]] || { echo "not in the output: $1"; return 1; }; }
output_lacks() { [[ $output != *"$1"* ]] || { echo "in the output: $1"; return 1; }; }

# srun, with what it says in $output and $status.
run_srun() {
    run user srun "$@"
    echo "$status: $output"
}
