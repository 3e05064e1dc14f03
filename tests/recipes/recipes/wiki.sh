# shellcheck shell=bash disable=SC2034
# NVIDIA's own set-up: enroot's folders per user and group, on the nodes' disks; a writable root, no home, the least devices;
# a prolog that makes the folders; a hook and a mount list of the site's own.
suite=bookworm
plugin=/usr/lib/x86_64-linux-gnu/slurm/spank_pyxis.so
line="required $plugin"

shared() {
    mkdir -p /etc/enroot/hooks.d /etc/enroot/mounts.d /etc/enroot/environ.d
    cat > /etc/enroot/enroot.conf << 'END'
ENROOT_RUNTIME_PATH        /run/enroot/user-$(id -u)
ENROOT_CACHE_PATH          /tmp/enroot-cache/group-$(id -g)
ENROOT_DATA_PATH           /tmp/enroot-data/user-$(id -u)
ENROOT_SQUASH_OPTIONS      -noI -noD -noF -noX -no-duplicates
ENROOT_MOUNT_HOME          n
ENROOT_RESTRICT_DEV        y
ENROOT_ROOTFS_WRITABLE     y
END
    echo '/scratch /scratch none x-create=dir,bind,rw,nosuid,nodev 0 0' > /etc/enroot/mounts.d/50-scratch.fstab
    printf 'NCCL_SOCKET_IFNAME=bond0\nSITE_HOME=${HOME}\n' > /etc/enroot/environ.d/50-site.env
    mkdir -p /scratch
    chmod 1777 /scratch
    cat > /etc/enroot/hooks.d/60-site.sh << 'END'
#!/bin/bash
set -euo pipefail
echo "SITE_HOOK=$(basename "$0")" >> "${ENROOT_ENVIRON}"
echo "hook" > "${ENROOT_ROOTFS}/from-hook"
END
    chmod 755 /etc/enroot/hooks.d/60-site.sh
}

per_node() {
    mkdir -p /run/enroot /tmp/enroot-cache /tmp/enroot-data
    chmod 1777 /run/enroot /tmp/enroot-cache /tmp/enroot-data
}

# As the original's README has it.
build() {
    make orig
    make deb
}

install_built() { dpkg -i /usr/local/src/nvslurm-plugin-pyxis_*_amd64.deb; }
