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
        on "$client" root sh -c 'echo "server:/cache /var/cache/pyxis nfs4 hard,proto=tcp,vers=4.2,_netdev 0 0" >> /etc/fstab; mount /var/cache/pyxis'
    done
    root cp "$images"/busybox.sqsh "$images"/debian.sqsh /shared/
    eventually user pyxis push /shared/busybox.sqsh "docker://$registry#busybox"
}

setup() { machine_setup; }
teardown() { machine_teardown; }

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
