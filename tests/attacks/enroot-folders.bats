#!/usr/bin/env bats
# A node's enroot folders: the site's own mounts, variables and hooks reach every container, and nobody else's do.
# shellcheck disable=SC2154 # $work, $status and $output are common.bash's and bats's

load common

setup() {
    attacks_setup
    image=$PYXIS_TEST_IMAGES/busybox.sqsh
    root mkdir -p /etc/enroot/hooks.d /etc/enroot/mounts.d /etc/enroot/environ.d
}

teardown() {
    root rm -rf /etc/enroot
    attacks_teardown
}

# Writes what comes on standard input to a file of the node's, as root.
put() { root sh -c "cat > $1 && chmod $2 $1"; }

@test "a site's own hook, mounts and variables are in every container of a step" {
    root mkdir -p /etc/enroot/shown
    put /etc/enroot/shown/file 644 <<< "the site's"
    put /etc/enroot/mounts.d/50-site.fstab 644 <<< '${ENROOT_SYSCONF_PATH}/shown /shown none x-create=dir,bind,ro'
    put /etc/enroot/environ.d/50-site.env 644 <<< 'SITE=of ${SLURM_JOB_USER}'
    put /etc/enroot/hooks.d/50-own.sh 755 << 'END'
#!/usr/bin/env bash
set -eu
grep -q '^SITE=of ' "${ENROOT_ENVIRON}"
echo "HOOK=$(id -u):$(stat -c %U /etc/enroot):${SLURM_STEP_ID}" >> "${ENROOT_ENVIRON}"
echo "/etc/enroot/shown /hooked none x-create=dir,bind" >> "${ENROOT_MOUNTS}"
echo written > "${ENROOT_ROOTFS}/by-hook"
END
    step --container-image="$image" sh -c 'cat /shown/file /hooked/file /by-hook; echo "$SITE"; echo "$HOOK"'
    [ "$status" -eq 0 ]
    [ "${lines[0]}" = "the site's" ]
    [ "${lines[1]}" = "the site's" ]
    [ "${lines[2]}" = written ]
    [ "${lines[3]}" = "of pyxistest" ]
    # As the user, for whom root's files are nobody's.
    [ "${lines[4]}" = "$(id -u pyxistest 2> /dev/null || root id -u pyxistest):nobody:0" ]
    # One that fails fails the step, and the program does not run.
    put /etc/enroot/hooks.d/60-fails.sh 755 <<< 'echo no licence today >&2; exit 3'
    step --container-image="$image" touch "$work/ran"
    [ "$status" -ne 0 ]
    [[ $output == *"no licence today"* ]]
    [[ $output == *"60-fails.sh: exit status: 3"* ]]
    [ ! -e "$work/ran" ]
}

@test "a hook that somebody else could have written does not run for a victim: by its file, its directory, or a link" {
    local stolen=$work/stolen
    attacker mkdir -m 777 "$work/theirs"
    attacker sh -c "printf '#!/bin/sh\nid -un >> $stolen\n' > $work/theirs/own.sh; chmod 755 $work/theirs/own.sh"
    root cp "$work/theirs/own.sh" /etc/enroot/hooks.d/1-file.sh
    root chown pyxistest /etc/enroot/hooks.d/1-file.sh
    root ln -s "$work/theirs/own.sh" /etc/enroot/hooks.d/2-link.sh
    root cp "$work/theirs/own.sh" /etc/enroot/hooks.d/3-open.sh
    root chmod 777 /etc/enroot/hooks.d/3-open.sh
    run victim srun -w n1 --container-image="$image" echo fine
    [ "$status" -eq 0 ]
    [[ $output == *fine* ]]
    [ ! -e "$stolen" ]
    root cp "$work/theirs/own.sh" /etc/enroot/hooks.d/4-roots.sh
    root chown pyxistest /etc/enroot/hooks.d
    run victim srun -w n1 --container-image="$image" echo fine
    [ "$status" -eq 0 ]
    [ ! -e "$stolen" ]
    # Root's own in a directory of root's alone is the one that runs.
    root chown root:root /etc/enroot/hooks.d
    root chmod 755 /etc/enroot/hooks.d /etc/enroot/hooks.d/4-roots.sh
    run victim srun -w n1 --container-image="$image" echo fine
    [ "$status" -eq 0 ]
    [ "$(cat "$stolen")" = pyxistest2 ]
}
