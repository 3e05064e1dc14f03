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

# Where everything is compiled first: a root with the oldest C library, so that what is made there of others' crates runs in all.
oldest() {
    local name
    for name in jammy bookworm; do
        if "$here/../cluster/roots" "$name" > /dev/null 2>&1; then echo "$name"; return; fi
    done
    return 1
}

# build_in SUITE SCRIPT: runs it in the clone, in that root with the builders' layer; what it leaves is in $state/built then,
# below the paths that it has. What is compiled stays in target/recipes, once per root.
build_in() {
    local suite=$1 root layer repo cargo sysroot target
    root=$("$here/../cluster/roots" "$suite")
    layer=$(builders_layer "$root")
    repo=$(realpath "$here/../..")
    target=$repo/target/recipes/$suite
    sysroot=$(rustc --print sysroot)
    cargo=${CARGO_HOME:-$HOME/.cargo}
    rm -rf --one-file-system "$state/built" "$state/built.work"
    mkdir -p "$target" "$state/built" "$state/built.work"
    unshare --mount -- bash -euo pipefail -s "$layer:$root" "$state/built" "$state/built.work" "$repo" "$target" "$sysroot" "$cargo" "$tree" \
        "$2" << 'END' 7>&- > "$state/build.out" 2>&1 || { tail -n 30 "$state/build.out" >&2; return 1; }
lower=$1 upper=$2 work=$3 repo=$4 target=$5 sysroot=$6 cargo=$7 tree=$8 script=$9
mount -t tmpfs tmpfs /mnt
mkdir /mnt/root
mount -t overlay -o "lowerdir=$lower,upperdir=$upper,workdir=$work" overlay /mnt/root
mount -t proc proc /mnt/root/proc
mount --rbind /dev /mnt/root/dev
# Nothing of these is what the recipe installs.
for place in mnt tmp; do mount -t tmpfs -o mode=1777 tmpfs "/mnt/root/$place"; done
mkdir -p "/mnt/root$tree/target" /mnt/root/mnt/rust "/mnt/root$cargo" /mnt/root/mnt/changes/upper /mnt/root/mnt/changes/work
(cd "$repo" && git ls-files -z | xargs -0 tar -c --ignore-failed-read 2> /dev/null) | tar -x -C "/mnt/root$tree"
mount --bind "$target" "/mnt/root$tree/target"
mount --rbind "$sysroot" /mnt/root/mnt/rust
# It locks files there. The place is the same, or what is compiled would not be.
mount -t overlay -o "lowerdir=$cargo,upperdir=/mnt/root/mnt/changes/upper,workdir=/mnt/root/mnt/changes/work" overlay "/mnt/root$cargo"
# Others' suites look at what is optimised to the end; here it is to be there soon.
profile=(CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16)
chroot /mnt/root env -i PATH=/mnt/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C \
    CARGO_HOME="$cargo" CARGO_NET_OFFLINE=true "${profile[@]}" bash -euxc "cd $tree; $script"
END
}

# Everything, compiled once, in the oldest root: what `make` wants, and what `make deb` wants where the recipe makes one.
compile_first() {
    local first repo stamp words='make' what=make
    first=$(oldest)
    repo=$(realpath "$here/../..")
    if [[ $(declare -f build) == *'make deb'* ]]; then words='make && make orig && make deb' what=deb; fi
    stamp=$repo/target/recipes/$first.$what.done
    mkdir -p "$repo/target/recipes"
    exec 7> "$repo/target/recipes/$first.lock"
    flock 7
    if [[ ! -e $stamp || $stamp -ot $repo/Cargo.lock ]]; then
        build_in "$first" "$words"
        touch "$stamp"
    fi
    exec 7>&-
    first_target=$repo/target/recipes/$first
}

# What was compiled in the oldest root is as good in this one: sources, place and compiler are the same. What a recipe installs
# is compiled and linked here. cargo writes over its notes of what is fresh: no links to these.
seed() {
    local to=$1 from name file
    [[ $to != "$first_target" ]] || return 0
    while read -r from; do
        from=${from%/.fingerprint}
        to=$1${from#"$first_target"}
        [[ ! -e $to/.fingerprint ]] || continue
        rm -rf "$to.new"
        mkdir -p "$to.new"
        cp -a "$from/.fingerprint" "$from/build" "$to.new/"
        cp -al "$from/deps" "$to.new/"
        for name in pyxis plugin spank-bindings; do
            for file in ".fingerprint/$name" "build/$name" "deps/${name//-/_}" "deps/lib${name//-/_}"; do rm -rf "$to.new/$file"-*; done
        done
        rm -f "$to.new"/deps/libspank_pyxis* "$to.new"/deps/spank_pyxis*
        rm -rf "$to"
        mv "$to.new" "$to"
    done < <(find "$first_target" -type d -name .fingerprint -prune)
}

# Runs the recipe's `build`; what it leaves is in $state/built then, below the paths that it has.
build_in_root() {
    local repo
    repo=$(realpath "$here/../..")
    compile_first
    # One at a time compiles in a folder.
    exec 7> "$repo/target/recipes/$suite.lock"
    flock 7
    seed "$repo/target/recipes/$suite"
    build_in "$suite" "$(declare -f build); build"
    exec 7>&-
}

# What was built, on the nodes: where the recipe has put it, or by its package.
from_source() {
    local place
    for place in usr/local opt cm; do
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
