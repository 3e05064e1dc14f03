#!/usr/bin/env bats
# The arguments in plugstack.conf. As root, on a cluster of tests/cluster (CLUSTER_STATE) whose plugstack.conf
# each test replaces; PYXIS_TEST_LINE is the plugin's line without arguments of the test.

cluster() { "$BATS_TEST_DIRNAME/cluster" "$@"; }
user() { cluster run -- "$@"; }

setup() {
    image=$PYXIS_TEST_IMAGES/busybox.sqsh
    work=$CLUSTER_STATE/work/$BATS_TEST_NUMBER-$$
    mkdir -m 777 "$work"
}

teardown() {
    if [[ -e $work/noted ]]; then
        rm "$CLUSTER_STATE/enroot/enroot"
        if [[ -e $work/enroot.kept || -L $work/enroot.kept ]]; then mv "$work/enroot.kept" "$CLUSTER_STATE/enroot/enroot"; fi
    fi
    rm -rf "$work"
    cluster login -- rm -rf /etc/enroot
    cluster plugstack "$PYXIS_TEST_LINE"
}

@test "sbatch_support=0: srun has the options, sbatch has not" {
    cluster plugstack "$PYXIS_TEST_LINE sbatch_support=0"
    output=$(user srun --help)
    [[ $output == *--container-image* ]]
    run user sbatch --container-image="$image" --wrap true
    [ "$status" -ne 0 ]
    [[ $output == *"unrecognized option"* ]]
}

@test "runtime_path: made by slurmd, used for the users' directories" {
    cluster plugstack "$PYXIS_TEST_LINE runtime_path=/run/elsewhere"
    # slurmd of 20.11 calls no hook of a plugin without slurmd_exit: there slurmstepd makes the directory.
    [[ $(cluster login -- slurmd -V) == *" 20.11."* ]] || cluster node 1 -- test -d /run/elsewhere
    user srun -w n1 --container-image="$image" true
    [ "$(cluster node 1 -- stat -c '%a %U' /run/elsewhere)" = "755 root" ]
    [ "$(cluster node 1 -- sh -c 'stat -c "%a %U" /run/elsewhere/*')" = "700 pyxistest" ]
}

# The modes that recipes give it: of the two directories of root's own, which one, and what slurmd says.
@test "runtime_path 1777 and 0777: slurmd lives, steps run, root has a directory of its own and says which" {
    local mode own
    for mode in 1777 0777; do
        own=/run/elsewhere/pyxis-root
        if [[ $mode == 0777 ]]; then own=/run/pyxis-root; fi
        cluster node 1 -- sh -c "rm -rf /run/elsewhere /run/pyxis-root; mkdir /run/elsewhere; chmod $mode /run/elsewhere"
        cluster plugstack "$PYXIS_TEST_LINE runtime_path=/run/elsewhere"
        user srun -w n1 --container-image="$image" --container-name=modes true
        user srun -w n1 "$PYXIS_TEST_COMMAND" remove -f pyxis_modes
        [ "$(cluster node 1 -- stat -c '%a %U' $own)" = "755 root" ]
        [ "$(cluster node 1 -- sh -c "stat -c '%a %U' $own/*")" = "700 pyxistest" ]
        if [[ $(cluster login -- slurmd -V) != *" 20.11."* ]]; then
            output=$(cluster logs)
            grep -q "pyxis: couldn't trust the runtime directory /run/elsewhere: it must belong to root and be writable by root alone; $own is used instead" <<< "$output"
        fi
    done
    cluster node 1 -- rm -rf /run/elsewhere /run/pyxis-root
}

@test "execute_entrypoint=1: unless the user says no" {
    cluster plugstack "$PYXIS_TEST_LINE execute_entrypoint=1"
    run user srun --container-image="$PYXIS_TEST_IMAGES/entrypoint.sqsh" sh -c 'echo "[$FROM_ENTRYPOINT]"'
    [ "$status" -eq 0 ]
    [[ $output == *"[yes]"* ]]
    run user srun --no-container-entrypoint --container-image="$PYXIS_TEST_IMAGES/entrypoint.sqsh" sh -c 'echo "[$FROM_ENTRYPOINT]"'
    [ "$status" -eq 0 ]
    [[ $output == *"[]"* ]]
}

# An importer that notes its calls and whom it runs as.
importer() {
    cat > "$work/importer" << END
#!/bin/sh
echo "\$1 \$2 as \$(id -un)" >> $work/calls
case \$1 in
    get) $1 ;;
esac
END
    chmod 755 "$work/importer"
    cluster plugstack "$PYXIS_TEST_LINE importer=$work/importer"
}

@test "importer: get and release, as the user" {
    importer "echo talking >&2; echo $image"
    run user srun -w n1 --container-image=some/image:tag cat /etc/os-release
    [ "$status" -eq 0 ]
    [[ $output == *"pyxis: importing docker image: some/image:tag"*ID=pyxis-test* || $output == *ID=pyxis-test* ]]
    [[ $output == *"pyxis: imported docker image: some/image:tag"* ]]
    [ "$(head -n 1 "$work/calls")" = "get docker://some/image:tag as pyxistest" ]
    [ "$(tail -n 1 "$work/calls")" = "release  as pyxistest" ]
    [ "$(grep -c ^get "$work/calls")" -eq 1 ]
}

@test "importer: a failure is shown, released, and nothing runs" {
    importer "echo no such image here >&2; exit 3"
    run user srun -w n1 --container-image=some/image echo ran-anyway
    [ "$status" -ne 0 ]
    [[ $output != *ran-anyway* ]]
    [[ $output == *"importer get failed with error code 3"* ]]
    [[ $output == *"no such image here"* ]]
    [[ $output == *"failed to import docker image: some/image"* ]]
    grep -q ^release "$work/calls"
}

@test "importer: words instead of a path are an error" {
    importer "echo not-a-path"
    run user srun -w n1 --container-image=some/image echo ran-anyway
    [ "$status" -ne 0 ]
    [[ $output == *"importer did not return a squashfs path"* && $output != *ran-anyway* ]]
}

@test "importer: named containers, and not again for an existing one" {
    importer "echo $image"
    user srun -w n1 --container-image=some/image --container-name=imported true
    user srun -w n1 --container-image=some/image --container-name=imported true
    user srun -w n1 "${PYXIS_TEST_COMMAND:-pyxis}" remove -f pyxis_imported
    [ "$(grep -c ^get "$work/calls")" -eq 1 ]
}

@test "container_scope=job: a named container lives as long as its job" {
    cluster plugstack "$PYXIS_TEST_LINE container_scope=job"
    cat > "$work/script" << END
#!/bin/sh
srun --container-image=$image --container-name=mine --container-writable sh -c 'echo kept > /file'
srun --container-name=mine cat /file
srun ${PYXIS_TEST_COMMAND:-pyxis} list
END
    user sbatch --wait -w n1 -o "$work/out" "$work/script"
    cat "$work/out"
    grep -q ^kept "$work/out"
    grep -q 'pyxis_[0-9]*_mine' "$work/out"
    local i
    for ((i = 0; i < 600; i++)); do
        [[ $(user srun -w n1 "${PYXIS_TEST_COMMAND:-pyxis}" list) == *pyxis_*_mine* ]] || return 0
        sleep 0.1
    done
    return 1
}

# How many processes slurmd has started for the epilogs of three jobs.
epilogs() {
    cluster plugstack "$PYXIS_TEST_LINE $1"
    : > "$work/calls"
    local i
    for i in 1 2 3; do user srun -w n1 true; done
    # Until the last is through with it.
    for ((i = 0; i < 600; i++)); do user squeue -h -t all -o %t | grep -q -v -x CD || break; sleep 0.1; done
    grep -c 'spank epilog' "$work/calls" || true
}

@test "a job's end costs a process only with container_scope=job" {
    local stepd
    stepd=$(cluster node 1 -- sh -c 'ls /usr/sbin/slurmstepd /usr/lib/*/slurm*/sbin/slurmstepd 2> /dev/null | head -n 1')
    cluster node 1 -- cp "$stepd" "$work/stepd.real"
    # shellcheck disable=SC2016
    printf '#!/bin/sh\necho "$*" >> %s/calls\nexec %s/stepd.real "$@"\n' "$work" "$work" > "$work/stepd"
    chmod 755 "$work/stepd"
    cluster node 1 -- mount --bind "$work/stepd" "$stepd"
    local plain global job
    plain=$(epilogs "")
    global=$(epilogs container_scope=global)
    job=$(epilogs container_scope=job)
    cluster node 1 -- umount "$stepd"
    echo "$plain $global $job"
    [ "$plain" -eq 0 ]
    [ "$global" -eq 0 ]
    [ "$job" -eq 3 ]
}

@test "a wrong argument: srun says which and runs nothing; slurmd says which and lives" {
    cluster plugstack "$PYXIS_TEST_LINE nonsense=1"
    run user srun true
    [ "$status" -ne 0 ]
    [[ $output == *'pyxis: unknown configuration option: nonsense=1'* ]]
    lost=$(cluster login -- sinfo -h -N -t drain,down -o %N)
    [ -z "$lost" ]
    # Its slurmd asks no plugin without slurmd_exit.
    [[ $(cluster login -- slurmd -V) != *" 20.11."* ]] || return 0
    output=$(cluster logs)
    grep -q 'pyxis: unknown configuration option: nonsense=1' <<< "$output"
    cluster plugstack "$PYXIS_TEST_LINE container_scope=user"
    output=$(cluster logs)
    grep -q 'pyxis: container_scope: invalid value: user' <<< "$output"
}

# The pyxis command as enroot, which notes what it is called with in $work/calls.
enroot_notes() {
    touch "$work/noted"
    if [[ -L $CLUSTER_STATE/enroot/enroot ]]; then mv "$CLUSTER_STATE/enroot/enroot" "$work/enroot.kept"; fi
    printf '%s\n' '#!/bin/bash' "echo \"\$*\" >> $work/calls" "exec -a enroot $PYXIS_TEST_COMMAND \"\$@\"" > "$CLUSTER_STATE/enroot/enroot"
    chmod 755 "$CLUSTER_STATE/enroot/enroot"
}

@test "use_squashfuse: enroot starts an unnamed container from its image, and nothing is made" {
    enroot_notes
    cluster plugstack "$PYXIS_TEST_LINE runtime=enroot"
    user srun -w n1 --container-image="$image" true
    cat "$work/calls"
    grep -qE "^create --name pyxis_[0-9]+\.0 $image\$" "$work/calls"
    grep -qE "^start --conf [^ ]+ pyxis_[0-9]+\.0 " "$work/calls"
    grep -qE "^remove -f pyxis_[0-9]+\.0\$" "$work/calls"

    rm "$work/calls"
    cluster plugstack "$PYXIS_TEST_LINE runtime=enroot use_squashfuse=1"
    run user srun -w n1 --container-image="$image" cat /etc/os-release
    [ "$status" -eq 0 ]
    [[ $output == *ID=pyxis-test* ]]
    cat "$work/calls"
    grep -qE "^start --conf [^ ]+ $image " "$work/calls"
    [ "$(wc -l < "$work/calls")" -eq 1 ]

    # One with a name, or one that is to be saved, is made all the same.
    user srun -w n1 --container-image="$image" --container-save="$work/saved.sqsh" true
    grep -qE '^create --name ' "$work/calls"
    grep -qE "^export -f -o $work/saved.sqsh pyxis_" "$work/calls"
}

# What the nodes have in enroot.conf: a line for each argument.
enroot_conf() {
    # shellcheck disable=SC2016
    cluster login -- sh -c 'mkdir -p /etc/enroot && printf "%s\n" "$@" > /etc/enroot/enroot.conf' sh "$@"
}

@test "enroot.conf holds: what is writable, where containers are, by the user's own number" {
    enroot_conf 'ENROOT_ROOTFS_WRITABLE yes' 'ENROOT_TEMP_PATH "/open' 'ENROOT_DATA_PATH=/var/tmp/enroot-conf-$(id -u)'
    user srun -w n1 --container-image="$image" touch /written
    run user srun -w n1 --container-image="$image" --container-readonly touch /written
    [ "$status" -ne 0 ]
    # Without what suite enroot has in pyxis.toml.
    touch "$work/none.toml"
    user env PYXIS_CONFIG="$work/none.toml" srun -w n1 --container-image="$image" --container-name=of-conf true
    cluster node 1 -- test -d "/var/tmp/enroot-conf-$(user id -u)/pyxis_of-conf"
    enroot_conf '# ENROOT_ROOTFS_WRITABLE yes'
    run user srun -w n1 --container-image="$image" touch /written
    [ "$status" -ne 0 ]
    cluster node 1 -- sh -c 'rm -rf /var/tmp/enroot-conf-*'
}

@test "enroot.conf: what others than root can write is not believed, and nothing of it is executed" {
    enroot_conf "ENROOT_ROOTFS_WRITABLE \$(touch $work/executed)yes"
    cluster login -- chmod 666 /etc/enroot/enroot.conf
    run user srun -w n1 --container-image="$image" touch /written
    [ "$status" -ne 0 ]
    [ ! -e "$work/executed" ]
    cluster login -- chmod 644 /etc/enroot/enroot.conf
    user srun -w n1 --container-image="$image" touch /written
    [ "$(stat -c %u "$work/executed")" -eq "$(user id -u)" ]
}

@test "runtime=auto: the built-in runtime, enroot where it is told what the other does not understand" {
    enroot_notes
    cluster plugstack "$PYXIS_TEST_LINE runtime=auto"
    run user srun -v -w n1 --container-image="$image" true
    [ "$status" -eq 0 ]
    [[ $output == *"pyxis: container runtime: pyxis"* ]]
    [ ! -e "$work/calls" ]

    enroot_conf 'ENROOT_TEMP_PATH "/open'
    run user srun -v -w n1 --container-image="$image" --container-name=of-auto --container-writable touch /mine
    [ "$status" -eq 0 ]
    [[ $output == *"pyxis: runtime=auto takes enroot: /etc/enroot/enroot.conf:1: unexpected EOF"* ]]
    [[ $output == *"pyxis: container runtime: enroot"* ]]
    grep -q '^create --name pyxis_of-auto ' "$work/calls"

    # What one has made is the other's.
    rm "$work/calls"
    enroot_conf 'ENROOT_TEMP_PATH "/tmp"'
    run user srun -v -w n1 --container-name=of-auto test -e /mine
    [ "$status" -eq 0 ]
    [[ $output == *"pyxis: container runtime: pyxis"* ]]
    [ ! -e "$work/calls" ]

    # A mount list of the site's own, which is not to be used.
    cluster login -- sh -c 'mkdir -p /etc/enroot/mounts.d && touch /etc/enroot/mounts.d/site.fstab'
    user env PYXIS_MOUNTS_PATH=/nowhere srun -v -w n1 --container-image="$image" true 2> "$work/said"
    cat "$work/said"
    grep -q 'takes enroot: /etc/enroot/mounts.d/site.fstab: files of that folder are not used' "$work/said"
}

@test "runtime=auto beside enroot: the node asks once, srun only where somebody sees or needs the answer" {
    enroot_notes
    printf '%s\n' '#!/bin/bash' "[[ \$1 != fits ]] || echo \"\$*\" >> $work/asked" "exec $PYXIS_TEST_COMMAND \"\$@\"" > "$work/pyxis"
    chmod 755 "$work/pyxis"
    cluster plugstack "${PYXIS_TEST_LINE/"pyxis_path=$PYXIS_TEST_COMMAND"/"pyxis_path=$work/pyxis"} runtime=auto"
    user srun -w n1 --container-image="$image" true
    user srun -Q -w n1 --container-image="$image" true
    user srun -Q -N2 --container-image="$image" true
    cat "$work/asked"
    [ "$(wc -l < "$work/asked")" -eq 4 ]
    rm "$work/asked"
    run user srun -v -w n1 --container-image="$image" true
    [ "$status" -eq 0 ]
    [[ $output == *"pyxis: container runtime: pyxis (seen from this host)"* ]]
    [ "$(wc -l < "$work/asked")" -eq 2 ]
    [ ! -e "$work/calls" ]
}

@test "use_enroot_load: a remote image is loaded, an imported file is not made; dockerd:// is imported" {
    enroot_notes
    cluster plugstack "$PYXIS_TEST_LINE runtime=enroot use_enroot_load=1"
    user srun -w n1 --container-image=localhost:1#x/y:z true && return 1
    user srun -w n1 --container-image=dockerd://x/y:z true && return 1
    cat "$work/calls"
    grep -qE '^load --name pyxis_[0-9]+\.0 docker://localhost:1#x/y:z$' "$work/calls"
    grep -qE '^import --output /run/pyxis/[0-9]+/[0-9]+\.0\.squashfs dockerd://x/y:z$' "$work/calls"
    [ "$(grep -cE '^import .*docker://localhost' "$work/calls")" -eq 0 ]
}

# Of a step with these options: the variables that the runtime's start has been called with, in $work/variables.
start_notes() {
    printf '%s\n' '#!/bin/bash' "if [[ \$1 == start ]]; then env > $work/variables; fi" "exec -a \"\${0##*/}\" $PYXIS_TEST_COMMAND \"\$@\"" > "$work/spy"
    chmod 755 "$work/spy"
    if [[ $PYXIS_TEST_RUNTIME == enroot ]]; then
        [[ -e $work/noted ]] || enroot_notes
        cp "$work/spy" "$CLUSTER_STATE/enroot/enroot"
    fi
    rm -f "$work/variables"
    user env LD_LIBRARY_PATH=/nowhere ENROOT_DATA_PATH=/nowhere ENROOT_MAX_CONNECTIONS=1 OWN=1 srun -w n1 --container-image="$image" "$@" true
}

@test "the runtime is told of user and plugin, and of what the user has chosen" {
    local line name
    line=${PYXIS_TEST_LINE/"pyxis_path=$PYXIS_TEST_COMMAND"/"pyxis_path=$work/spy"}
    cluster plugstack "$line"
    start_notes
    cat "$work/variables"
    for line in "SLURM_JOB_UID=$(user id -u)" "SLURM_JOB_GID=$(user id -g)" PYXIS_RUNTIME_PATH=/run/pyxis OWN=1; do
        grep -qx "$line" "$work/variables"
    done
    grep -qE '^PYXIS_VERSION=[0-9.]+$' "$work/variables"
    # What the job may not say, and what nobody has said.
    for name in LD_LIBRARY_PATH SLURM_PROCID SLURM_LOCALID SLURM_TASK_PID ENROOT_MAX_CONNECTIONS ENROOT_MOUNT_HOME ENROOT_REMAP_ROOT ENROOT_ROOTFS_WRITABLE ENROOT_UNSHARE_NET; do
        if grep "^$name=" "$work/variables"; then return 1; fi
    done
    if grep -x 'ENROOT_DATA_PATH=/nowhere' "$work/variables"; then return 1; fi

    start_notes --container-mount-home --no-container-remap-root --container-writable --container-unshare=net,uts
    for line in ENROOT_MOUNT_HOME=y ENROOT_REMAP_ROOT=n ENROOT_ROOTFS_WRITABLE=y ENROOT_UNSHARE_NET=y ENROOT_UNSHARE_UTS=y; do
        grep -qx "$line" "$work/variables"
    done
    if grep '^ENROOT_UNSHARE_IPC=' "$work/variables"; then return 1; fi
}
