# shellcheck shell=bash disable=SC2034
# Google's role and blueprints: the user's configuration in ~/.enroot, paths on the local disks, a line that says optional.
suite=bookworm credentials=.enroot
plugin=/usr/local/lib/slurm/spank_pyxis.so
plugstack=/usr/local/etc/slurm/plugstack.conf
line="optional $plugin"

shared() {
    mkdir -p /etc/enroot
    cat > /etc/enroot/enroot.conf << 'END'
ENROOT_CONFIG_PATH     ${HOME}/.enroot
ENROOT_RUNTIME_PATH    /mnt/localssd/${UID}/enroot/runtime
ENROOT_CACHE_PATH      /mnt/localssd/${UID}/enroot/cache
ENROOT_DATA_PATH       /mnt/localssd/${UID}/enroot/data
ENROOT_TEMP_PATH       /mnt/localssd/${UID}/enroot
END
    mkdir -p /mnt/localssd
    chmod 1777 /mnt/localssd
}

per_node() {
    mount -t tmpfs -o mode=1777 localssd /mnt/localssd
    # The blueprints' prolog.
    install -d -m 755 -o pyxistest -g pyxistest /mnt/localssd/64101/enroot
}

build() {
    make
    make install
}
