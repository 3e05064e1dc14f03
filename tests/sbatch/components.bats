#!/usr/bin/env bats
# Heterogeneous steps. Outside of an allocation.

load ../common

setup() {
    only_pyxis "the options of one component count for all there"
    image=$(image busybox)
}

# Runs srun with the components given, whose lines begin with the number of the task.
components() {
    # shellcheck disable=SC2086
    run_logged srun ${PYXIS_SRUN_ARGS:-} -l "$@"
}

@test "components with different options are refused, in both orders, and none runs" {
    local other
    for other in "" --container-image=./other.sqsh "--container-image=$image --container-writable"; do
        # shellcheck disable=SC2086
        components -n1 --container-image="$image" echo ran-anyway : -n1 $other echo ran-anyway
        ((status != 0))
        output_has "the components of one step cannot have different --container options: start each with a srun of its own"
        output_lacks ran-anyway
        # shellcheck disable=SC2086
        components -n1 $other echo ran-anyway : -n1 --container-image="$image" echo ran-anyway
        ((status != 0))
        output_has "the components of one step cannot have different --container options: start each with a srun of its own"
        output_lacks ran-anyway
    done
}

@test "components with the same options have containers, and so do those of a default in the environment" {
    components -n1 --container-image="$image" --container-mounts=/usr:/m grep ^ID= /etc/os-release : \
        -n1 --container-mounts=/usr:/m --container-image="$image" grep ^ID= /etc/os-release
    ((status == 0))
    [ "$(grep -c 'ID=pyxis-test$' <<< "$output")" -eq 2 ]
    export PYXIS_CONTAINER_IMAGE=$image
    components -n1 grep ^ID= /etc/os-release : -n1 grep ^ID= /etc/os-release
    ((status == 0))
    [ "$(grep -c 'ID=pyxis-test$' <<< "$output")" -eq 2 ]
}

@test "components without options run on the host" {
    components -n1 grep ^ID= /etc/os-release : -n1 grep ^ID= /etc/os-release
    ((status == 0))
    output_lacks ID=pyxis-test
}

@test "an option given twice for one component is an error" {
    components -n1 --container-image="$image" --container-image=./other.sqsh echo ran-anyway : -n1 true
    ((status != 0))
    output_has "--container-image specified multiple times"
    output_lacks ran-anyway
}
