#!/usr/bin/env bats
# The loader and all builds as they are in the packages, in a program that looks things up as Slurm does
# (loader/tests/fixtures/host.c). PYXIS_DIST is where `build-matrix package all` has put the packages.

setup_file() {
    export tree=$BATS_FILE_TMPDIR/tree
    local deb
    for deb in "$PYXIS_DIST"/pyxis_*.deb "$PYXIS_DIST"/pyxis-slurm*.deb; do
        [[ $deb == *-dbgsym_* ]] || dpkg-deb -x "$deb" "$tree"
    done
    export lib=$tree/usr/lib/x86_64-linux-gnu
    # What builds want of Slurm has to be there, though nothing of it is called.
    nm -D --undefined-only "$lib"/pyxis/*/spank_pyxis.so | sed -n 's/^ *U \(s[lp][ua][rn][mk]_.*\)/void \1(void) {}/p' |
        grep -v ' slurm_error(' | sort -u > "$BATS_FILE_TMPDIR/slurm.c"
    cc -rdynamic -o "$BATS_FILE_TMPDIR/host" "$BATS_TEST_DIRNAME/../../loader/tests/fixtures/host.c" "$BATS_FILE_TMPDIR/slurm.c" -ldl
}

host() { "$BATS_FILE_TMPDIR/host" "$@"; }

# The stamp's line KEY of a build.
stamp() { objcopy -O binary --only-section=.pyxis.stamp "$1" /dev/stdout | tr '\0' '\n' | sed -n "s/^$2=//p"; }

@test "each release gets its build: name, version, and every hook that it has and no other" {
    local build count=0
    for build in "$lib"/pyxis/*/spank_pyxis.so; do
        api=$(stamp "$build" api)
        host "$api" "$build" --lookup > "$BATS_TEST_TMPDIR/direct" 2> /dev/null
        host "$api" "$lib/slurm/spank_pyxis.so" --lookup > "$BATS_TEST_TMPDIR/through" 2> /dev/null
        cat "$BATS_TEST_TMPDIR/direct"
        grep -q "version $(stamp "$build" number)" "$BATS_TEST_TMPDIR/direct"
        diff "$BATS_TEST_TMPDIR/direct" "$BATS_TEST_TMPDIR/through"
        # What slurmd would fork for each job, were it there.
        output=$(< "$BATS_TEST_TMPDIR/through")
        [[ $output != *job_prolog* ]]
        count=$((count + 1))
    done
    [ "$count" -eq "$(find "$BATS_TEST_DIRNAME/../../slurm-releases/releases" -name '*.toml' | wc -l)" ]
}

@test "a Slurm of a release to come: refused, with the line that says what to do" {
    newest=$(find "$BATS_TEST_DIRNAME/../../slurm-releases/releases" -name '*.toml' | sort | tail -n 1)
    api=$(($(sed -n 's/^api = //p' "$newest") + 1))
    newest=$(basename "$newest" .toml)
    run host "$api" "$lib/slurm/spank_pyxis.so" --lookup
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *"version 0"* ]]
    [[ $output != *slurm_spank_* ]]
    [[ $output == *"pyxis: no build for this Slurm (API $api) in $lib/pyxis: it is newer than $newest, the newest release this pyxis knows; install a newer pyxis; installed: 20.11, "*", $newest"* ]]
}

@test "size: at most 100 KiB" {
    size=$(stat -c %s "$lib/slurm/spank_pyxis.so")
    [ "$size" -le 102400 ]
}

# What a program opens that loads $1.
opened() {
    strace -f -qq -e trace=open,openat -e status=successful -o "$BATS_TEST_TMPDIR/opened" "$BATS_FILE_TMPDIR/host" 42 "$1" --lookup > /dev/null 2>&1
    cat "$BATS_TEST_TMPDIR/opened"
}

@test "the loader opens the build, each build's stamp at most once, and nothing else of note" {
    direct=$(opened "$lib/pyxis/24.11/spank_pyxis.so")
    through=$(opened "$lib/slurm/spank_pyxis.so")
    echo "$through"
    [[ $direct == *spank_pyxis.so* ]]
    builds=$(find "$lib/pyxis" -name spank_pyxis.so | wc -l)
    # Itself, the folder of builds, and of each build its folder and its file.
    [ $(($(wc -l <<< "$through") - $(wc -l <<< "$direct"))) -le $((2 * builds + 3)) ]
}
