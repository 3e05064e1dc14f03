#!/bin/bash
# What programs of a Slurm step need to find each other in containers: the variables of Slurm and of its PMI, and the directory
# of its PMIx server. pyxis knows this text and does the same without a shell; it is here for recipes that copy or link it, and
# works with enroot as well.
set -o errexit -o nounset -o pipefail

[[ -n ${SLURM_JOB_ID:-} && -n ${SLURM_STEP_ID:-} ]] || exit 0

mapfile -t names < <(compgen -e)

# Whether there is a variable of that beginning.
any() { [[ " ${names[*]}" == *" $1"* ]]; }

# Hands on all variables of that beginning.
all() {
    local name
    for name in "${names[@]}"; do
        if [[ $name == "$1"* ]]; then printf '%s=%s\n' "$name" "${!name}" >> "$ENROOT_ENVIRON"; fi
    done
}

# as NAME VALUE: a choice under the name that older PMIx libraries have for it, unless that is there.
as() {
    if [[ -n $2 && -z ${!1:-} ]]; then printf '%s=%s\n' "$1" "$2" >> "$ENROOT_ENVIRON"; fi
}

all SLURM_
if [[ ${SLURM_MPI_TYPE:-pmix} == pmix* ]] && any PMIX_; then
    all PMIX_
    as PMIX_MCA_ptl "${PMIX_PTL_MODULE:-}"
    as PMIX_MCA_psec "${PMIX_SECURITY_MODE:-}"
    as PMIX_MCA_gds "${PMIX_GDS_MODULE:-}"
    if [[ -n ${PMIX_SERVER_TMPDIR:-} ]]; then
        echo "$PMIX_SERVER_TMPDIR x-create=dir,bind,rw,nosuid,nodev,noexec,private,nofail" >> "$ENROOT_MOUNTS"
    fi
fi
all PMI_
