#!/usr/bin/env bats
# Heterogeneous steps: each component has a container of its own, or none. Outside of an allocation.

load ../common

setup() {
    only_pyxis "one set of options for all components there"
    image=$(image busybox)
}

# Runs srun with the components given, whose lines begin with the number of the task.
components() {
    # shellcheck disable=SC2086
    run_logged srun ${PYXIS_SRUN_ARGS:-} -l "$@"
}

@test "one component in a container and one on the host, in both orders" {
    components -n1 --container-image="$image" grep ^ID= /etc/os-release : -n1 grep ^ID= /etc/os-release
    ((status == 0))
    output_has "0: ID=pyxis-test"
    output_has "1: ID="
    output_lacks "1: ID=pyxis-test"
    components -n1 grep ^ID= /etc/os-release : -n1 --container-image="$image" grep ^ID= /etc/os-release
    ((status == 0))
    output_has "1: ID=pyxis-test"
    output_has "0: ID="
    output_lacks "0: ID=pyxis-test"
}

@test "each component has its own image, and options that exclude those of the other" {
    local other=$BATS_TEST_TMPDIR/other.sqsh
    cp "$image" "$other"
    components -n1 --container-image="$image" --container-readonly sh -c 'touch /x; ls -d /m1 /m2; true' : \
        -n1 --container-image="$other" --container-writable --container-mounts=/usr:/m1 --container-mounts=/usr:/m2 sh -c 'touch /x; ls -d /x /m1 /m2'
    ((status == 0))
    output_has "0: touch: /x: Read-only file system"
    output_has "0: ls: /m1: No such file"
    output_has "1: /x"
    output_has "1: /m1"
    output_has "1: /m2"
}

@test "an image of the environment is that of all components, with their own options" {
    export PYXIS_CONTAINER_IMAGE=$image
    components -n1 sh -c 'ls -d /m1 || grep ^ID= /etc/os-release' : -n1 --container-mounts=/usr:/m1 sh -c 'ls -d /m1; env'
    ((status == 0))
    output_has "0: ID=pyxis-test"
    output_has "1: /m1"
    output_lacks SLURM_PYXIS_
}

@test "an environment of a list, and of none, leaves the components theirs" {
    local how
    for how in NONE PATH; do
        components --export=$how -n1 --container-image="$image" /bin/grep ^ID= /etc/os-release : -n1 --export=$how /bin/grep ^ID= /etc/os-release
        ((status == 0))
        output_has "0: ID=pyxis-test"
        output_lacks "1: ID=pyxis-test"
    done
}

@test "an option given twice for one component is an error" {
    components -n1 --container-image="$image" --container-image=./other.sqsh echo ran-anyway : -n1 true
    ((status != 0))
    output_has "--container-image specified multiple times"
    output_lacks ran-anyway
}

@test "components of a heterogeneous job, chosen in another order" {
    run_sbatch_unchecked --ntasks=1 << END
#!/bin/sh
#SBATCH hetjob
#SBATCH --ntasks=1
srun --het-group=1 true : --het-group=0 true
END
    ((status == 0)) || skip "this Slurm's srun takes no components in another order, be they in containers or not: $output"
    run_sbatch --ntasks=1 << END
#!/bin/sh
#SBATCH hetjob
#SBATCH --ntasks=1
srun -l --het-group=1 --container-image=$image grep ^ID= /etc/os-release : --het-group=0 grep ^ID= /etc/os-release
echo chosen
srun -l --het-group=0-1 --container-image=$image grep ^ID= /etc/os-release
END
    [ "$(grep -c 'ID=pyxis-test$' <<< "$output")" -eq 3 ]
    [ "$(sed '/chosen/,$d' <<< "$output" | grep -c 'ID=pyxis-test$')" -eq 1 ]
}

@test "where no node can know its component, different containers are refused" {
    run_sbatch_unchecked --ntasks=2 << END
#!/bin/sh
srun -l -n1 --container-image=$image echo ran-anyway : -n1 echo ran-anyway && exit 0
exit 7
END
    [ "$status" -eq 7 ]
    output_has "components of a step within one job cannot have different containers: start each with a srun of its own"
    output_lacks ran-anyway
}

@test "a batch job of several components: the script is where the first one is, and two containers are refused" {
    printf '%s\n' '#!/bin/sh' 'grep ^ID= /etc/os-release' > "$BATS_TEST_TMPDIR/script"
    run_sbatch --ntasks=1 --container-image="$image" : --ntasks=1 "$BATS_TEST_TMPDIR/script"
    output_has ID=pyxis-test
    run_sbatch --ntasks=1 : --ntasks=1 --container-image="$image" "$BATS_TEST_TMPDIR/script"
    output_has ID=
    output_lacks ID=pyxis-test
    run_sbatch_unchecked --ntasks=1 --container-image="$image" : --ntasks=1 --container-image=./other.sqsh "$BATS_TEST_TMPDIR/script"
    ((status != 0))
    output_has "--container-image specified multiple times"
}
