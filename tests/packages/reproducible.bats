#!/usr/bin/env bats
# The same source in another folder gives the same bytes: of one release here, for the time it takes; of everything with
# PYXIS_REPRODUCE=all.

load common

@test "another folder, the same bytes" {
    elsewhere=$BATS_TEST_TMPDIR/some/where/else/pyxis
    mkdir -p "$elsewhere"
    (cd "$source" && git ls-files -z | xargs -0 tar -c) | tar -x -C "$elsewhere"
    what=(24.11 --builds-only)
    [[ ${PYXIS_REPRODUCE:-} != all ]] || what=(all)
    (cd "$elsewhere" && "$source/target/release/packaging" package "${what[@]}" --out "$elsewhere/dist")
    [ "$(find "$elsewhere/dist" -type f | wc -l)" -ge 4 ]
    for file in "$elsewhere"/dist/*; do cmp "$file" "$dist/$(basename "$file")"; done
}
