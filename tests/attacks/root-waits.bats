#!/usr/bin/env bats
# root waits for what a user can hold up: at the end of a step, and in a job's epilog. Slurm waits KillWait (5 s) between SIGTERM
# and SIGKILL here, and UnkillableStepTimeout (30 s) until it gives up a node.

load common
setup() { attacks_setup; }
teardown() {
    cluster plugstack "$PYXIS_TEST_LINE"
    attacks_teardown
}

# The plugin's line with a runtime that runs stdin, a shell script, first, and more arguments. What it does to itself, its
# user could do to the real one: the processes are the user's.
runtime_does() {
    { echo '#!/bin/sh'; cat; echo "exec '$PYXIS_TEST_COMMAND' \"\$@\""; } > "$work/runtime"
    chmod 755 "$work/runtime"
    local path=${PYXIS_TEST_LINE#* pyxis_path=}
    cluster plugstack "${PYXIS_TEST_LINE/ pyxis_path=${path%% *}/ pyxis_path=$work/runtime}${*:+ $*}"
}

@test "a stopped remove: the step ends, the container goes with the user's next command" {
    runtime_does <<< '[ "$1" != remove ] || kill -STOP $$'
    local begin=$SECONDS
    step --container-image="$PYXIS_TEST_IMAGES/busybox.sqsh" --container-save="$work/x.sqsh" echo it ran
    [ "$status" -eq 0 ]
    [[ $output == *"it ran"* ]]
    [ -s "$work/x.sqsh" ]
    ((SECONDS - begin < 60))
    no_node_is_lost
    logs=$(cluster logs)
    grep -q 'failed to remove container filesystem: pyxis_[0-9.]*: pyxis took too long and was killed' <<< "$logs"
    attacker srun -w n1 "$PYXIS_TEST_COMMAND" list | while read -r name; do
        attacker srun -w n1 "$PYXIS_TEST_COMMAND" remove -f "$name"
    done
}

@test "a stopped save: given up, and said" {
    runtime_does <<< '[ "$1" != export ] || kill -STOP $$'
    local begin=$SECONDS
    step --container-image="$PYXIS_TEST_IMAGES/busybox.sqsh" --container-save="$work/x.sqsh" echo it ran
    [[ $output == *"it ran"*"failed to export container"*"was stopped and was killed"* ]]
    [ "$status" -eq 1 ]
    [ ! -e "$work/x.sqsh" ]
    ((SECONDS - begin < 60))
}

@test "a save, what it had written and the container's removal, each stopped: one hook of root's waits 10 s for all" {
    local begin
    runtime_does << END
case \$1 in export | discard | remove) echo \$1 >> $work/asked; kill -STOP \$\$ ;; esac
END
    # The program ends the task that would save: it is root then who has it saved.
    begin=$SECONDS
    step --container-image="$PYXIS_TEST_IMAGES/busybox.sqsh" --container-save="$work/x.sqsh" sh -c 'kill -9 $PPID; sleep 600'
    [ "$status" -ne 0 ]
    no_node_is_lost
    echo "$((SECONDS - begin)) s: $(tr '\n' ' ' < "$work/asked")"
    [[ $(head -n 2 "$work/asked") == $'export\ndiscard' ]]
    [ ! -e "$work/x.sqsh" ]
    logs=$(cluster logs)
    grep -q 'failed to export container pyxis_[0-9.]* to .*: pyxis was stopped and was killed' <<< "$logs"
    attacker srun -w n1 "$PYXIS_TEST_COMMAND" list | while read -r name; do
        attacker srun -w n1 "$PYXIS_TEST_COMMAND" remove -f "$name"
    done
}

# Ends a step while its container is being saved, in the way $1, by the program whose command line matches $2;
# what follows are arguments of srun.
end_while_saving() {
    local begin
    attacker srun -w n1 -t 1 -J saving "${@:3}" --container-image="$PYXIS_TEST_IMAGES/busybox.sqsh" --container-writable --container-save="$work/x.sqsh" \
        sh -c 'dd if=/dev/urandom of=/big bs=1M count=300 2> /dev/null' > "$work/out" 2>&1 3>&- &
    # The window stays open: whoever writes is stopped as soon as something is there.
    # shellcheck disable=SC2016
    root timeout 300 sh -c 'until [ -n "$(find "$1" -name ".pyxis.*")" ]; do sleep 0.01; done; pkill -STOP -f "$2"' sh "$work" "$2"
    [[ -n $(find "$work" -name '.pyxis.*') ]]
    begin=$SECONDS
    case $1 in
        cancelled) root scancel -n saving ;;
        "over its time") root sh -c 'scontrol update jobid=$(squeue -h -o %i -n saving) endtime=now+1' ;;
    esac
    wait $! || true
    cat "$work/out"
    root scancel -n saving
    no_node_is_lost
    echo "$((SECONDS - begin)) s"
    grep -q 'pyxis: failed to export container' "$work/out"
    [ ! -e "$work/x.sqsh" ]
    left=$(find "$work" -name '.pyxis.*')
    [ -z "$left" ]
    run root pgrep -f "$2"
    [ "$status" -eq 1 ]
}

@test "a step cancelled while its container is saved, by a writer that stands still" {
    end_while_saving cancelled '[p]yxis export'
    ((SECONDS < 120))
}

@test "a step cancelled while its container is saved, by a mksquashfs that stands still" {
    end_while_saving cancelled '^[m]ksquashfs' --export=ALL,ENROOT_SQUASH_OPTIONS=-noD
    ((SECONDS < 120))
}

@test "what root runs is in the step's cgroup: Slurm ends it with the step" {
    runtime_does << END
[ "\$1" != remove ] || cat /proc/self/cgroup > $work/cgroup
END
    step --container-image="$PYXIS_TEST_IMAGES/busybox.sqsh" --container-save="$work/x.sqsh" true
    [ "$status" -eq 0 ]
    if ! root grep -q freezer /proc/1/cgroup; then skip "no cgroups here"; fi
    grep -q 'freezer:.*/job_[0-9]*/step_0$' "$work/cgroup"
}

@test "a stopped list in the epilog of container_scope=job: the job completes" {
    runtime_does container_scope=job <<< '[ "$1" != list ] || kill -STOP $$'
    local begin=$SECONDS
    step true
    [ "$status" -eq 0 ]
    no_node_is_lost
    ((SECONDS - begin < 60))
    logs=$(cluster logs)
    grep -q "couldn't get list of existing containers: pyxis took too long and was killed" <<< "$logs"
}

@test "processes with the step's variables, on the node and not of the step: nobody waits for them" {
    # Slurm's own cgroups tell what is of the step; without, variables would, and they are anybody's.
    attacker_on_node sh -c 'for step in $(seq 0 3); do SLURM_JOB_ID=$(($1 + step)) SLURM_STEP_ID=0 sleep 600 & done' - \
        "$(($(root sh -c 'scontrol show config | sed -n "s/^NEXT_JOB_ID *= *//p"')))" 3>&- 
    local begin=$SECONDS
    step --container-image="$PYXIS_TEST_IMAGES/busybox.sqsh" --container-name=forged true
    [ "$status" -eq 0 ]
    ((SECONDS - begin < 45))
    attacker srun -w n1 "$PYXIS_TEST_COMMAND" remove -f pyxis_forged
}
