#!/usr/bin/env bats
# Containers that another user's processes only look like, and root's hands in a user's container: root, too, sees its own and
# nothing else, and who enters somebody's namespaces becomes their owner first.

load common

setup() { attacks_setup; }

teardown() {
    [[ -z ${forger:-} ]] || kill "$forger" 2> /dev/null || true
    root pkill -KILL -u pyxistest || true
    attacks_teardown
}

image() { printf '%s/busybox.sqsh' "$PYXIS_TEST_IMAGES"; }

# A process of the attacker's on the node whose root looks like that of the running container called NAME.
forge() {
    attacker_on_node unshare --user --map-root-user --mount sh -c "mount -t tmpfs pyxis:pyxis_$1 /mnt && mkdir -p /mnt/proc /mnt/bin /mnt/etc &&
        cp /bin/busybox /mnt/bin/busybox && ln -s busybox /mnt/bin/cat && echo forged > /mnt/etc/forged && mount --rbind /proc /mnt/proc &&
        exec chroot /mnt /bin/busybox sh -c 'echo ready; exec /bin/busybox sleep 4242'" > "$work/forged" 2>&1 3>&- &
    forger=$!
    for _ in $(seq 100); do
        ! grep -q ready "$work/forged" || return 0
        sleep 0.05
    done
    cat "$work/forged"
    return 1
}

@test "root's srun --container-name does not join a user's forgery: there is no such container" {
    forge mine
    run root timeout 120 srun -w n1 --container-name=mine cat /etc/forged
    echo "$output"
    [ "$status" -ne 0 ]
    [[ $output == *'a container with name "pyxis_mine" does not exist'* ]]
}

@test "root's srun with the name of a forgery and an image starts the image" {
    forge mine
    run root timeout 120 srun -w n1 --container-image="$(image)" --container-name=mine sh -c 'grep ^ID= /etc/os-release; cat /etc/forged'
    echo "$output"
    # Of cat: there is no such file.
    [ "$status" -eq 1 ]
    [[ $output == *ID=pyxis-test* ]]
    [[ $output != *$'\n'forged* ]]
    root "$PYXIS_TEST_COMMAND" remove -f pyxis_mine || true
}

@test "a victim's step does not join an attacker's forgery" {
    forge mine
    run victim timeout 120 srun -w n1 --container-name=mine cat /etc/forged
    echo "$output"
    [ "$status" -ne 0 ]
    [[ $output == *'a container with name "pyxis_mine" does not exist'* ]]
}

@test "root's list shows nothing of a user's" {
    forge mine
    run root "$PYXIS_TEST_COMMAND" list -f
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output != *mine* ]]
}

# The first process of the attacker's that pgrep's arguments $@ find, once there is one.
first_of() {
    local pid
    for _ in $(seq 100); do
        pid=$(root pgrep -u pyxistest "$@" | head -n 1) || true
        [[ -z $pid ]] || break
        sleep 0.1
    done
    echo "${pid:?there is none: $*}"
}

@test "pyxis exec by root in a user's container has that user's rights only" {
    attacker timeout 120 srun -w n1 --container-image="$(image)" --container-remap-root sleep 4242 &> /dev/null 3>&- &
    local step=$! pid
    pid=$(first_of -x sleep)
    run root timeout 120 "$PYXIS_TEST_COMMAND" exec "$pid" sh -c 'cat /proc/sys/vm/swappiness > /proc/sys/vm/swappiness && echo wrote; sleep 4242 > /dev/null 2>&1 & echo pid $!'
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output != *wrote* ]]
    # Seen from outside: the program is the attacker's.
    local uid
    uid=$(root id -u pyxistest)
    pid=$(sed -n 's/^pid //p' <<< "$output")
    run root ps -o uid= -p "$pid"
    [ "$status" -eq 0 ]
    [ "${output// /}" = "$uid" ]
    # Nor is root's terminal its: by TIOCSTI it could type there what root's shell reads next.
    pid=$(root pgrep -u pyxistest -x sleep | head -n 1)
    # shellcheck disable=SC2016 # what it runs are the shells there
    local which='set -- $(cat /proc/self/stat); echo terminal $7 of'
    run root timeout 120 script -qec "$which root; $PYXIS_TEST_COMMAND exec $pid sh -c '$which program; exit 7'" /dev/null
    echo "$output"
    [ "$status" -eq 7 ]
    local of_root of_program
    of_root=$(sed -n 's/.*terminal \([0-9]*\) of root.*/\1/p' <<< "$output")
    of_program=$(sed -n 's/.*terminal \([0-9]*\) of program.*/\1/p' <<< "$output")
    [ "$of_root" -ne 0 ]
    [ "$of_program" -ne "$of_root" ]
    root scancel -u pyxistest
    wait "$step" || true
}

@test "what root runs in a user's container is in the job's cgroups and ends with the job" {
    attacker timeout 120 srun -w n1 --container-image="$(image)" --container-remap-root sh -c 'ulimit -n 123; sleep 4242' &> /dev/null 3>&- &
    local step=$! pid program
    pid=$(first_of -x sleep)
    root timeout 120 "$PYXIS_TEST_COMMAND" exec "$pid" sh -c 'sleep 4343; true' < /dev/null &> /dev/null 3>&- &
    local exec=$!
    program=$(first_of -f '^sleep 4343')
    # Seen from outside.
    root cat "/proc/$pid/cgroup" "/proc/$pid/limits" > "$work/job"
    root cat "/proc/$program/cgroup" "/proc/$program/limits" > "$work/program"
    cat "$work/job"
    cmp "$work/job" "$work/program"
    grep -q '^Max open files *123 ' "$work/program"
    root scancel -u pyxistest
    wait "$step" || true
    wait "$exec" || true
    run root pgrep -u pyxistest -f '^sleep 4343'
    [ "$status" -eq 1 ]
}

@test "a program in a container of root's own cannot turn the node's switches" {
    run root env ENROOT_ALLOW_SUPERUSER=n timeout 120 srun -w n1 --container-image="$(image)" --container-remap-root sh -c '
        umount /proc/sys; mount -o remount,bind,rw /proc/sys; mount -o remount,bind,rw /sys
        for f in /proc/sys/vm/swappiness /proc/sys/kernel/core_pattern /sys/kernel/mm/ksm/run; do v=$(cat $f); (echo "$v" > $f) && echo wrote $f; done
        echo done'
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *done* ]]
    [[ $output != *wrote* ]]
}
