#!/usr/bin/env bats
# The cluster harness itself, as root: what the other suites and `make demo` stand on.

cluster() { "$BATS_TEST_DIRNAME/cluster" "$@"; }

setup() {
    export TMPDIR=$BATS_TEST_TMPDIR CLUSTER_STATE=$BATS_TEST_TMPDIR/pyxis-cluster.test
    # Ordinary users have to get through.
    chmod 755 "$BATS_RUN_TMPDIR" "$BATS_RUN_TMPDIR"/test "$BATS_TEST_TMPDIR"
}

teardown() {
    local dir
    for dir in "$BATS_TEST_TMPDIR"/{,second/}pyxis-cluster.*; do
        [[ ! -d $dir/etc ]] || cluster --state "$dir" down
    done
}

up() { cluster --state "$CLUSTER_STATE" up --quiet "$@"; }

nothing_left() {
    local left
    left=$(find "$BATS_TEST_TMPDIR" -name 'pyxis-cluster.*')
    [ -z "$left" ]
    if grep -l -z "$BATS_TEST_TMPDIR/pyxis-cluster" /proc/[0-9]*/cmdline 2> /dev/null; then return 1; fi
    if grep "$BATS_TEST_TMPDIR/pyxis-cluster" /proc/self/mountinfo; then return 1; fi
    left=$(find /sys/fs/cgroup -maxdepth 2 -name "pyxis-cluster.*.$(printf '%s' "$CLUSTER_STATE" | cksum | cut -d ' ' -f 1)")
    [ -z "$left" ]
}

@test "tasks run on every node, as the ordinary user" {
    up --nodes 3
    run cluster run -- srun -N3 sh -c 'echo $(hostname) $(id -un) $(pwd)'
    [ "$status" -eq 0 ]
    [ "$(sort <<< "$output")" = "$(printf '%s\n' {n1,n2,n3}" pyxistest $CLUSTER_STATE/work")" ]
}

@test "standard input and exit code pass through; the second user is another one" {
    up --nodes 1
    [ "$(cluster run -- cat <<< hello)" = hello ]
    run cluster run -- sh -c 'exit 7'
    [ "$status" -eq 7 ]
    [ "$(cluster run --user pyxistest2 -- id -un)" = pyxistest2 ]
}

@test "the environment is clean" {
    up --nodes 1
    SECRET=1 run cluster run --env GIVEN=yes -- env
    [[ $output == *GIVEN=yes* && $output != *SECRET* ]]
}

@test "nodes share the work directory and nothing else that is writable" {
    up
    cluster run -- sh -c 'echo shared > file'
    cluster node 1 -- touch /tmp/x /run/x /var/tmp/x /dev/shm/x
    run cluster node 2 -- sh -c 'cat $CLUSTER_WORK/file; ls /tmp/x /run/x /var/tmp/x /dev/shm/x 2>/dev/null'
    # Of ls: there is none of them.
    [ "$status" -eq 2 ]
    [ "$output" = shared ]
}

@test "FUSE is open to ordinary users inside; outside nothing has changed" {
    local before
    before=$(stat -c %a /dev/fuse)
    up --nodes 1
    [ "$(cluster run -- srun stat -c %a /dev/fuse)" = 666 ]
    [ "$(stat -c %a /dev/fuse)" = "$before" ]
}

@test "down leaves nothing, not even of a job that runs" {
    up
    cluster run -- sbatch -o /dev/null --wrap 'setsid sleep 1000 & sleep 1000'
    cluster down
    nothing_left
}

@test "up killed in the middle: the next one sweeps" {
    local first
    "$BATS_TEST_DIRNAME/cluster" --state "$CLUSTER_STATE" up --quiet &
    first=$!
    while [[ ! -e $CLUSTER_STATE/machine.pid ]]; do sleep 0.01; done
    kill -KILL $first
    wait $first || true
    run cluster --state "$BATS_TEST_TMPDIR/pyxis-cluster.second" up --nodes 1
    [ "$status" -eq 0 ]
    [[ $output == *"removing what is left of $CLUSTER_STATE"* ]]
    cluster --state "$BATS_TEST_TMPDIR/pyxis-cluster.second" down
    nothing_left
}

@test "up interrupted: nothing stays" {
    local first
    "$BATS_TEST_DIRNAME/cluster" --state "$CLUSTER_STATE" up --quiet &
    first=$!
    while [[ ! -e $CLUSTER_STATE/machine.pid ]]; do sleep 0.01; done
    kill -TERM $first
    wait $first || true
    nothing_left
}

# The cgroups that a cluster has for jobs.
jobs_cgroups() { cluster --state "$1" node 1 -- find /sys/fs/cgroup -name 'job_*'; }

@test "two clusters at once, of the same name" {
    local second=$BATS_TEST_TMPDIR/second/pyxis-cluster.test
    up --nodes 1
    mkdir "${second%/*}"
    cluster --state "$second" up --quiet --nodes 2
    cluster run -- srun sleep 100 3>&- &
    for ((i = 0; i < 600; i++)); do [[ -n $(jobs_cgroups "$CLUSTER_STATE") ]] && break; sleep 0.1; done
    jobs_cgroups "$CLUSTER_STATE"
    [ -n "$(jobs_cgroups "$CLUSTER_STATE")" ]
    left=$(jobs_cgroups "$second")
    [ -z "$left" ]
    [ "$(cluster --state "$second" run -- sinfo -h -o %D)" = 2 ]
    cluster --state "$second" down
    [ -n "$(jobs_cgroups "$CLUSTER_STATE")" ]
    cluster run -- scancel 1
    [ "$(cluster run -- srun hostname)" = n1 ]
    wait
}

# A process that is known to live, and the ports drawn for it; always with the same luck.
noted() { bash -c '. "$1/state.sh"; echo "$2 $(start_time "$2")"' - "$BATS_TEST_DIRNAME" "$2" > "$BATS_TEST_TMPDIR/$1"; }
ports_of() {
    CLUSTER_PORTS=$BATS_TEST_TMPDIR/ports bash -c 'RANDOM=1; . "$1/state.sh"; . "$1/conf.sh"; free_ports "$2"' - "$BATS_TEST_DIRNAME" "$BATS_TEST_TMPDIR/$1"
}

@test "two that boot at once have ports of their own, until they end" {
    sleep 1000 3>&- &
    noted first $$
    noted second $!
    first=$(ports_of first)
    second=$(ports_of second)
    echo "$first $second"
    [ "$first" -ne "$second" ]
    kill $!
    wait $! || true
    noted third $$
    [ "$(ports_of third)" = "$second" ]
}

@test "ports are given back by down" {
    up --nodes 1
    noted=$(cat "$CLUSTER_STATE/machine.pid")
    grep -q -x -r "$noted" /run/pyxis-cluster.ports
    cluster down
    run grep -x -r "$noted" /run/pyxis-cluster.ports
    [ "$status" -eq 1 ]
}

@test "restart of slurmd and of slurmctld" {
    up
    cluster restart slurmd 1
    cluster restart slurmctld
    cluster restart slurmd
    run cluster run -- srun -N2 true
    [ "$status" -eq 0 ]
    [ -z "$output" ]
}

@test "snapshot: equal when nothing happened, different when something is left" {
    up
    cluster run -- srun -N2 true
    cluster snapshot > "$BATS_TEST_TMPDIR/before"
    cluster run -- srun -N2 true
    cluster snapshot | diff "$BATS_TEST_TMPDIR/before" -
    cluster node 1 -- sh -c 'mkdir /run/left; mount -t tmpfs left /run/left; sleep 1000 < /dev/null > /dev/null 2>&1 3>&- &'
    until cluster node 1 -- pgrep -x sleep; do sleep 0.1; done
    run bash -c '"$1" snapshot | diff "$2" -' - "$BATS_TEST_DIRNAME/cluster" "$BATS_TEST_TMPDIR/before"
    [ "$status" -eq 1 ]
    [[ $output == *"n1 mount /run/left"* && $output == *"n1 process root sleep 1000"* && $output != *"n2 "* ]]
}

@test "orphans of a node are reaped" {
    up --nodes 1
    cluster node 1 -- sh -c '(true & true &) & (true &)'
    for _ in $(seq 600); do [[ $(cluster node 1 -- ps -e -o stat=) == *Z* ]] || break; sleep 0.1; done
    run cluster node 1 -- ps -e -o stat=
    [ "$status" -eq 0 ]
    [ -n "$output" ]
    [[ $output != *Z* ]]
}

@test "wrong use: one line that says what" {
    run cluster --state "$CLUSTER_STATE" run -- true
    [ "$status" -ne 0 ]
    [ "$output" = "cluster: no cluster is up in $CLUSTER_STATE" ]
    run cluster up --nodes many
    [ "$status" -ne 0 ]
    [ "$output" = "cluster: --nodes wants a number from 1 to 99, not 'many'" ]
    run cluster fly
    [ "$status" -ne 0 ]
    [ "${#lines[@]}" -eq 1 ]
}
