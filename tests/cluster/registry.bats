#!/usr/bin/env bats
# Images of a registry, in steps. As root, on a cluster of tests/cluster (CLUSTER_STATE) that has the plugin, with a
# registry of its own; PYXIS_TEST_COMMAND is the pyxis command that the plugin uses, PYXIS_TEST_LINE its line in
# plugstack.conf.

load ../registry.sh

cluster() { "$BATS_TEST_DIRNAME/cluster" "$@"; }
on_node() { local node=$1; shift; cluster node "$node" -- "$@"; }
user() { cluster run -- "$@"; }

setup_file() {
    local work=$BATS_FILE_TMPDIR
    serve_registry "$work" registry 'log: {level: debug, accesslog: {disabled: false}}'
    echo "$registry_pid" > "$work/pid"
    export registry=$address log=$work/registry.log
    push one
    cluster login -- sh -c 'mkdir -p /etc/pyxis && cat > /etc/pyxis/pyxis.toml' << END
[registries]
http = ["$registry"]
[store]
path = "/var/tmp/images"
END
    for node in 1 2; do on_node $node mkdir -m 1777 /var/tmp/images; done
    on_login mkdir -m 1777 /var/tmp/images
}

teardown_file() {
    kill "$(cat "$BATS_FILE_TMPDIR/pid")"
    cluster login -- rm -rf /etc/pyxis
    for node in 1 2; do on_node $node rm -rf /var/tmp/images; done
    on_login rm -rf /var/tmp/images
}

on_login() { cluster login -- "$@"; }

# An image as NAME: busybox, and a file that says which one it is. A new one each time.
push() {
    local work=$BATS_FILE_TMPDIR/push
    new_root "$work"
    echo "image $1 $RANDOM$RANDOM" | tee "$work/root/which"
    push_root "$work" "$registry/$1"
}

# How often the registry was asked for what contains this.
requests() { grep '"GET ' "$log" | grep -c -- "$1" || true; }

@test "the second step asks for the tag and nothing else, a digest for nothing" {
    local before blobs digest
    blobs=$(requests /blobs/)
    run user srun -w n1 --container-image="$registry#one" grep image /which
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *"pyxis: importing docker image: $registry#one"*"pyxis: imported docker image: $registry#one"* ]]
    [[ $output == *"image one"* ]]
    # One layer, one configuration.
    [ $(($(requests /blobs/) - blobs)) -eq 2 ]
    before=$(requests /v2/one/)
    user srun -w n1 --container-image="$registry#one" true
    [ $(($(requests /v2/one/) - before)) -eq 1 ]
    digest=$(user "$PYXIS_TEST_COMMAND" digest "docker://$registry#one")
    before=$(requests /v2/one/)
    user srun -w n1 --container-image="$registry#one@$digest" true
    user srun -w n1 --export=ALL,PYXIS_PULL_POLICY=missing --container-image="$registry#one" true
    user srun -w n1 --export=ALL,PYXIS_PULL_POLICY=never --container-image="$registry#one" true
    [ $(($(requests /v2/one/) - before)) -eq 0 ]
    # Nothing was kept beside the store.
    left=$(on_node 1 find /run/pyxis -name '*.squashfs')
    [ -z "$left" ]
}

@test "of several tasks one gets the image, and says so once if it takes long" {
    push many
    run user srun -w n1 -n4 --overcommit --container-image="$registry#many" grep -h image /which
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$(grep -c "^image many" <<< "$output")" -eq 4 ]
    [ "$(grep -c "importing docker image" <<< "$output")" -le 1 ]
    [ "$(grep -c "pyxis: imported docker image: $registry#many" <<< "$output")" -eq 1 ]
}

# An image of some size as NAME, and $slow, a way to the registry on which it takes seconds.
push_large() {
    local work=$BATS_FILE_TMPDIR/push
    new_root "$work"
    head -c 6000000 /dev/urandom > "$work/root/large"
    push_root "$work" "$registry/$1"
    rm -f "$BATS_TEST_TMPDIR/slow"
    python3 "$BATS_TEST_DIRNAME/slow.py" "$BATS_TEST_TMPDIR/slow" "$registry" 1500000 3>&- &
    slow_pid=$!
    until [ -e "$BATS_TEST_TMPDIR/slow" ]; do sleep 0.1; done
    slow=$(cat "$BATS_TEST_TMPDIR/slow")
}

# srun on a terminal of 90 columns, which is what $output has; a fresh image for each call.
on_terminal() {
    push_large bar
    run user env TERM=xterm PYXIS_HTTP_REGISTRIES="$slow" script -qefc "stty cols 90; $1 --container-image=$slow#bar $2" /dev/null < /dev/null
    kill "$slow_pid"
    cat -v <<< "$output"
    [ "$status" -eq 0 ]
}

@test "how an import goes on is a bar on srun's terminal, in place" {
    local bars=$'\e[A\e[2Kpyxis: [=' options long
    for options in "-n3 --overcommit" "-n2 --overcommit --unbuffered" "--pty"; do
        on_terminal "srun -w n1 $options" "sh -c 'env | grep TERMINAL || echo none'"
        [[ $output == *"pyxis: [="*"> "*"] "*" % of "*" MiB, "*" MiB/s, "*" left"*"$bars"*"$bars"*"100 % of "* ]]
        [ "$(grep -c "importing docker image" <<< "$output")" -eq 1 ]
        # Nothing of it is the program's to see, and no line is longer than the terminal is wide.
        [[ $output == *none* ]]
        long=$(awk '{ sub(/.*\033\[2K/, "") } /^pyxis: \[/ && length >= 90' <<< "${output//$'\r'/}")
        [ -z "$long" ]
    done
}

@test "no bar where lines go elsewhere than to a terminal that srun has, or are not there alone" {
    local line
    for line in "srun -w n1 --label" "srun -w n1 -l" "env SLURM_LABELIO=1 srun -w n1" "srun -w n1 -o out.%j" "srun -w n1 --err=out.%j" \
        "srun -N2 -n2" "env TERM=dumb srun -w n1"; do
        on_terminal "$line" true
        [[ $output != *$'\e'* ]]
        [[ $output != *"[="* ]]
    done
    on_terminal "srun -w n1" "true 2> err.bar"
    [[ $output != *$'\e'* ]]
    line=$(user cat err.bar)
    [[ $line == *"imported docker image"* ]]
    [[ $line != *$'\e'* ]]
    # In the background, where somebody types.
    on_terminal "srun -w n1" "true & wait \$!"
    [[ $output == *"[="* ]]
    on_terminal "set -m; srun -w n1" "true & wait \$!"
    [[ $output == *"imported docker image"* ]]
    [[ $output != *$'\e['* ]]
}

@test "all nodes of a step start what the tag named when srun asked" {
    local before digest
    push moving
    before=$(requests /manifests/latest)
    run user srun -N2 --container-image="$registry#moving" grep -h image /which
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$(grep "^image moving" <<< "$output" | sort | uniq -c | awk '{ print $1 }')" = 2 ]
    [ $(($(requests /manifests/latest) - before)) -eq 1 ]
    # As much where the job's environment is not handed on.
    before=$(requests /manifests/latest)
    user srun -N2 --export=NONE --container-image="$registry#moving" true
    [ $(($(requests /manifests/latest) - before)) -eq 1 ]
    # The node knows what srun found, not what the tag names now, and the program sees nothing of it.
    digest=$(user "$PYXIS_TEST_COMMAND" digest "docker://$registry#moving")
    push moving
    run user env "SLURM_PYXIS_IMAGE=$digest $registry#moving" srun -w n1 --container-image="$registry#moving" \
        sh -c 'cat /which; env'
    [ "$status" -eq 0 ]
    [[ $output != *SLURM_PYXIS_IMAGE* ]]
    run user srun -w n1 --container-image="$registry#moving" cat /which
    [ "$status" -eq 0 ]
    [[ $output == *"$(cat "$BATS_FILE_TMPDIR/push/root/which")"* ]]
}

# What NAME was is no longer to be had.
forget() {
    local digest
    digest=$(user "$PYXIS_TEST_COMMAND" digest "docker://$registry#$1")
    digest=${digest#sha256:}
    rm -r "$BATS_FILE_TMPDIR/data/docker/registry/v2/blobs/sha256/${digest:0:2}/$digest"
}

@test "missing: what srun's host remembers is believed until nobody has it" {
    local node
    push mw
    run user srun -N2 --export=ALL,PYXIS_PULL_POLICY=missing --container-image="$registry#mw" true
    echo "$output"
    [ "$status" -eq 0 ]
    forget mw
    push mw
    for node in 1 2; do user srun -w n$node "$PYXIS_TEST_COMMAND" gc --all; done
    # srun's own environment says it to srun's host.
    run user env PYXIS_PULL_POLICY=missing srun -N2 --container-image="$registry#mw" cat /which
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$(grep -cxF "$(cat "$BATS_FILE_TMPDIR/push/root/which")" <<< "$output")" -eq 2 ]
}

@test "never: an image that pull --nodes, or a step of several nodes, has fetched is known by its tag" {
    push pre
    run user "$PYXIS_TEST_COMMAND" pull --nodes "n[1-2]" "docker://$registry#pre"
    echo "$output"
    [ "$status" -eq 0 ]
    push two
    user srun -N2 --container-image="$registry#two" true
    for image in pre two; do
        run user srun -w n1 --export=ALL,PYXIS_PULL_POLICY=never --container-image="$registry#$image" grep image /which
        echo "$output"
        [ "$status" -eq 0 ]
    done
    run user srun -w n1 --export=ALL,PYXIS_PULL_POLICY=never --container-image="$registry#pre:absent" true
    echo "$output"
    [ "$status" -ne 0 ]
    [[ $output == *"knows no image by the name"* ]]
}

@test "an import leaves what else is in the directory that is named for the store" {
    local mine=/var/tmp/mine name
    on_node 1 sh -c "mkdir -p $mine/tmp/run42 $mine/images $mine/locks $mine/uses && touch -d '2 days ago' \
        $mine/tmp/run42/result $mine/images/plot.png $mine/locks/mine $mine/uses/list && touch -d '2 days ago' $mine/tmp/run42 &&
        chown -R pyxistest $mine"
    run user srun -w n1 --export="ALL,PYXIS_STORE_PATH=$mine" --container-image="$registry#one" true
    echo "$output"
    [ "$status" -eq 0 ]
    run user srun -w n1 --export="ALL,PYXIS_STORE_PATH=$mine" "$PYXIS_TEST_COMMAND" gc --all
    [ "$status" -eq 0 ]
    for name in tmp/run42/result images/plot.png locks/mine uses/list; do on_node 1 test -e "$mine/$name"; done
    left=$(on_node 1 find $mine/images -name '*.sqsh')
    on_node 1 rm -r $mine
    [ -z "$left" ]
}

@test "srun cannot ask the registry: the nodes do" {
    local before
    push other
    before=$(requests /manifests/latest)
    # Only srun itself has this variable.
    run user env PYXIS_CONFIG=/nonexistent srun -N2 --export=HOME --container-image="$registry#other" cat /which
    echo "$output"
    [ "$status" -eq 0 ]
    [ $(($(requests /manifests/latest) - before)) -eq 2 ]
}

@test "an image that cannot be had: why, and nothing runs" {
    local image
    for image in "$registry#absent" "$registry#one@sha256:$(printf '0%.0s' {1..64})" "127.0.0.1:1#one" "$registry#One"; do
        run user srun -w n1 --container-image="$image" echo ran-anyway
        echo "$output"
        [ "$status" -ne 0 ]
        [[ $output != *ran-anyway* ]]
        [[ $output == *"pyxis: failed to import docker image: $image"* ]]
    done
    [[ $output == *"lower-case letters"* ]]
}

@test "a named container keeps its image when the store does not" {
    local store
    user srun -w n1 --container-image="$registry#one" --container-name=kept --container-writable touch /left
    store=/var/tmp/images/$(user id -u)
    user srun -w n1 "$PYXIS_TEST_COMMAND" gc --all
    left=$(on_node 1 find "$store/images" -name '*.sqsh')
    [ -z "$left" ]
    user srun -w n1 --container-name=kept sh -c 'test -e /left && grep image /which'
    user srun -w n1 "$PYXIS_TEST_COMMAND" remove -f pyxis_kept
}

# The shared store is per node here, and of an account that has no name.
shared=/run/pyxis-shared
use_shared_store() {
    for node in 1 2; do
        on_node $node sh -c "rm -rf $shared && mkdir $shared && chown 64150:64150 $shared"
    done
    cluster plugstack "$PYXIS_TEST_LINE shared_store=$shared"
}

teardown() {
    [[ ${BATS_TEST_DESCRIPTION:-} != shared* ]] || cluster plugstack "$PYXIS_TEST_LINE"
}

images_in() { on_node "$1" find "$2" -name '*.sqsh'; }

@test "shared store: steps of 50 users at once: one download, one squashfs, 50 containers" {
    local before i pids=() who
    use_shared_store
    push crowd2
    before=$(requests /v2/crowd2/blobs/)
    for who in pyxistest pyxistest{2..50}; do
        cluster run --user "$who" -- srun --oversubscribe -w n1 --container-image="$registry#crowd2" sh -c 'grep image /which; id -u' \
            > "$BATS_TEST_TMPDIR/$who" 2>&1 &
        pids+=($!)
    done
    for i in "${pids[@]}"; do wait "$i"; done
    cat "$BATS_TEST_TMPDIR"/*
    [ "$(cat "$BATS_TEST_TMPDIR"/* | grep -c '^image crowd2')" -eq 50 ]
    [ "$(cat "$BATS_TEST_TMPDIR"/* | grep '^[0-9]*$' | sort -u | wc -l)" -eq 50 ]
    [ $(($(requests /v2/crowd2/blobs/) - before)) -eq 2 ]
    [ "$(images_in 1 $shared | wc -l)" -eq 1 ]
    [ "$(on_node 1 sh -c "stat -c '%u %a' $shared/images/*.sqsh")" = "64150 444" ]
    image=$(images_in 1 $shared)
    left=$(images_in 1 /var/tmp/images)
    [[ $left != *"$(basename "$image")"* ]]
    # Nothing unfinished, and nobody waits for requests any more.
    left=$(on_node 1 find $shared/tmp $shared/locks -type f)
    [ -z "$left" ]
    for ((i = 0; i < 600; i++)); do
        [[ -n $(on_node 1 pgrep pyxis-broker) ]] || break
        sleep 0.1
    done
    run on_node 1 pgrep pyxis-broker
    [ "$status" -eq 1 ]
}

@test "shared store: everybody finds an image by its tag, and sees where it is" {
    local who
    use_shared_store
    push common
    user srun -w n1 --container-image="$registry#common" true
    for who in pyxistest pyxistest2; do
        run cluster run --user $who -- srun -w n1 --export=ALL,PYXIS_PULL_POLICY=never --container-image="$registry#common" grep image /which
        echo "$output"
        [ "$status" -eq 0 ]
        [[ $output == *"image common"* ]]
        run cluster run --user $who -- srun -w n1 env PYXIS_STORE_PATH=$shared "$PYXIS_TEST_COMMAND" images --json
        echo "$output"
        [ "$status" -eq 0 ]
        [[ $output == *"\"origin\":\"docker://$registry#common:latest\""* ]]
        [[ $output == *"\"store\":\"$shared\""* ]]
    done
    run on_node 1 env PYXIS_STORE_SHARED=$shared "$PYXIS_TEST_COMMAND" images --json
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *"\"store\":\"$shared\""* ]]
    left=$(on_node 1 find $shared/references -type f)
    [ -z "$left" ]
}

@test "shared store: who locks an image for good keeps nobody waiting" {
    local image holder begin
    use_shared_store
    user srun -w n1 --container-image="$registry#one" true
    image=$(images_in 1 $shared)
    [ -n "$image" ]
    on_node 1 setpriv --reuid "$(cluster run --user pyxistest2 -- id -u)" --clear-groups flock -x "$image" sleep 600 3>&- &
    holder=$!
    until ! on_node 1 flock -n -x "$image" true; do sleep 0.1; done
    begin=$SECONDS
    user srun -w n1 --container-image="$registry#one" grep image /which
    ((SECONDS - begin < 120))
    on_node 1 pkill -f 'flock -x /run/pyxis-shared'
    wait $holder || true
}

@test "shared store: what takes credentials goes to the user's own" {
    local closed
    use_shared_store
    # The password is "secret".
    echo 'user:$2b$04$K9U72yalYgtkflvmYbY/1ufzcNv/CDd7wheMhUSTzHgP0N83cKg02' > "$BATS_FILE_TMPDIR/htpasswd"
    serve_registry "$BATS_FILE_TMPDIR" closed "auth: {htpasswd: {realm: test, path: $BATS_FILE_TMPDIR/htpasswd}}"
    closed=$address
    echo "$registry_pid" > "$BATS_FILE_TMPDIR/closed.pid"
    push secret
    cluster login -- sed -i "s/^http = .*/http = [\"$registry\", \"$closed\"]/" /etc/pyxis/pyxis.toml
    user sh -c 'mkdir -p ~/.config/enroot && echo "machine $1 login user password secret" > ~/.config/enroot/.credentials' sh "$closed"
    run user srun -w n1 --container-image="$closed#secret" cat /which
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *"image secret"* ]]
    left=$(images_in 1 $shared)
    [ -z "$left" ]
    run cluster run --user pyxistest2 -- srun -w n1 --container-image="$closed#secret" echo ran-anyway
    echo "$output"
    kill "$(cat "$BATS_FILE_TMPDIR/closed.pid")"
    user rm -r .config || user sh -c 'rm -r ~/.config'
    [ "$status" -ne 0 ]
    [[ $output == *"denies access to secret"* && $output != *ran-anyway* ]]
}

@test "shared store: of roots, or one that others can write, is not used" {
    local trap
    use_shared_store
    for trap in "chown root $shared" "chown 64150:64150 $shared; chmod 777 $shared" \
        "rm -rf $shared; ln -s /var/tmp/images $shared"; do
        on_node 1 sh -c "$trap"
        run user srun -w n1 --container-image="$registry#one" grep image /which
        echo "$trap: $output"
        [ "$status" -eq 0 ]
        left=$(on_node 1 find $shared -type f)
        [ -z "$left" ]
    done
}

@test "20 steps at once: one download" {
    local layer before i pids=()
    push crowd
    layer=$(user "$PYXIS_TEST_COMMAND" digest "docker://$registry#crowd")
    before=$(requests /v2/crowd/blobs/)
    for ((i = 0; i < 20; i++)); do
        user srun -w n1 --container-image="$registry#crowd" grep image /which > "$BATS_TEST_TMPDIR/$i" 2>&1 &
        pids+=($!)
    done
    for i in "${pids[@]}"; do wait "$i"; done
    [ "$(cat "$BATS_TEST_TMPDIR"/* | grep -c '^image crowd')" -eq 20 ]
    [ $(($(requests /v2/crowd/blobs/) - before)) -eq 2 ]
}

@test "a store that nodes share: steps of both at once, one download" {
    local before i pids=() store
    push far
    store=$(user mktemp -d -p "$CLUSTER_STATE/work")
    cluster login -- sed -i "s|^path = .*|path = \"$store\"|" /etc/pyxis/pyxis.toml
    before=$(requests /v2/far/blobs/)
    for ((i = 0; i < 12; i++)); do
        user srun -w n$((i % 2 + 1)) --container-image="$registry#far" sh -c 'grep image /which; echo $SLURMD_NODENAME' > "$BATS_TEST_TMPDIR/$i" 2>&1 &
        pids+=($!)
    done
    for i in "${pids[@]}"; do wait "$i"; done
    cluster login -- sed -i 's|^path = .*|path = "/var/tmp/images"|' /etc/pyxis/pyxis.toml
    cat "$BATS_TEST_TMPDIR"/*
    [ "$(cat "$BATS_TEST_TMPDIR"/* | grep -c '^image far')" -eq 12 ]
    [ "$(cat "$BATS_TEST_TMPDIR"/* | grep -c '^n2$')" -eq 6 ]
    [ $(($(requests /v2/far/blobs/) - before)) -eq 2 ]
    [ "$(user find "$store" -name '*.sqsh' | wc -l)" -eq 1 ]
    # Nobody holds a lock any more.
    left=$(user find "$store/locks" "$store/tmp" -type f)
    [ -z "$left" ]
    user rm -r "$store"
}

@test "a container is saved to the registry, which is asked before the program starts" {
    run user srun -w n1 --container-image="$registry#one" --container-writable --container-save="docker://$registry#saved:1" \
        sh -c 'echo of the step > /made'
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *"to docker://$registry#saved:1"* ]]
    run user srun -w n2 --container-image="$registry#saved:1" cat /made
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *"of the step"* ]]
    run user srun -w n1 --container-image="$registry#one" --container-save=docker://127.0.0.1:1#x echo ran-anyway
    echo "$output"
    [ "$status" -ne 0 ]
    [[ $output != *ran-anyway* ]]
    [[ $output == *"cannot save to docker://127.0.0.1:1#x"* ]]
}
