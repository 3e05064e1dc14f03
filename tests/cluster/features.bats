#!/usr/bin/env bats
# Slurm's own features around a container (docs/slurm-features.md). As root, for what only root can do, on a cluster of
# tests/cluster that has the plugin (CLUSTER_STATE names it).

cluster() { "$BATS_TEST_DIRNAME/cluster" "$@"; }
user() { cluster run --chdir "$work" -- "$@"; }

setup() {
    image=$PYXIS_TEST_IMAGES/busybox.sqsh
    work=$(mktemp -d "$CLUSTER_STATE/work/features.XXXXXX")
    chmod 777 "$work"
}

teardown() {
    user scancel -u pyxistest
    rm -rf "$work"
}

# A script of the user's, by name.
script() {
    printf '%s\n' '#!/bin/sh' "${@:2}" > "$work/$1"
    chmod 755 "$work/$1"
}

# Waits, as long as it takes, until a file is there.
appears() {
    until [[ -e $work/$1 ]]; do sleep 0.1; done
}

@test "--multi-prog: each program is one of the container" {
    printf '%s\n' '0 grep ^ID= /etc/os-release' '1 echo task %t' '2 grep ^ID= /etc/os-release' > "$work/programs"
    run user srun -w n1 -n3 -l --container-image="$image" --multi-prog programs
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *"0: ID=pyxis-test"* ]]
    [[ $output == *"1: task 1"* ]]
    [[ $output == *"2: ID=pyxis-test"* ]]
}

@test "--bcast: the program is in the container where its place is mounted, and else there is none" {
    script program 'grep ^ID= /etc/os-release'
    mkdir -m 777 "$work/there"
    run user srun -N2 -n2 --container-image="$image" --container-mounts="$work/there" --bcast="$work/there/sent" ./program
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$(grep -c '^ID=pyxis-test$' <<< "$output")" -eq 2 ]
    run user srun -N2 -n2 --container-image="$image" --bcast=/tmp/sent ./program
    echo "$output"
    [ "$status" -ne 0 ]
    [[ $output == *"/tmp/sent: No such file or directory"* ]]
    [[ $output != *ID=* ]]
}

@test "--chdir is the directory that relative paths are below; inside it is --container-workdir" {
    mkdir -m 777 "$work/below"
    cp "$image" "$work/below/here.sqsh"
    run user srun --chdir="$work/below" --container-image=./here.sqsh --container-mounts=. ls -d "$work/below"
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$output" = "$work/below" ]
    run user srun --chdir="$work/below" --container-image=./here.sqsh --container-workdir=/usr pwd
    [ "$status" -eq 0 ]
    [ "$output" = /usr ]
}

@test "a task epilog runs on the host" {
    script epilog "grep ^ID= /etc/os-release > $work/epilog.new; mv $work/epilog.new $work/epilog.out"
    run user srun --task-epilog="$work/epilog" --container-image="$image" true
    echo "$output"
    [ "$status" -eq 0 ]
    appears epilog.out
    said=$(cat "$work/epilog.out")
    [[ $said == ID=* ]]
    [[ $said != ID=pyxis-test ]]
}

@test "a task prolog that the container has not: the program does not run; one that is mounted is heard" {
    # shellcheck disable=SC2016
    script prolog 'echo export FOO=bar' 'echo unset GONE' 'echo print printed'
    run user srun --task-prolog="$work/prolog" --container-image="$image" echo ran-anyway
    echo "$output"
    [ "$status" -ne 0 ]
    [[ $output == *"task_prolog can not be executed ($work/prolog)"* ]]
    [[ $output != *ran-anyway* ]]
    # shellcheck disable=SC2016
    run user env GONE=1 srun --task-prolog="$work/prolog" --container-mounts="$work/prolog" --container-image="$image" \
        sh -c 'echo "$FOO,$GONE"; grep ^ID= /etc/os-release'
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *printed* ]]
    [[ $output == *bar,* ]]
    [[ $output != *bar,1* ]]
    [[ $output == *ID=pyxis-test* ]]
}

@test "sbatch --get-user-env: the script is in its container" {
    script job 'grep ^ID= /etc/os-release'
    run user sbatch --wait --get-user-env -o out --container-image="$image" job
    echo "$output"
    [ "$status" -eq 0 ]
    grep -x ID=pyxis-test "$work/out"
}

@test "a job that is suspended and resumed goes on in its container" {
    script job "srun --container-image=$image --container-mounts=. sh -c '> $work/begun; until test -e $work/go; do sleep 0.1; done; grep ^ID= /etc/os-release'"
    job=$(user sbatch --parsable -o "$work/out" job)
    appears begun
    cluster login -- scontrol suspend "$job"
    [ "$(user squeue -h -j "$job" -o %T)" = SUSPENDED ]
    touch "$work/go"
    cluster login -- scontrol resume "$job"
    while [[ -n $(user squeue -h -j "$job") ]]; do sleep 0.1; done
    grep -x ID=pyxis-test "$work/out"
}

@test "Slurm's commands work inside where they are mounted; a srun in there is on the host unless it asks for a container" {
    mounts=/usr,/lib,/lib64,$CLUSTER_STATE,/run/munge,/etc/passwd,/etc/group
    # shellcheck disable=SC2016
    script job 'echo "script $(grep ^ID= /etc/os-release)"' '/usr/bin/squeue -h -j $SLURM_JOB_ID -o "squeue %i"' \
        '/usr/bin/srun --overlap sh -c "echo inner \$(grep ^ID= /etc/os-release)"' \
        "/usr/bin/srun --overlap --container-image=$image sh -c 'echo asked \$(grep ^ID= /etc/os-release)'"
    run user sbatch --wait --parsable -o "$work/out" --container-image="$image" --container-mounts="$mounts" job
    echo "$output"
    cat "$work/out"
    [ "$status" -eq 0 ]
    grep -x 'script ID=pyxis-test' "$work/out"
    grep -x 'squeue [0-9]*' "$work/out"
    said=$(grep '^inner ID=' "$work/out")
    [ "$said" != 'inner ID=pyxis-test' ]
    grep -x 'asked ID=pyxis-test' "$work/out"
}
