#!/usr/bin/env bats
# The image's /etc/rc.

load common

setup() { image=$(image entrypoint); }

@test "it runs when asked to, before the program" {
    run_srun --container-image="$image" --container-entrypoint sh -c 'echo "program: $FROM_ENTRYPOINT"'
    output_has "program: yes"
    output_lacks "entrypoint runs"
}

@test "it does not run unless asked to" {
    run_srun --container-image="$image" sh -c 'echo "program: $FROM_ENTRYPOINT."'
    output_has "program: ."
    run_srun --container-image="$image" --no-container-entrypoint sh -c 'echo "program: $FROM_ENTRYPOINT."'
    output_has "program: ."
}

@test "what it prints is shown on request" {
    run_srun --container-image="$image" --container-entrypoint --container-entrypoint-log true
    output_has "entrypoint runs"
}

@test "it sees the variables of --container-env" {
    WANTED=from-host run_srun --container-image="$image" --container-entrypoint --container-entrypoint-log \
        --container-env=WANTED true
    output_has "entrypoint runs"
}

@test "once for all tasks of a node" {
    run_srun_wide -N1 -n4 --overcommit --container-image="$image" --container-entrypoint --container-entrypoint-log \
        sh -c 'echo "program: $FROM_ENTRYPOINT"'
    [ "$(grep -c 'program: yes' <<< "$output")" -eq 4 ]
    [ "$(grep -c 'entrypoint runs' <<< "$output")" -eq 1 ]
}

@test "the image's working directory is where programs start" {
    run_srun --container-image="$image" pwd
    [ "${lines[-1]}" = /usr ]
    run_srun --container-image="$image" --container-entrypoint pwd
    [ "${lines[-1]}" = /usr ]
}
