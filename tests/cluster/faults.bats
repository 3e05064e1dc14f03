#!/usr/bin/env bats
# What is left when things go wrong: nothing. As root, on a cluster of tests/cluster that has the plugin
# (CLUSTER_STATE names it), because a site's users can neither kill slurmstepd nor look at all of a node.

cluster() { "$BATS_TEST_DIRNAME/cluster" "$@"; }
on_node() { cluster node 1 -- "$@"; }
user() { cluster run -- "$@"; }

setup() {
    image=$PYXIS_TEST_IMAGES/busybox.sqsh
    user true # makes what a first step makes, such as Slurm's cgroups
    user srun -N2 --container-image="$image" true
    before=$(what_exists)
}

teardown() {
    on_node sh -c 'umount /usr/bin/unsquashfs /usr/bin/squashfuse* 2> /dev/null; chmod 666 /dev/fuse; true'
    user scancel -u pyxistest
    settle
}

# Slurm's own cgroup directories outlive a slurmstepd that was killed.
what_exists() { cluster snapshot | grep -Ev ' (cgroup|mount-namespaces) '; }

# Waits until no job is left.
settle() {
    local i
    for ((i = 0; i < 200; i++)); do
        [[ -n $(user squeue -h) ]] || return 0
        sleep 0.1
    done
    return 1
}

# Fails unless everything is as before, after a moment for what is being taken down.
nothing_left() {
    local i
    settle
    for ((i = 0; i < 50; i++)); do
        [[ $(what_exists) != "$before" ]] || return 0
        sleep 0.1
    done
    diff <(echo "$before") <(what_exists)
}

@test "200 steps one after the other" {
    run user bash -c 'for i in $(seq 200); do srun --container-image="$1" true || echo "failed: $i"; done' - "$image"
    [ "$status" -eq 0 ]
    [ -z "$output" ]
    nothing_left
}

@test "slurmstepd killed at random moments, 20 times, with processes in the background" {
    local i
    for ((i = 0; i < 20; i++)); do
        user srun --container-image="$image" sh -c 'sleep 1000 & (setsid sleep 1000 &) ; sleep 1000' &> /dev/null &
        sleep "0.$(printf %03d $((RANDOM % 200)))"
        for node in 1 2; do cluster node $node -- pkill -KILL slurmstepd || true; done
        user scancel -u pyxistest
    done
    wait
    nothing_left
}

@test "steps cancelled at random moments" {
    local i
    for ((i = 0; i < 10; i++)); do
        user srun -N2 --container-image="$image" sleep 1000 &> /dev/null &
        sleep "0.$(printf %03d $((RANDOM % 200)))"
        user scancel -u pyxistest
    done
    wait
    nothing_left
}

@test "the image's server killed: the task fails, the step ends" {
    user srun -w n1 --container-image="$image" sh -c 'echo ready; while ls /bin > /dev/null; do sleep 0.1; done; exit 9' \
        &> "$BATS_TEST_TMPDIR/out" &
    until grep -q ready "$BATS_TEST_TMPDIR/out"; do sleep 0.05; done
    on_node pkill -KILL squashfuse
    run wait $!
    [ "$status" -ne 0 ]
    nothing_left
}

@test "one task of several killed" {
    user srun -w n1 -n3 --overcommit --container-image="$image" \
        sh -c 'if [ $SLURM_PROCID = 1 ]; then kill -KILL $$; fi; sleep 0.3; ls /bin > /dev/null && echo fine' \
        &> "$BATS_TEST_TMPDIR/out" || true
    [ "$(grep -c fine "$BATS_TEST_TMPDIR/out")" -eq 2 ]
    nothing_left
}

@test "no FUSE: the image is extracted, and gone afterwards" {
    on_node chmod 600 /dev/fuse
    run user srun -w n1 --container-image="$image" cat /etc/os-release
    [ "$status" -eq 0 ]
    [[ $output == *ID=pyxis-test* ]]
    on_node chmod 666 /dev/fuse
    nothing_left
}

@test "no FUSE and no unsquashfs: a line that names both" {
    on_node chmod 600 /dev/fuse
    on_node mount --bind /dev/null /usr/bin/unsquashfs
    run user srun -w n1 --container-image="$image" echo ran-anyway
    [ "$status" -ne 0 ]
    [[ $output == *"/dev/fuse cannot be opened"*"unsquashfs is not installed"* ]]
    [[ $output != *ran-anyway* ]]
}

@test "no squashfuse: the image is extracted" {
    on_node sh -c "for f in /usr/bin/squashfuse*; do mount --bind /dev/null \$f; done"
    run user srun -w n1 --container-image="$image" cat /etc/os-release
    [ "$status" -eq 0 ]
    [[ $output == *ID=pyxis-test* ]]
}

@test "the runtime directory is gone: it is made again" {
    on_node rm -rf /run/pyxis
    user srun -w n1 --container-image="$image" true
    [ "$(on_node stat -c '%U %a' /run/pyxis)" = "root 755" ]
}

@test "a runtime directory that others can write, or a link in its place: refused, and nothing runs" {
    local trap
    for trap in 'chmod 777 /run/pyxis' 'rm -rf /run/pyxis; ln -s /var/tmp /run/pyxis' \
        'u=$(id -u pyxistest); rm -rf /run/pyxis/$u; ln -s /var/tmp /run/pyxis/$u'; do
        on_node sh -c "$trap"
        run user srun -w n1 --container-image="$image" echo ran-anyway
        on_node sh -c 'rm -rf /run/pyxis; mkdir -m 755 /run/pyxis'
        echo "$trap: $output"
        [ "$status" -ne 0 ]
        [[ $output != *ran-anyway* ]]
        # Slurm drains a node whose required plugin fails in slurmstepd's first hooks.
        user true
        cluster login -- scontrol update nodename=n1 state=resume 2> /dev/null || true
    done
}

@test "the end of a step does not wait for a helper" {
    local begin plain contained
    begin=${EPOCHREALTIME/./}
    user bash -c 'for i in 1 2 3 4 5 6 7 8; do srun true; done'
    plain=$((${EPOCHREALTIME/./} - begin))
    begin=${EPOCHREALTIME/./}
    user bash -c 'for i in 1 2 3 4 5 6 7 8; do srun --container-image="$1" true; done' - "$image"
    contained=$((${EPOCHREALTIME/./} - begin))
    echo "8 steps: $plain us plain, $contained us in containers"
    # slurmstepd looks for leftovers once a second: one of them in each step would cost 8 s.
    ((contained - plain < 4000000))
}

@test "a container start executes pyxis and squashfuse, and then the user's program" {
    local trace=$BATS_TEST_TMPDIR/trace
    # The task's whole tree below slurmstepd, from slurmd on.
    on_node sh -c 'strace -f -qq -e trace=execve -e status=successful -o "$1" -p "$(pgrep -o slurmd)" & echo $! > "$1.pid"; sleep 0.5' - /run/trace
    user srun -w n1 --container-image="$image" true
    on_node sh -c 'kill "$(cat /run/trace.pid)"; sleep 0.2; grep -v slurmstepd /run/trace; rm -f /run/trace*' > "$trace"
    cat "$trace"
    [ "$(grep -c 'execve("[^"]*/pyxis"' "$trace")" -eq 1 ]
    [ "$(grep -c 'execve("[^"]*/squashfuse\(_ll\)\?"' "$trace")" -eq 1 ]
    [ "$(grep -c 'execve("/bin/true"' "$trace")" -eq 1 ]
    [ "$(grep -c execve "$trace")" -eq 3 ]
}
