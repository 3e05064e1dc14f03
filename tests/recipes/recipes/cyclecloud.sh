# shellcheck shell=bash disable=SC2034
# Azure CycleCloud: the plugin copied to /opt/pyxis, the runtime path below a link and open to everybody.
suite=jammy instead=bookworm
plugin=/opt/pyxis/spank_pyxis.so
line="required $plugin runtime_path=/mnt/enroot/enroot-runtime"

shared() {
    mkdir -p /etc/enroot /mnt/nvme/enroot
    ln -s /mnt/nvme/enroot /mnt/enroot
    cat > /etc/enroot/enroot.conf << 'END'
ENROOT_RUNTIME_PATH /mnt/enroot/enroot-runtime/user-$(id -u)
ENROOT_CACHE_PATH /mnt/enroot/enroot-cache/group-$(id -g)
ENROOT_DATA_PATH /tmp/enroot-data/user-$(id -u)
ENROOT_TEMP_PATH /mnt/enroot/enroot-tmp
ENROOT_SQUASH_OPTIONS -noI -noD -noF -noX -no-duplicates
ENROOT_MOUNT_HOME y
ENROOT_RESTRICT_DEV y
ENROOT_ROOTFS_WRITABLE y
END
    # With this the original starts no container on a machine that has no such devices.
    if [ -d /sys/class/infiniband ]; then echo 'MELLANOX_VISIBLE_DEVICES all' >> /etc/enroot/enroot.conf; fi
    mkdir /mnt/enroot/enroot-runtime /mnt/enroot/enroot-cache /mnt/enroot/enroot-tmp
    chmod 777 /mnt/enroot/enroot-runtime /mnt/enroot/enroot-cache /mnt/enroot/enroot-tmp
}

per_node() {
    mkdir -p /tmp/enroot-data
    chmod 777 /tmp/enroot-data
}

# The command comes by `make install`.
build() {
    make
    mkdir -p /opt/pyxis
    cp -fv spank_pyxis.so /opt/pyxis
    make install
}
