# shellcheck shell=bash disable=SC2034
# NVIDIA's DeepOps: the plugin where it was built; enroot's extra hooks linked; folders made by a prolog.
suite=noble instead=trixie wants=26.05
plugin=/usr/local/src/pyxis/spank_pyxis.so
line="required $plugin"

shared() {
    mkdir -p /etc/enroot/hooks.d /etc/enroot/environ.d
    cat > /etc/enroot/enroot.conf << 'END'
ENROOT_SQUASH_OPTIONS -noI -noD -noF -noX -no-duplicates
ENROOT_ROOTFS_WRITABLE yes
ENROOT_RUNTIME_PATH /run/enroot/user-$(id -u)
ENROOT_DATA_PATH /run/enroot/data-$(id -u)
END
    echo 'OMPI_MCA_btl=^openib' > /etc/enroot/environ.d/60-mpi.env
    printf '#!/bin/sh\necho "OF_HOOK=${ENROOT_PID:+pid}${ENROOT_ROOTFS:+,rootfs}" >> "$ENROOT_ENVIRON"\n' > /etc/enroot/hooks.d/70-deepops.sh
    chmod 755 /etc/enroot/hooks.d/70-deepops.sh
}

per_node() {
    mkdir -p /run/enroot
    chmod 1777 /run/enroot
}

# It uses the plugin where it was built; the command comes by `make install`.
build() {
    mkdir -p /usr/local/include && ln -s /usr/include/slurm /usr/local/include/slurm
    CPPFLAGS='-I/usr/local/include' make
    make install
}
