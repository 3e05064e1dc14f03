# shellcheck shell=bash disable=SC2154 # of replay: state, here, daemons
# A registry of the recipe's own on the loopback device, at two ports: open, and for one user with a password.

# Sets $open and $closed.
serve_images() {
    local work=$state/registry
    mkdir "$work"
    # shellcheck disable=SC2016 # a password as registries keep it
    perl -e 'print "someone:", crypt("word", q($2y$05$) . "n" x 21 . "u"), "\n"' > "$work/passwords"
    serve "$work" open ''
    open=$address
    serve "$work" closed "auth: {htpasswd: {realm: x, path: $work/passwords}}"
    closed=$address
    unsquashfs -q -n -d "$work/root" "$I" > /dev/null
    echo "an image of a registry" > "$work/root/which"
    umoci init --layout "$work/layout"
    umoci new --image "$work/layout:x"
    tar -C "$work/root" --owner=0 --group=0 -cf "$work/layer.tar" .
    umoci raw add-layer --image "$work/layout:x" "$work/layer.tar" > /dev/null
    # Registries give this kind of manifest to those as well who name none.
    skopeo copy -q --format v2s2 --insecure-policy --dest-tls-verify=false "oci:$work/layout:x" "docker://$open/one"
}

# Sets $address. The port may be somebody else's: then it is tried with another.
serve() {
    local work=$1 name=$2 auth=$3 i
    while :; do
        address=127.0.0.1:$((20000 + RANDOM % 12000))
        cat > "$work/$name.yml" << END
version: 0.1
storage: {filesystem: {rootdirectory: $work/data}}
http: {addr: '$address', secret: x}
$auth
END
        docker-registry serve "$work/$name.yml" > "$work/$name.log" 2>&1 &
        daemons+=($!)
        for ((i = 0; i < 600; i++)); do
            kill -0 $! 2> /dev/null || continue 2
            # Somebody else's would not have this process listen.
            if grep -q "listening on $address" "$work/$name.log" 2> /dev/null && curl -s -o /dev/null "http://$address/v2/"; then return; fi
            sleep 0.1
        done
        echo "the registry does not answer" >&2
        return 1
    done
}
