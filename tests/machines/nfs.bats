#!/usr/bin/env bats
# Shared file systems: a server of NFS, its kernel's, and two clients that are nodes. LAN is the folder of three machines that are
# up, of tests/machines/lan. On NFS are the homes, /shared, and the image store of all users.

load common

# on MACHINE CMD...: a helper of common's there. Without it they are done on the server, which has Slurm's controller.
on() { local MACHINE=$LAN/$1; "${@:2}"; }
MACHINE=$LAN/server
shared=/shared
registry=server:5000
clients="client1 client2"

setup_file() {
    local client
    root install -d -o pyxis -g pyxis -m 755 /export/cache
    for client in $clients; do
        on "$client" root sh -c 'mountpoint -q /var/cache/pyxis || {
            echo "server:/cache /var/cache/pyxis nfs4 hard,proto=tcp,vers=4.2,_netdev 0 0" >> /etc/fstab; mount /var/cache/pyxis; }'
    done
    root cp "$images"/busybox.sqsh "$images"/debian.sqsh /shared/
    eventually user pyxis push /shared/busybox.sqsh "docker://$registry#busybox"
    user pyxis push "$images"/entrypoint.sqsh "docker://$registry#tools"
    # Of which a whole copy is soon made, a hundred times: names by which busybox is called would be most of it.
    user_sh "cd \$(mktemp -d) && unsquashfs -q -n -d small $images/busybox.sqsh > /dev/null && \
        find small/bin -type l ! -name sh ! -name cat ! -name true -delete && mksquashfs small small.sqsh -all-root -quiet -no-progress > /dev/null && \
        pyxis push small.sqsh 'docker://$registry#small'"
}

setup() { machine_setup; }
teardown() { machine_teardown; }

# The stores' images and layers are gone, behind the clients' backs.
empty_store() { root sh -c 'for store in /export/cache /export/shared/images/*; do rm -rf $store/images/* $store/blobs/* $store/references/*; done'; }

# How many layers and configurations the registry has been asked for: two for one image.
layers_fetched() { root sh -c 'journalctl -q -u docker-registry -o cat | grep -c "GET /v2/[a-z]*/blobs/.*HTTP.* 200"' || true; }

# On both nothing of containers, in no store what is being made, no file that is still open and has been removed.
nothing_left_anywhere() {
    local client
    settle
    for client in $clients; do
        on "$client" eventually is_clean || { echo "left on $client: $remains"; return 1; }
    done
    remains=$(root sh -c 'find /export -name ".nfs*"; find /export/cache/locks /export/cache/tmp /export/shared/images/*/locks /export/shared/images/*/tmp -type f
        find /export/home -name ".pyxis*" ! -name "*.lock"' 2> /dev/null || true)
    [ -z "$remains" ] || { echo "left on the server: $remains"; return 1; }
}

# The controller's notes are not what is looked at.
server_loses_power() {
    root systemctl stop slurmctld
    root sync
    machine reset
}

@test "it is as sites have it: NFS 4.2 by the kernel, root squashed, attributes cached, two clients" {
    for client in $clients; do
        run on "$client" root findmnt -n -o FSTYPE,OPTIONS /home
        echo "$client: $output"
        [ "$status" -eq 0 ]
        output_has "nfs4"
        output_has "vers=4.2"
        output_lacks "noac"
        on "$client" root touch /shared/of-root
        [ "$(root stat -c %U /export/shared/of-root)" = nobody ]
        root rm /export/shared/of-root
        [ "$(on "$client" root id -u pyxis)" = "$(root id -u pyxis)" ]
    done
    [ "$(root sh -c 'cat /proc/fs/nfsd/clients/*/info | grep -c "^name:"')" -eq 2 ]
}

@test "doctor finds no error in such a store, and tells the owner of a home what to set" {
    run on client1 user pyxis doctor --store /shared
    echo "$output"
    [ "$status" -eq 1 ]
    output_has "0 errors, 1 warning"
    output_has store-unnamed
    run on client1 user pyxis doctor
    echo "$output"
    [ "$status" -eq 1 ]
    output_has containers-network
}

@test "images, homes and saves: what one node saves another runs" {
    run_srun -w client1 --container-image=/shared/busybox.sqsh --container-mount-home --container-save="$work/saved.sqsh" --container-writable \
        sh -c 'echo from client1 > /made; echo "home of $(id -un)" > ~/noted'
    [ "$status" -eq 0 ]
    run_srun -w client2 --container-image="$work/saved.sqsh" --container-mount-home sh -c 'cat /made ~/noted'
    [ "$status" -eq 0 ]
    output_has "from client1"
    output_has "home of alice"
    nothing_left_anywhere
}

@test "a named container in a home is made by one node, changed by another, and removed by the first" {
    run on client1 user pyxis create --name pyxis_wanders /shared/busybox.sqsh
    echo "$output"
    [ "$status" -eq 0 ]
    output_has ENROOT_DATA_PATH
    run_srun -w client1 --container-name=wanders --container-writable sh -c 'echo one > /written; rm -r /var/tmp'
    [ "$status" -eq 0 ]
    run_srun -w client2 --container-name=wanders --container-writable sh -c 'cat /written; ls -d /var/tmp; echo two >> /written'
    [ "$status" -eq 0 ]
    output_has one
    output_has "/var/tmp: No such file"
    run_srun -w client1 --container-name=wanders cat /written
    [ "$status" -eq 0 ]
    output_has $'one\ntwo'
    [ "$(on client2 user pyxis list)" = pyxis_wanders ]
    on client1 user pyxis remove -f pyxis_wanders
    names=$(on client2 user pyxis list)
    [ -z "$names" ]
    nothing_left_anywhere
}

@test "a container with a layer that has been moved to NFS is refused, and no program runs" {
    on client1 user_sh "export ENROOT_DATA_PATH=\$(mktemp -d); pyxis create --name layered /shared/busybox.sqsh && chmod -R u+rwx \$ENROOT_DATA_PATH && mkdir $work/data && cp -a \$ENROOT_DATA_PATH/layered $work/data/"
    run on client1 user env ENROOT_DATA_PATH="$work/data" pyxis start layered echo ran-anyway
    echo "$output"
    [ "$status" -ne 0 ]
    output_lacks ran-anyway
    output_has ENROOT_DATA_PATH
    nothing_left_anywhere
}

@test "a step of two nodes: each has its own container in one home, and saves it to a file with its name" {
    run_srun -N2 --container-image=/shared/busybox.sqsh --container-name=apart --container-writable sh -c 'hostname > /of'
    [ "$status" -eq 0 ]
    run_srun -N2 --container-name=apart --container-save=/shared/of-%N.sqsh sh -c 'echo "$(hostname) $(cat /of)"'
    [ "$status" -eq 0 ]
    output_has "client1 client1"
    output_has "client2 client2"
    for client in $clients; do
        run_srun -w client1 --container-image="/shared/of-$client.sqsh" cat /of
        [ "$status" -eq 0 ]
        output_has "$client"
        on "$client" user pyxis remove -f pyxis_apart
    done
    root rm -f /shared/of-client1.sqsh /shared/of-client2.sqsh
    run_srun -N2 --container-image=/shared/busybox.sqsh --container-save=/shared/one.sqsh echo ran-anyway
    [ "$status" -ne 0 ]
    output_has "all nodes of the step would save to /shared/one.sqsh: put %N"
    output_lacks ran-anyway
    nothing_left_anywhere
}

@test "the server forgets a client: what runs there from images of NFS reads on" {
    where=client1
    for image in /shared/debian.sqsh "$registry#busybox"; do
        hold --container-image="$image"
        root sh -c 'for client in /proc/fs/nfsd/clients/*/ctl; do echo expire > "$client"; done'
        on client1 root sh -c 'echo 3 > /proc/sys/vm/drop_caches'
        run on client1 root_sh 'pid=$(pgrep -f "while \[ ! -e" | while read -r pid; do [ "$(readlink /proc/$pid/ns/mnt)" = "$(readlink /proc/1/ns/mnt)" ] || echo $pid; done | tail -n 1)
            find -L "/proc/$pid/root/bin" -type f | head -n 300 | xargs cat | wc -c'
        echo "$image: $output"
        [ "$status" -eq 0 ]
        [ "$output" -gt 500000 ]
        release
    done
    nothing_left_anywhere
}

@test "what was absent on one node and is made by another is found, and not made again" {
    empty_store
    # A name that the second has looked for in vain, and believes to be absent as long as it caches that.
    on client1 user pyxis pull "docker://$registry#busybox"
    hex=$(on client1 user sh -c 'basename /shared/images/*/images/*.sqsh')
    empty_store
    eventually on client2 user sh -c "! stat /shared/images/*/images/$hex > /dev/null 2>&1"
    before=$(layers_fetched)
    on client1 user pyxis pull "docker://$registry#busybox"
    on client2 user pyxis pull "docker://$registry#busybox"
    fetched=$(($(layers_fetched) - before))
    [ "$fetched" -eq 2 ]
    # At once: one makes it.
    empty_store
    before=$(layers_fetched)
    on client1 user pyxis pull "docker://$registry#tools" &
    pid=$!
    on client2 user pyxis pull "docker://$registry#tools"
    wait $pid
    fetched=$(($(layers_fetched) - before))
    [ "$fetched" -eq 2 ]
    nothing_left_anywhere
}

@test "two jobs on two nodes use one store and one name, 100 rounds" {
    local failures=0 round
    for ((round = 1; round <= ${PYXIS_ROUNDS:-100}; round++)); do
        empty_store
        user_sh "for client in $clients; do
                srun -w \$client --container-image=$registry#small --container-name=one --container-writable sh -c 'echo \$SLURMD_NODENAME >> /who; busybox true' > $work/\$client.out 2>&1 &
                pids=\"\$pids \$!\"
            done
            for pid in \$pids; do wait \$pid || failed=1; done; [ -z \"\$failed\" ] && ! grep -i stale $work/*.out" || { failures=$((failures + 1)); echo "round $round"; user sh -c "cat $work/*.out"; }
        # By turns.
        on client$((round % 2 + 1)) user pyxis remove -f pyxis_one
    done
    [ "$failures" -eq 0 ]
    names=$(on client1 user pyxis list)
    [ -z "$names" ]
    nothing_left_anywhere
}

@test "the server's power fails under running containers: they go on, and so does all else" {
    where=client1
    hold --container-image=/shared/debian.sqsh --container-writable
    first=$held
    server_loses_power
    eventually user true
    # Read from the server again, when its time of grace is over.
    on client1 root sh -c 'echo 3 > /proc/sys/vm/drop_caches'
    eventually user sinfo
    run_srun -w client2 --container-image="$registry#busybox" echo runs
    [ "$status" -eq 0 ]
    output_has runs
    held=$first
    release
    nothing_left_anywhere
}

@test "the server's power fails while a container is saved to it, and homes are used: the save is whole" {
    job=$(user sbatch -w client1 --parsable -o "$work/out" --wrap "srun --container-image=/shared/busybox.sqsh --container-mount-home --container-writable \
        --container-save=$work/saved.sqsh sh -c 'echo home > ~/noted; echo made > /made; dd if=/dev/urandom of=/filling bs=1M count=64'")
    eventually user sh -c "ls -A $work | grep -q '^\.pyxis.*saved\.sqsh' || [ -z \"\$(squeue -h -j $job)\" ]"
    server_loses_power
    eventually user true
    settle
    run user cat "$work/out"
    echo "$output"
    [ "$status" -eq 0 ]
    output_lacks error
    run_srun -w client2 --container-image="$work/saved.sqsh" --container-mount-home sh -c 'cat /made ~/noted; wc -c < /filling'
    [ "$status" -eq 0 ]
    output_has $'made\nhome\n67108864'
    nothing_left_anywhere
}

@test "the power of a client fails under a named container: the other has it, changes it, and removes it" {
    where=client1
    run_srun -w client1 --container-image=/shared/busybox.sqsh --container-name=shared --container-writable sh -c 'echo one > /written'
    [ "$status" -eq 0 ]
    hold --container-name=shared --container-writable
    on client1 machine reset
    eventually on client1 user true
    user scancel "$held"
    eventually nodes_idle
    run_srun -w client2 --container-name=shared --container-writable sh -c 'cat /written; echo two >> /written'
    [ "$status" -eq 0 ]
    output_has one
    run_srun -w client1 --container-name=shared cat /written
    [ "$status" -eq 0 ]
    output_has two
    on client2 user pyxis remove -f pyxis_shared
    names=$(on client1 user pyxis list)
    [ -z "$names" ]
    nothing_left_anywhere
}
nodes_idle() { [[ $(root sinfo -h -N -o %T) == $'idle\nidle' ]]; }

@test "a removal that does not get to its end is finished by the next command, on another node as well" {
    data=/home/alice/.local/share/enroot
    for node in client1 client2; do
        on client1 user pyxis create --name pyxis_half /shared/busybox.sqsh
        # In the middle of it is what it cannot delete yet.
        root sh -c "mkdir /export$data/pyxis_half/bin/held && touch /export$data/pyxis_half/bin/held/file"
        on client1 user pyxis remove -f pyxis_half
        left=$(root sh -c "cd /export$data && echo .[!.]*/bin/held/*")
        [[ $left == .pyxis.trash.*/bin/held/file ]]
        root chown -R alice "/export$data/${left%/*}"
        names=$(on "$node" user pyxis list)
        [ -z "$names" ]
        left=$(root ls -A "/export$data")
        [ -z "$left" ]
    done
    nothing_left_anywhere
}

@test "a node whose configuration is the controller's has containers, and doctor says where the line is mended" {
    undo() {
        on client2 root sh -c '[ ! -e /etc/slurm.away ] || { rm -rf /etc/slurm /etc/systemd/system/slurmd.service.d/configless.conf
            mv /etc/slurm.away /etc/slurm; systemctl daemon-reload; systemctl restart slurmd; }'
        root sh -c '[ ! -e /etc/slurm/plugstack.away ] || mv /etc/slurm/plugstack.away /etc/slurm/plugstack.conf; scontrol reconfigure'
        eventually nodes_idle
        undo() { :; }
    }
    # As the package says it there.
    root sh -c 'cd /etc/slurm && cp plugstack.conf plugstack.away && echo "include /usr/share/pyxis/pyxis.conf" > plugstack.conf && scontrol reconfigure'
    on client2 root sh -c 'systemctl stop slurmd && mv /etc/slurm /etc/slurm.away &&
        printf "[Unit]\nConditionPathExists=\n[Service]\nExecStart=\nExecStart=/usr/sbin/slurmd -D --conf-server server\n" > /etc/systemd/system/slurmd.service.d/configless.conf &&
        systemctl daemon-reload && systemctl start slurmd'
    eventually nodes_idle
    run on client2 root cat /run/slurm/conf/plugstack.conf
    [ "$status" -eq 0 ]
    [ "$output" = "include /usr/share/pyxis/pyxis.conf" ]
    # From a node with a configuration of its own, and from the one without.
    run_srun -w client2 --container-image=/shared/busybox.sqsh --container-remap-root id -u
    [ "$status,$output" = 0,0 ]
    run on client2 user srun -w client2 --container-image=/shared/busybox.sqsh sh -c 'exit 7'
    echo "$output"
    [ "$status" -eq 7 ]
    run on client2 root pyxis doctor --verbose
    echo "$output"
    [ "$status" -eq 0 ]
    output_has "/usr/share/pyxis/pyxis.conf:1: required"
    root sh -c ': > /etc/slurm/plugstack.conf; scontrol reconfigure'
    eventually on client2 root sh -c '[ ! -s /run/slurm/conf/plugstack.conf ]'
    run on client2 root pyxis doctor
    echo "$output"
    [ "$status" -eq 1 ]
    output_has "line-missing"
    output_has "a copy of slurmctld's"
    undo
    nothing_left_anywhere
}

@test "clocks an hour apart: what one node makes is not taken for abandoned by the other" {
    undo() { on client2 root sh -c 'date -s "@$(($(date +%s) - 3600))" > /dev/null; touch /run/set-back'; undo() { :; }; }
    on client2 root sh -c 'date -s "@$(($(date +%s) + 3600))" > /dev/null'
    empty_store
    before=$(layers_fetched)
    on client1 user pyxis pull "docker://$registry#busybox" &
    pid=$!
    on client2 user pyxis pull "docker://$registry#busybox"
    wait $pid
    fetched=$(($(layers_fetched) - before))
    [ "$fetched" -eq 2 ]
    # Nor is what the other uses.
    where=client1
    hold --container-image="$registry#tools"
    on client2 root runuser -u pyxis -- env PYXIS_STORE_PATH=/var/cache/pyxis pyxis gc --all
    on client1 root sh -c 'echo 3 > /proc/sys/vm/drop_caches'
    undo
    release
    nothing_left_anywhere
}
