#!/usr/bin/env bats
# Slurm's commands in containers, where the site or the job wants them there (slurm_commands).

load common

setup() {
    only_builtin "enroot mounts what its lists name"
    [[ $(srun --version) != *" 20.11."* ]] || skip "not tried with Slurm 20.11"
    image=$(image busybox)
    export PYXIS_SLURM_COMMANDS=yes
}

# One step that another one may overlap, for the srun in it.
outer() { run_srun --overlap --container-image="$image" "$@"; }

@test "slurm_commands: srun, squeue, scontrol and sbatch work inside; without it there are none" {
    # shellcheck disable=SC2016
    outer sh -c 'squeue -h -j $SLURM_JOB_ID -o "squeue %i $SLURM_JOB_ID"; scontrol -o show job $SLURM_JOB_ID;
        srun --overlap -N1 -n1 id -u; id=$(sbatch --parsable --hold --wrap true) && scancel "$id" && echo cancelled'
    line=$(grep '^squeue ' <<< "$output")
    [ "$(cut -d' ' -f2 <<< "$line")" = "$(cut -d' ' -f3 <<< "$line")" ]
    output_has "JobId=${line##* }"
    grep -x "$(id -u)" <<< "$output"
    grep -x cancelled <<< "$output"
    PYXIS_SLURM_COMMANDS=no run_srun --container-image="$image" sh -c 'for name in srun squeue; do command -v $name || echo none; done'
    [ "$(grep -cx none <<< "$output")" -eq 2 ]
}

@test "slurm_commands: what a srun inside starts is on the host, also where variables ask for the outer container" {
    export PYXIS_CONTAINER_IMAGE=$image PYXIS_CONTAINER_WORKDIR=/usr
    run_srun --overlap sh -c 'pwd; srun --overlap -N1 -n1 sh -c "grep ^ID= /etc/os-release"'
    grep -x /usr <<< "$output"
    output_has ID=
    output_lacks ID=pyxis-test
    run_srun --overlap --container-env=PYXIS_CONTAINER_IMAGE sh -c 'srun --overlap -N1 -n1 sh -c "grep ^ID= /etc/os-release; pwd"'
    output_has ID=pyxis-test
    output_lacks /usr
    run_srun --overlap sh -c "srun --overlap -N1 -n1 --container-image=$image grep ^ID= /etc/os-release"
    output_has ID=pyxis-test
}

@test "slurm_commands: an image without a shell, without accounts" {
    image=$(image noshell)
    outer squeue -h -o %i
    [[ $output =~ [0-9] ]]
    outer srun --overlap -N1 -n1 id -u
    grep -x "$(id -u)" <<< "$output"
}

@test "slurm_commands: libraries, linker and configuration of the image are not looked at" {
    # shellcheck disable=SC2016
    outer --container-writable sh -c 'cd /; for file in lib64/ld-linux-x86-64.so.2 lib/ld-linux-aarch64.so.1 lib/x86_64-linux-gnu/libc.so.6 usr/lib64/libc.so.6 \
        lib64/libc.so.6 lib/libc.so.6 usr/lib/libmunge.so.2 lib64/libmunge.so.2 etc/ld.so.cache etc/ld.so.preload; do
            mkdir -p "${file%/*}" && echo "of the image" > "$file" || exit; done
        rm -f etc/ld.so.preload; srun --overlap -N1 -n1 id -u; squeue -h -j $SLURM_JOB_ID -o "squeue %i"'
    grep -x "$(id -u)" <<< "$output"
    grep -x 'squeue [0-9]*' <<< "$output"
}

@test "slurm_commands: as root in a container, Slurm's commands are run as the user" {
    # shellcheck disable=SC2016
    outer --container-remap-root sh -c 'echo "inside $(id -u)"; srun --overlap -N1 -n1 --chdir=/ id -u; squeue -h --me -o "squeue %i"
        id=$(sbatch --parsable --hold --chdir=/ --wrap true) && scancel "$id" && echo cancelled'
    grep -x 'inside 0' <<< "$output"
    grep -x "$(id -u)" <<< "$output"
    grep -x cancelled <<< "$output"
    grep 'squeue [0-9]' <<< "$output"
}

@test "slurm_commands: PATH and arguments are as they were; a mount that hides them is said" {
    # shellcheck disable=SC2016
    outer sh -c 'srun --overlap -N1 -n1 sh -c "printf \"%s|\" \"\$@\"" zero "" "two words" "*"; echo'
    output_has '|two words|*|'
    run_srun_unchecked --overlap --container-image="$image" --container-mounts=tmpfs:/run/pyxis-slurm sh -c 'srun true || exit 3'
    [ "$status" -eq 3 ]
    output_has 'srun: /run/pyxis-slurm of this container is hidden by a mount'
}
