# shellcheck shell=bash
# Loaded by every bats file. The suites run wherever srun works: on the cluster of tests/cluster (`make check`), or on
# a site's own, as an ordinary user:
#
#     tests/images busybox entrypoint hostile noshell                # once; on a file system that the nodes see
#     TMPDIR=/shared/scratch salloc --overcommit bats tests
#     TMPDIR=/shared/scratch bats tests/sbatch
#
#   TMPDIR              a directory that the nodes see as well; bats makes $BATS_TEST_TMPDIR and friends there
#   PYXIS_TEST_IMAGES   where the images are; .cache/images of this checkout unless set
#   PYXIS_SRUN_ARGS     more arguments for every srun and sbatch, such as "-A account -p partition"
#   SUT                 the implementation under test: pyxis (this one), or reference (the original)
#   PYXIS_TEST_RUNTIME  the container runtime it uses: pyxis (built in), or enroot

SUT=${SUT:-pyxis}
runtime=${PYXIS_TEST_RUNTIME:-pyxis}
images=${PYXIS_TEST_IMAGES:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/.cache/images}
# bats has made its directories. Inside a container TMPDIR would name one that is not there.
unset TMPDIR

log() { printf '%s\n' "$*" >&2; }

# The node of tests that need one and always the same: containers are a node's. In an allocation its first.
one_node=(-N1 --oversubscribe)
if [[ -n ${SLURM_JOB_NODELIST:-} ]]; then one_node+=(-w "$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"); fi

# Runs srun with one node and the arguments given; sets $status and $output, prints both (bats shows them on failure).
run_srun_unchecked() {
    # shellcheck disable=SC2086
    run_logged srun ${PYXIS_SRUN_ARGS:-} "${one_node[@]}" "$@"
}

# The same, and the test fails if srun does.
run_srun() {
    run_srun_unchecked "$@"
    ((status == 0))
}

# As run_srun, with srun's own choice of nodes and tasks: for tests that say -N and -n themselves.
run_srun_wide_unchecked() {
    # shellcheck disable=SC2086
    run_logged srun ${PYXIS_SRUN_ARGS:-} "$@"
}

run_srun_wide() {
    run_srun_wide_unchecked "$@"
    ((status == 0))
}

# Submits a batch script (standard input, or a file among the arguments), waits for it, sets $output to what it printed.
run_sbatch_unchecked() {
    local file=$BATS_TEST_TMPDIR/sbatch.out
    log "+ sbatch --wait $*"
    status=0
    # shellcheck disable=SC2086
    sbatch --quiet --wait ${PYXIS_SRUN_ARGS:-} -o "$file" "$@" > "$file.submit" 2>&1 || status=$?
    output=$(cat "$file.submit" "$file" 2> /dev/null || true)
    log "$output"
    log "+ exit status: $status"
}

run_sbatch() {
    run_sbatch_unchecked "$@"
    ((status == 0))
}

# In $lines is what the program said: srun of some releases speaks first ("Step created", a job that waits for its node).
run_logged() {
    local line all
    log "+ $*"
    run "$@"
    log "$output"
    log "+ exit status: $status"
    all=("${lines[@]}") lines=()
    for line in "${all[@]}"; do [[ $line == 'srun: '* ]] || lines+=("$line"); done
}

# Path of a test image; the test is a failure, not a skip, where it is missing.
image() {
    local file=$images/$1.sqsh
    [[ -r $file ]] || { log "no image $file; make it with: tests/images $1"; return 1; }
    printf '%s' "$file"
}

# For tests of two nodes, where the allocation that they run in has one.
needs_two_nodes() { ((${SLURM_JOB_NUM_NODES:-2} > 1)) || skip "the allocation has one node"; }

# For tests of what the original does not do or does wrong: skipped there, saying what.
only_pyxis() { [[ $SUT == pyxis ]] || skip "only this implementation: $1"; }

# Fails unless $output contains the text.
output_has() { [[ $output == *"$1"* ]] || { log "not in the output: $1"; return 1; }; }
output_lacks() { [[ $output != *"$1"* ]] || { log "in the output: $1"; return 1; }; }

# For tests of what only the built-in runtime does.
only_builtin() {
    only_pyxis "$1"
    [[ $runtime == pyxis ]] || skip "only the built-in runtime: $1"
}

# Removes a named container from the node of run_srun, as its user would.
remove_container() {
    local command=pyxis
    [[ $runtime == pyxis ]] || command=enroot
    # shellcheck disable=SC2086
    srun ${PYXIS_SRUN_ARGS:-} "${one_node[@]}" --overlap "${PYXIS_TEST_COMMAND:-$command}" remove -f "pyxis_$1" > /dev/null 2>&1 || true
}
