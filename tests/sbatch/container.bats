#!/usr/bin/env bats
# Batch scripts that run in a container themselves.

load ../common

setup() { image=$(image busybox); }

@test "--container-image of sbatch: the script runs in the container" {
    run_sbatch --container-image="$image" << 'END'
#!/bin/sh
cat /etc/os-release
echo "step: $SLURM_JOB_ID, script: $(basename "$0")"
END
    output_has ID=pyxis-test
    output_has "step: "
}

@test "as #SBATCH lines" {
    run_sbatch << END
#!/bin/sh
#SBATCH --container-image $image
#SBATCH --container-workdir=/etc
#SBATCH --container-remap-root
cat os-release; id -u
END
    output_has ID=pyxis-test
    [ "${output##*$'\n'}" = 0 ]
}

@test "mounts and arguments" {
    mkdir "$BATS_TEST_TMPDIR/data"
    cat > "$BATS_TEST_TMPDIR/script" << 'END'
#!/bin/sh
echo "arguments: $*"; touch /data/made
END
    run_sbatch --container-image="$image" --container-mounts="$BATS_TEST_TMPDIR/data:/data" "$BATS_TEST_TMPDIR/script" one two
    output_has "arguments: one two"
    [ -e "$BATS_TEST_TMPDIR/data/made" ]
}

@test "with --export=NONE or NIL and with a list the script runs in the container, too" {
    only_pyxis "before Slurm 23.11 it runs on the host there"
    local how
    local options=(--container-image="$image" --container-workdir=/etc --container-remap-root --container-mounts=/etc/os-release:/one)
    # But for NIL a node asks for what the user's login shell has: 25.11 holds a job that gets no answer.
    cat > "$BATS_TEST_TMPDIR/script" << 'END'
#!/bin/sh
/bin/pwd; /bin/id -u; /bin/cat /etc/os-release /one; /bin/env
END
    for how in NIL NONE PATH A=1; do
        run_sbatch --export="$how" "${options[@]}" "$BATS_TEST_TMPDIR/script"
        output_has ID=pyxis-test
        output_lacks _PYXIS_
        grep -qx /etc <<< "$output"
        grep -qx 0 <<< "$output"
        [ "$(grep -c '^ID=' <<< "$output")" -eq 2 ]
    done
    SBATCH_EXPORT=NIL run_sbatch "${options[@]}" "$BATS_TEST_TMPDIR/script"
    output_has ID=pyxis-test
    sed -i "1a #SBATCH --export=NIL --container-image=$image" "$BATS_TEST_TMPDIR/script"
    run_sbatch --container-mounts=/etc/os-release:/one "$BATS_TEST_TMPDIR/script"
    output_has ID=pyxis-test
}

@test "an image that is not there: the script does not run, the job fails" {
    run_sbatch_unchecked --container-image=/nonexistent.sqsh << 'END'
#!/bin/sh
echo ran-anyway
END
    ((status != 0))
    output_lacks ran-anyway
    output_has /nonexistent.sqsh
}

@test "wrong options are refused when the job is submitted" {
    run_sbatch_unchecked --container-image="$image" --container-mounts=nonsense --wrap true
    ((status != 0))
    output_has "mount source must be"
    run_sbatch_unchecked --container-writable --container-readonly --wrap true
    ((status != 0))
    output_has "both --container-writable and --container-readonly were specified"
}

@test "an array of containers" {
    run_sbatch --array=1-3 --output="$BATS_TEST_TMPDIR/array.%a" --container-image="$image" << 'END'
#!/bin/sh
echo "task $SLURM_ARRAY_TASK_ID"; cat /etc/os-release
END
    [ "$(cat "$BATS_TEST_TMPDIR"/array.* | grep -c '^task [123]$')" -eq 3 ]
    [ "$(cat "$BATS_TEST_TMPDIR"/array.* | grep -c '^ID=pyxis-test$')" -eq 3 ]
}

@test "steps of one job share a named container" {
    run_sbatch -N1 << END
#!/bin/sh
srun --container-image=$image --container-name=batch-$$ --container-writable sh -c 'echo shared > /file'
srun --container-name=batch-$$ cat /file
srun ${PYXIS_TEST_COMMAND:-$([[ $runtime == enroot ]] && echo enroot || echo pyxis)} remove -f pyxis_batch-$$
END
    output_has shared
}

@test "defaults from the environment of sbatch" {
    PYXIS_CONTAINER_IMAGE=$image run_sbatch << 'END'
#!/bin/sh
cat /etc/os-release
END
    output_has ID=pyxis-test
}

@test "the components of a heterogeneous job have containers of their own" {
    run_sbatch --ntasks=1 << END
#!/bin/sh
#SBATCH hetjob
#SBATCH --ntasks=1
srun --het-group=0 --container-image=$image sh -c 'echo "first \$(grep ^ID= /etc/os-release)"'
srun --het-group=1 sh -c 'echo "second \$(grep ^ID= /etc/os-release)"'
srun --het-group=0,1 --container-image=$image sh -c 'echo "both \$(grep ^ID= /etc/os-release)"'
END
    output_has "first ID=pyxis-test"
    output_has "second ID="
    output_lacks "second ID=pyxis-test"
    [ "$(grep -c '^both ID=pyxis-test$' <<< "$output")" -eq 2 ]
}

@test "an escaped # in an #SBATCH line is part of the image's name" {
    run_sbatch_unchecked << 'END'
#!/bin/sh
#SBATCH --container-image=registry.invalid\#some/image:tag
echo ran-anyway
END
    ((status != 0))
    output_lacks ran-anyway
    output_has "registry.invalid#some/image:tag"
}

@test "salloc takes the options, and their mistakes are refused" {
    # shellcheck disable=SC2086
    run_logged salloc --quiet ${PYXIS_SRUN_ARGS:-} -N1 --container-image="$image" echo on-the-login-host
    ((status == 0))
    output_has on-the-login-host
    # shellcheck disable=SC2086
    run_logged salloc --quiet ${PYXIS_SRUN_ARGS:-} -N1 --container-name=:create echo ran-anyway
    ((status != 0))
    output_has "empty name"
    output_lacks ran-anyway
}

@test "the mounts of srun replace those of its salloc" {
    local script='srun --overlap -N1 -n1 --container-image="$0" "$@" sh -c "ls -d /one /two /three 2> /dev/null; true"'
    salloc_with() {
        # shellcheck disable=SC2086
        run_logged salloc --quiet ${PYXIS_SRUN_ARGS:-} -N1 --container-image="$image" \
            --container-mounts=/usr:/one --container-mounts=/usr:/two bash -c "$script" "$image" "$@"
        ((status == 0))
    }
    salloc_with --container-mounts=/usr:/three
    output_has /three
    output_lacks /one
    output_lacks /two
    salloc_with --container-remap-root
    if [[ $SUT == pyxis ]]; then output_has /one; fi
    output_has /two
}

@test "a default of salloc that is unset in the allocation is gone" {
    # shellcheck disable=SC2086
    PYXIS_CONTAINER_IMAGE=$image run_logged salloc --quiet ${PYXIS_SRUN_ARGS:-} -N1 bash -c \
        'srun -n1 cat /etc/os-release; unset PYXIS_CONTAINER_IMAGE; srun -n1 sh -c "grep -q pyxis-test /etc/os-release || echo on-the-host"'
    output_has ID=pyxis-test
    output_has on-the-host
}
