#!/usr/bin/env bats
# What comes to slurmstepd in place of a container: incomplete, odd, or something that holds whoever has to close it.

load common
setup() { attacks_setup; }
teardown() {
    [[ -z ${server:-} ]] || root kill "$server"
    cluster plugstack "$PYXIS_TEST_LINE"
    attacks_teardown
}

# The plugin's line with a runtime that tampers with the message: $@ are its mode and argument.
tampers() {
    install -m 755 "$here/root-relay.py" "$work/relay"
    printf '%s\n' '#!/bin/sh' "exec '$work/relay' '$PYXIS_TEST_COMMAND' $* -- \"\$@\"" > "$work/runtime"
    chmod 755 "$work/runtime"
    local path=${PYXIS_TEST_LINE#* pyxis_path=}
    cluster plugstack "${PYXIS_TEST_LINE/ pyxis_path=${path%% *}/ pyxis_path=$work/runtime}"
}

# The step is refused, with this in its one line, and its program does not run.
refused() {
    step --container-image="$PYXIS_TEST_IMAGES/busybox.sqsh" echo ran-anyway
    [ "$status" -eq 1 ]
    [[ $output == *"pyxis: the container was refused: $1"* ]]
    [[ $output != *ran-anyway* ]]
}

@test "the tampering runtime itself starts containers" {
    tampers as-it-is x
    step --container-image="$PYXIS_TEST_IMAGES/busybox.sqsh" cat /etc/os-release
    [ "$status" -eq 0 ]
    [[ $output == *ID=pyxis-test* ]]
}

@test "a message without a part that every container has" {
    local part
    for part in mount user cwd environ; do
        tampers without $part
        refused "the container's message has no $part"
    done
}

@test "a message with a part twice, and two messages" {
    tampers twice mount
    step --container-image="$PYXIS_TEST_IMAGES/busybox.sqsh" echo ran-anyway
    [ "$status" -eq 1 ]
    [[ $output == *"a descriptor twice in the container's message"* ]]
    [[ $output != *ran-anyway* ]]
    tampers again x
    refused "more than one message came"
}

@test "a part that is another thing than it is called, or the node's own" {
    local part
    for part in mount user cwd environ helpers; do
        tampers null $part
        refused "$part in the container's message is no such thing"
    done
    for part in mount user net; do
        tampers own $part
        refused "$part in the container's message is no such thing"
    done
}

@test "a directory of the node in place of the container's" {
    tampers host /var/tmp
    step --container-image="$PYXIS_TEST_IMAGES/busybox.sqsh" sh -c 'ls /proc/self/cwd/; echo ran-anyway'
    [ "$status" -ne 0 ]
    [[ $output != *ran-anyway* ]]
}

@test "a file of a file system that never answers: slurmstepd does not get it" {
    local part begin
    install -m 755 "$here/root-fuse.py" "$work/fuse"
    attacker_on_node "$work/fuse" "$work/socket" 3>&- &
    for _ in $(seq 600); do [[ ! -S $work/socket ]] || break; sleep 0.1; done
    [ -S "$work/socket" ]
    server=$(root pgrep -f "^[^ ]*python3 $work/fuse")
    for part in helpers mount cwd environ extra; do
        tampers fuse "$part:$work/socket"
        begin=$SECONDS
        step --container-image="$PYXIS_TEST_IMAGES/busybox.sqsh" echo ran-anyway
        [ "$status" -ne 0 ]
        [ "$status" -ne 124 ]
        [[ $output != *ran-anyway* ]]
        root scancel -u pyxistest
        no_node_is_lost
        ((SECONDS - begin < 60))
        processes=$(root ps -e -o stat=,comm=)
        if grep "^D.*slurmstepd" <<< "$processes"; then return 1; fi
    done
}
