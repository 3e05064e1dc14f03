#!/bin/sh
# Fetches Slurm's headers, as input for tests: they are under the GPL and are not part of this tree.
# Four releases from Debian's suites (needs apt, dpkg-deb and Debian's archive keyring; no root),
# three more from the crate slurm-spank-compat (needs cargo).
#
#   fetch-headers.sh [DIR]     to DIR/SUITE/usr/include/slurm (default: target/headers)
#
# DEBIAN_MIRROR   mirror to use (default: the one in this machine's sources, else deb.debian.org)
set -eu

dir=${1:-$(dirname "$0")/../target/headers}
suites='bullseye bookworm trixie forky'
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

mirror=${DEBIAN_MIRROR:-}
if [ -z "$mirror" ]; then
    # shellcheck disable=SC2016 # apt's own $(...)
    mirror=$(apt-get indextargets --format '$(SITE) $(RELEASE)' 2>/dev/null |
        sed -n 's|^\(http[^ ]*/debian/\{0,1\}\) [a-z]*$|\1|p' | head -n 1)
fi
mirror=${mirror:-http://deb.debian.org/debian}

mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
for suite in $suites; do
    if [ -f "$dir/$suite/usr/include/slurm/spank.h" ]; then
        echo "$suite: there already"
        continue
    fi
    apt=$(mktemp -d)
    trap 'rm -rf "$apt"' EXIT
    mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$apt/etc/preferences.d"
    : >"$apt/status"
    echo "deb [signed-by=$keyring] $mirror $suite main" >"$apt/sources.list"
    # Suites still in the making may be past the date in their Release file.
    set -- -qq -o Dir::State="$apt" -o Dir::State::status="$apt/status" -o Dir::Cache="$apt" \
        -o Dir::Etc="$apt/etc" -o Dir::Etc::SourceList="$apt/sources.list" \
        -o Dir::Etc::SourceParts=- -o APT::Sandbox::User= -o Acquire::Languages=none \
        -o Acquire::Check-Valid-Until=false -o APT::Get::List-Cleanup=false
    apt-get "$@" update
    (cd "$apt" && apt-get "$@" download libslurm-dev)
    mkdir -p "$apt/tree"
    dpkg-deb --extract "$apt"/libslurm-dev_*.deb "$apt/tree"
    mkdir -p "$dir/$suite/usr/include"
    rm -rf "$dir/$suite/usr/include/slurm"
    mv "$apt/tree/usr/include/slurm" "$dir/$suite/usr/include/slurm"
    echo "$suite: $(basename "$apt"/libslurm-dev_*.deb)"
    rm -rf "$apt"
    trap - EXIT
done

crate=$(mktemp -d)
trap 'rm -rf "$crate"' EXIT
for release in 21_08 23_02 23_11; do
    include=$dir/crate_$release/usr/include
    if [ -f "$include/slurm/spank.h" ]; then
        echo "crate_$release: there already"
        continue
    fi
    if [ ! -d "$crate/vendor" ]; then
        mkdir "$crate/src"
        : >"$crate/src/lib.rs"
        printf '%s\n' '[package]' 'name = "headers"' '[workspace]' '[dependencies]' \
            'slurm-spank-compat = "=0.1.2"' >"$crate/Cargo.toml"
        (cd "$crate" && cargo vendor --quiet vendor >vendor.log 2>&1) ||
            { cat "$crate/vendor.log" >&2; exit 1; }
    fi
    mkdir -p "$include"
    cp -r "$crate/vendor/slurm-spank-compat/include/slurm_$release/slurm" "$include/"
    echo "crate_$release: slurm-spank-compat 0.1.2"
done
