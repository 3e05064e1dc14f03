# shellcheck shell=bash disable=SC2034
# Slinky's images: installed without what is recommended, a link in plugstack.conf.d, enroot as it comes.
suite=resolute instead=bookworm wants=25.11
plugin=/usr/lib/x86_64-linux-gnu/slurm/spank_pyxis.so
plugstack=/etc/slurm/plugstack.conf.d/pyxis.conf
line="required $plugin"

per_node() {
    mkdir -p /run/enroot
    chmod 1777 /run/enroot
}

# As the original's README has it.
build() {
    make orig
    make deb
}

install_built() { dpkg -i /usr/local/src/nvslurm-plugin-pyxis_*_amd64.deb; }
