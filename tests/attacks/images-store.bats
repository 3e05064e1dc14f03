#!/usr/bin/env bats
# What one user has made of images by the account of the shared store, and what they leave where everybody may write.

load common

setup_file() {
    serve good
    export good=$address
    serve slow --slow blobs
    export slow=$address
}

# Is shared by the node's users; belongs to an account that has no name.
shared=/run/attacked-store

setup() {
    attacks_setup
    root sh -c "rm -rf $shared && mkdir $shared && chown 64151:64151 $shared"
    for where in node\ 1 login; do
        # shellcheck disable=SC2086
        cluster $where -- sh -c 'mkdir -p /etc/pyxis && cat > /etc/pyxis/pyxis.toml' << END
[registries]
http = ["$good", "$slow"]
[store]
path = "/var/tmp/attacked-images"
END
        # shellcheck disable=SC2086
        cluster $where -- sh -c 'rm -rf /var/tmp/attacked-images && mkdir -m 1777 /var/tmp/attacked-images'
    done
    cluster plugstack "$PYXIS_TEST_LINE shared_store=$shared"
}

teardown() {
    local failed=0
    root scancel -u pyxistest || true
    attacks_teardown || failed=1
    cluster plugstack "$PYXIS_TEST_LINE"
    root rm -rf "$shared" /var/tmp/attacked-images /etc/pyxis
    cluster login -- rm -rf /var/tmp/attacked-images /etc/pyxis
    return "$failed"
}

teardown_file() {
    kill "$(cat "$BATS_FILE_TMPDIR/good.pid")" "$(cat "$BATS_FILE_TMPDIR/slow.pid")"
}

# Makes an image NAME that both registries have: busybox, and with KIND a layer that costs.
make_image() { python3 "$BATS_FILE_TMPDIR/registry.py" --make "$BATS_FILE_TMPDIR/images" "$1" "$PYXIS_TEST_IMAGES/busybox.sqsh" "${2:-}"; }
stored() { root find "$shared/images" -name '*.sqsh'; }
# Of pgrep, that there is none is no failure.
brokers() { root pgrep -f 'pyxis broker' || (($? == 1)); }

@test "who serves a public image byte by byte keeps nobody from it" {
    make_image public
    cluster run --user pyxistest -- srun -w n1 --oversubscribe --container-image="$slow#public" true > "$work/attacker" 2>&1 3>&- &
    for ((i = 0; i < 600; i++)); do
        if grep -q blobs "$BATS_FILE_TMPDIR/slow.log"; then break; fi
        sleep 0.1
    done
    grep -q blobs "$BATS_FILE_TMPDIR/slow.log"
    run timeout 120 "$here/../cluster/cluster" run --user pyxistest2 -- \
        srun -w n1 --oversubscribe --container-image="$good#public" echo it runs
    echo "$status: $output"
    [ "$status" -eq 0 ]
    [[ $output == *"it runs"* ]]
    [ "$(stored | wc -l)" -eq 1 ]
}

@test "the account's process ends with the step that asked" {
    make_image left
    cluster run --user pyxistest -- srun -w n1 --container-image="$slow#left" true > "$work/attacker" 2>&1 3>&- &
    for ((i = 0; i < 600; i++)); do
        if [[ -n $(brokers) ]]; then break; fi
        sleep 0.1
    done
    [ -n "$(brokers)" ]
    root scancel -u pyxistest
    for ((i = 0; i < 150; i++)); do
        if [[ -z $(brokers) ]]; then break; fi
        sleep 0.1
    done
    left=$(brokers)
    [ -z "$left" ]
    # What it was writing is nowhere.
    left=$(root find "$shared/tmp" -type f)
    [ -z "$left" ]
}

@test "the account's process ends with the step, whoever else has kept the way to it" {
    local round
    make_image kept
    # The attacker's, beside Slurm: it is not ended with the step.
    install -m 755 "$here/keep.py" "$work/keep"
    attacker_on_node "$work/keep" hold "$work/way" > "$work/held" 3>&- &
    for ((i = 0; i < 600; i++)); do
        if [[ -S $work/way ]]; then break; fi
        sleep 0.1
    done
    # What the runtime does to itself, its user could do to the real one.
    cat > "$work/runtime" << END
#!/bin/sh
[ "\$1" != pull ] || "$work/keep" give "$work/way"
exec '$PYXIS_TEST_COMMAND' "\$@"
END
    chmod 755 "$work/runtime"
    # Of two, the later one counts.
    cluster plugstack "$PYXIS_TEST_LINE shared_store=$shared pyxis_path=$work/runtime"
    # One that fetches, and one that finds everything there.
    for round in 1 2; do
        step --container-image="$good#kept" echo it runs
        [ "$status" -eq 0 ]
        [[ $output == *"it runs"* ]]
        [ "$(grep -c held "$work/held")" -eq "$round" ]
    done
    for ((i = 0; i < 150; i++)); do
        left=$(brokers; root pgrep -x pyxis-broker || (($? == 1)))
        if [[ -z $left ]]; then break; fi
        sleep 0.1
    done
    root pkill -f "$work/[k]eep hold"
    echo "left: $left"
    [ -z "$left" ]
}

@test "the account's process has limits of its own" {
    local limits=
    make_image limited
    cluster run --user pyxistest -- srun -w n1 --container-image="$slow#limited" true > "$work/attacker" 2>&1 3>&- &
    for ((i = 0; i < 600; i++)); do
        limits=$(for pid in $(brokers); do root cat "/proc/$pid/limits"; done 2> /dev/null || true)
        if [[ $limits == *"Max data size"* && $(grep "Max data size" <<< "$limits") != *"unlimited  "*"unlimited"* ]]; then break; fi
        sleep 0.1
    done
    echo "$limits"
    size=$(grep "Max data size" <<< "$limits")
    [[ $size == *[0-9]* ]]
    [[ $size != *unlimited* ]]
    time=$(grep "Max cpu time" <<< "$limits")
    [[ $time != *unlimited* ]]
}

@test "a layer that costs more than its size allows is not unpacked for all" {
    local kind most peak
    for kind in attributes headers opaque; do
        make_image "cost-$kind" "$kind"
        root timeout 300 python3 - ' broker' "$work/$kind.over" < "$here/peak.py" > "$work/$kind" 3>&- &
        peak=$!
        SECONDS=0
        step --container-image="$good#cost-$kind" true
        touch "$work/$kind.over"
        wait "$peak"
        ((SECONDS < 120))
        # What is refused at once may end unseen.
        most=$(sort -n "$work/$kind" | tail -n 1)
        echo "$kind: ${most:-0} KiB"
        # 64 MiB, and eight bytes for each of the layers', which are below two million.
        [ "${most:-0}" -le $((80 * 1024)) ]
    done
    [ -n "$(cat "$work/attributes" "$work/headers" "$work/opaque")" ]
}

@test "a file of the attacker's with a date to come pins no image" {
    local image
    make_image pinned
    victim srun -w n1 --container-image="$good#pinned" true
    image=$(stored)
    [ -n "$image" ]
    run attacker_on_node touch "$shared/uses/file"
    [ "$status" -ne 0 ]
    # As earlier versions have left it.
    root chmod 1777 "$shared/uses"
    attacker_on_node touch -d 2100-01-01 "$shared/uses/$(basename "$image" .sqsh).elsewhere.abcdef01-$(attacker_on_node id -u)"
    root setpriv --reuid 64151 --regid 64151 --clear-groups env PYXIS_STORE_PATH="$shared" HOME=/ "$PYXIS_TEST_COMMAND" gc --all
    left=$(stored)
    [ -z "$left" ]
    left=$(root find "$shared/uses" -type f)
    [ -z "$left" ]
}

@test "who takes the place of another's store among everybody's only makes them use another place" {
    local id
    make_image squatted
    id=$(victim_on_node id -u)
    victim_on_node mkdir -p /tmp/victim
    # The shared store does not have it: the victim's own is to be used.
    cluster plugstack "$PYXIS_TEST_LINE"
    for trap in "mkdir -m 777 /var/tmp/attacked-images/$id" "ln -s /etc /var/tmp/attacked-images/$id" \
        "mkfifo /var/tmp/attacked-images/$id"; do
        root rm -rf "/var/tmp/attacked-images/$id"
        attacker_on_node sh -c "$trap"
        run timeout 120 "$here/../cluster/cluster" run --user pyxistest2 -- \
            srun -w n1 --container-image="$good#squatted" echo it runs
        echo "$trap: $status: $output"
        [ "$status" -eq 0 ]
        [[ $output == *"it runs"* ]]
        run victim_on_node env HOME=/tmp/victim "$PYXIS_TEST_COMMAND" images
        echo "$output"
        [ "$status" -eq 0 ]
        [[ $output == *"belongs to user id"*"is used instead"* ]]
        left=$(root find /var/tmp/attacked-images -name '*.sqsh')
        [ -z "$left" ]
    done
}
