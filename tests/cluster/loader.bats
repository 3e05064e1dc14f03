#!/usr/bin/env bats
# The loader in four real Slurms, as root. PYXIS_TREE is a prefix with everything installed (lib/slurm/spank_pyxis.so, lib/pyxis/*,
# bin/pyxis), of which each cluster gets a copy; PYXIS_TEST_IMAGES is where busybox.sqsh is.

cluster() { "$BATS_TEST_DIRNAME/cluster" --state "$CLUSTER_STATE" "$@"; }
user() { cluster run -- "$@"; }

setup() {
    export CLUSTER_STATE=$BATS_TEST_TMPDIR/pyxis-cluster.test
    chmod 755 "$BATS_RUN_TMPDIR" "$BATS_RUN_TMPDIR"/test "$BATS_TEST_TMPDIR"
    mkdir -p "$CLUSTER_STATE/prefix"
    chmod 755 "$CLUSTER_STATE"
    cp -R "$PYXIS_TREE/." "$CLUSTER_STATE/prefix"
    lib=$CLUSTER_STATE/prefix/lib
    line="required $lib/slurm/spank_pyxis.so pyxis_path=$CLUSTER_STATE/prefix/bin/pyxis"
}

teardown() { cluster down; }

# What the daemons and users of this Slurm see is what a build named directly would show them.
works() {
    local suite=$1 release=$2 other=$3
    cluster up --quiet --root "$suite" --plugstack "$line"
    user srun --help > "$BATS_TEST_TMPDIR/through"
    grep -q -e --container-image "$BATS_TEST_TMPDIR/through"
    user srun -N2 true
    # slurmd of 20.11 calls init only in plugins that have slurmd_exit.
    [[ $suite == bullseye ]] || cluster logs | grep "pyxis: version v"
    # Up to the hooks in the task.
    run user srun --container-image=/nonexistent.sqsh true
    echo "$output"
    [ "$status" -ne 0 ]
    [[ $output == *"error: pyxis: "*"/nonexistent.sqsh"* ]]
    # squashfuse of bullseye mounts by a fusermount that a user namespace stops.
    if [[ $suite != bullseye ]]; then
        cp "$PYXIS_TEST_IMAGES/busybox.sqsh" "$CLUSTER_STATE/work/"
        [[ $(user srun --container-image="$CLUSTER_STATE/work/busybox.sqsh" cat /proc/self/mountinfo) == *" / / "*overlay* ]]
    fi

    # The same through the build itself.
    cluster plugstack "${line/slurm\/spank/pyxis/$release/spank}"
    user srun --help | diff "$BATS_TEST_TMPDIR/through" -
    user srun true

    # From here on srun alone: a slurmd that refuses does not start, and waiting for it takes long.
    echo "$line" > "$CLUSTER_STATE/etc/plugstack.conf"
    mv "$lib/pyxis/$release" "$CLUSTER_STATE/aside"
    refused "pyxis: no build for this Slurm ($release) in $lib/pyxis: install the package pyxis-slurm$release; installed: "
    output_has "$other"
    mv "$CLUSTER_STATE/aside" "$lib/pyxis/$release"

    chmod o+w "$lib/pyxis/$release/spank_pyxis.so"
    refused "is refused: it or its directory can be written by others than root"
    chmod o-w "$lib/pyxis/$release/spank_pyxis.so"
    user srun true
}

refused() {
    run user srun true
    echo "$output"
    [ "$status" -ne 0 ]
    output_has "$1"
    output_has "spank: "
}

output_has() { [[ $output == *"$1"* ]]; }

# A build of another release, named directly, is Slurm's to refuse. 20.11 does not look.
wrong_build() {
    echo "${line/slurm\/spank/pyxis/$1/spank}" > "$CLUSTER_STATE/etc/plugstack.conf"
    refused "Incompatible"
}

@test "bullseye: Slurm 20.11" { works bullseye 20.11 24.11; }

@test "bookworm: Slurm 22.05" {
    works bookworm 22.05 24.11
    wrong_build 24.11
}

@test "trixie: Slurm 24.11" {
    works trixie 24.11 22.05
    wrong_build 22.05
}

@test "forky: Slurm 26.05" {
    works forky 26.05 22.05
    wrong_build 24.11
}
