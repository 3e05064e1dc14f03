#!/usr/bin/env bats
# Slurm works with the plugin loaded, and shows its options.

load common

@test "srun without a container" {
    run_srun true
}

@test "exit code without a container" {
    run_srun_unchecked sh -c 'exit 7'
    [ "$status" -eq 7 ]
}

@test "srun --help shows every option" {
    run_srun --help
    local option
    for option in image mounts workdir name save mount-home remap-root entrypoint entrypoint-log writable readonly env unshare; do
        output_has "--container-$option"
    done
    for option in mount-home remap-root entrypoint; do
        output_has "--no-container-$option"
    done
}

@test "a container prints its own os-release" {
    run_srun --container-image="$(image busybox)" cat /etc/os-release
    output_has ID=pyxis-test
}

@test "srun -v says which container runtime there is" {
    only_pyxis "the original has one"
    run_srun -v --container-image="$(image busybox)" true
    output_has "pyxis: container runtime: $runtime"
}

@test "exit code of a container" {
    run_srun_unchecked --container-image="$(image busybox)" sh -c 'exit 7'
    [ "$status" -eq 7 ]
}

@test "two nodes, two tasks each" {
    needs_two_nodes
    run_srun_wide -N2 -n4 --container-image="$(image busybox)" cat /etc/os-release
    [ "$(grep -c '^ID=pyxis-test$' <<< "$output")" -eq 4 ]
}

@test "an image that is not there: an error, and the program does not run on the host" {
    run_srun_unchecked --container-image=/nonexistent.sqsh echo ran-on-the-host
    [ "$status" -ne 0 ]
    output_lacks ran-on-the-host
    output_has /nonexistent.sqsh
}
