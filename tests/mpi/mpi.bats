#!/usr/bin/env bats
# Programs of MPI implementations of the image's own, started by Slurm.

load ../common

setup() {
    # Of fabrics that the image knows and a test machine lacks.
    export OMPI_MCA_mca_base_component_show_load_errors=0
}

# Fails unless four ranks on $1 nodes have talked to each other.
has_ring() {
    [ "$(grep -c '^rank [0-3] of 4 on .*: sum 6, left [0-3]$' <<< "$output")" -eq 4 ]
    [ "$(grep -o ' on [^:]*:' <<< "$output" | sort -u | wc -l)" -eq "$1" ]
    [ "$(grep -o '^rank [0-3]' <<< "$output" | sort -u | wc -l)" -eq 4 ]
}

@test "OpenMPI over PMIx" {
    run_srun_wide --mpi=pmix -N2 -n4 --overcommit --container-image="$(image mpi)" ring-openmpi
    has_ring 2
}

@test "MPICH over PMI2" {
    # The ranks' addresses go through its key-value space. More than once: a lost one would be a hang now and then.
    for _ in 1 2 3; do
        run_srun_wide --mpi=pmi2 -N2 -n4 --overcommit --container-image="$(image mpi)" timeout 120 ring-mpich
        has_ring 2
    done
    run_srun_wide --mpi=none -N2 -n2 --container-image="$(image mpi)" ring-mpich
    [ "$(grep -c '^rank 0 of 1 on ' <<< "$output")" -eq 2 ]
}

@test "with a task prolog: OpenMPI over PMIx, MPICH over PMI2" {
    only_pyxis "there it runs inside"
    local prolog=$BATS_TEST_TMPDIR/prolog
    printf '%s\n' '#!/bin/sh' 'echo "export FROM_PROLOG=$SLURM_PROCID"' > "$prolog"
    chmod 755 "$prolog"
    run_srun_wide --mpi=pmix -N2 -n4 --overcommit --task-prolog="$prolog" --container-image="$(image mpi)" \
        sh -c 'test "$FROM_PROLOG" = "$SLURM_PROCID" && exec ring-openmpi'
    has_ring 2
    run_srun_wide --mpi=pmi2 -N2 -n4 --overcommit --task-prolog="$prolog" --container-image="$(image mpi)" \
        sh -c 'test "$FROM_PROLOG" = "$SLURM_PROCID" && exec timeout 120 ring-mpich'
    has_ring 2
}

@test "PMIx: variables of each task, and the server's directory" {
    run_srun_wide --mpi=pmix -N2 -n4 --overcommit --container-image="$(image busybox)" sh -c '
        test -n "$PMIX_SERVER_TMPDIR" && grep -q " $(cd "$PMIX_SERVER_TMPDIR" && pwd -P) " /proc/self/mountinfo ||
            echo "no directory: $PMIX_SERVER_TMPDIR"
        test -n "$PMIX_SECURITY_MODE" && test "$PMIX_MCA_psec" = "$PMIX_SECURITY_MODE" || echo no psec
        test -n "$PMIX_GDS_MODULE" && test "$PMIX_MCA_gds" = "$PMIX_GDS_MODULE" || echo no gds
        echo "task $PMIX_RANK:$SLURM_PROCID of $SLURM_NTASKS"'
    output_lacks "no "
    [ "$(grep ^task <<< "$output" | sort | tr '\n' ' ')" = "task 0:0 of 4 task 1:1 of 4 task 2:2 of 4 task 3:3 of 4 " ]
}

@test "PMI2: variables of each task, and its descriptor" {
    run_srun_wide --mpi=pmi2 -N2 -n4 --overcommit --container-image="$(image busybox)" sh -c '
        test -S "/proc/self/fd/$PMI_FD" && echo "task $PMI_RANK:$SLURM_PROCID of $PMI_SIZE"'
    [ "$(grep ^task <<< "$output" | sort | tr '\n' ' ')" = "task 0:0 of 4 task 1:1 of 4 task 2:2 of 4 task 3:3 of 4 " ]
}

@test "PyTorch: where its processes meet" {
    local first port
    first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
    port=$((SLURM_JOB_ID % 4536 + 61000))
    PYTORCH_VERSION=2.1 run_srun_wide --mpi=none -N2 -n4 --overcommit --container-image="$(image busybox)" \
        --container-env=PYTORCH_VERSION sh -c '
        test "$RANK/$LOCAL_RANK" = "$SLURM_PROCID/$SLURM_LOCALID" &&
            echo "rank $RANK of $WORLD_SIZE at $MASTER_ADDR:$MASTER_PORT, $OMP_NUM_THREADS"'
    [ "$(grep -c "^rank [0-3] of 4 at $first:$port, 1$" <<< "$output")" -eq 4 ]
    MASTER_ADDR=mine PYTORCH_VERSION=2.1 run_srun_wide -N2 -n2 --container-image="$(image busybox)" \
        --container-env=PYTORCH_VERSION,MASTER_ADDR sh -c 'echo "at $MASTER_ADDR"'
    [ "$(grep -c "^at mine$" <<< "$output")" -eq 2 ]
}
