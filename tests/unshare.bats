#!/usr/bin/env bats
# --container-unshare.

load common

setup() {
    image=$(image busybox)
    spaces=(net ipc uts)
    # Its cgroup hook wants what a fresh /sys does not have.
    if [[ $runtime == enroot && -e /sys/fs/cgroup/freezer ]]; then spaces=(ipc uts); fi
}

@test "namespaces of its own, and only those asked for" {
    local name host
    for name in "${spaces[@]}"; do
        # shellcheck disable=SC2086
        host=$(srun ${PYXIS_SRUN_ARGS:-} "${one_node[@]}" readlink "/proc/self/ns/$name")
        run_srun --container-image="$image" readlink "/proc/self/ns/$name"
        [ "${lines[-1]}" = "$host" ]
        run_srun --container-image="$image" --container-unshare="$name" readlink "/proc/self/ns/$name"
        [ "${lines[-1]}" != "$host" ]
    done
}

@test "the tasks of a node share them" {
    run_srun_wide -N1 -n3 --overcommit --container-image="$image" --container-unshare="$(IFS=,; echo "${spaces[*]}")" \
        sh -c 'echo $(readlink /proc/self/ns/ipc) $(readlink /proc/self/ns/uts)'
    [ "$(sort -u <<< "$output" | wc -l)" -eq 1 ]
}

@test "no network but loopback" {
    if [[ ${spaces[0]} != net ]]; then skip "enroot cannot unshare the network where cgroup v1 is mounted"; fi
    run_srun --container-image="$image" --container-unshare=net ls /sys/class/net
    [ "$output" = lo ]
}
