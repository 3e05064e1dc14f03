#!/usr/bin/env bats
# A runtime_path in which users can do what they like: what root has there, or elsewhere, is out of their reach.

load common
setup() { attacks_setup; }
teardown() {
    [[ -z ${server:-} ]] || root kill "$server"
    # Lazily: who looks at it first would wait.
    root sh -c 'umount -l /run/open 2> /dev/null; rm -rf /run/open /run/pyxis-root'
    cluster plugstack "$PYXIS_TEST_LINE"
    attacks_teardown
}

# The directory with that mode, as a recipe makes it, and slurmd not yet told of it.
open_to_all() { root sh -c "mkdir /run/open; chmod $1 /run/open"; }

# Slurm with that path: slurmd comes up, and a victim's container has its directory in root's own, $1.
lives_in() {
    cluster plugstack "$PYXIS_TEST_LINE runtime_path=/run/open"
    run timeout 120 "$here/../cluster/cluster" run --user pyxistest2 -- srun -w n1 --container-image="$PYXIS_TEST_IMAGES/busybox.sqsh" echo ran
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *ran* ]]
    [ "$(root sh -c "stat -c '%a %U' $1 $1/*")" = $'755 root\n700 pyxistest2' ]
}

@test "a directory, link or file in the place of root's own, made before slurmd: not used, not touched" {
    local squat
    for squat in 'mkdir -m 777 /run/open/pyxis-root' "ln -s $work /run/open/pyxis-root" 'mkfifo /run/open/pyxis-root'; do
        open_to_all 1777
        attacker_on_node sh -c "$squat"
        before=$(root stat -c '%i %a %U %F' /run/open/pyxis-root)
        lives_in /run/pyxis-root
        [ "$(root stat -c '%i %a %U %F' /run/open/pyxis-root)" = "$before" ]
        # Nothing was made where they wanted it.
        made=$(root find "$work" /run/open/pyxis-root -mindepth 1)
        [ -z "$made" ]
        # Out of the way, it does not come back while the node is up: locks of steps that run are elsewhere.
        attacker_on_node sh -c 'rm -rf /run/open/pyxis-root'
        lives_in /run/pyxis-root
        root rm -rf /run/open /run/pyxis-root
    done
}

@test "root's own in a directory of mode 1777: nobody else can move, remove or replace it" {
    open_to_all 1777
    lives_in /run/open/pyxis-root
    run attacker_on_node sh -c 'mv /run/open/pyxis-root /run/open/mine || rm -rf /run/open/pyxis-root || touch /run/open/pyxis-root/x'
    [ "$status" -ne 0 ]
    lives_in /run/open/pyxis-root
}

@test "a user's file system that never answers, mounted over a directory of mode 0777: neither slurmd nor steps wait for it" {
    open_to_all 0777
    cluster plugstack "$PYXIS_TEST_LINE runtime_path=/run/open"
    # As fusermount does it, with user_allow_other.
    root python3 "$here/root-mute.py" /run/open "$(cluster login -- id -u pyxistest)" 3>&- &
    for _ in $(seq 100); do
        server=$(root pgrep -f "python3 $here/root-mute.py") && root grep -q ' /run/open .* - fuse' /proc/self/mountinfo && break
        sleep 0.1
    done
    root grep ' /run/open .* - fuse' /proc/self/mountinfo
    lives_in /run/pyxis-root
}
