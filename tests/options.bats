#!/usr/bin/env bats
# Wrong input: one line that says what is wrong, a non-zero exit, and the user's program does not run.

load common

# Fails unless srun refuses the arguments with the line, before anything runs.
refused() {
    local expected=$1
    shift
    run_srun_unchecked "$@" echo ran-anyway
    ((status != 0))
    output_lacks ran-anyway
    output_has "$expected"
    [ "$(grep -c "pyxis: " <<< "$output")" -eq 1 ]
}

@test "an empty argument of each option" {
    local option
    for option in image mounts workdir name save env unshare; do
        refused "--container-$option: argument required" --container-$option=
    done
}

@test "mounts: empty parts, sources and targets that are no paths" {
    local entry
    for entry in :/b /a::ro "/a:/b," ",/a:/b"; do
        refused "--container-mounts: invalid format" --container-image=./x.sqsh --container-mounts="$entry"
    done
    refused "mount source must be" --container-image=./x.sqsh --container-mounts=a:/b
    refused "mount target must be" --container-image=./x.sqsh --container-mounts=/a:b
}

@test "names: empty, unknown flag" {
    refused "empty name" --container-name=:create
    refused "flag must be" --container-name=x:sometimes
    if [[ $SUT == pyxis ]]; then refused "invalid name" --container-name=../x; fi
}

@test "save: a directory" { refused "target is a directory" --container-image=./x.sqsh --container-save=/tmp/; }

@test "env: an empty name" { refused "invalid format" --container-image=./x.sqsh --container-env=A,,B; }

@test "unshare: unknown and empty namespaces" {
    refused "unknown namespace 'pid'" --container-image=./x.sqsh --container-unshare=net,pid
    refused "empty namespace" --container-image=./x.sqsh --container-unshare=net,
}

@test "an option and its opposite" {
    local option
    for option in mount-home remap-root entrypoint; do
        refused "both --container-$option and --no-container-$option were specified" \
            --container-$option --no-container-$option
    done
    refused "both --container-writable and --container-readonly were specified" --container-writable --container-readonly
}

@test "an option with two values" {
    local option first second
    for option in image workdir name save; do
        first=/a second=/b
        if [[ $option == name ]]; then first=a second=b; fi
        refused "--container-$option specified multiple times" --container-$option="$first" --container-$option="$second"
    done
}

@test "options without a container are reported and the task runs on the host" {
    run_srun --container-mounts=/a:/b --container-workdir=/x --container-save=/s --container-mount-home \
        --container-remap-root --container-entrypoint --container-entrypoint-log --container-writable echo on-the-host
    output_has on-the-host
    [ "$(grep -c 'pyxis: ignoring --.*because neither --container-image nor --container-name is set' <<< "$output")" -eq 8 ]
}

@test "defaults come from the environment, and the command line wins" {
    local image
    image=$(image busybox)
    PYXIS_CONTAINER_IMAGE=$image PYXIS_CONTAINER_WORKDIR=/usr run_srun pwd
    output_has /usr
    PYXIS_CONTAINER_IMAGE=/nonexistent.sqsh PYXIS_CONTAINER_WORKDIR=/usr \
        run_srun --container-image="$image" --container-workdir=/etc pwd
    output_has /etc
}

@test "a bad or empty default stops nobody who wants no container, and whoever wants one is told" {
    only_pyxis "an empty variable is an error line there, and a bad one is no failure"
    PYXIS_CONTAINER_IMAGE='' PYXIS_CONTAINER_WORKDIR='' PYXIS_CONTAINER_NAME='' PYXIS_CONTAINER_MOUNTS='' run_srun echo on-the-host
    output_has on-the-host
    output_lacks pyxis:
    PYXIS_CONTAINER_MOUNTS=nonsense run_srun echo on-the-host
    output_has on-the-host
    output_has "mount source must be"
    PYXIS_CONTAINER_WORKDIR='' run_srun --container-image="$(image busybox)" pwd
    output_lacks pyxis:
    export PYXIS_CONTAINER_MOUNTS=nonsense
    refused "mount source must be" --container-image=./x.sqsh
    unset PYXIS_CONTAINER_MOUNTS
    export PYXIS_CONTAINER_NAME=:create
    refused "empty name"
}

@test "defaults count with --export=NONE and with a list, unseen by the program" {
    only_pyxis "the program runs on the host there"
    local how
    for how in NONE PATH; do
        PYXIS_CONTAINER_IMAGE=$(image busybox) PYXIS_CONTAINER_WORKDIR=/etc PYXIS_CONTAINER_REMAP_ROOT=1 \
            run_srun --export=$how /bin/sh -c '/bin/pwd; /bin/id -u; /bin/cat /etc/os-release; /bin/env'
        [ "${lines[0]}" = /etc ]
        [ "${lines[1]}" = 0 ]
        output_has ID=pyxis-test
        output_lacks PYXIS_CONTAINER
    done
    PYXIS_CONTAINER_WORKDIR=/etc run_srun --container-image="$(image busybox)" --export=NONE /bin/pwd
    [ "${lines[-1]}" = /etc ]
}

@test "booleans of the environment: anything but a clear word is ignored" {
    local image word
    image=$(image busybox)
    for word in 1 true yes y; do
        PYXIS_CONTAINER_REMAP_ROOT=$word run_srun --container-image="$image" id -u
        [ "${lines[0]}" = 0 ]
    done
    for word in 0 false no n maybe; do
        PYXIS_CONTAINER_REMAP_ROOT=$word run_srun --container-image="$image" id -u
        [ "${lines[0]}" = "$(id -u)" ]
    done
}

# Arguments: what is printed without and with the variable, the variable, then options and the program.
default_of() {
    local without=$1 with=$2 variable=$3
    shift 3
    run_srun --container-image="$(image busybox)" "$@"
    [ "${lines[-1]}" = "$without" ]
    export "${variable?}"
    run_srun --container-image="$(image busybox)" "$@"
    unset "${variable%%=*}"
    [ "${lines[-1]}" = "$with" ]
}

@test "a default for every option in the environment" {
    local file=$BATS_TEST_TMPDIR/saved.sqsh
    default_of 1 0 PYXIS_CONTAINER_MOUNTS=/usr:/from-variable sh -c 'ls -d /from-variable > /dev/null 2>&1; echo $?'
    default_of 1 0 PYXIS_CONTAINER_WRITABLE=1 sh -c 'touch /x 2> /dev/null; echo $?'
    ENROOT_ROOTFS_WRITABLE=yes default_of 0 1 PYXIS_CONTAINER_READONLY=1 sh -c 'touch /x 2> /dev/null; echo $?'
    default_of 1 0 PYXIS_CONTAINER_MOUNT_HOME=yes sh -c 'grep -q " $HOME " /proc/mounts; echo $?'
    PATH+=:/of/the/job
    default_of /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        "$PATH" PYXIS_CONTAINER_ENV=PATH sh -c 'echo $PATH'
    PYXIS_CONTAINER_SAVE=$file run_srun --container-image="$(image busybox)" true
    [ -s "$file" ]
    PYXIS_CONTAINER_IMAGE=$(image entrypoint) PYXIS_CONTAINER_ENTRYPOINT=1 PYXIS_CONTAINER_ENTRYPOINT_LOG=1 \
        run_srun sh -c 'echo "[$FROM_ENTRYPOINT]"'
    output_has "entrypoint runs"
    output_has "[yes]"
    PYXIS_CONTAINER_NAME=variable-$$ run_srun --container-image="$(image busybox)" --container-writable sh -c 'echo kept > /file'
    run_srun --container-name=variable-$$ cat /file
    output_has kept
    remove_container variable-$$
    PYXIS_CONTAINER_UNSHARE=uts run_srun --container-image="$(image busybox)" --container-remap-root sh -c 'hostname inside && hostname'
    [ "${lines[-1]}" = inside ]
}

@test "what would wait for a container that waits for it is refused" {
    srun --help | grep -q -e --wait-for-children || skip "this Slurm has no --wait-for-children"
    refused "leave it out" --container-image=./x.sqsh --wait-for-children
    # A program may be told so, and a step without a container.
    run_srun --container-image="$PYXIS_TEST_IMAGES/busybox.sqsh" echo --wait-for-children
    output_has --wait-for-children
}
