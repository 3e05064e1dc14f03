#!/usr/bin/env bats
# An image on many nodes: a step that spreads what one of its nodes has fetched, and `pyxis pull --nodes`. As root, with a
# cluster of eight nodes of its own, for which the plugin of the one that CLUSTER_STATE names is copied; PYXIS_TEST_LINE is
# its line in plugstack.conf.

load ../registry.sh

cluster() { "$BATS_TEST_DIRNAME/cluster" --state "$state" "$@"; }
on_node() { local node=$1; shift; cluster node "$node" -- "$@"; }
user() { cluster run -- "$@"; }

nodes=8
shared=/run/pyxis-shared

setup_file() {
    local work=$BATS_FILE_TMPDIR node
    chmod 755 "$BATS_RUN_TMPDIR" "$BATS_FILE_TMPDIR"
    export state=$work/pyxis-cluster.spread
    serve_registry "$work" registry 'log: {level: debug, accesslog: {disabled: false}}'
    echo "$registry_pid" > "$work/pid"
    # More than a registry has to send for a user, and less than others are worth waiting for.
    python3 "$BATS_TEST_DIRNAME/slow.py" "$work/slow" "$address" 4000 > "$work/slow.log" 2>&1 3>&- &
    echo $! >> "$work/pid"
    wait_until test -e "$work/slow"
    export slow
    slow=$(cat "$work/slow")
    export registry=$address log=$work/registry.log pyxis=$state/prefix/bin/pyxis
    export line=${PYXIS_TEST_LINE//$CLUSTER_STATE/$state}
    # Eight nodes are much for a machine that has other things to do.
    boot || boot
    cluster login -- sh -c 'mkdir -p /etc/pyxis && cat > /etc/pyxis/pyxis.toml' << END
[registries]
http = ["$registry", "$slow"]
[store]
path = "/var/tmp/images"
shared = "$shared"
spread = true
END
    for ((node = 1; node <= nodes; node++)); do
        on_node $node sh -c "mkdir -m 1777 /var/tmp/images && mkdir $shared && chown 64150:64150 $shared"
    done
    cluster login -- mkdir -m 1777 /var/tmp/images
}

# A failed one removes its directory.
boot() {
    mkdir -p "$state/first"
    cp -R "$CLUSTER_STATE/prefix" "$state/prefix"
    cluster up --quiet --nodes $nodes --path "$state/first" --plugstack "$line shared_store=$shared" 3>&-
}

teardown_file() {
    xargs kill < "$BATS_FILE_TMPDIR/pid"
    cluster down
}

# An image as NAME: busybox, and four megabytes that do not compress. A new one each time.
push() {
    local work=$BATS_FILE_TMPDIR/push
    new_root "$work"
    echo "image $1 $RANDOM$RANDOM" > "$work/root/which"
    head -c 4194304 /dev/urandom > "$work/root/noise"
    push_root "$work" "$registry/$1"
}

# Bytes that the registry has sent of that repository, since its log had so many lines, and the size of one copy.
sent() {
    tail -n +"$(($2 + 1))" "$log" | perl -ne '
        if (m{"GET /v2/'"$1"'/\S* HTTP/1.1" 200 (\d+)}) { $sum += $1 } END { print $sum + 0, "\n" }'
}
line_count() { wc -l < "$log"; }
copy() { find "$BATS_FILE_TMPDIR/push/layout/blobs" -type f -printf '%s\n' | perl -ne '$sum += $_; END { print $sum, "\n" }'; }

# At most 1.1 copies.
one_copy() {
    local bytes size
    bytes=$(sent "$1" "$2")
    size=$(copy)
    echo "the registry has sent $bytes bytes, a copy has $size"
    [ "$bytes" -ge $((size * 9 / 10)) ]
    [ $((bytes * 10)) -le $((size * 11)) ]
}

# Nothing that is on its way lies about, and no layer twice.
nothing_left() {
    local node
    for ((node = 1; node <= nodes; node++)); do
        left=$(on_node $node find /var/tmp/images $shared -name 'spread-*')
        [ -z "$left" ]
    done
}

# Has a script in the place of sbcast, which $@ is of; $work is where every user can write.
in_place_of_sbcast() {
    printf '%s\n' '#!/bin/sh' "work=$state/work" "$@" > "$state/first/sbcast"
    chmod 755 "$state/first/sbcast"
}

teardown() {
    rm -f "$state/first/sbcast"
    # Of what has failed.
    cluster login -- scancel --user=pyxistest
    wait_until no_jobs
}

# Until a command succeeds; a minute is more than any of them takes.
wait_until() {
    local i
    for ((i = 0; i < 600; i++)); do
        if "$@"; then return; fi
        sleep 0.1
    done
    echo "in vain: $*" >&2
    return 1
}
no_jobs() {
    local jobs
    jobs=$(cluster login -- squeue --noheader)
    [ -z "$jobs" ]
}
ended() { if kill -0 "$1" 2> /dev/null; then false; fi; }
# Whoever works for a spread, on all hosts: process 1 of the machine's namespaces sees them.
no_workers() {
    if pgrep -f "^$pyxis (node-task|digest)|^srun .*node-task|^$pyxis pull --(nodes|task)|^sleep 4242" > "$BATS_TEST_TMPDIR/workers"; then false; fi
}

# Has a node that sends wait, and say who it is, in $state/work/sender: node, process and sbcast's arguments. With lines that are
# before that.
hold_sending() {
    rm -f "$state/work/sender"
    # shellcheck disable=SC2016 # It is for that script.
    in_place_of_sbcast "$@" 'echo "$SLURMD_NODENAME $PPID $*" > "$work/sender.new"' 'mv "$work/sender.new" "$work/sender"' 'exec sleep 4242'
}
sending() { [ -e "$state/work/sender" ]; }

# Runs a command as the user in the background; what it says and how it ends is in $BATS_TEST_TMPDIR/said. $background is the
# number of who runs it, its own is in $state/work/pid. Signals are not ignored, as a shell has it for these.
in_background() {
    rm -f "$state/work/pid"
    # shellcheck disable=SC2016 # It is for that shell.
    user sh -c 'env --default-signal=INT,QUIT sh -c '\''echo $$ > pid; exec "$@"'\'' sh "$@" & wait $!; echo "ended $?"' \
        sh "$@" > "$BATS_TEST_TMPDIR/said" 2>&1 3>&- &
    background=$!
}
# shellcheck disable=SC2016
to_background() { user sh -c 'kill "$1" "$(cat pid)"' sh "$1"; }

images_in() { on_node "$1" find "$2" -name '*.sqsh'; }

@test "a step of eight nodes with an image that none has: the registry sends one copy" {
    local before node
    push eight
    before=$(line_count)
    run user srun -N8 --container-image="$registry#eight" grep image /which
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$(grep -c '^image eight' <<< "$output")" -eq 8 ]
    one_copy eight "$before"
    # Each node's account has made it itself, and the layers are there once.
    for ((node = 1; node <= nodes; node++)); do
        [ "$(on_node $node sh -c "stat -c '%u %a' $shared/images/*.sqsh")" = "64150 444" ]
        left=$(on_node $node find /var/tmp/images -path '*/blobs/*' -size +1M)
        [ -z "$left" ]
    done
    nothing_left
    # Who has it asks for nothing but its name.
    before=$(line_count)
    user srun -N8 --container-image="$registry#eight" true
    [ "$(sent eight "$before")" -lt 10000 ]
}

@test "nodes that have the image take no part, the first neither; those of the step alone do, by digest too" {
    local before digest
    push some
    user srun -w n1,n5 --container-image="$registry#some" true
    in_place_of_sbcast 'scontrol show step "${1#--jobid=}" > "$work/step"' 'exec /usr/bin/sbcast "$@"'
    before=$(line_count)
    digest=$(user "$pyxis" digest "docker://$registry#some")
    run user salloc -N8 srun -N6 -w 'n[1-6]' --container-image="$registry#some@$digest" grep image /which
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$(grep -c '^image some' <<< "$output")" -eq 6 ]
    one_copy some "$before"
    grep "NodeList=n\[2-4,6\]" "$state/work/step"
    [ "$(images_in 7 $shared | wc -l)" -eq 1 ]
    nothing_left
}

@test "what is sent is not believed: other bytes, or none, and each node fetches for itself" {
    local before
    for way in 'head -c -1 "$2" > "$work/bytes"; printf x >> "$work/bytes"; exec /usr/bin/sbcast "$1" "$work/bytes" "$3"' 'exit 1'; do
        push others
        in_place_of_sbcast "$way"
        before=$(line_count)
        run user srun -N8 --container-image="$registry#others" grep image /which
        echo "$output"
        [ "$status" -eq 0 ]
        [ "$(grep "^image others" <<< "$output" | sort | uniq -c | awk '{ print $1, $4 }')" = "8 $(cut -d ' ' -f 3 "$BATS_FILE_TMPDIR/push/root/which")" ]
        [ "$(sent others "$before")" -gt $(($(copy) * 7)) ]
        nothing_left
        rm -f "$state/work/bytes"
    done
}

@test "a node without room for the layers fetches for itself, and does not keep the others" {
    local before
    push room
    on_node 3 mount -t tmpfs -o size=1m,mode=1777 small /var/tmp/images
    before=$(line_count)
    run user srun -N8 --container-image="$registry#room" grep image /which
    on_node 3 umount /var/tmp/images
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$(grep -c '^image room' <<< "$output")" -eq 8 ]
    [ "$(sent room "$before")" -gt $(($(copy) * 19 / 10)) ]
    [ "$(sent room "$before")" -lt $(($(copy) * 22 / 10)) ]
    nothing_left
}

@test "pull --nodes: in a job and without one, one copy; what a node lacks is said, with an exit code" {
    local before node
    push ahead
    before=$(line_count)
    run user "$pyxis" pull --nodes 'n[1-8]' "docker://$registry#ahead"
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *"8 of 8 nodes lack it"* ]]
    [[ $output == *"n7 has it"* ]]
    [[ $output == *"(8 of 8)"* ]]
    one_copy ahead "$before"
    before=$(line_count)
    run user salloc -N8 "$pyxis" pull --nodes all "docker://$registry#ahead"
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *"0 of 8 nodes lack it"* ]]
    user srun -N8 --container-image="$registry#ahead" true
    [ "$(sent ahead "$before")" -lt 10000 ]
    # A node that cannot keep anything.
    push ahead
    on_node 4 mount -t tmpfs -o size=64k,mode=1777 small /var/tmp/images
    run user "$pyxis" pull --nodes 'n[3-5]' "docker://$registry#ahead"
    on_node 4 umount /var/tmp/images
    echo "$output"
    [ "$status" -ne 0 ]
    [[ $output == *"pyxis: n4: "* ]]
    [[ $output == *"pyxis: n4: the image is not there"* ]]
    [[ $output == *"n3 has it"* ]]
    [[ $output == *"n5 has it"* ]]
    [[ $output != *"pyxis: n3: "* ]]
    for wrong in "--nodes all docker://$registry#ahead" "--nodes nowhere docker://$registry#ahead" "--nodes n1 dockerd://x"; do
        # shellcheck disable=SC2086
        run user "$pyxis" pull $wrong
        echo "$output"
        [ "$status" -ne 0 ]
    done
}

@test "pull --shared: root has it in the shared stores, as their account, on a node and on many" {
    local before node digest
    push admin
    before=$(line_count)
    run cluster login -- "$pyxis" pull --shared --nodes 'n[1-8]' "docker://$registry#admin"
    echo "$output"
    [ "$status" -eq 0 ]
    one_copy admin "$before"
    digest=$(user "$pyxis" digest "docker://$registry#admin")
    for ((node = 1; node <= nodes; node++)); do
        [ "$(on_node $node stat -c '%u %a' "$shared/images/${digest#sha256:}.sqsh")" = "64150 444" ]
    done
    before=$(line_count)
    user srun -N8 --container-image="$registry#admin" true
    [ "$(sent admin "$before")" -lt 10000 ]
    push alone
    run on_node 2 "$pyxis" pull --shared "docker://$registry#alone"
    echo "$output"
    [ "$status" -eq 0 ]
    [[ ${lines[-1]} == "$shared"/images/*.sqsh ]]
    # Nobody else becomes that account, and root does not with a store that others could have made.
    run user "$pyxis" pull --shared "docker://$registry#alone"
    echo "$output"
    [ "$status" -ne 0 ]
    [[ $output == *"for root"* ]]
    on_node 2 chmod 777 $shared
    run on_node 2 "$pyxis" pull --shared "docker://$registry#admin"
    echo "$output"
    on_node 2 chmod 755 $shared
    [ "$status" -ne 0 ]
    [[ $output == *"the shared store is not used"* ]]
}

@test "the node that sends is killed: nobody waits for it, and each node fetches for itself" {
    local node process rest command
    for command in srun pull; do
        push killed
        # One part has been sent by then.
        # shellcheck disable=SC2016 # It is for that script.
        hold_sending 'if [ "${3##*-}" = 0 ]; then exec /usr/bin/sbcast "$@"; fi'
        case $command in
            srun) in_background srun -N8 --container-image="$registry#killed" grep image /which ;;
            pull) in_background "$pyxis" pull --nodes 'n[1-8]' "docker://$registry#killed" ;;
        esac
        wait_until sending
        read -r node process rest < "$state/work/sender"
        on_node "$node" kill -KILL "$process"
        wait_until ended "$background"
        cat "$BATS_TEST_TMPDIR/said"
        grep -qx "ended 0" "$BATS_TEST_TMPDIR/said"
        wait_until no_workers
        nothing_left
    done
    grep -q "srun has failed: .*each node fetches the image for itself" "$BATS_TEST_TMPDIR/said"
    grep -q "(8 of 8)" "$BATS_TEST_TMPDIR/said"
}

@test "srun is told to end while nodes send: it ends, with all of that, and launches nothing" {
    local signal
    for signal in TERM:143 INT:130 HUP:129 QUIT:131 KILL:137; do
        push told
        hold_sending
        in_background srun -N2 --container-image="$registry#told" cat /which
        wait_until sending
        to_background "-${signal%:*}"
        wait_until ended "$background"
        cat "$BATS_TEST_TMPDIR/said"
        grep -qx "ended ${signal#*:}" "$BATS_TEST_TMPDIR/said"
        run grep image "$BATS_TEST_TMPDIR/said"
        [ "$status" -ne 0 ]
        wait_until no_jobs
        wait_until no_workers
        nothing_left
    done
}

@test "the command that has nodes send is told to end: srun launches nothing; it is killed: each node fetches for itself" {
    local signal lines
    for signal in TERM:143 KILL:0; do
        push command
        hold_sending
        in_background srun -N2 --container-image="$registry#command" cat /which
        wait_until sending
        # shellcheck disable=SC2016 # It is for that shell.
        user sh -c 'kill "$1" "$(pgrep -P "$(cat pid)" -x pyxis)"' sh "-${signal%:*}"
        wait_until ended "$background"
        cat "$BATS_TEST_TMPDIR/said"
        grep -qx "ended ${signal#*:}" "$BATS_TEST_TMPDIR/said"
        case $signal in
            TERM:*) lines=0 ;;
            KILL:*) lines=2 ;;
        esac
        [ "$(awk '/^image command/ { n++ } END { print n + 0 }' "$BATS_TEST_TMPDIR/said")" = "$lines" ]
        wait_until no_jobs
        wait_until no_workers
    done
}

@test "a registry that is too slow to wait for is left to the step itself" {
    push crawls
    in_background srun -N2 --container-image="$slow#crawls" cat /which
    wait_until fetching
    wait_until no_workers
    to_background -KILL
    wait_until no_jobs
}
# A task of the step itself.
fetching() { pgrep -f "^$pyxis pull --request" > /dev/null; }

@test "pull --nodes is ended in whatever way: what it has allocated is given back, and nothing of it goes on" {
    local signal
    for signal in TERM:143 INT:130 HUP:129 KILL:137; do
        push given
        hold_sending
        in_background "$pyxis" pull --nodes 'n[1-2]' "docker://$registry#given"
        wait_until sending
        to_background "-${signal%:*}"
        wait_until ended "$background"
        cat "$BATS_TEST_TMPDIR/said"
        grep -qx "ended ${signal#*:}" "$BATS_TEST_TMPDIR/said"
        wait_until no_jobs
        wait_until no_workers
        grep -q "Waiting for Slurm to allocate n\[1-2\]" "$BATS_TEST_TMPDIR/said"
    done
}

@test "pull --nodes whose step cannot be says so, and nothing of nodes that nobody has asked" {
    push asked
    run user salloc -w n1 "$pyxis" pull --nodes 'n[1-2]' "docker://$registry#asked"
    echo "$output"
    [ "$status" -ne 0 ]
    [[ $output == *"pyxis: srun has failed"* ]]
    [[ $output != *"nodes lack it"* ]]
    [[ $output != *"the image is not there"* ]]
}

@test "while nodes send, no argument on any host tells the image" {
    local typed part seen
    push telltale
    # What the user types the user has typed.
    for typed in "export PYXIS_CONTAINER_IMAGE=$registry#telltale; exec srun -N2 true" \
        "exec salloc -N2 $pyxis pull --nodes all docker://$registry#telltale"; do
        hold_sending
        echo "$typed" > "$state/work/typed"
        in_background sh typed
        wait_until sending
        seen=$(pgrep -a -f . | grep -v "pull --nodes" && cat "$state/work/sender")
        grep "node-task" <<< "$seen"
        for part in telltale $(find "$BATS_FILE_TMPDIR/push/layout/blobs" -type f -printf '%f\n'); do
            run grep "$part" <<< "$seen"
            echo "$output"
            [ "$status" -eq 1 ]
        done
        cluster login -- scancel --user=pyxistest
        wait_until ended "$background"
        wait_until no_jobs
    done
}
