#!/usr/bin/env bats
# What root reads and writes at a user's request: memory, logs, lists, variables.

load common
setup() { attacks_setup; }
teardown() {
    [[ -z ${attack:-} ]] || root kill "$attack" || true
    cluster plugstack "$PYXIS_TEST_LINE"
    attacks_teardown
}

# As in root-waits.bats.
runtime_does() {
    { echo '#!/bin/sh'; cat; echo "exec '$PYXIS_TEST_COMMAND' \"\$@\""; } > "$work/runtime"
    chmod 755 "$work/runtime"
    local path=${PYXIS_TEST_LINE#* pyxis_path=}
    cluster plugstack "${PYXIS_TEST_LINE/ pyxis_path=${path%% *}/ pyxis_path=$work/runtime}"
}

# slurmstepd's memory, at its most, in KiB, as the last child that it has sees it.
memory() { sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB/\1/p' "$work/status"; }

@test "300 MB of output: slurmstepd keeps 64 KiB of it" {
    runtime_does << END
if [ "\$1" = remove ]; then
    ls -l /proc/\$\$/fd/2 > $work/fd
    head -c 300000000 /dev/zero | tr '\\\\0' x
    cat /proc/\$PPID/status > $work/status
fi
END
    step --container-image="$PYXIS_TEST_IMAGES/busybox.sqsh" --container-save="$work/x.sqsh" true
    [ "$status" -eq 0 ]
    echo "$(memory) KiB"
    [ "$(memory)" -gt 0 ]
    [ "$(memory)" -lt 65536 ]
    # Nor is there a file that could be grown.
    cat "$work/fd"
    grep -q ' -> pipe:' "$work/fd"
}

@test "a process with an environment of 600 MB beside the step: it is not read" {
    runtime_does << END
[ "\$1" != remove ] || cat /proc/\$PPID/status > $work/status
END
    install -m 755 "$here/root-environ.py" "$work/environ"
    attacker_on_node "$work/environ" 600000000 > "$work/ready" 3>&- &
    for _ in $(seq 600); do grep -q ready "$work/ready" && break; sleep 0.1; done
    grep -q ready "$work/ready"
    attack=$(root pgrep -f "^[^ ]*python3 $work/environ")
    step --container-image="$PYXIS_TEST_IMAGES/busybox.sqsh" --container-save="$work/x.sqsh" true
    [ "$status" -eq 0 ]
    echo "$(memory) KiB"
    [ "$(memory)" -gt 0 ]
    [ "$(memory)" -lt 65536 ]
}

@test "control characters of a user's in slurmd's log: escaped, and no line of its own" {
    local esc=$'\e]0;title\a\e[2J' csi=$'\xc2\x9b31m'
    step --container-image="./$esc$csi"$'\r\nslurmd: error: forged\x7f' true
    [ "$status" -ne 0 ]
    cluster logs | grep -F '\u{1b}]0;title\u{7}\u{1b}[2J\u{9b}31m\r; slurmd: error: forged\u{7f}'
    # Not a byte of them.
    ours=$(cluster logs | grep -a "pyxis: ")
    strange=$(LC_ALL=C tr -d '\n\t\40-\176' <<< "$ours" | head -c 1)
    [ -z "$strange" ]
    run grep -r '^slurmd: error: forged' "$CLUSTER_STATE/log"
    [ "$status" -eq 1 ]
}

@test "more mounts and variables than anybody has: one line" {
    local list
    list=$(seq -f '/a%.0f' -s , 2000)
    for variable in MOUNTS ENV; do
        STEP_LIMIT=20 step --export="ALL" --container-image="$PYXIS_TEST_IMAGES/busybox.sqsh" sh -c 'true'
        [ "$status" -eq 0 ]
        run timeout 120 "$here/../cluster/cluster" run --user pyxistest --env "SLURM_PYXIS_REPEATED_$variable=$list" -- \
            srun -w n1 --container-image="$PYXIS_TEST_IMAGES/busybox.sqsh" echo ran-anyway
        echo "$status: $output"
        [ "$status" -eq 1 ]
        [[ $output == *": more than 1000 entries"* ]]
        [[ $output != *ran-anyway* ]]
    done
}

@test "variables that steer the linker, libc or a shell do not reach what root executes" {
    runtime_does << END
env > $work/env
END
    local name steering=(LD_AUDIT LD_PRELOAD LD_LIBRARY_PATH LD_PROFILE GCONV_PATH LOCPATH GLIBC_TUNABLES MALLOC_CHECK_ MALLOC_PERTURB_ BASH_ENV ENV)
    local given=(--env STAYS=1)
    for name in "${steering[@]}"; do given+=(--env "$name=/dev/null"); done
    run cluster run "${given[@]}" -- env "SLURM_CPU_BIND=none" srun -w n1 --container-image="$PYXIS_TEST_IMAGES/busybox.sqsh" --container-save="$work/x.sqsh" true
    echo "$output"
    [ "$status" -eq 0 ]
    grep -q '^STAYS=1$' "$work/env"
    for name in "${steering[@]}"; do
        run grep "^$name=" "$work/env"
        [ "$status" -eq 1 ]
    done
}

@test "a job without HOME: the user database knows the home, for named containers, too" {
    run cluster run -- env -u HOME srun -w n1 --container-image="$PYXIS_TEST_IMAGES/busybox.sqsh" --container-name=homeless echo it ran
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *"it ran"* ]]
    cluster run -- srun -w n1 "$PYXIS_TEST_COMMAND" remove -f pyxis_homeless
}
