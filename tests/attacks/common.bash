# shellcheck shell=bash
# Loaded by every file of the suite `attacks`. It runs as root on a cluster of tests/cluster (CLUSTER_STATE), with three
# people on node n1: an attacker with a shell there, a victim who runs steps, and root. SECURITY.md names each test by its
# title, in the section of what it proves.
#
#   PYXIS_TEST_IMAGES   where the images are, as for all suites
#   PYXIS_TEST_COMMAND  the installed `pyxis`
#   PYXIS_TEST_LINE     the line of plugstack.conf that the cluster has

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# Whatever line of ours a test gives, Slurm has the two plugins around it that tell of root's time and memory.
cluster() {
    if [[ $1 == plugstack ]]; then
        "$here/../cluster/cluster" plugstack "optional $watch/before.so $watch/lines" "${@:2}" "optional $watch/after.so $watch/lines"
    else
        "$here/../cluster/cluster" "$@"
    fi
}
root() { cluster node 1 -- "$@"; }
attacker() { cluster run --user pyxistest -- "$@"; }
victim() { cluster run --user pyxistest2 -- "$@"; }
# On the node itself, as if logged in there: same mounts and processes as slurmd.
attacker_on_node() { root setpriv --reuid pyxistest --regid pyxistest --init-groups -- "$@"; }
victim_on_node() { root setpriv --reuid pyxistest2 --regid pyxistest2 --init-groups -- "$@"; }
# A step of the attacker's that is stopped when it hangs; sets $status and $output, and prints both.
step() { run timeout "${STEP_LIMIT:-120}" "$here/../cluster/cluster" run --user pyxistest -- srun -w n1 "$@"; echo "$status: $output"; }

# serve NAME [--slow PART]: a registry for all tests of a file; sets $address.
serve() {
    local work=$BATS_FILE_TMPDIR name=$1 i
    cp "$here/registry.py" "$work/"
    python3 "$work/registry.py" "$work/$name.port" "$work/images" "${@:2}" > "$work/$name.log" 2>&1 3>&- &
    echo $! > "$work/$name.pid"
    for ((i = 0; i < 600; i++)); do
        [[ ! -e $work/$name.port ]] || break
        sleep 0.1
    done
    address=127.0.0.1:$(cat "$work/$name.port")
}

# Of root, and below what is every user's: nobody else can change it.
watch=$CLUSTER_STATE/watch
# Begins to watch what must hold of root in each test.
watch_begin() {
    if [[ ! -e $watch/lines ]]; then
        mkdir -p "$watch"
        local where version
        version=$(root slurmd -V | sed 's/[^0-9]*\([0-9]*\)\.\([0-9]*\)\.\([0-9]*\).*/(\1 << 16) | (\2 << 8) | \3/; s/\<0\([0-9]\)/\1/g')
        for where in before after; do
            gcc -O -shared -fPIC -DWHERE="\"$where\"" -DVERSION="($version)" -o "$watch/$where.so" "$here/watch.c"
        done
        install -m 600 /dev/null "$watch/lines"
        cluster plugstack "$PYXIS_TEST_LINE"
        attacker srun -w n1 true
        # Slurm passes over a plugin that it cannot load.
        for _ in $(seq 300); do
            if [[ $(grep -c ' exit ' "$watch/lines") -eq 2 ]]; then break; fi
            sleep 0.1
        done
        [[ $(grep -c ' exit ' "$watch/lines") -eq 2 ]]
    fi
    if ! root grep -q "$watch" "$CLUSTER_STATE/etc/plugstack.conf"; then cluster plugstack "$PYXIS_TEST_LINE"; fi
    watched_from=$(($(wc -l < "$watch/lines") + 1))
    watched=$(mktemp -d "$watch/test.XXXXXX")
    : > "$watched/completing"
    # No child of this shell's: tests wait for all that they have.
    # shellcheck disable=SC2016
    (root sh -c 'until test -e "$1/over"; do squeue -h -t COMPLETING -o "$(date +%s) %A" >> "$1/completing"; sleep 1; done' \
        sh "$watched" > "$watched/words" 2>&1 3>&- &)
}

# What must hold after every attack: memory, and waits, of root's.
watch_end() {
    touch "$watched/over"
    tail -n "+$watched_from" "$watch/lines" > "$watched/lines"
    python3 "$here/watched.py" "$watched/lines" "$watched/completing"
}

attacks_setup() {
    watch_begin
    work=$(mktemp -d "$CLUSTER_STATE/work/attacks.XXXXXX")
    chmod 777 "$work"
}

# Of a teardown, bats looks at how its last command ended only: this is to be that, and what it finds is to be how it ends.
attacks_teardown() {
    local user failed=0
    # One at a time: Slurm 22.05 takes a list of users for the name of one.
    for user in pyxistest pyxistest2; do root scancel -u "$user"; done
    no_node_is_lost || failed=1
    watch_end || failed=1
    rm -rf "$work"
    return "$failed"
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
