# shellcheck shell=bash disable=SC2034
# nebius' soperator: all of the plugin's arguments in the line, no entrypoints, containers that outlive their job.
suite=forky wants=26.05
plugin=/usr/lib/x86_64-linux-gnu/slurm/spank_pyxis.so
line="required $plugin runtime_path=/run/pyxis execute_entrypoint=0 container_scope=global sbatch_support=1 use_squashfuse=0"

shared() {
    mkdir -p /etc/enroot/mounts.d
    cat > /etc/enroot/enroot.conf << 'END'
ENROOT_RUNTIME_PATH        /tmp/enroot/runtime/user-$(id -u)
ENROOT_DATA_PATH           /tmp/enroot/data/user-$(id -u)
ENROOT_CACHE_PATH          /tmp/enroot/cache/user-$(id -u)
ENROOT_ROOTFS_WRITABLE     yes
ENROOT_MOUNT_HOME          yes
END
    mkdir -p /opt/nccl
    echo debug > /opt/nccl/file
    # As another of its plugins writes it.
    echo '/opt/nccl /opt/nccl none x-create=dir,bind,ro,nosuid,nodev' > /etc/enroot/mounts.d/90-nccl.fstab
}

per_node() {
    mkdir -p /tmp/enroot/runtime /tmp/enroot/data /tmp/enroot/cache
    chmod 1777 /tmp/enroot /tmp/enroot/runtime /tmp/enroot/data /tmp/enroot/cache
}

# Its jail, the root that all nodes have in common, gets the node's enroot: what is not there ends the script.
with_enroot() {
    set -o pipefail
    mkdir -p /jail/usr/lib/enroot /jail/usr/bin
    mount --bind /usr/lib/enroot /jail/usr/lib/enroot
    test -r /jail/usr/lib/enroot/common.sh
    cp /usr/bin/enroot-mksquashovlfs /usr/bin/enroot-aufs2ovlfs /jail/usr/bin/
    # Not every root has these two.
    if command -v setcap > /dev/null; then
        getcap /jail/usr/bin/enroot-mksquashovlfs | grep -q cap_sys_admin || setcap cap_sys_admin+pe /jail/usr/bin/enroot-mksquashovlfs
    fi
    umount /jail/usr/lib/enroot
    rm -r /jail
}

# As the original's README has it.
build() {
    make orig
    make deb
}

install_built() { dpkg -i /usr/local/src/nvslurm-plugin-pyxis_*_amd64.deb; }
