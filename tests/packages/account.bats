#!/usr/bin/env bats
# The account that the packages make the shared image store for, by their script alone.

setup() {
    work=$(mktemp -d)
    # What is before Slurm's part.
    sed '/^# Where Slurm/,$d' "$BATS_TEST_DIRNAME/../../packaging/after-install" > "$work/script"
    sed -i "s|^store=.*|store=$work/store|" "$work/script"
    mkdir "$work/bin"
    for command in useradd install; do
        printf '#!/bin/sh\necho %s "$@" >> "%s/done"\n' "$command" "$work" > "$work/bin/$command"
    done
    touch "$work/done"
}
teardown() { rm -rf "$work"; }

# Runs it where the account pyxis has that number; without one there is none.
with_account() {
    local answer='exit 2'
    if (($#)); then answer="echo pyxis:x:$1:$1::/nowhere:/bin/sh"; fi
    printf '#!/bin/sh\n%s\n' "$answer" > "$work/bin/getent"
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
    grep -q "^install -d -o pyxis -g pyxis -m 755 $work/store" "$work/done"
    with_account
    [ "$status" -eq 0 ]
    grep -q '^useradd --system' "$work/done"
}
