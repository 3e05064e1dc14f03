#!/bin/bash
# For containers that see whole GPUs which are split (MIG): they may change how. pyxis knows this text and runs it on nodes with
# NVIDIA's driver alone; it works with enroot as well.
set -o errexit -o nounset -o pipefail

# The hook's own variables come first, then what the container was given last.
gpus=${NVIDIA_VISIBLE_DEVICES-$(sed -n 's/^NVIDIA_VISIBLE_DEVICES=//p' "$ENROOT_ENVIRON" | tail -n 1)}
case $gpus in
    '' | void | none) exit 0 ;;
    # Parts of a GPU, by name or as GPU:PART.
    *MIG-* | *?:?*) exit 0 ;;
    all) which=() ;;
    *) which=(-i "$gpus") ;;
esac

command -v nvidia-smi > /dev/null || { echo "50-mig-config.sh: nvidia-smi is not there to ask whether GPUs are split" >&2; exit 1; }
modes=$(nvidia-smi --query-gpu=mig.mode.current --format=csv,noheader ${which[@]+"${which[@]}"}) || true
if [[ $modes == *Enabled* ]]; then echo NVIDIA_MIG_CONFIG_DEVICES=all >> "$ENROOT_ENVIRON"; fi
