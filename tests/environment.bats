#!/usr/bin/env bats
# Variables, working directory, descriptors.

load common

setup() { image=$(image busybox); }

@test "the job's variables are there, the image's win" {
    export FROM_HOST=host IMAGE_VARIABLE=host
    run_srun --container-image="$(image entrypoint)" --no-container-entrypoint sh -c 'echo "$FROM_HOST/$IMAGE_VARIABLE/$SLURM_PROCID"'
    [ "${lines[-1]}" = "host/from the image/0" ]
}

@test "--container-env: the host's value wins" {
    export IMAGE_VARIABLE=host
    run_srun --container-image="$(image entrypoint)" --no-container-entrypoint --container-env=IMAGE_VARIABLE,UNSET_ONE \
        sh -c 'echo "$IMAGE_VARIABLE"'
    [ "${lines[-1]}" = host ]
}

@test "--container-env: where the host has no value, the image's stays" {
    unset IMAGE_VARIABLE
    run_srun --container-image="$(image entrypoint)" --no-container-entrypoint --container-env=IMAGE_VARIABLE,UNSET_ONE \
        sh -c 'echo "$IMAGE_VARIABLE,${UNSET_ONE-unset}"'
    [ "${lines[-1]}" = "from the image,unset" ]
}

@test "PATH is the image's" {
    PATH=$PATH:/somewhere/else run_srun --container-image="$image" sh -c 'echo $PATH'
    [ "$output" = /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin ]
}

@test "the host's locale is dropped unless asked for" {
    LANG=C.UTF-8 LC_ALL=POSIX LANGUAGE=en run_srun --container-image="$image" env
    output_lacks LC_ALL=
    output_lacks LANG=
    output_lacks LANGUAGE=
    LC_ALL=POSIX run_srun --container-image="$image" --container-env=LC_ALL env
    output_has LC_ALL=POSIX
}

@test "what would load the host's libraries and files stays outside unless asked for" {
    only_pyxis "they come in there"
    local name names=(LD_PRELOAD LD_AUDIT BASH_ENV ENV PYTHONHOME PYTHONSTARTUP XDG_RUNTIME_DIR GCONV_PATH)
    run_srun --export="ALL$(printf ',%s=/nonexistent' "${names[@]}"),LD_LIBRARY_PATH=/opt/lib" --container-image="$image" env
    for name in "${names[@]}"; do
        [ "$(grep -c "^$name=" <<< "$output")" -eq 0 ]
    done
    output_has LD_LIBRARY_PATH=/opt/lib
    run_srun --export=ALL,PYTHONHOME=/nonexistent,ENV=/nonexistent --container-image="$image" --container-env=PYTHONHOME env
    output_has PYTHONHOME=/nonexistent
    output_lacks $'\nENV='
}

@test "very long values and strange bytes pass" {
    local long
    long=$(head -c 60000 /dev/zero | tr '\0' x)
    export LONG=$long STRANGE=$'a\nb=\xff\'"\\'
    run_srun --container-image="$image" sh -c 'echo ${#LONG}; echo "$STRANGE" | od -An -c | head -n 1'
    [ "${lines[0]}" = 60000 ]
    [[ ${lines[1]} == *'\n'*377* ]]
}

@test "ranks for PyTorch images" {
    PYTORCH_VERSION=2.1 run_srun_wide -N1 -n2 --overcommit --container-image="$image" sh -c 'echo "$RANK:$SLURM_PROCID $LOCAL_RANK:$SLURM_LOCALID"'
    [ "$(sort <<< "$output" | tr '\n' ' ')" = "0:0 0:0 1:1 1:1 " ]
    run_srun --container-image="$image" env
    output_lacks LOCAL_RANK=
}

@test "working directory" {
    run_srun --container-image="$image" --container-workdir=/usr/bin sh -c 'pwd; echo $PWD'
    [ "${lines[0]}" = /usr/bin ]
    run_srun_unchecked --container-image="$image" --container-workdir=/nonexistent echo ran-anyway
    ((status != 0))
    output_has "couldn't chdir to /nonexistent: No such file or directory"
    output_lacks ran-anyway
}

@test "no descriptor of slurmstepd or of the runtime is left open" {
    run_srun --container-image="$image" sh -c 'ls /proc/self/fd | tr "\n" " "'
    [ "$output" = "0 1 2 3 " ] # 3 is ls's own
}

@test "standard input and output are the task's alone" {
    run bash -c "echo through | srun ${PYXIS_SRUN_ARGS:-} -N1 --container-image='$image' cat 2> /dev/null"
    [ "$status" -eq 0 ]
    [ "$output" = through ]
}
