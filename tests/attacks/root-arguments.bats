#!/usr/bin/env bats
# What everybody on a node can read of a step: the arguments of what the plugin executes for it.

load common
setup() { attacks_setup; }

teardown() {
    attacker srun -w n1 "$PYXIS_TEST_COMMAND" remove -f pyxis_telltale-name > /dev/null 2>&1 || true
    cluster plugstack "$PYXIS_TEST_LINE"
    attacks_teardown
}

# The plugin's line with a runtime that notes its arguments in $work/executed first.
arguments_are_noted() {
    local path=${PYXIS_TEST_LINE#* pyxis_path=}
    printf '%s\n' '#!/bin/sh' "echo \"pyxis \$*\" >> $work/executed" "exec '$PYXIS_TEST_COMMAND' \"\$@\"" > "$work/runtime"
    chmod 755 "$work/runtime"
    : > "$work/executed"
    chmod 666 "$work/executed"
    cluster plugstack "${PYXIS_TEST_LINE/ pyxis_path=${path%% *}/ pyxis_path=$work/runtime}"
}

@test "a step with every option: nothing of its user's is in the arguments of what is executed for it" {
    local image=$work/telltale-image.sqsh verb
    mkdir -m 777 "$work/telltale-source"
    cp "$PYXIS_TEST_IMAGES/busybox.sqsh" "$image"
    chmod 644 "$image"
    local options=(--container-image="$image" --container-mounts="$work/telltale-source:/telltale-target" --container-env=TELLTALE
        --container-workdir=/telltale-target --container-writable --container-remap-root --container-entrypoint "--export=ALL,TELLTALE=telltale-value")
    arguments_are_noted
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
    [ -s "$work/telltale-1.sqsh" ]
    [ -s "$work/telltale-2.sqsh" ]
    cat "$work/executed"
    # All of it has been seen.
    for verb in start create list export remove; do grep -q "^pyxis $verb --request=3" "$work/executed"; done
    run grep -i telltale "$work/executed"
    [ "$status" -eq 1 ]
}
