#!/bin/bash
# For images of PyTorch in a Slurm step: the variables that its own launcher would set, but for those that are there. pyxis
# knows this text and does the same without a shell; it is here for recipes that copy or link it, and works with enroot as well.
set -o errexit -o nounset -o pipefail

has() { grep -q "^$1=" "$ENROOT_ENVIRON"; }

# give NAME VALUE
give() {
    if [[ -n $2 ]] && ! has "$1"; then echo "$1=$2" >> "$ENROOT_ENVIRON"; fi
}

has PYTORCH_VERSION || exit 0

first=
if [[ -n ${SLURM_STEP_NODELIST:-} ]] && command -v scontrol > /dev/null; then
    read -r first < <(scontrol show hostnames "$SLURM_STEP_NODELIST") || true
fi
give MASTER_ADDR "$first"
# A port above those that kernels give out by themselves, the same on all nodes of a job.
if [[ -n ${SLURM_JOB_ID:-} ]]; then give MASTER_PORT $((61000 + SLURM_JOB_ID % 4536)); fi
give WORLD_SIZE "${SLURM_NTASKS:-}"
give RANK "${SLURM_PROCID:-}"
give LOCAL_RANK "${SLURM_LOCALID:-}"
# As torchrun does it for more than one process on a node.
if ((${SLURM_STEP_NUM_TASKS:-1} > ${SLURM_STEP_NUM_NODES:-1})); then give OMP_NUM_THREADS 1; fi
