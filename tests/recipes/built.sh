# shellcheck shell=bash disable=SC2154 # of replay: state, here, recipe, suite
# A recipe that builds the plugin from source, in the root that it is for: with that root's compiler and headers of Slurm.
# Rust and the crates are this machine's, as a site's own would be.

# Packages that a site has installed before it builds. libclang reads the header of the Slurm that is there.
builders=(gcc libc6-dev make libslurm-dev libclang-dev dpkg-dev)
# Where the recipes' clone is: always the same place, so that what was compiled once is not compiled again.
tree=/usr/local/src/pyxis

# Prints the layer that has them, upon the root; made once per root, in .cache/builders.
builders_layer() {
    local root=$1 cache=${PYXIS_CACHE:-$here/../../.cache}/builders key
    key="${builders[*]} $(stat -c %Y "$root/var/lib/dpkg/status")"
    mkdir -p "$cache"
    exec 8> "$cache/$suite.lock"
    flock 8
    if [[ $(cat "$cache/$suite.key" 2> /dev/null) != "$key" ]]; then
        rm -rf --one-file-system "${cache:?}/$suite" "$cache/$suite.work"
        mkdir "${cache:?}/$suite" "$cache/$suite.work"
        # The mounts end with the shell.
        unshare --mount -- bash -euo pipefail -s "$root" "$cache/$suite" "$cache/$suite.work" "${builders[@]}" << 'END' > "$state/builders.out" 2>&1 ||
root=$1 upper=$2 work=$3
shift 3
mount -t tmpfs tmpfs /mnt
mkdir /mnt/root
mount -t overlay -o "lowerdir=$root,upperdir=$upper,workdir=$work" overlay /mnt/root
rm -f /mnt/root/etc/resolv.conf
cp -L /etc/resolv.conf /mnt/root/etc/resolv.conf
mount -t proc proc /mnt/root/proc
mount --rbind /dev /mnt/root/dev
printf '#!/bin/sh\nexit 101\n' | install -m 755 /dev/stdin /mnt/root/usr/sbin/policy-rc.d
for words in update "install $*" clean; do
    # shellcheck disable=SC2086
    chroot /mnt/root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends -o APT::Sandbox::User=root $words
done
END
            { tail -n 20 "$state/builders.out" >&2; return 1; }
        rm -rf --one-file-system "$cache/$suite.work"
        echo "$key" > "$cache/$suite.key"
    fi
    realpath "$cache/$suite"
    exec 8>&-
}

# What this machine has compiled of others' crates is as good there: sources, place and compiler are the same, and the C library
# is none older. Ours are compiled there.
seed() {
    local root=$1 to=$2/release from name file libc
    from=$(realpath "$here/../..")/target/release
    [[ ! -e $to && -d $from/deps ]] || return 0
    libc() { chroot "$1" ldd --version | sed -n '1s/.* //p'; }
    [[ $(printf '%s\n' "$(libc /)" "$(libc "$root")" | sort -V | tail -n 1) == "$(libc "$root")" ]] || return 0
    rm -rf "$to.new"
    mkdir "$to.new"
    cp -al "$from/.fingerprint" "$from/build" "$from/deps" "$to.new/" 2> /dev/null || { rm -rf "$to.new"; return 0; }
    while read -r name; do
        for file in ".fingerprint/$name" "build/$name" "deps/${name//-/_}" "deps/lib${name//-/_}"; do rm -rf "$to.new/$file"-*; done
    done < <(cd "$from/../.." && git ls-files -z '*Cargo.toml' | xargs -0 sed -n 's/^name = "\(.*\)"/\1/p')
    mv "$to.new" "$to"
}

# Runs the recipe's `build`; what it leaves is in $state/built then, below the paths that it has.
build_in_root() {
    local root layer repo cargo sysroot
    root=$("$here/../cluster/roots" "$suite")
    layer=$(builders_layer "$root")
    repo=$(realpath "$here/../..")
    sysroot=$(rustc --print sysroot)
    cargo=${CARGO_HOME:-$HOME/.cargo}
    mkdir -p "$repo/target/recipes/$suite" "$state/built" "$state/built.work"
    # One at a time compiles in a folder.
    exec 8> "$repo/target/recipes/$suite.lock"
    flock 8
    seed "$root" "$repo/target/recipes/$suite"
    unshare --mount -- bash -euo pipefail -s "$layer:$root" "$state/built" "$state/built.work" "$repo" "$suite" "$sysroot" "$cargo" "$tree" \
        "$(declare -f build); build" << 'END' > "$state/build.out" 2>&1 || { tail -n 30 "$state/build.out" >&2; return 1; }
lower=$1 upper=$2 work=$3 repo=$4 suite=$5 sysroot=$6 cargo=$7 tree=$8 script=$9
mount -t tmpfs tmpfs /mnt
mkdir /mnt/root
mount -t overlay -o "lowerdir=$lower,upperdir=$upper,workdir=$work" overlay /mnt/root
mount -t proc proc /mnt/root/proc
mount --rbind /dev /mnt/root/dev
# Nothing of these is what the recipe installs.
for place in mnt tmp; do mount -t tmpfs -o mode=1777 tmpfs "/mnt/root/$place"; done
mkdir -p "/mnt/root$tree/target" /mnt/root/mnt/rust "/mnt/root$cargo" /mnt/root/mnt/changes/upper /mnt/root/mnt/changes/work
(cd "$repo" && git ls-files -z | xargs -0 tar -c --ignore-failed-read 2> /dev/null) | tar -x -C "/mnt/root$tree"
mount --bind "$repo/target/recipes/$suite" "/mnt/root$tree/target"
mount --rbind "$sysroot" /mnt/root/mnt/rust
# It locks files there. The place is the same, or what is compiled would not be.
mount -t overlay -o "lowerdir=$cargo,upperdir=/mnt/root/mnt/changes/upper,workdir=/mnt/root/mnt/changes/work" overlay "/mnt/root$cargo"
profile=()
while read -r name; do profile+=("$name=${!name}"); done < <(compgen -e CARGO_PROFILE_ || true)
chroot /mnt/root env -i PATH=/mnt/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C \
    CARGO_HOME="$cargo" CARGO_NET_OFFLINE=true "${profile[@]}" bash -euxc "cd $tree; $script"
END
    exec 8>&-
}

# What was built, on the nodes: where the recipe has put it, or by its package.
from_source() {
    local place
    for place in usr/local opt; do
        if [[ -d $state/built/$place ]]; then cluster login -- sh -c "mkdir -p /$place && cp -R $state/built/$place/. /$place/"; fi
    done
    made_up
    if declare -F install_built > /dev/null; then
        cluster login -- dpkg -i "$state/packages/ca-certificates.deb" > "$state/log/dpkg.out"
        as_root login install_built > "$state/log/dpkg.out" 2>&1 || { cat "$state/log/dpkg.out" >&2; exit 1; }
    fi
    # The package pyxis-enroot is a link of that name.
    # shellcheck disable=SC2016
    cluster login -- sh -c 'ln -s "$(command -v pyxis)" /usr/local/bin/enroot'
}
