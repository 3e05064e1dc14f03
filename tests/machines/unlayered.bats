#!/usr/bin/env bats
# A kernel before 5.11, whose overlays are not for users, where fuse-overlayfs is installed: an image is unpacked once per node and
# kept. MACHINE is the state of one that is up, of `machine up`.

load common

setup_file() { machine root sh -c 'dpkg -i /srv/debs/*.deb > /run/dpkg.out 2>&1 || { cat /run/dpkg.out; exit 1; }' < /dev/null; }
teardown_file() { machine root dpkg -P fuse-overlayfs fuse3 libfuse3-3 < /dev/null; }

setup() { machine_setup; }
teardown() { machine_teardown; }

# Images that are kept: one line each, the directory's inode and name.
kept() { user_sh 'find ~/.cache/pyxis-unpacked -mindepth 1 -maxdepth 1 -name "image.*" -printf "%i %f\n" 2> /dev/null; true'; }

@test "doctor names what stands in for overlays, and finds nothing to mend" {
    run root pyxis doctor -v
    echo "$output"
    [ "$status" -eq 0 ]
    output_has fuse-overlayfs
}

@test "an image is unpacked once, and directories of it are renamed and removed, and dpkg removes" {
    run_srun --container-image="$images"/debian.sqsh --container-remap-root --container-writable sh -ec '
        mv /etc/init.d /etc/renamed
        rm -r /etc/renamed /usr/share/bash-completion
        dpkg --force-depends --force-remove-essential -P squashfuse
        ls -d /etc/init.d 2> /dev/null || echo gone'
    [ "$status" -eq 0 ]
    output_has gone
    first=$(kept)
    [ "$(wc -l <<< "$first")" -eq 1 ]
    # Nothing of that is in another container.
    run_srun --container-image="$images"/debian.sqsh --container-writable sh -c 'ls -d /etc/init.d /usr/bin/squashfuse; touch /etc/made; id -un'
    [ "$status" -eq 0 ]
    output_has $'/etc/init.d\n/usr/bin/squashfuse'
    [ "$(kept)" = "$first" ]
    nothing_left
}

@test "containers of one image at once, read-only and writable, each with changes of its own" {
    hold --container-image="$images"/debian.sqsh --container-writable
    run_srun --overlap -Q --jobid="$held" --container-image="$images"/debian.sqsh --container-writable sh -c 'rm -r /etc/pam.d; test ! -e /etc/pam.d && echo removed'
    [ "$status" -eq 0 ]
    output_has removed
    run_srun --overlap -Q --jobid="$held" --container-image="$images"/debian.sqsh --container-readonly sh -c 'ls -d /etc/pam.d; touch /x || echo refused'
    [ "$status" -eq 0 ]
    output_has /etc/pam.d
    output_has refused
    release
    nothing_left
}

@test "a step cancelled, and a slurmstepd killed, leave no process, mount or layer" { cancelled_and_killed; }

@test "gc removes what is kept" {
    run_srun --container-image="$images"/debian.sqsh true
    left=$(kept)
    [ -n "$left" ]
    user pyxis gc
    left=$(kept)
    [ -z "$left" ]
}
