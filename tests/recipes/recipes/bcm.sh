# shellcheck shell=bash disable=SC2034
# Bright/BCM: Slurm on a shared file system in /cm, configuration per cluster.
suite=noble instead=trixie
plugin=/cm/shared/apps/slurm/current/lib64/slurm/spank_pyxis.so
plugstack=/cm/shared/apps/slurm/var/etc/slurm/plugstack.conf
line="required $plugin"

shared() {
    mkdir -p /etc/enroot/enroot.conf.d
    : > /etc/enroot/enroot.conf
    printf 'ENROOT_DATA_PATH=/tmp/enroot/$USER\nENROOT_RUNTIME_PATH="/run/enroot/runtime-$UID"\nENROOT_ROOTFS_WRITABLE=yes\n' \
        > /etc/enroot/enroot.conf.d/cm.conf
}

per_node() {
    mkdir -p /run/enroot /tmp/enroot
    chmod 1777 /run/enroot /tmp/enroot
}

build() {
    make
    make install libdir=/cm/shared/apps/slurm/current/lib64
}
