# shellcheck shell=bash disable=SC2034
# Slinky's images: installed without what is recommended, a link in plugstack.conf.d, enroot as it comes.
suite=bookworm
stands_for='Slurm 26.05'
plugin=/usr/lib/x86_64-linux-gnu/slurm/spank_pyxis.so
plugstack=/etc/slurm/plugstack.conf.d/pyxis.conf
line="required $plugin"

per_node() {
    mkdir -p /run/enroot
    chmod 1777 /run/enroot
}
