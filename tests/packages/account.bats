#!/usr/bin/env bats
# The account that the packages make the shared image store for, by their script alone.

setup() {
    work=$(mktemp -d)
    # What is before Slurm's part.
    sed '/^# Where Slurm/,$d' "$BATS_TEST_DIRNAME/../../packaging/after-install" > "$work/script"
    sed -i "s|^store=.*|store=$work/store|; s|/etc/login.defs|$work/login.defs|" "$work/script"
    mkdir "$work/bin"
    for command in useradd install; do
        printf '#!/bin/sh\necho %s "$@" >> "%s/done"\n' "$command" "$work" > "$work/bin/$command"
    done
    touch "$work/done"
}
teardown() { rm -rf "$work"; }

# Runs it where the account pyxis has that number, and that of its group; without one there is none. $group: `true` where a group pyxis
# is there before.
with_account() {
    local answer='exit 2'
    if (($#)); then answer="echo pyxis:x:$1:${2:-$1}::/nowhere:/bin/sh"; fi
    printf '#!/bin/sh\nif [ "$1" = group ]; then %s; exit; fi\n%s\n' "${group:-false}" "$answer" > "$work/bin/getent"
    chmod 755 "$work/bin/"*
    : > "$work/done"
    run env PATH="$work/bin:$PATH" sh -e "$work/script"
    echo "$status: $output"
    cat "$work/done"
}

@test "a person who is called as the store's account gets no store" {
    local number
    for number in 1000 4242 70000; do
        with_account "$number"
        [ "$status" -eq 0 ]
        [ ! -s "$work/done" ]
        [[ $output == *"is not made: the account pyxis ($number)"* ]]
    done
    # The system's own does, one that is there as well as a new one.
    with_account 990
    [ "$status" -eq 0 ]
    [ -z "$output" ]
    grep -q "^install -d -o pyxis -g 990 -m 755 $work/store" "$work/done"
    with_account
    [ "$status" -eq 0 ]
    grep -q '^useradd --system --user-group ' "$work/done"
}

@test "a group that is there already is the new account's, and an account's own the store's; what cannot be made is said" {
    group=true with_account
    [ "$status" -eq 0 ]
    grep -q '^useradd --system --gid pyxis --no-create-home' "$work/done"
    with_account 990 77
    [ "$status" -eq 0 ]
    [ -z "$output" ]
    grep -q "^install -d -o pyxis -g 77 -m 755 $work/store" "$work/done"
    printf '#!/bin/sh\nexit 1\n' > "$work/bin/install"
    with_account 990
    [ "$status" -eq 0 ]
    [ "$output" = "pyxis: $work/store could not be made: each user has a store of their own" ]
}

@test "the last line of login.defs says up to where accounts are the system's" {
    printf 'SYS_UID_MAX\t\t  100\n#SYS_UID_MAX 50000\n  SYS_UID_MAX\t499 # site\n' > "$work/login.defs"
    with_account 500
    [ "$status" -eq 0 ]
    [ ! -s "$work/done" ]
    [[ $output == "pyxis: $work/store is not made"* ]]
    with_account 499
    [ "$status" -eq 0 ]
    [ -z "$output" ]
    grep -q ^install "$work/done"
}
