# shellcheck shell=bash
# Loaded by every file of the suite `attacks`. It runs as root on a cluster of tests/cluster (CLUSTER_STATE), with three
# people on node n1: an attacker with a shell there, a victim who runs steps, and root. SECURITY.md names each test by its
# title, in the section of what it proves.
#
#   PYXIS_TEST_IMAGES   where the images are, as for all suites
#   PYXIS_TEST_COMMAND  the installed `pyxis`
#   PYXIS_TEST_LINE     the line of plugstack.conf that the cluster has

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cluster() { "$here/../cluster/cluster" "$@"; }
root() { cluster node 1 -- "$@"; }
attacker() { cluster run --user pyxistest -- "$@"; }
victim() { cluster run --user pyxistest2 -- "$@"; }
# On the node itself, as if logged in there: same mounts and processes as slurmd.
attacker_on_node() { root setpriv --reuid pyxistest --regid pyxistest --init-groups -- "$@"; }
victim_on_node() { root setpriv --reuid pyxistest2 --regid pyxistest2 --init-groups -- "$@"; }
# A step of the attacker's that is stopped when it hangs; sets $status and $output, and prints both.
step() { run timeout "${STEP_LIMIT:-120}" "$here/../cluster/cluster" run --user pyxistest -- srun -w n1 "$@"; echo "$status: $output"; }

attacks_setup() {
    work=$(mktemp -d "$CLUSTER_STATE/work/attacks.XXXXXX")
    chmod 777 "$work"
}

attacks_teardown() {
    local user
    # One at a time: Slurm 22.05 takes a list of users for the name of one.
    for user in pyxistest pyxistest2; do root scancel -u "$user"; done
    no_node_is_lost
    rm -rf "$work"
}

# No node is drained or down, and no job is left behind: what must hold after every attack.
no_node_is_lost() {
    local left node
    for _ in $(seq 300); do
        left=$(root squeue -h -t COMPLETING,RUNNING -o '%i %T') || left=
        [[ -n $left ]] || break
        sleep 0.1
    done
    if [[ -n $left ]]; then
        echo "still there after 30 s: $left"
        return 1
    fi
    left=$(root sinfo -h -N -t drain,drained,draining,down,fail -o '%N %T %E')
    if [[ -n $left ]]; then
        echo "lost: $left"
        # One at a time: where one of a list needs no resuming, Slurm resumes none.
        lost=$(root sinfo -h -N -t drain,drained,draining,down,fail -o %N | sort -u)
        for node in $lost; do
            root scontrol update NodeName="$node" State=RESUME || echo "node $node stays as it is"
        done
        return 1
    fi
}
