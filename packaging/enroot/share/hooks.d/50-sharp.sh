#!/bin/bash
# For steps with --network=sharp that see adapters of Mellanox's: settings of the SHARP library and of NCCL, but for those that are
# there. pyxis knows this text and runs it for such steps alone; it works with enroot as well.
set -o errexit -o nounset -o pipefail

[[ ${SLURM_NETWORK:-} == sharp ]] || exit 0

# The hook's own variables come first, then what the container was given last.
adapters=${MELLANOX_VISIBLE_DEVICES-$(sed -n 's/^MELLANOX_VISIBLE_DEVICES=//p' "$ENROOT_ENVIRON" | tail -n 1)}
case $adapters in '' | void | none) exit 0 ;; esac

# give NAME VALUE
give() {
    if [[ -n $2 ]] && ! grep -q "^$1=" "$ENROOT_ENVIRON"; then echo "$1=$2" >> "$ENROOT_ENVIRON"; fi
}

give SHARP_COLL_LOCK_ON_COMM_INIT 1
give SHARP_COLL_NUM_COLL_GROUP_RESOURCE_ALLOC_THRESHOLD 0
give NCCL_COLLNET_ENABLE 1
give NCCL_SHARP_GROUP_SIZE_THRESH "${SLURM_STEP_NUM_NODES:-}"
give NCCL_SHARP_GROUP_SIZE_THRESH "${OMPI_MCA_orte_num_nodes:-}"
