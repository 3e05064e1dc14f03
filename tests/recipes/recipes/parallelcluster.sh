# shellcheck shell=bash disable=SC2034
# AWS ParallelCluster: Slurm in /opt/slurm, a runtime path that everybody may write to, made by a script of the node.
suite=noble instead=trixie wants=23.11 credentials=enroot
plugin=/usr/local/lib/slurm/spank_pyxis.so
plugstack=/opt/slurm/etc/plugstack.conf
line="required $plugin runtime_path=/run/pyxis"

shared() {
    mkdir -p /etc/enroot
    cat > /etc/enroot/enroot.conf << 'END'
ENROOT_RUNTIME_PATH        /run/enroot/user-$(id -u)
ENROOT_CONFIG_PATH         ${HOME}/enroot
ENROOT_CACHE_PATH          /tmp/enroot/cache/group-$(id -g)
ENROOT_DATA_PATH           /tmp/enroot/data/user-$(id -u)
ENROOT_TEMP_PATH           /tmp
ENROOT_SQUASH_OPTIONS      -noI -noD -noF -noX -no-duplicates
ENROOT_MOUNT_HOME          y
ENROOT_RESTRICT_DEV        y
ENROOT_ROOTFS_WRITABLE     y
END
}

per_node() {
    mkdir -p /run/pyxis /run/enroot /tmp/enroot/cache /tmp/enroot/data
    chmod 1777 /run/pyxis /run/enroot /tmp/enroot /tmp/enroot/cache /tmp/enroot/data
}

build() {
    mkdir -p /opt/slurm && ln -s /usr/include /opt/slurm/include
    CPPFLAGS='-I /opt/slurm/include/' make
    CPPFLAGS='-I /opt/slurm/include/' make install
}
