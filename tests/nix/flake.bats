#!/usr/bin/env bats
# The flake, evaluated with a stand-in for nixpkgs (tests/nix/nixpkgs): there is no network to the real one. Every attribute is
# instantiated, that is, its derivation is written to a store of the test's own; nothing is built.

setup_file() {
    cd "$BATS_TEST_DIRNAME/../.." || return 1
    export HOME=$BATS_FILE_TMPDIR/home XDG_CACHE_HOME=$BATS_FILE_TMPDIR/home/cache
    export NIX_STORE_DIR=$BATS_FILE_TMPDIR/store NIX_STATE_DIR=$BATS_FILE_TMPDIR/state NIX_LOG_DIR=$BATS_FILE_TMPDIR/log
    export NIX_CONF_DIR=$BATS_FILE_TMPDIR/etc NIX_REMOTE=local
    mkdir "$HOME" "$NIX_CONF_DIR" "$BATS_FILE_TMPDIR/source"
    printf 'build-users-group =\nflake-registry =\n' > "$NIX_CONF_DIR/nix.conf"
    # What the flake reads when it is evaluated.
    cp --parents -r nix-flake Cargo.toml Cargo.lock slurm-releases/releases "$BATS_FILE_TMPDIR/source"
    # A flake in a folder of its repository is to be had from git only.
    git -C "$BATS_FILE_TMPDIR/source" init -q
    git -C "$BATS_FILE_TMPDIR/source" add .
    inputs=
    add_input nixpkgs 25.11.2.1
    add_input nixpkgs-a 24.11.5.4
    add_input nixpkgs-b 24.05.4.1
    add_input nixpkgs-c 23.11.7.1
    # Older than anything pyxis knows.
    add_input nixpkgs-d 19.05.8.1
    export inputs
}

add_input() {
    cp -r tests/nix/nixpkgs "$BATS_FILE_TMPDIR/$1"
    printf %s "$2" > "$BATS_FILE_TMPDIR/$1/slurm-version"
    inputs+=" --override-input $1 path:$BATS_FILE_TMPDIR/$1"
}

flake() {
    local what=$1
    shift
    # shellcheck disable=SC2086
    nix --extra-experimental-features 'nix-command flakes' --offline eval --no-write-lock-file $inputs \
        "git+file://$BATS_FILE_TMPDIR/source?dir=nix-flake#$what" "$@" 2> "$BATS_TEST_TMPDIR/words" || { cat "$BATS_TEST_TMPDIR/words"; return 1; }
}

# The names of a set of derivations, each instantiated.
derivations() {
    flake "$1" --raw --apply 'all: builtins.concatStringsSep "\n" (map (name: "${name} ${all.${name}.drvPath}") (builtins.attrNames all)) + "\n"'
}

every_one_is_written() {
    local name drv
    [ -n "$1" ]
    while read -r name drv; do
        [ -s "$drv" ] || { echo "$name: no $drv"; return 1; }
    done <<< "$1"
}

@test "every package instantiates, one per release and the whole" {
    local system all
    for system in x86_64-linux aarch64-linux; do
        all=$(derivations "packages.$system")
        every_one_is_written "$all"
        [ "$(grep -c '^slurm[0-9]' <<< "$all")" -eq "$(find "$BATS_TEST_DIRNAME/../../slurm-releases/releases" -name '*.toml' | wc -l)" ]
        for name in command default loader pyxis; do grep -q "^$name " <<< "$all"; done
    done
}

@test "every check instantiates" {
    every_one_is_written "$(derivations checks.x86_64-linux)"
    every_one_is_written "$(derivations checks.aarch64-linux)"
}

@test "a plugin is built against its release's Slurm where a nixpkgs has it" {
    header() { flake "packages.x86_64-linux.$1" --raw --apply 'p: p.SLURM_SPANK_INCLUDE or "none"'; }
    [[ $(header slurm24_11) == "$NIX_STORE_DIR"/*-slurm-dev-24.11.5.4/include ]]
    [[ $(header slurm25_11) == "$NIX_STORE_DIR"/*-slurm-dev-25.11.2.1/include ]]
    [ "$(header slurm20_11)" = none ]
    [[ $(flake packages.x86_64-linux.slurm24_11 --raw --apply 'p: p.buildPhase') == *"--features slurm-24-11,spank-bindings/real-header"* ]]
    [[ $(flake packages.x86_64-linux.slurm20_11 --raw --apply 'p: p.buildPhase') == *"--features slurm-20-11"$'\n'* ]]
}

@test "the whole has every build, and the line for plugstack.conf" {
    script=$(flake packages.x86_64-linux.pyxis --raw --apply 'p: p.script')
    [ "$(grep -o -e '-pyxis-slurm[0-9.]*-[0-9.]*' <<< "$script" | sort -u | wc -l)" -eq "$(find "$BATS_TEST_DIRNAME/../../slurm-releases/releases" -name '*.toml' | wc -l)" ]
    [[ $script == *'required $out/lib/slurm/spank_pyxis.so pyxis_path=$out/bin/pyxis'* ]]
}

@test "the overlay: pkgs.pyxis, against pkgs.slurm" {
    drv=$(flake overlays.default --raw --apply "overlay: let
        base = import $BATS_FILE_TMPDIR/nixpkgs-a/packages.nix { system = \"x86_64-linux\"; slurmVersion = \"24.11.5.4\"; };
        final = base // overlay final base;
        against = builtins.filter (p: p ? SLURM_SPANK_INCLUDE) final.pyxis.plugins;
        in builtins.toString (map (p: p.release) against) + \" \" + final.pyxis.drvPath" --impure)
    [[ $drv == "24.11 $NIX_STORE_DIR"/*.drv ]]
    [ -s "${drv#* }" ]
}

module() {
    nix-instantiate --eval --strict --json "$BATS_TEST_DIRNAME/module.nix" --arg flake "$BATS_FILE_TMPDIR/source/nix-flake" \
        --arg nixpkgs "$BATS_FILE_TMPDIR/nixpkgs" --argstr slurmVersion "$@"
}

@test "the module: line, programs and settings" {
    run module 24.11.5.4 --arg arguments '{ runtime = "pyxis"; sbatch_support = false; }' --arg settings '{ container.writable = true; }'
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *'"line":"required '*'/lib/slurm/spank_pyxis.so pyxis_path='*'/bin/pyxis runtime=pyxis sbatch_support=0"'* ]]
    [[ $output == *'"failed":[]'* && $output == *squashfuse* && $output == *'writable'* ]]
}

@test "the module refuses a Slurm without a build" {
    run module 27.05.0.1
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *'"failed":["services.slurm.pyxis: no build for Slurm 27.05; there are 20.11, '* ]]
}

@test "a Slurm of another release than the one asked for" {
    run nix-instantiate --eval -E "let base = import $BATS_FILE_TMPDIR/nixpkgs/packages.nix { system = \"x86_64-linux\"; slurmVersion = \"24.11.5.4\"; };
        parts = base.callPackage $BATS_FILE_TMPDIR/source/nix-flake/package.nix { src = $BATS_FILE_TMPDIR/source; };
        in (parts.plugin { release = \"25.05\"; slurm = base.slurm; }).drvPath"
    [ "$status" -ne 0 ]
    [[ $output == *"the Slurm given for 25.05 is 24.11.5.4"* ]]
}
