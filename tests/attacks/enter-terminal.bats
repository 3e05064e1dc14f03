#!/usr/bin/env bats
# Root's terminal, while root runs a program in a user's container and afterwards: it is nobody's but root's.
# shellcheck disable=SC2016 # what is typed is for the shells there

load common

setup() {
    attacks_setup
    attacker timeout 120 srun -w n1 --container-image="$PYXIS_TEST_IMAGES/busybox.sqsh" --container-remap-root --container-mounts="$work:/shared" \
        sleep 4242 &> "$work/step" 3>&- &
    step=$!
    for _ in $(seq 100); do
        pid=$(root pgrep -u pyxistest -x sleep | head -n 1) || true
        [[ -z $pid ]] || break
        sleep 0.1
    done
    cat "$work/step"
    [[ -n $pid ]]
    enter="$PYXIS_TEST_COMMAND exec $pid"
}

teardown() {
    root pkill -KILL -u pyxistest || true
    wait "$step" || true
    attacks_teardown
}

# at_terminal STEP...: what root's terminal shows, in $output.
at_terminal() {
    run root timeout 120 python3 "$here/terminal.py" "$@"
    echo "$output"
}

@test "what a program of root's leaves behind in a user's container reads nothing that root types" {
    at_terminal "$enter sh -c 'exec 3<&0; (trap \"\" HUP; echo ready > /shared/read; while read -r x <&3; do echo \"got \$x\" >> /shared/read; done) &
        until test -s /shared/read; do sleep 0.1; done'; echo code \$?" '?code 0' \
        ': one' '~0.2' ': two' '~0.2' ': three' '~0.2' ': four' '~0.2' ': five' '~0.2' 'echo en""d' '?end'
    [ "$status" -eq 0 ]
    run cat "$work/read"
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$output" = ready ]
}

@test "no process of a user's has root's terminal, or what leads to it" {
    at_terminal "$enter sleep 4343 &" "tty > $work/tty; until pgrep -u pyxistest -f '^sleep 4343'; do sleep 0.1; done" \
        "for p in \$(pgrep -u pyxistest); do ls -l /proc/\$p/fd; done > $work/open; kill %1; wait; echo en\"\"d" '?end'
    [ "$status" -eq 0 ]
    cat "$work/tty" "$work/open"
    grep -q ' /dev/pts/' "$work/open"
    run grep -e " $(cat "$work/tty")\$" -e ptmx "$work/open"
    [ "$status" -eq 1 ]
}

@test "interrupted at root's terminal, what a shell in a user's container has started ends; stopped, it goes on later" {
    at_terminal "$enter sh -c 'echo u\"\"p; sleep 4343; echo over'" '?up' '~0.5' '^C' '?> ' 'echo en""d' '?end'
    [ "$status" -eq 0 ]
    [[ $output != *$'\n'over* ]]
    run root pgrep -u pyxistest -f '^sleep 4343'
    [ "$status" -eq 1 ]
    at_terminal "$enter sh -c 'echo u\"\"p; read -r x; echo \"got \$x\"'" '?up' '~0.5' '^Z' '?Stopped' 'stty' '?speed' 'fg' '~0.5' 'line' '?got line'
    [ "$status" -eq 0 ]
}

@test "ended without a terminal, what a shell in a user's container has started ends" {
    run root sh -c "timeout 1 $enter sh -c 'sleep 4343; true' < /dev/null > $work/ended 2>&1"
    cat "$work/ended"
    [ "$status" -eq 124 ]
    run root pgrep -u pyxistest -f '^sleep 4343'
    [ "$status" -eq 1 ]
}

@test "root's terminal after a program in a user's container is as it was, whatever the program or its user do" {
    echo 'trap "stty size; kill -KILL $$" WINCH; stty size; stty -echo intr x eof y; while :; do sleep 0.1; done' > "$work/sized"
    # The user kills what stands for the program, which is the user's as well.
    echo 'stty -echo intr x eof y; kill -KILL $PPID; sleep 4343' > "$work/killing"
    at_terminal "stty -g > $work/before; $enter sh -c 'exit 7'; echo code \$?" '?code 7' \
        "$enter sh /shared/sized; echo code \$?" '?45 123' '~0.5' '<77' '?45 77' '?code 137' "stty -g > $work/sized" \
        "$enter sh /shared/killing; echo code \$?" '?code 137' "stty -g > $work/killed; echo en\"\"d" '?end'
    [ "$status" -eq 0 ]
    [ -s "$work/before" ]
    cmp "$work/before" "$work/sized"
    cmp "$work/before" "$work/killed"
}

@test "hung up, root's terminal takes what root runs in a user's container along" {
    at_terminal "$enter sh -c 'echo u\"\"p; sleep 4343; sleep 4343'" '?up' '!'
    [ "$status" -eq 0 ]
    for _ in $(seq 100); do
        root pgrep -u pyxistest -f 'sleep 4343' || break
        sleep 0.1
    done
    run root pgrep -u pyxistest -f 'sleep 4343'
    [ "$status" -eq 1 ]
}

@test "where other programs have root's keys, one in a user's container has them when it asks" {
    at_terminal "$enter sh -c 'echo u\"\"p; sleep 1' | (cat; read -r x < /dev/tty; echo \"mine: \$x\")" '?up' 'key' '?mine: key' \
        "$enter head -n 1 | sed 's/^/its: /'" '~0.5' 'key' '?its: key' '?> ' \
        "echo fi\"\"le | $enter sh -c 'cat; head -n 1 < /dev/tty; exit 5'; echo code \$?" '?file' '~0.5' 'key' '?code 5' 'stty' '?speed'
    [ "$status" -eq 0 ]
}
