#!/usr/bin/env bats
# Processes of ours in a container's user namespace: nobody in there takes their descriptors or their roots.

load common

setup_file() {
    gcc -static -O -o "$BATS_FILE_TMPDIR/steal" "$BATS_TEST_DIRNAME/steal.c"
    unsquashfs -no-progress -dest "$BATS_FILE_TMPDIR/root" "$PYXIS_TEST_IMAGES/busybox.sqsh" > /dev/null
    cp "$BATS_FILE_TMPDIR/steal" "$BATS_FILE_TMPDIR/root/bin/steal"
    printf '/bin/steal true 2> /said/steal\nexec "$@"\n' > "$BATS_FILE_TMPDIR/root/etc/rc"
    mksquashfs "$BATS_FILE_TMPDIR/root" "$CLUSTER_STATE/work/steal.sqsh" -noappend -no-progress -quiet > /dev/null
}

teardown_file() { rm -f "$CLUSTER_STATE/work/steal.sqsh"; }

setup() {
    attacks_setup
    said=$work/said
    mkdir -m 777 "$said"
}

teardown() {
    root pkill -KILL -x strace || true
    attacks_teardown
}

@test "an entrypoint takes neither the hand-over socket nor anything else of the command that waits for it" {
    step --container-image="$CLUSTER_STATE/work/steal.sqsh" --container-entrypoint --container-remap-root --container-mounts="$said:/said" echo fine
    [ "$status" -eq 0 ]
    [[ $output == *fine* ]]
    [ "$(cat "$said/steal")" = "looked yes, took 0" ]
}

# Whoever joins a container from now on on node 1 stays for a second between any two namespaces.
slow_joins() {
    root strace -f -qq -p "$(root pgrep -o slurmd)" -e trace=setns -e inject=setns:delay_exit=1000000 -o /dev/null 3>&- &> "$work/tracer" &
    # shellcheck disable=SC2016
    root sh -c 'until grep -q "^TracerPid:.*[1-9]" "/proc/$(pgrep -o slurmd)/status"; do sleep 0.05; done'
}

# In a container that has another task of its step still to come: looks for a process whose root is the node's.
spy='n=0; while [ $n -lt 400 ]; do for p in /proc/[0-9]*; do test -e $p/root/etc/slurm-was-here && echo taken; done 2> /dev/null; n=$((n + 1)); sleep 0.01; done'

@test "root's joining tasks are out of reach of the container that they join" {
    root touch /etc/slurm-was-here
    root env ENROOT_ALLOW_SUPERUSER=n timeout 120 srun -w n1 --container-image="$PYXIS_TEST_IMAGES/busybox.sqsh" --container-name=reach \
        --container-remap-root sh -c "echo ready; $spy" > "$work/spy" 2>&1 3>&- &
    local spying=$!
    until grep -q ready "$work/spy"; do sleep 0.05; done
    slow_joins
    run root env ENROOT_ALLOW_SUPERUSER=n timeout 120 srun --overlap -w n1 --container-name=reach echo joined
    echo "$output"
    local joined=$status
    root pkill -x strace
    wait "$spying" || true
    root rm /etc/slurm-was-here
    cat "$work/spy"
    [ "$joined" -eq 0 ]
    [[ $output == *joined* ]]
    output=$(cat "$work/spy")
    [[ $output != *taken* ]]
}
