#!/usr/bin/env bats
# Images of the shared store, which root has the kernel mount.

load common

setup_file() {
    local work=$BATS_FILE_TMPDIR
    serve registry
    export registry=$address
    python3 "$work/registry.py" --make "$work/images" mounted "$PYXIS_TEST_IMAGES/busybox.sqsh" ""
}

# Belongs to an account that has no name.
shared=/run/mounted-store

setup() {
    attacks_setup
    root sh -c "rm -rf $shared && mkdir $shared && chown 64152:64152 $shared"
    # shellcheck disable=SC2086
    root sh -c 'mkdir -p /etc/pyxis && cat > /etc/pyxis/pyxis.toml' << END
[registries]
http = ["$registry"]
[store]
path = "/var/tmp/mounted-images"
END
    root sh -c 'rm -rf /var/tmp/mounted-images && mkdir -m 1777 /var/tmp/mounted-images'
    line="$PYXIS_TEST_LINE shared_store=$shared"
    cluster plugstack "$line"
    kernel=1
    if ! root test -e /dev/loop-control; then kernel=0; fi
}

teardown() {
    local failed=0
    root scancel -u pyxistest || true
    attacks_teardown || failed=1
    cluster plugstack "$PYXIS_TEST_LINE"
    root rm -rf "$shared" /var/tmp/mounted-images /etc/pyxis
    return "$failed"
}

teardown_file() {
    kill "$(cat "$BATS_FILE_TMPDIR/registry.pid")"
}

# Block devices of images of the store: of grep, that there is none is no failure.
backing() { root sh -c 'cat /sys/block/loop*/loop/backing_file 2>&- || true'; }
devices() { backing | grep "$shared" || (($? == 1)); }
servers() { root pgrep -x pyxis-image || (($? == 1)); }

nothing_is_left() {
    for ((i = 0; i < 600; i++)); do
        left=$(devices)
        if [[ -z $left ]]; then return 0; fi
        sleep 0.1
    done
    echo "left: $left"
    return 1
}

# A container that runs until the file is there; returns when it does.
hold() {
    cluster run --user pyxistest -- srun -w n1 --overlap --oversubscribe --container-image="$registry#mounted" \
        --container-mounts="$work:/work" sh -c "cat /etc/passwd > /work/$1.read; until test -e /work/over; do sleep 0.1; done" \
        > "$work/$1.log" 2>&1 3>&- &
    for ((i = 0; i < 600; i++)); do
        if [[ -s $work/$1.read ]]; then return 0; fi
        sleep 0.1
    done
    cat "$work/$1.log"
    return 1
}

@test "an image of the shared store is mounted by the kernel, once, and nothing is left" {
    hold one
    hold two
    if [[ $kernel == 1 ]]; then
        [ "$(devices | wc -l)" -eq 1 ]
        found=$(servers)
        [ -z "$found" ]
    else
        [ "$(servers | wc -l)" -eq 2 ]
    fi
    # It is in nobody's tree but the containers'.
    if [[ $kernel == 1 ]]; then
        device=$(root sh -c "grep -l '$shared' /sys/block/loop*/loop/backing_file" | cut -d/ -f4)
        [[ $device == loop* ]]
        run root grep " /dev/$device " /proc/self/mountinfo
        [ "$status" -eq 1 ]
    fi
    touch "$work/over"
    wait
    nothing_is_left
    found=$(root pgrep -f 'pyxis mount-[i]mage' || (($? == 1)))
    [ -z "$found" ]
}

@test "a user's own file is not mounted by the kernel, whatever it is called" {
    # Under a digest, in a store of the user's own making that they name.
    local name
    name=$(printf '%064d' 7).sqsh
    mkdir -p "$work/images" "$work/locks"
    cp "$PYXIS_TEST_IMAGES/busybox.sqsh" "$work/images/$name"
    chmod -R a+rX "$work/images"
    run timeout 120 "$here/../cluster/cluster" run --user pyxistest -- env PYXIS_STORE_SHARED="$work" \
        srun -vv -w n1 --container-image="$work/images/$name" sh -c 'echo it runs'
    echo "$status: $output"
    [ "$status" -eq 0 ]
    [[ $output == *"it runs"* ]]
    found=$(backing)
    [[ $found != *"$name"* ]]
    # A link to it in the store, and a file of the user's there, are not published by the account.
    root sh -c "mkdir -p $shared/images $shared/locks && chown -R 64152:64152 $shared && ln -s $work/images/$name $shared/images/$name"
    step --container-image="$shared/images/$name" sh -c 'echo it runs'
    [ "$status" -eq 0 ]
    found=$(backing)
    [[ $found != *"$name"* ]]
}

@test "a step that is killed leaves no device and no mount" {
    local round
    step --container-image="$registry#mounted" true
    [ "$status" -eq 0 ]
    for round in 1 2 3 4 5 6; do
        cluster run --user pyxistest -- srun -w n1 --oversubscribe --container-image="$registry#mounted" sleep 300 > "$work/$round" 2>&1 3>&- &
        sleep "0.$((round * 15))"
        case $((round % 3)) in
            0) root sh -c 'pkill -9 slurmstepd || true' ;;
            1) root sh -c 'pkill -9 -f "pyxis mount-[i]mage" || true' ;;
            2) root sh -c 'pkill -9 -u pyxistest || true' ;;
        esac
        root scancel -u pyxistest
        wait
    done
    nothing_is_left
}

@test "kernel_mounts=0, and a command that is not root's alone: a server" {
    local program
    cluster plugstack "$line kernel_mounts=0"
    hold off
    found=$(devices)
    [ -z "$found" ]
    [ -n "$(servers)" ]
    touch "$work/over"
    wait
    rm "$work/over"
    # What a user could have written is not executed by root.
    program=$work/pyxis
    root cp "$PYXIS_TEST_COMMAND" "$program"
    root chown pyxistest "$program"
    # Of two, the later one counts.
    cluster plugstack "$line pyxis_path=$program"
    hold theirs
    found=$(devices)
    [ -z "$found" ]
    [ -n "$(servers)" ]
    touch "$work/over"
    wait
}
