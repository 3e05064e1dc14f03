# shellcheck shell=bash disable=SC2034
# AWS PCS: Slurm in a folder per release, its configuration beside it, a plugin per release.
suite=trixie
plugin=/opt/aws/pcs/scheduler/slurm-24.11/lib/slurm/spank_pyxis.so
plugstack=/etc/aws/pcs/scheduler/slurm-24.11/plugstack.conf.d/pyxis.conf
line="required $plugin runtime_path=/run/pyxis"

shared() {
    mkdir -p /etc/enroot
    cat > /etc/enroot/enroot.conf << 'END'
ENROOT_RUNTIME_PATH=/tmp/enroot/run/user-$(id -u)
ENROOT_CACHE_PATH=/tmp/enroot/cache/user-$(id -u)
ENROOT_DATA_PATH=/tmp/enroot/data/user-$(id -u)
ENROOT_MOUNT_HOME=y
ENROOT_ROOTFS_WRITABLE=y
END
}

per_node() {
    mkdir -p /run/pyxis /tmp/enroot/run /tmp/enroot/cache /tmp/enroot/data
    chmod 1777 /run/pyxis /tmp/enroot /tmp/enroot/run /tmp/enroot/cache /tmp/enroot/data
}

build() {
    local slurm=/opt/aws/pcs/scheduler/slurm-24.11
    mkdir -p $slurm && ln -s /usr/include $slurm/include
    CPPFLAGS="-I $slurm/include" make
    CPPFLAGS="-I $slurm/include" make install libdir=$slurm/lib
}
