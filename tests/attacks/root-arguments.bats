#!/usr/bin/env bats
# What everybody on a node can read of a step: the arguments of the programs that are executed for it outside of its container.

load common
setup() { attacks_setup; }

teardown() {
    root pkill -KILL -x strace || true
    attacker srun -w n1 "$PYXIS_TEST_COMMAND" remove -f pyxis_telltale-name > /dev/null 2>&1 || true
    attacks_teardown
}

# Whatever is executed below slurmd on node 1 from now on, with its arguments in full.
watch_arguments() {
    root strace -f -qq -s 4096 -e trace=execve -e signal=none -o "$work/executed" -p "$(root pgrep -o slurmd)" 3>&- &> "$work/tracer" &
    # shellcheck disable=SC2016
    root sh -c 'until grep -q "^TracerPid:.*[1-9]" "/proc/$(pgrep -o slurmd)/status"; do sleep 0.05; done'
}

@test "a step with every option: nothing of its user's is in the arguments of what is executed for it" {
    local image=$work/telltale-image.sqsh verb
    mkdir -m 777 "$work/telltale-source"
    cp "$PYXIS_TEST_IMAGES/busybox.sqsh" "$image"
    chmod 644 "$image"
    local options=(--container-image="$image" --container-mounts="$work/telltale-source:/telltale-target" --container-env=TELLTALE
        --container-workdir=/telltale-target --container-writable --container-remap-root --container-entrypoint "--export=ALL,TELLTALE=telltale-value")
    watch_arguments
    # A name that is made, found and joined; and two saves: of it, and of a container that is removed afterwards.
    step "${options[@]}" --container-name=telltale-name --container-save="$work/telltale-1.sqsh" pwd
    [ "$status" -eq 0 ]
    [[ $output == *telltale-target* ]]
    step "${options[@]}" --container-name=telltale-name:no_exec pwd
    [ "$status" -eq 0 ]
    step "${options[@]}" --container-name=telltale-name:create pwd
    [ "$status" -ne 0 ]
    step "${options[@]}" --container-save="$work/telltale-2.sqsh" pwd
    [ "$status" -eq 0 ]
    root pkill -x strace
    while root pgrep -x strace > /dev/null; do sleep 0.05; done
    [ -s "$work/telltale-1.sqsh" ]
    [ -s "$work/telltale-2.sqsh" ]
    grep -e pyxis -e telltale "$work/executed"
    # All of it has been seen.
    for verb in start create list export remove; do grep -q "\"$verb\", \"--request=3" "$work/executed"; done
    run grep -i telltale "$work/executed"
    [ "$status" -eq 1 ]
}
