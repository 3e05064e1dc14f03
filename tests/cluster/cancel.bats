#!/usr/bin/env bats
# A step that is to end, at every phase of a container's life: it ends promptly and leaves nothing. As root, on a cluster
# of tests/cluster that has the plugin (CLUSTER_STATE names it).

cluster() { "$BATS_TEST_DIRNAME/cluster" "$@"; }
on_node() { cluster node 1 -- "$@"; }
user() { cluster run -- "$@"; }

# Slurm waits KillWait between SIGTERM and SIGKILL: so long that whatever ends before has ended by the SIGTERM, even on a busy machine.
kill_wait() {
    sed -i "s/^KillWait=.*/KillWait=$1/" "$CLUSTER_STATE/etc/slurm.conf"
    cluster login -- scontrol reconfigure
}
setup_file() { kill_wait 90; }
teardown_file() { kill_wait 5; }

setup() {
    image=$PYXIS_TEST_IMAGES/entrypoint.sqsh
    work=$(mktemp -d "$CLUSTER_STATE/work/cancel.XXXXXX")
    chmod 777 "$work"
    # It fetches for as long as it is let.
    printf '%s\n' '#!/bin/sh' "[ \"\$1\" = get ] || { touch $work/released; exit 0; }" \
        "touch $work/phase; while [ ! -e $work/go ]; do sleep 0.05; done" "echo $image" > "$work/importer"
    chmod 755 "$work/importer"
    # An entrypoint, and a batch of work for create and save, that take longer than anybody waits.
    echo "touch /shared/phase; sleep 1000" > "$work/rc.local"
}

teardown() {
    user scancel -u pyxistest
    touch "$work/go"
    cluster node 1 -- pkill -CONT -f "$work/pyxis" || true
    rm -rf "$work" "$CLUSTER_STATE/enroot/"{un,mk}squashfs
    cluster plugstack "$PYXIS_TEST_LINE"
    kill_wait 90
}

# Slurm's own cgroup directories may be a moment late; a user's file of locks is made once, and named containers change.
what_exists() { cluster snapshot | grep -Ev ' (cgroup|mount-namespaces) |/names.lock |/enroot-data-[0-9]*/pyxis_'; }

ready() {
    user srun -w n1 --container-image="$image" true
    before=$(what_exists)
}

nothing_left() {
    local i
    for ((i = 0; i < 600; i++)); do
        [[ $(what_exists) != "$before" ]] || return 0
        sleep 0.1
    done
    diff <(echo "$before") <(what_exists)
}

# Ends a step in each way once $work/phase is there; $@ are srun's arguments. Each has to be over long before the
# SIGKILL of Slurm could have helped, except where a program ignores SIGTERM.
end_in_each_way() {
    local how begin srun took i
    for how in scancel interrupt terminate; do
        rm -f "$work/phase"
        # In a session of its own: its process group is what a key at the terminal reaches.
        cluster run -- bash -c 'echo $$ > "$1/srun"; exec srun -w n1 "${@:2}"' - "$work" "$@" > "$work/out" 2>&1 3>&- &
        srun=$!
        for ((i = 0; i < 1200; i++)); do [[ ! -e $work/phase ]] || break; sleep 0.05; done
        [ -e "$work/phase" ] || { cat "$work/out"; return 1; }
        sleep 0.2
        begin=${EPOCHREALTIME/./}
        case $how in
            scancel) user scancel -u pyxistest ;;
            # Twice within a second: once, srun only says what its tasks do.
            interrupt) cluster login -- sh -c 'kill -INT "$1"; sleep 0.2; kill -INT "$1"' - "$(< "$work/srun")" ;;
            terminate) cluster login -- kill -TERM "$(< "$work/srun")" ;;
        esac
        wait $srun && return 1
        took=$(((${EPOCHREALTIME/./} - begin) / 1000))
        echo "$how: $took ms"
        cat "$work/out"
        [ "$(grep -c ran-anyway "$work/out")" -eq 0 ]
        ((took < 60000))
        nothing_left
    done
}

@test "while an image is fetched: the importer is told, and releases" {
    cluster plugstack "$PYXIS_TEST_LINE importer=$work/importer"
    ready
    end_in_each_way --container-image=some/image echo ran-anyway
    [ -e "$work/released" ]
}

@test "while a container of a fetched image is to be made: nothing of it stays" {
    cluster plugstack "$PYXIS_TEST_LINE importer=$work/importer"
    ready
    end_in_each_way --container-image=some/image --container-name=never echo ran-anyway
    list=$(user srun -w n1 "$PYXIS_TEST_COMMAND" list)
    [[ $list != *pyxis_never* ]]
}

@test "while an image is unpacked to a container: nothing half made stays" {
    # Of the directory in which programs are looked for first.
    printf '%s\n' '#!/bin/sh' "touch $work/phase; while [ ! -e $work/go ]; do sleep 0.05; done; exec /usr/bin/unsquashfs \"\$@\"" \
        > "$CLUSTER_STATE/enroot/unsquashfs"
    chmod 755 "$CLUSTER_STATE/enroot/unsquashfs"
    ready
    # Packed so that a program has to unpack it.
    unsquashfs -q -n -d "$work/root" "$image" > /dev/null
    mksquashfs "$work/root" "$work/xz.sqsh" -comp xz -no-progress -quiet > /dev/null
    image=$work/xz.sqsh
    # Where the kernel's overlay cannot be used.
    end_in_each_way --export=ALL,ENROOT_NATIVE_OVERLAYFS=n --container-image="$image" --container-name=unpacked echo ran-anyway
    list=$(user srun -w n1 sh -c 'for place in ~/.local/share/enroot/.pyxis.* /var/tmp/enroot-data-*/.pyxis.*; do test ! -e "$place" || echo "$place"; done')
    [ -z "$list" ]
    list=$(user srun -w n1 "$PYXIS_TEST_COMMAND" list)
    [[ $list != *pyxis_unpacked* ]]
    touch "$work/go"
    user srun -w n1 --export=ALL,ENROOT_NATIVE_OVERLAYFS=n --container-image="$image" --container-name=unpacked true
    user srun -w n1 "$PYXIS_TEST_COMMAND" remove -f pyxis_unpacked
}

@test "while the entrypoint runs" {
    ready
    end_in_each_way --container-image="$image" --container-entrypoint \
        --container-mounts="$work:/shared,$work/rc.local:/etc/rc.local" echo ran-anyway
}

@test "while a task's prolog runs, of a container with a name, too" {
    printf '%s\n' '#!/bin/sh' "touch $work/phase; sleep 1000" > "$work/prolog"
    chmod 755 "$work/prolog"
    ready
    end_in_each_way --task-prolog="$work/prolog" --container-image="$image" echo ran-anyway
    end_in_each_way --task-prolog="$work/prolog" --container-image="$image" --container-name=prologue echo ran-anyway
    user srun -w n1 --container-name=prologue true
    user srun -w n1 "$PYXIS_TEST_COMMAND" remove -f pyxis_prologue
}

@test "while the program runs" {
    ready
    end_in_each_way --container-image="$image" --container-mounts="$work:/shared" \
        sh -c 'touch /shared/phase; sleep 1000 & sleep 1000; echo ran-anyway'
}

@test "while the program of a named container runs: the container stays, unused" {
    ready
    user srun -w n1 --container-image="$image" --container-name=kept true
    before=$(what_exists)
    end_in_each_way --container-name=kept --container-mounts="$work:/shared" sh -c 'touch /shared/phase; sleep 1000; echo ran-anyway'
    user srun -w n1 --container-name=kept true
    user srun -w n1 "$PYXIS_TEST_COMMAND" remove -f pyxis_kept
}

@test "a time limit, at the entrypoint and at the program" {
    ready
    local phase options
    for phase in entrypoint program; do
        mkdir -m 777 "$work/$phase"
        options=(--container-image="$image" --container-mounts="$work/$phase:/shared,$work/rc.local:/etc/rc.local")
        [[ $phase != entrypoint ]] || options+=(--container-entrypoint)
        user srun -w n1 --oversubscribe -t 1 "${options[@]}" sh -c 'touch /shared/phase; sleep 1000; echo ran-anyway' \
            > "$work/$phase.out" 2>&1 3>&- &
    done
    local i
    for ((i = 0; i < 1200; i++)); do [[ ! -e $work/entrypoint/phase || ! -e $work/program/phase ]] || break; sleep 0.05; done
    # Limits are in minutes; one that is over already is as good. Slurm looks at them every 30 s.
    cluster login -- sh -c 'for job in $(squeue -h -o %i); do scontrol update jobid=$job endtime=now+1; done'
    wait
    output=$(cat "$work/entrypoint.out" "$work/program.out")
    echo "$output"
    [[ $output != *ran-anyway* ]]
    [[ $output == *"DUE TO TIME LIMIT"* ]]
    nothing_left
}

# The runtime of the plugin's line, but that it is stopped where it is called with the verb $1, once: as a user may stop it, whose process it is.
stopped_at() {
    # shellcheck disable=SC2016
    printf '%s\n' '#!/bin/sh' "if [ \"\$1\" = $1 ] && mkdir $work/once 2> /dev/null; then touch $work/phase; kill -STOP \$\$; fi" \
        "exec $PYXIS_TEST_COMMAND \"\$@\"" > "$work/pyxis"
    chmod 755 "$work/pyxis"
    cluster plugstack "${PYXIS_TEST_LINE/"pyxis_path=$PYXIS_TEST_COMMAND"/"pyxis_path=$work/pyxis"} ${*:2}"
}

# mksquashfs, of the directory in which programs are looked for first, takes as long as it is let. Steps with options for it use it.
slow_mksquashfs() {
    by_mksquashfs=--export=ALL,ENROOT_SQUASH_OPTIONS=-noD
    printf '%s\n' '#!/bin/sh' "touch $work/phase; while [ ! -e $work/go ]; do sleep 0.05; done; exec /usr/bin/mksquashfs \"\$@\"" \
        > "$CLUSTER_STATE/enroot/mksquashfs"
    chmod 755 "$CLUSTER_STATE/enroot/mksquashfs"
}

# Ends the step of srun's arguments $@ once $work/phase is there. Neither its job nor its node waits for what the user can hold up.
end_what_is_held() {
    local srun i took begin state
    # Slurm's SIGKILL may be what ends it: that is to come soon.
    kill_wait 5
    rm -rf "$work/phase" "$work/once"
    user srun -w n1 -J held "$@" > "$work/out" 2>&1 3>&- &
    srun=$!
    for ((i = 0; i < 3000; i++)); do [[ ! -e $work/phase ]] || break; sleep 0.05; done
    [ -e "$work/phase" ] || { cat "$work/out"; return 1; }
    begin=${EPOCHREALTIME/./}
    user scancel -n held
    # UnkillableStepTimeout is 30 s: then Slurm drains the node.
    for ((i = 0; i < 300; i++)); do
        state=$(cluster login -- squeue -h -n held -t all -o %T)
        [[ $state == *RUNNING* || $state == *COMPLETING* ]] || break
        sleep 0.1
    done
    took=$(((${EPOCHREALTIME/./} - begin) / 1000))
    echo "gone after $took ms: $state"
    wait $srun || true
    cat "$work/out"
    [[ $state != *RUNNING* ]]
    [[ $state != *COMPLETING* ]]
    ((took < 29000))
    state=$(cluster login -- sinfo -h -N -n n1 -o '%T %E')
    echo "$state"
    [[ $state != *drain* ]]
    [[ $state != *down* ]]
    # Nothing waits for a signal that never comes.
    nothing_left
    user srun -w n1 --container-image="$image" true
}

@test "while it saves, which takes long: the step ends, no half file is left, and it is said" {
    local logs
    slow_mksquashfs
    ready
    end_what_is_held "$by_mksquashfs" --container-image="$image" --container-save="$work/saved.sqsh" true
    [ ! -e "$work/saved.sqsh" ]
    logs=$(cluster logs; cat "$work/out")
    [[ $logs == *"pyxis: "*"failed to export container"* ]]
}

@test "while it saves, stopped by its user: the step ends, no half file is left, and it is said" {
    local logs
    ready
    stopped_at export
    end_what_is_held --container-image="$image" --container-save="$work/saved.sqsh" true
    [ ! -e "$work/saved.sqsh" ]
    logs=$(cluster logs; cat "$work/out")
    [[ $logs == *"pyxis: "*"failed to export container"* ]]
}

@test "while it saves a named container: the container stays, unused" {
    slow_mksquashfs
    ready
    user srun -w n1 --container-image="$image" --container-name=kept true
    before=$(what_exists)
    end_what_is_held "$by_mksquashfs" --container-name=kept --container-save="$work/saved.sqsh" true
    [ ! -e "$work/saved.sqsh" ]
    user srun -w n1 --container-name=kept true
    user srun -w n1 "$PYXIS_TEST_COMMAND" remove -f pyxis_kept
}

@test "while it removes, at the job's end, stopped by its user: the node is free, and the next removal is complete" {
    local list
    ready
    stopped_at remove container_scope=job
    end_what_is_held --container-image="$image" --container-name=job sh -c 'sleep 2'
    # What could not be removed is there to be removed by its user.
    list=$(user srun -w n1 "$PYXIS_TEST_COMMAND" list)
    for name in $list; do user srun -w n1 "$PYXIS_TEST_COMMAND" remove -f "$name"; done
    list=$(user srun -w n1 "$PYXIS_TEST_COMMAND" list)
    [ -z "$list" ]
}

@test "while the epilog lists containers, stopped by its user: the node is free" {
    ready
    stopped_at list container_scope=job
    end_what_is_held --container-image="$image" true
}

@test "while the container is saved: a whole file, or none" {
    local list
    ready
    user srun -w n1 -J saving --container-image="$image" --container-writable --container-save="$work/saved.sqsh" \
        sh -c 'dd if=/dev/urandom of=/big bs=1M count=300 2> /dev/null' > "$work/out" 2>&1 3>&- &
    local srun=$! i
    for ((i = 0; i < 3000; i++)); do [[ -z $(find "$work" -name '.pyxis.*') ]] || break; sleep 0.02; done
    [ ! -e "$work/saved.sqsh" ]
    user scancel -n saving
    wait $srun || true
    cat "$work/out"
    grep -q 'CANCELLED' "$work/out"
    # It is let finish if that takes a moment.
    if [[ -e $work/saved.sqsh ]]; then
        grep -q 'pyxis: exported container' "$work/out"
        list=$(unsquashfs -ll "$work/saved.sqsh")
        grep -q ' 314572800 .*/big$' <<< "$list"
        rm "$work/saved.sqsh"
    else
        list=$(cluster logs; cat "$work/out")
        [[ $list == *"failed to export container"* ]]
    fi
    nothing_left
}
