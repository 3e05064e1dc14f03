# shellcheck shell=bash disable=SC2154 # of replay: state, here, daemons
# shellcheck source=tests/registry.sh
. "$here/../registry.sh"

# A registry of the recipe's own on the loopback device, at two ports: open, and for one user with a password.

# Sets $open and $closed.
serve_images() {
    local work=$state/registry
    new_root "$work" "$I"
    # shellcheck disable=SC2016 # a password as registries keep it
    perl -e 'print "someone:", crypt("word", q($2y$05$) . "n" x 21 . "u"), "\n"' > "$work/passwords"
    serve_registry "$work" open
    daemons+=("$registry_pid")
    open=$address
    serve_registry "$work" closed "auth: {htpasswd: {realm: x, path: $work/passwords}}"
    daemons+=("$registry_pid")
    closed=$address
    echo "an image of a registry" > "$work/root/which"
    umoci init --layout "$work/layout"
    umoci new --image "$work/layout:x"
    tar -C "$work/root" --owner=0 --group=0 -cf "$work/layer.tar" .
    umoci raw add-layer --image "$work/layout:x" "$work/layer.tar" > /dev/null
    # Registries give this kind of manifest to those as well who name none.
    push_layout "$work/layout:x" "$open/one" --format v2s2
}
