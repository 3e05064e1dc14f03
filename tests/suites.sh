# shellcheck shell=bash
# The suites of tests/run, one function each. A suite counts what it tested with `count PASSED FAILED` or `check`;
# a line "NOTE: ..." is shown even when all is well. Functions run with `set -e` off: they are called in a condition.

as_root() { if ((EUID == 0)); then "$@"; else sudo -- "$@"; fi; }

suite_shell() {
    local file files=()
    while read -r file; do
        if [[ $file == *.bats || $(head -c 20 "$file" | head -n 1) == '#!'*sh || $file == *.bash || $file == *.sh ]]; then
            files+=("$file")
        fi
    done < <(git ls-files -- tests packaging debian build-matrix .ci)
    for file in "${files[@]}"; do
        check "shellcheck $file" shellcheck -x -P SCRIPTDIR -P . "$file"
    done
    check "every assertion of the bats files can fail" runner lint bats
    check "no Rust test ends before it has tested" runner lint rust
    check "each test that SECURITY.md and SAFETY.md name exists, and each attack is named" runner lint claims
}

runner() { cargo run -q --locked -p runner -- "$@"; }

suite_format() { check "cargo fmt --check" cargo fmt --all --check; }

suite_clippy() {
    # clippy::incompatible_msrv, which is among the defaults, holds the code to the rust-version of Cargo.toml.
    check "every clippy.toml has the thresholds" runner lint sizes
    check "cargo clippy" cargo clippy --workspace --all-targets --locked -- -D warnings
}

suite_msrv() { check "everything compiles with the oldest Rust that Cargo.toml states" as_root tests/msrv; }

suite_dependencies() {
    check "Cargo.lock is up to date" cargo metadata --locked --format-version 1 --no-deps > /dev/null
    check "no dependency wants a newer Rust than we state" tests/dependencies msrv
    local tools
    if ! tools=$(tests/tools); then
        count 0 1
        return
    fi
    check "licences, duplicates and sources are as deny.toml has it" "$tools/cargo-deny" --workspace check -D warnings licenses bans sources
    # A list on the network, which not everybody can reach: what it says counts, that it cannot be had does not.
    if "$tools/cargo-deny" --workspace fetch db > /dev/null 2>&1; then
        check "no advisory is about a crate of ours" "$tools/cargo-deny" --workspace check --disable-fetch advisories
    else
        echo "NOTE: advisories are not checked: their list cannot be fetched"
    fi
}

# Adds up cargo's "test result" lines or nextest's summary, from stdin, which it copies to stdout.
count_rust() {
    local text line sum_ok=0 sum_bad=0 ignored=0
    text=$(sed 's/\x1b\[[0-9;]*m//g')
    printf '%s\n' "$text"
    while read -r line; do
        if [[ $line =~ ([0-9]+)\ passed ]]; then sum_ok=$((sum_ok + BASH_REMATCH[1])); fi
        while [[ $line =~ ([0-9]+)\ (failed|timed\ out)(.*) ]]; do
            sum_bad=$((sum_bad + BASH_REMATCH[1]))
            line=${BASH_REMATCH[3]}
        done
        if [[ $line =~ ([0-9]+)\ (ignored|skipped) ]]; then ignored=$((ignored + BASH_REMATCH[1])); fi
    done < <(grep -E '^test result: |^ *Summary \[' <<< "$text")
    ((ignored == 0)) || echo "NOTE: $ignored ignored; each says why at its #[ignore]"
    count "$sum_ok" "$sum_bad"
}

# Runs a command that prints Rust's test results; its failure is one more when it counted none itself (it did not compile).
rust_tests() {
    local out status=0
    out=$(mktemp)
    "$@" > "$out" 2>&1 || status=$?
    count_rust < "$out"
    rm -f "$out"
    if ((status != 0 && failed == 0)); then count 0 1; fi
}

suite_unit() {
    # Real spank.h of several releases, as input for tests; fetched once.
    export PYXIS_HEADERS_DIR=${PYXIS_HEADERS_DIR:-${PYXIS_CACHE:-$PWD/.cache}/headers}
    check "headers of other releases can be fetched" build-matrix/fetch-headers.sh "$PYXIS_HEADERS_DIR"
    # Tests that need root are marked by #[ignore]: without root they are seen to be left out.
    if cargo nextest --version > /dev/null 2>&1; then
        local all=()
        ((EUID != 0)) || all=(--run-ignored all)
        rust_tests cargo nextest run --workspace --locked --no-fail-fast --color never "${all[@]}"
    else
        local all=()
        ((EUID != 0)) || all=(-- --include-ignored)
        rust_tests cargo test --workspace --locked --no-fail-fast --lib --bins --tests "${all[@]}"
    fi
}

suite_doc() {
    # nextest leaves these out. Few crates have any, and then there is at least this: they compile.
    check "documentation examples" cargo test --workspace --locked --doc
    # What is private is linked to as well: these are documents for who changes it.
    check "links of the documentation lead somewhere" env RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" \
        cargo doc --workspace --locked --no-deps --document-private-items
}

build_matrix() { cargo run -q --release --locked -p build-matrix -- "$@"; }

suite_bindings() { check "committed bindings are what bindgen makes" build_matrix bindings --check; }

# Builds against the installed Slurm's header changed by a sed command: what is printed matches $1, and only the unchanged builds.
announces() {
    local dir output status=0
    dir=$(mktemp -d)
    cp -r /usr/include/slurm "$dir/slurm"
    sed -i "$2" "$dir/slurm/spank.h"
    output=$(build_matrix build --slurm "$dir" --out "$dir/out" 2>&1) || status=$?
    rm -rf "$dir"
    echo "$output"
    grep -q "$1" <<< "$output" && [[ -n $2 || $status == 0 ]] && [[ -z $2 || $status != 0 ]]
}

suite_matrix() {
    local file
    check "every release builds" build_matrix build all
    for file in target/matrix/*/spank_pyxis.so; do
        check "$file is what it should be" build_matrix verify "$file"
    done
    check "a spank.h with the same interface says so" announces "same interface as" ""
    check "one with another is shown, and refused" announces "^item *S_SITE *- *1$" 's/S_JOB_GID,/S_SITE, S_JOB_GID,/'
    check "as many builds as releases" test "$(find target/matrix -name spank_pyxis.so | wc -l)" -eq \
        "$(find slurm-releases/releases -maxdepth 1 -type f | wc -l)"
}

# All packages, deb and rpm, are in $PYXIS_DIST. Made once per run, unless PYXIS_DIST names some already.
test_dist() {
    [[ -z ${PYXIS_DIST:-} ]] || return 0
    packaging/zig || return 1
    rm -rf target/dist
    build_matrix package all --out target/dist || return 1
    export PYXIS_DIST=$PWD/target/dist
}

suite_packages() {
    test_dist || return 1
    # Root, which runs the tests, often has no Rust toolchain.
    cargo build -q --release --locked -p build-matrix -p packaging || return 1
    run_bats as_root env PYXIS_DIST="$PYXIS_DIST" PYXIS_CACHE="${PYXIS_CACHE:-$PWD/.cache}" bats --tap tests/packages
}

# One release for Grace nodes. The other processor's standard library is Debian's, unless rustc has it.
suite_aarch64() {
    local rustc=
    packaging/zig || return 1
    [[ -d $(rustc --print sysroot)/lib/rustlib/aarch64-unknown-linux-gnu ]] || rustc=$(tests/packages/rust-aarch64) || return 1
    rm -rf target/dist-aarch64
    cargo build -q --release --locked -p packaging || return 1
    env ${rustc:+RUSTC="$rustc"} target/release/packaging package 24.11 --arch aarch64 --out target/dist-aarch64 || return 1
    run_bats as_root env PYXIS_DIST="$PWD/target/dist-aarch64" bats --tap tests/packages/aarch64
}

suite_install() {
    local dest
    dest=$(mktemp -d)
    check "make" make
    check "make install" make install DESTDIR="$dest" prefix=/usr libdir=/usr/lib64
    check "the plugin is where libdir says" test -s "$dest/usr/lib64/slurm/spank_pyxis.so"
    check "the command is where bindir says" test -x "$dest/usr/bin/pyxis"
    check "the line for plugstack.conf names both" grep -qx 'required /usr/lib64/slurm/spank_pyxis.so pyxis_path=/usr/bin/pyxis' \
        "$dest/usr/share/pyxis/pyxis.conf"
    check "make uninstall" make uninstall DESTDIR="$dest" prefix=/usr libdir=/usr/lib64
    check "nothing is left" test -z "$(find "$dest" ! -type d)"
    rm -rf "$dest"
}

suite_demo() { check "make demo" make demo; }

suite_harness() { run_bats as_root bats --tap tests/cluster/harness.bats; }

# Runs a command that prints TAP and counts its lines.
run_bats() {
    local out
    out=$(mktemp)
    "$@" > "$out" 2>&1
    count_tap "$out"
    rm -f "$out"
}

# Counts a file of TAP, several bats runs in a row perhaps. Tests that a plan promises but that never reported are failures,
# as is having no plan, or "Bail out!". A line "# NOTE: ..." is one for tests/run.
count_tap() {
    local plan ok bad skipped bail
    cat "$1"
    plan=$(sed -n 's/^1\.\.\([0-9]*\)$/\1/p' "$1" | awk '{ sum += $1 } END { if (NR) print sum }')
    skipped=$(grep -c '^ok .* # skip' "$1")
    ok=$(grep -c '^ok ' "$1")
    bad=$(grep -c '^not ok ' "$1")
    bail=$(grep -c '^Bail out!' "$1")
    sed -n 's/^ok [0-9]* \(.*\) # skip *(\{0,1\}\(.*[^)]\))\{0,1\}$/NOTE: skipped: \1: \2/p; s/^# \(NOTE: .*\)/\1/p' "$1"
    count $((ok - skipped)) $((bad + ${plan:-1} - ok - bad + bail))
}

# The cluster of the bats suites: the plugin as `make install` leaves it, unless PYXIS_PLUGSTACK names another.
test_cluster() {
    [[ -z $state ]] || return 0
    state=$(mktemp -d "${TMPDIR:-/tmp}/pyxis-cluster.XXXXXX")
    chmod 755 "$state"
    local plugstack=${PYXIS_PLUGSTACK:-include $state/prefix/share/pyxis/pyxis.conf}
    if [[ -z ${PYXIS_PLUGSTACK:-} ]]; then
        make || return 1
        as_root make install prefix="$state/prefix" || return 1
    fi
    # enroot is what suite_enroot puts there.
    as_root mkdir -p "$state/enroot" || return 1
    as_root tests/cluster/cluster --state "$state" up --owner $$ --path "$state/enroot" --plugstack "$plugstack" || return 1
    # A copy: the checkout may be somewhere that ordinary users cannot read.
    as_root mkdir "$state/work/images" "$state/work/tests"
    # shellcheck disable=SC2046
    as_root cp $(tests/images busybox entrypoint hostile noshell) "$state/work/images/" || return 1
    as_root cp -R tests/*.bats tests/common.bash tests/sbatch tests/mpi "$state/work/tests/"
}

# As the ordinary user. TMPDIR is where bats puts what tests write; the nodes have to see it.
on_cluster() {
    as_root tests/cluster/cluster --state "$state" run --env TMPDIR="$state/work" --env SUT="${SUT:-pyxis}" \
        --env PYXIS_TEST_RUNTIME="${PYXIS_TEST_RUNTIME:-pyxis}" --env PYXIS_TEST_COMMAND="$state/prefix/bin/pyxis" --env PYXIS_TEST_IMAGES="$state/work/images" -- "$@"
}

suite_bats() {
    test_cluster || return 1
    # As a site runs it, inside an allocation of its own.
    run_bats on_cluster salloc --quiet -N2 --overcommit bats --tap tests
}

suite_sbatch() {
    test_cluster || return 1
    run_bats on_cluster bats --tap tests/sbatch
}

# Programs of OpenMPI and MPICH over two nodes.
suite_mpi() {
    test_cluster || return 1
    mpi_tests
}

mpi_tests() {
    as_root cp "$(tests/images mpi)" "$state/work/images/" || return 1
    run_bats on_cluster salloc --quiet -N2 --overcommit bats --tap tests/mpi
}

# What is in the packages, with four real Slurms; two at a time, as they wait more than they work.
suite_releases() {
    test_dist || return 1
    local suites=(bullseye forky trixie bookworm) suite
    # What is downloaded once, one after the other.
    as_root tests/cluster/roots "${suites[@]}" > /dev/null || return 1
    printf '%s\n' "${suites[@]}" |
        as_root xargs -P 2 -I '{}' sh -c "tests/releases/run {} '$PYXIS_DIST' > '$log/releases.{}' 2>&1"
    for suite in "${suites[@]}"; do count_tap "$log/releases.$suite"; done
}

suite_loader() {
    test_dist || return 1
    run_bats env PYXIS_DIST="$PYXIS_DIST" bats --tap tests/releases/loader.bats
    run_bats as_root env PYXIS_DIST="$PYXIS_DIST" bats --tap tests/releases/rpm.bats
}

suite_upgrade() {
    test_dist || return 1
    local old
    printf '%s\n' 22.05 24.11 | as_root xargs -P 2 -I '{}' env PYXIS_DIST="$PYXIS_DIST" \
        sh -c "bats --tap -f '^from {}' tests/releases/upgrade.bats > '$log/upgrade.{}' 2>&1"
    for old in 22.05 24.11; do count_tap "$log/upgrade.$old"; done
}

# The harness with another Slurm than this machine's: one is enough here, suite releases boots them all.
suite_roots() { run_bats as_root bats --tap -f '^trixie|root$' tests/cluster/roots.bats; }

# Runs a suite of tests/cluster as root; arguments are the plugstack.conf line's, if any. Of its tests those that match
# $only, where the caller has set that.
run_bats_as_root() {
    local file=$1 line
    shift
    line=$(grep ^required "$state/prefix/share/pyxis/pyxis.conf")
    run_bats as_root env CLUSTER_STATE="$state" PYXIS_TEST_IMAGES="$state/work/images" \
        PYXIS_TEST_RUNTIME="${PYXIS_TEST_RUNTIME:-pyxis}" PYXIS_TEST_COMMAND="$state/prefix/bin/pyxis" \
        PYXIS_TEST_LINE="$line${*:+ $*}" bats --tap ${only:+-f "$only"} "$file"
}

# A suite that is one of these files.
cluster_suite() {
    test_cluster || return 1
    run_bats_as_root "tests/cluster/$1.bats"
}

suite_faults() { cluster_suite faults; }
suite_plugstack() { cluster_suite plugstack; }
suite_superuser() { cluster_suite superuser; }
suite_registry() { cluster_suite registry; }
suite_races() { cluster_suite races; }
suite_cancel() { cluster_suite cancel; }
suite_hostile() { cluster_suite hostile; }

# An attacker with a shell on the node beside root and a victim: a file per kind of fault.
suite_attacks() {
    test_cluster || return 1
    local file
    for file in tests/attacks/*.bats; do run_bats_as_root "$file"; done
}

# The code path of enroot: the pyxis command, which takes enroot's arguments, stands in under its name. Containers are
# kept on the node, as sites configure enroot; where hooks work is left to the command.
suite_enroot() {
    test_cluster || return 1
    local line ours=(as_root tests/cluster/cluster --state "$state") node
    line=$(grep ^required "$state/prefix/share/pyxis/pyxis.conf")
    as_root ln -sfn "$state/prefix/bin/pyxis" "$state/enroot/enroot"
    "${ours[@]}" login -- sh -c 'mkdir -p /etc/pyxis; cat > /etc/pyxis/pyxis.toml' << 'END'
[paths]
data = "/var/tmp/enroot-data-%u"
END
    # Without runtime= in the line: enroot is chosen because it is there.
    "${ours[@]}" plugstack "$line"
    export PYXIS_TEST_RUNTIME=enroot
    run_bats on_cluster salloc --quiet -N2 --overcommit bats --tap tests
    run_bats on_cluster bats --tap tests/sbatch
    mpi_tests
    run_bats_as_root tests/cluster/plugstack.bats runtime=enroot
    run_bats_as_root tests/cluster/races.bats runtime=enroot
    run_bats_as_root tests/cluster/superuser.bats runtime=enroot
    run_bats_as_root tests/cluster/hostile.bats runtime=enroot
    # Up to the program; what comes then is Slurm's and export's.
    only='^while (an image|a container|the entrypoint|the program runs)' run_bats_as_root tests/cluster/cancel.bats runtime=enroot
    # Those whose fault is not the built-in runtime's own: its keeper, its image server, its words.
    only='^(one task|steps cancelled|the end of a step|the runtime directory is|a runtime directory|the runtime directory lost in|runtime_path|no room for what|the memory)' \
        run_bats_as_root tests/cluster/faults.bats runtime=enroot
    unset PYXIS_TEST_RUNTIME
    for node in n1 n2; do
        check "it was enroot, on $node" grep -q "pyxis: container runtime: enroot" "$state/log/slurmd.$node.log"
    done
    "${ours[@]}" login -- rm -r /etc/pyxis
    as_root rm "$state/enroot/enroot"
    "${ours[@]}" plugstack "include $state/prefix/share/pyxis/pyxis.conf"
}

# In its own mount namespace; the plugins are those that the suites install and matrix build.
suite_doctor() {
    local other=target/matrix/24.11/spank_pyxis.so
    make || return 1
    cargo build -q --profile loader --locked -p loader || return 1
    [[ -s $other ]] || build_matrix build 24.11 || return 1
    run_bats as_root env PYXIS_COMMAND="$PWD/target/release/pyxis" PYXIS_BUILD="$(echo "$PWD"/target/make/*/spank_pyxis.so)" \
        PYXIS_OTHER_BUILD="$PWD/$other" PYXIS_LOADER="$PWD/target/loader/libpyxis_loader.so" \
        unshare --mount --propagation unchanged -- bats --tap tests/doctor
}

suite_nix() { run_bats bats --tap tests/nix/flake.bats; }
