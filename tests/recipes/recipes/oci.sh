# shellcheck shell=bash disable=SC2034
# Oracle's role: folders on the local disk that everybody may write to.
suite=jammy instead=bookworm
plugin=/usr/local/lib/slurm/spank_pyxis.so
line="required $plugin"

shared() {
    mkdir -p /etc/enroot
    cat > /etc/enroot/enroot.conf << 'END'
ENROOT_RUNTIME_PATH /run/enroot/user-$(id -u)
ENROOT_CACHE_PATH /mnt/localdisk/enroot/cache
ENROOT_DATA_PATH /tmp/enroot/data-$(id -u)
ENROOT_TEMP_PATH /mnt/localdisk/enroot/tmp
ENROOT_RESTRICT_DEV yes
ENROOT_MOUNT_HOME yes
END
    mkdir -p /mnt/localdisk/enroot/cache /mnt/localdisk/enroot/tmp
    chmod 0777 /mnt/localdisk/enroot /mnt/localdisk/enroot/cache /mnt/localdisk/enroot/tmp
}

per_node() {
    mkdir -p /run/enroot /tmp/enroot
    chmod 0777 /run/enroot /tmp/enroot
}

build() {
    make
    make install
}
