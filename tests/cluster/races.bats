#!/usr/bin/env bats
# Steps that want the same named container at the same time. As root, on a cluster of tests/cluster that has the plugin
# (CLUSTER_STATE names it), for the nodes' logs. PYXIS_TEST_RUNTIME is the container runtime, pyxis (built in) or enroot.

cluster() { "$BATS_TEST_DIRNAME/cluster" "$@"; }
user() { cluster run -- "$@"; }

setup() {
    image=$PYXIS_TEST_IMAGES/busybox.sqsh
    name=race-$$-$BATS_TEST_NUMBER
    work=$CLUSTER_STATE/work/$name
    mkdir -m 777 "$work"
}

teardown() {
    user scancel -u pyxistest
    user srun -w n1 "$PYXIS_TEST_COMMAND" remove -f "pyxis_$name" > /dev/null 2>&1 || true
    rm -rf "$work"
}

# How often the node has made the container.
creations() { grep -c "creating container filesystem: pyxis_$name\$" "$CLUSTER_STATE/log/slurmd.n1.log"; }

# Runs $1 steps at once in one job, with the arguments given; prints what they said. The job lasts until all have ended.
steps_at_once() {
    local count=$1
    shift
    user salloc -Q -w n1 --overcommit bash -c 'for i in $(seq "$1"); do
            srun --overlap --overcommit -n1 "${@:2}" < /dev/null > "'"$work"'/$i" 2>&1 || echo "step failed" >> "'"$work"'/$i" &
        done
        wait' - "$count" "$@"
    cat "$work"/[0-9]*
}

@test "100 steps at once on one absent container: all succeed, one makes it" {
    steps_at_once 100 --container-image="$image" --container-name="$name" sh -c 'cat /etc/os-release; sleep 0.$((RANDOM % 5))' > "$work/all"
    grep -vE '^(NAME|ID|VERSION_ID|PRETTY_NAME)=|is using container' "$work/all" || true
    [ "$(grep -c "step failed" "$work/all")" -eq 0 ]
    [ "$(grep -c ^ID=pyxis-test "$work/all")" -eq 100 ]
    [ "$(creations)" -eq 1 ]
}

@test "50 rounds of making, joining and removing one container" {
    local round
    # One job for all rounds; in each, three steps want the container while a fourth removes it again and again.
    user salloc -Q -w n1 --overcommit bash -c '
        step() { srun --overlap --overcommit -n1 "$@" < /dev/null; }
        for round in $(seq 50); do
            for i in 1 2 3; do
                step --container-image="$1" --container-name="$2" cat /etc/os-release > "$4/$round.$i" 2>&1 ||
                    echo "round $round: step $i failed" >> "$4/$round.$i" &
            done
            step sh -c "$3 remove -f pyxis_$2; sleep 0.0$((RANDOM % 10)); $3 remove -f pyxis_$2" > /dev/null 2>&1
            wait
        done' - "$image" "$name" "$PYXIS_TEST_COMMAND" "$work"
    cat "$work"/[0-9]*.[123] | grep -vE '^(NAME|ID|VERSION_ID|PRETTY_NAME)=|is using container' || true
    [ "$(cat "$work"/[0-9]*.[123] | grep -c ^ID=pyxis-test)" -eq 150 ]
    output=$(cat "$work"/[0-9]*.[123])
    [[ $output != *failed* ]]
}

# Starts a step in container $name that runs the script $1 and then waits for $work/stop.
first_step() {
    user srun -w n1 --overlap --container-image="$image" --container-name="$name" --container-writable \
        --container-mounts="$work:/shared" sh -c "$1"' touch /shared/ready; while [ ! -e /shared/stop ]; do sleep 0.05; done' \
        > "$work/first" 2>&1 3>&- &
    first=$!
    wait_for "$work/ready"
}

wait_for() {
    local i
    for ((i = 0; i < 1200; i++)); do
        [[ ! -e $1 ]] || return 0
        sleep 0.05
    done
    cat "$work"/[a-z]* || true
    return 1
}

# The first step ends while the second, which has joined it, goes on and says at last that it is fine.
first_ends() {
    wait_for "$work/joined"
    touch "$work/stop"
    sleep 1
    touch "$work/end"
    wait $second
    wait $first
    cat "$work/first" "$work/second"
    [ "$(grep -cx fine "$work/second")" -eq 1 ]
}

@test "a joined container outlives the step that started it" {
    local flag
    for flag in auto no_exec; do
        rm -f "$work"/*
        first_step 'echo written > /file;'
        user srun -w n1 --overlap --container-name="$name:$flag" --container-writable --container-mounts="$work:/shared" \
            sh -c 'touch /shared/joined; while [ ! -e /shared/end ]; do sleep 0.05; done; cat /file && ls /bin/busybox && busybox sha256sum /bin/busybox && echo fine' \
            > "$work/second" 2>&1 3>&- &
        second=$!
        [[ $flag == auto ]] || sleep 1 # it has mounts of its own, and /shared is one of them
        first_ends
        [ "$(grep -cx written "$work/second")" -eq 1 ]
    done
}

# Joins container $name, from another job, while the srun with the arguments given has it; that one ends first.
outlives() { outlives_on "-w n1" "$@"; }
outlives_on() {
    local where=$1
    shift
    rm -f "$work"/*
    # shellcheck disable=SC2086
    user salloc -Q $where --overcommit srun "$@" > "$work/first" 2>&1 3>&- &
    first=$!
    wait_for "$work/ready"
    user srun -w n1 --overlap --container-name="$name" sh -c 'touch /shared/joined; while [ ! -e /shared/end ]; do sleep 0.05; done; ls /bin/busybox && busybox sha256sum /bin/busybox && echo fine' \
        > "$work/second" 2>&1 3>&- &
    second=$!
    first_ends
}

@test "a joined container outlives an interactive step" {
    outlives --interactive --overlap --container-image="$image" --container-name="$name" --container-mounts="$work:/shared" \
        sh -c 'touch /shared/ready; while [ ! -e /shared/stop ]; do sleep 0.05; done'
}

@test "a joined container outlives a part of a heterogeneous step" {
    # The options of both parts are the same: a container of each node's own, for the homes are both nodes'.
    user() { cluster run --env XDG_DATA_HOME=/var/tmp -- "$@"; }
    local own=(--container-image="$image" --container-name="$name" --container-mounts="$work:/shared")
    outlives_on -N2 --overlap --overcommit -w n1 -N1 -n1 "${own[@]}" \
        sh -c 'touch /shared/ready; while [ ! -e /shared/stop ]; do sleep 0.05; done' : --overlap --overcommit -w n2 -N1 -n1 "${own[@]}" true
    user srun -N2 "$PYXIS_TEST_COMMAND" remove -f "pyxis_$name"
}

@test "30 steps that come and go share the file systems of three containers: what serves them stays" {
    local i
    user salloc -Q -w n1 --overcommit bash -c '
        step() { srun --overlap --overcommit -n1 "$@" < /dev/null; }
        for i in 0 1 2; do step --container-image="$1" --container-name="$2-$i" true; done
        for i in $(seq 30); do
            step --container-name="$2-$((i % 3)):no_exec" sh -c "sleep 0.5; sha256sum /bin/busybox" > "$3/$i" 2>&1 ||
                echo "step failed" >> "$3/$i" &
            sleep 0.0$((RANDOM % 10))
        done
        wait' - "$image" "$name" "$work"
    for i in 0 1 2; do user srun -w n1 "$PYXIS_TEST_COMMAND" remove -f "pyxis_$name-$i"; done
    cat "$work"/[0-9]* | grep -vE '/bin/busybox$|is using container' || true
    [ "$(cat "$work"/[0-9]* | grep -c " /bin/busybox$")" -eq 30 ]
    output=$(cat "$work"/[0-9]*)
    [[ $output != *"step failed"* ]]
}

@test "a container that exists is started or joined by one command" {
    [[ $PYXIS_TEST_RUNTIME == pyxis ]] || skip "built in: enroot is asked for its list first"
    local log=$CLUSTER_STATE/log/slurmd.n1.log commands flag
    ran() { sed -n "$((before + 1)),\$p" "$log" | grep -E "pyxis: (running|asking for) " || true; }
    user srun -w n1 --container-image="$image" --container-name="$name" true
    before=$(wc -l < "$log")
    user srun -w n1 --container-name="$name" true
    commands=$(ran)
    echo "$commands"
    [[ $(grep -c "pyxis: running " <<< "$commands") -eq 1 ]]
    [[ $commands == *"asking for pyxis_"* ]]
    first_step "true;"
    for flag in auto exec; do
        before=$(wc -l < "$log")
        user srun -w n1 --overlap --container-name="$name:$flag" test -e /shared/ready
        commands=$(ran)
        echo "$commands"
        [[ $(grep -c "pyxis: running " <<< "$commands") -eq 1 ]]
        [[ $commands == *"asking for "*Running* ]]
    done
    touch "$work/stop"
    wait $first
}

@test "a PID that has become another process's is not joined" {
    local enroot=$CLUSTER_STATE/enroot
    [[ $PYXIS_TEST_RUNTIME == enroot ]] || skip "enroot: the built-in runtime looks PIDs up and opens them itself"
    user srun -w n1 --container-image="$image" --container-name="$name" true
    # Lists a process of the user's that is on the node, not in the container, as the container's.
    mv "$enroot/enroot" "$enroot/real"
    cat > "$enroot/enroot" << END
#!/bin/sh
if [ "\$1" = list ]; then
    printf 'NAME PID COMM\\n%s %s sleep\\n' "pyxis_$name" "\$(cat "$work/pid")"
else
    exec -a enroot "$enroot/real" "\$@"
fi
END
    sed -i '1s,sh,bash,' "$enroot/enroot"
    chmod 755 "$enroot/enroot"
    user srun -w n1 --overlap sh -c 'echo $$ > "$1/pid"; exec sleep 30' - "$work" 3>&- &
    wait_for "$work/pid"
    run user srun -w n1 --overlap --container-name="$name" sh -c 'ls /usr/bin/apt; echo ran-anyway'
    mv "$enroot/real" "$enroot/enroot"
    echo "$output"
    [ "$status" -ne 0 ]
    [[ $output == *"container pyxis_$name has just ended or been removed"* && $output != *ran-anyway* ]]
}
