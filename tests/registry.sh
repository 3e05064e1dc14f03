# shellcheck shell=bash
# A registry on the loopback device, for whatever pulls and pushes.

# serve_registry DIR NAME [LINE...]: serves DIR/data, with more lines of configuration; the log is DIR/NAME.log. Sets
# $address, where it listens, and $registry_pid. The port is below the clusters' (tests/cluster/conf.sh), and may be somebody
# else's: then it is tried with another.
serve_registry() {
    local dir=$1 name=$2 i
    shift 2
    while :; do
        address=127.0.0.1:$((10000 + RANDOM % 10000))
        {
            printf '%s\n' 'version: 0.1' "storage: {filesystem: {rootdirectory: $dir/data}}"
            printf '%s\n' "http: {addr: '$address', secret: x}" "$@"
        } > "$dir/$name.yml"
        docker-registry serve "$dir/$name.yml" > "$dir/$name.log" 2>&1 3>&- &
        registry_pid=$!
        for ((i = 0; i < 600; i++)); do
            kill -0 "$registry_pid" 2> /dev/null || continue 2
            # Somebody else's would not have this process listen.
            if grep -q "listening on $address" "$dir/$name.log" 2> /dev/null && curl -s -o /dev/null "http://$address/v2/"; then return; fi
            sleep 0.1
        done
        kill "$registry_pid"
        echo "the registry does not answer" >&2
        return 1
    done
}

# push_root DIR REFERENCE: the files of DIR/root as an image of one layer, whose layout is DIR/layout afterwards.
push_root() {
    umoci init --layout "$1/layout"
    umoci new --image "$1/layout:x"
    umoci insert --image "$1/layout:x" "$1/root" / > /dev/null
    push_layout "$1/layout:x" "$2"
}

# push_layout LAYOUT:TAG REFERENCE [OPTION...]
push_layout() {
    local layout=$1 reference=$2
    shift 2
    skopeo copy -q --insecure-policy --dest-tls-verify=false "$@" "oci:$layout" "docker://$reference"
}

# new_root DIR: busybox's files as DIR/root, where nothing else is.
new_root() {
    rm -rf "$1"
    mkdir -p "$1"
    unsquashfs -q -n -d "$1/root" "${2:-$PYXIS_TEST_IMAGES/busybox.sqsh}" > /dev/null
}
