#!/usr/bin/env bats
# The harness with the Slurm of other Debian releases, as root. The first run makes their roots (.cache/roots).

cluster() { "$BATS_TEST_DIRNAME/cluster" --state "$CLUSTER_STATE" "$@"; }

setup() {
    export CLUSTER_STATE=$BATS_TEST_TMPDIR/pyxis-cluster.test
    chmod 755 "$BATS_RUN_TMPDIR" "$BATS_RUN_TMPDIR"/test "$BATS_TEST_TMPDIR"
}

teardown() { cluster down; }

boots() {
    cluster up --quiet --root "$1"
    [[ $(cluster run -- srun --version) == *" $2."* ]]
    [ "$(cluster run -- srun -N2 hostname | sort | tr '\n' ' ')" = "n1 n2 " ]
    cluster restart slurmd
    cluster restart slurmctld
    # Containers need user namespaces there.
    cluster run -- srun -N2 unshare --user --map-root-user --mount true
    cluster snapshot > "$BATS_TEST_TMPDIR/before"
    cluster run -- srun -N2 true
    cluster snapshot | diff "$BATS_TEST_TMPDIR/before" -
}

@test "bullseye: Slurm 20.11" { boots bullseye 20.11; }

@test "bookworm: Slurm 22.05" { boots bookworm 22.05; }

@test "trixie: Slurm 24.11" { boots trixie 24.11; }

@test "forky: Slurm 26.05" { boots forky 26.05; }

@test "what a cluster writes does not reach its root" {
    cluster up --quiet --nodes 1 --root bookworm
    cluster login -- touch /usr/written
    [ ! -e "$("$BATS_TEST_DIRNAME/roots" bookworm)/usr/written" ]
}
