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
    if [[ -e $CLUSTER_STATE/etc/slurm.conf.before ]]; then
        mv "$CLUSTER_STATE/etc/slurm.conf.before" "$CLUSTER_STATE/etc/slurm.conf"
        cluster restart slurmctld
        cluster restart slurmd
    fi
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

# Waits, in a container, until both nodes are there: so both run at once.
both=': > $(hostname); until test -e n1 -a -e n2; do sleep 0.1; done'

# In the home, which all nodes have together.
no_containers() {
    left=$(cluster login -- find "$CLUSTER_STATE/home/pyxistest/.local/share/enroot" -mindepth 1 -maxdepth 3)
    [ -z "$left" ] || { echo "left: $left"; return 1; }
}

@test "nodes that have one home: each has its own container of a name, at the same time and later" {
    own=(--container-name=apart --container-mounts=. --container-workdir="$work")
    run user srun -N2 -n2 "${own[@]}" --container-image="$image" --container-writable sh -c "hostname > /of; $both; cat /of"
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$(grep -x 'n[12]' <<< "$output" | sort | tr '\n' ' ')" = "n1 n2 " ]
    rm "$work/n1" "$work/n2"
    run user srun -N2 -n2 "${own[@]}" sh -c "$both; echo \$(hostname) \$(cat /of)"
    echo "$output"
    [ "$status" -eq 0 ]
    grep -x 'n1 n1' <<< "$output"
    grep -x 'n2 n2' <<< "$output"
    user srun -N2 -n2 "$PYXIS_TEST_COMMAND" remove -f pyxis_apart
    no_containers
}

@test "nodes that have one home: each saves its own container, to a file with its name" {
    run user srun -N2 -n2 --container-image="$image" --container-writable --container-mounts=. --container-workdir="$work" \
        --container-save=./of-%N.sqsh sh -c "hostname > /of; $both"
    echo "$output"
    [ "$status" -eq 0 ]
    for node in n1 n2; do
        run user srun -w n1 --container-image="./of-$node.sqsh" cat /of
        echo "$output"
        [ "$status" -eq 0 ]
        grep -x "$node" <<< "$output"
    done
    left=$(find "$work" -name '.pyxis*')
    [ -z "$left" ]
    no_containers
}

@test "nodes of a step that would save to one image of a registry are refused before anything runs" {
    run user srun -N2 -n2 --container-image="$image" --container-save=docker://127.0.0.1:1#saved echo ran-anyway
    echo "$output"
    [ "$status" -ne 0 ]
    [ "$(grep -c 'all nodes of the step would save to docker://127.0.0.1:1#saved: put %N' <<< "$output")" -eq 2 ]
    [[ $output != *ran-anyway* ]]
}

# A prolog or epilog that says where it is, in a file of that name and by what Slurm takes from a prolog.
# shellcheck disable=SC2016
around() {
    script "$1" "echo \"print $1 \$(grep ^ID= /etc/os-release)\"" 'echo "export FOO=b a=r"' 'echo unset GONE' \
        'echo "export PATH=/site/bin:$PATH:/site/last"' "grep ^ID= /etc/os-release > $work/$1.\$\$; mv $work/$1.\$\$ $work/$1.\$SLURM_PROCID.out"
}

# Whether what ran of that name was on the host, for a task.
on_host() {
    appears "$1.$2.out"
    said=$(cat "$work/$1.$2.out")
    [[ $said == ID=* ]]
    [[ $said != ID=pyxis-test ]]
}

# slurm.conf with such lines, until teardown.
configured() {
    cp "$CLUSTER_STATE/etc/slurm.conf" "$CLUSTER_STATE/etc/slurm.conf.before"
    printf '%s\n' "$@" >> "$CLUSTER_STATE/etc/slurm.conf"
    cluster restart slurmctld
    cluster restart slurmd
}

# What a program in a container has from around().
# shellcheck disable=SC2016
heard='echo "$FOO,$GONE,$PATH"; grep ^ID= /etc/os-release'
inside=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

@test "the site's prolog, epilog and srun's prolog, by a variable, are on the host, for each task; what is set reaches the program" {
    around prolog
    around epilog
    script own 'echo "export FOO=$FOO,own"' "echo \"print own \$(grep ^ID= /etc/os-release)\""
    configured "TaskProlog=$work/prolog" "TaskEpilog=$work/epilog"
    # shellcheck disable=SC2016
    run user env GONE=1 SLURM_TASK_PROLOG="$work/own" srun -w n1 -n3 --container-image="$image" sh -c "$heard"
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$(grep -c "^b a=r,own,,/site/bin:$inside:/site/last$" <<< "$output")" -eq 3 ]
    [ "$(grep -c '^ID=pyxis-test$' <<< "$output")" -eq 3 ]
    for task in 0 1 2; do
        on_host prolog "$task"
        on_host epilog "$task"
    done
    [[ $output != *"own ID=pyxis-test"* ]]
    script job "$heard"
    run user sbatch --wait -o "$work/out" --container-image="$image" "$work/job"
    cat "$work/out"
    [ "$status" -eq 0 ]
    grep -x ID=pyxis-test "$work/out"
    grep "^b a=r,,/site/bin:$inside" "$work/out"
    run user srun sh -c "$heard"
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *"b a=r,,/site/bin:"* ]]
    [[ $output != *ID=pyxis-test* ]]
}

@test "what a task's prolog leaves running on the host keeps no step, with a container that has a name or is saved" {
    script prolog 'setsid sleep 1000 > /dev/null 2>&1 &'
    for how in --container-name=beside --container-save="$work/saved.sqsh"; do
        # Slurm ends what is left of a step within a second or two. Else it would never end.
        run user timeout 300 srun -w n1 --task-prolog="$work/prolog" --container-image="$image" "$how" true
        echo "$output"
        [ "$status" -eq 0 ]
        [[ $output != *"another step is using"* ]]
    done
    user srun -w n1 "$PYXIS_TEST_COMMAND" remove -f pyxis_beside
    user srun -w n1 --container-image="$work/saved.sqsh" true
}

@test "a task's prolog that fails ends the task; a container with a name is as it was" {
    script fails 'exit 3'
    user srun -w n1 --container-image="$image" --container-name=spared --container-writable sh -c 'echo one > /kept'
    run user srun -w n1 --task-prolog="$work/fails" --container-name=spared --container-writable sh -c 'echo ran-anyway; echo two >> /kept'
    echo "$output"
    [ "$status" -ne 0 ]
    [[ $output != *ran-anyway* ]]
    run user srun -w n1 --container-name=spared cat /kept
    [ "$status" -eq 0 ]
    grep -x one <<< "$output"
    [[ $output != *two* ]]
    user srun -w n1 "$PYXIS_TEST_COMMAND" remove -f pyxis_spared
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

# Slurm lets a requeued job wait for two minutes, since a node refuses what is started in the second in which it killed the job ("Job
# credential revoked", and the job has failed). Two seconds after it was killed are enough.
again() {
    local state=
    cluster login -- scontrol requeue "$1"
    until [[ $state == PENDING || -e $work/$2 ]]; do
        sleep 0.1
        state=$(user squeue -h -j "$1" -o %T)
    done
    cluster login -- scontrol update "JobId=$1" StartTime=now+2 || true
    appears "$2"
}

@test "a job that is requeued has a new container; one with a name is as it was left" {
    # shellcheck disable=SC2016
    script job 'grep ^ID= /etc/os-release' 'run=${SLURM_RESTART_COUNT:-0}' 'echo "$run" >> /kept' 'echo $(cat /kept) > said.$run.new' \
        'mv said.$run.new said.$run' 'test "$run" -eq 2 || sleep 1000'
    for name in '' requeued; do
        rm -f "$work"/said.*
        job=$(user sbatch --parsable --requeue -w n1 -o "$work/out" --container-image="$image" ${name:+--container-name=$name} --container-writable \
            --container-mounts=. --container-workdir="$work" job)
        appears said.0
        again "$job" said.1
        again "$job" said.2
        while [[ -n $(user squeue -h -j "$job") ]]; do sleep 0.1; done
        grep -x ID=pyxis-test "$work/out"
        [ "$(cat "$work/said.0")" = 0 ]
        [ "$(cat "$work/said.1")" = "${name:+0 }1" ]
        [ "$(cat "$work/said.2")" = "${name:+0 1 }2" ]
    done
    user srun -w n1 "$PYXIS_TEST_COMMAND" remove -f pyxis_requeued
    no_containers
}

# As where a node fails in the middle of it: nobody removes it, and the step has the same number again.
@test "a job that is requeued saves, whatever its first run has left under its number" {
    # shellcheck disable=SC2016
    script job 'if [ -z "$SLURM_RESTART_COUNT" ]; then' "$PYXIS_TEST_COMMAND"' create --name pyxis_$SLURM_JOB_ID.0 '"$image" \
        'touch said.0; sleep 1000; fi' "srun --container-image=$image --container-save=$work/saved.sqsh --container-writable touch /made" 'touch said.1'
    rm -f "$work"/said.*
    job=$(user sbatch --parsable --requeue -w n1 -o "$work/out" job)
    appears said.0
    again "$job" said.1
    while [[ -n $(user squeue -h -j "$job") ]]; do sleep 0.1; done
    cat "$work/out"
    run user srun -w n1 --container-image="$work/saved.sqsh" ls /made
    [ "$status" -eq 0 ]
    no_containers
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
