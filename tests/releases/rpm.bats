#!/usr/bin/env bats
# The rpms, as root: installed by rpm into an empty root, and what they install loaded by a real Slurm. No distribution of
# rpms is at hand that has a Slurm of its own; bookworm's gets the same files at the same places, /usr/lib64 among them.

cluster() { "$BATS_TEST_DIRNAME/../cluster/cluster" --state "$CLUSTER_STATE" "$@"; }
user() { cluster run -- "$@"; }

setup() {
    export CLUSTER_STATE=$BATS_TEST_TMPDIR/pyxis-cluster.test
    chmod 755 "$BATS_RUN_TMPDIR" "$BATS_RUN_TMPDIR"/test "$BATS_TEST_TMPDIR"
    mkdir "$CLUSTER_STATE"
}

teardown() { cluster down; }

@test "what the rpms install is loaded by Slurm, and starts containers" {
    command -v rpm > /dev/null || skip "rpm is not installed"
    cluster up --quiet --root bookworm --plugstack 'include /etc/slurm/plugstack.conf' > /dev/null
    root=$CLUSTER_STATE/rpm
    mkdir "$root"
    rpm --root "$root" --initdb
    # The root has neither glibc nor a shell.
    mapfile -t rpms < <(find "$PYXIS_DIST" '(' -name 'pyxis-[0-9]*.rpm' -o -name 'pyxis-slurm*.rpm' ')' ! -name '*-debuginfo-*' ! -name '*-dbgsym-*')
    rpm --root "$root" --nodeps --noscripts -i "${rpms[@]}"
    cluster login -- cp -a "$root/usr" /
    # What the script of the package says to do.
    link=$(rpm -qp --scripts "$PYXIS_DIST"/pyxis-[0-9]*.x86_64.rpm | sed -n 's/.*\(ln -s .*plugstack.conf.d[^"]*\).*/\1/p')
    cluster login -- sh -c "$link"
    cluster restart slurmd
    cluster logs | grep 'pyxis: version v'
    cp "$("$BATS_TEST_DIRNAME/../images" busybox)" "$CLUSTER_STATE/work/busybox.sqsh"
    [ "$(user srun -N2 --container-image="$CLUSTER_STATE/work/busybox.sqsh" grep ^ID= /etc/os-release | sort -u)" = ID=pyxis-test ]
    maps=$(cluster login -- srun sh -c 'cat /proc/$PPID/maps')
    [ "$(grep -o '/usr/.*pyxis.*' <<< "$maps" | sort -u)" = "$(printf '%s\n' /usr/lib64/pyxis/22.05/spank_pyxis.so /usr/lib64/slurm/spank_pyxis.so)" ]
}
