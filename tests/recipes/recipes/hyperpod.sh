# shellcheck shell=bash disable=SC2034
# SageMaker HyperPod: paths on the node's NVMe, written into enroot.conf by sed; plugstack.conf.d of /opt/slurm.
suite=noble instead=trixie wants=23.11
plugin=/usr/local/lib/slurm/spank_pyxis.so
plugstack=/opt/slurm/etc/plugstack.conf.d/pyxis.conf
line="required $plugin"

shared() {
    mkdir -p /etc/enroot /opt/dlami/nvme
    cat > /etc/enroot/enroot.conf << 'END'
#ENROOT_LIBRARY_PATH        /usr/lib/enroot
#ENROOT_SYSCONF_PATH        /etc/enroot
#ENROOT_RUNTIME_PATH        ${XDG_RUNTIME_DIR}/enroot
#ENROOT_CACHE_PATH          ${XDG_CACHE_HOME}/enroot
#ENROOT_DATA_PATH           ${XDG_DATA_HOME}/enroot
#ENROOT_TEMP_PATH           ${TMPDIR:-/tmp}
#ENROOT_ROOTFS_WRITABLE     no
END
    sed -i -e 's|^#\(ENROOT_RUNTIME_PATH  *\).*|\1/tmp/enroot-run/user-$(id -u)|' \
        -e 's|^#\(ENROOT_CACHE_PATH  *\).*|\1/opt/dlami/nvme/enroot/cache|' \
        -e 's|^#\(ENROOT_DATA_PATH  *\).*|\1/tmp/enroot/data/user-$(id -u)|' \
        -e 's|^#\(ENROOT_TEMP_PATH  *\).*|\1/tmp|' \
        -e 's|^#\(ENROOT_ROOTFS_WRITABLE  *\).*|\1yes|' /etc/enroot/enroot.conf
    mkdir -p /opt/dlami/nvme/enroot/cache
    chmod 1777 /opt/dlami/nvme/enroot /opt/dlami/nvme/enroot/cache
}

per_node() {
    mkdir -p /tmp/enroot/data /tmp/enroot-run
    chmod 1777 /tmp/enroot /tmp/enroot/data /tmp/enroot-run
}

build() {
    mkdir -p /opt/slurm && ln -s /usr/include /opt/slurm/include
    CPPFLAGS='-I /opt/slurm/include' make
    CPPFLAGS='-I /opt/slurm/include' make install
}
