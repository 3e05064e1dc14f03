#!/usr/bin/env bats
# Devices: what is mounted and made for them goes to places of the image, where an attacker has put links. And a step that
# was given GPUs does not run without them.
# shellcheck disable=SC2154 # $work, $status and $output are common.bash's and bats's

load common

setup() {
    attacks_setup
    # What containers share with the node: a link that leads out of the image leads there first.
    bait=/dev/shm/bait
    root sh -c "rm -rf $bait /var/tmp/bait; mkdir -m 777 $bait /var/tmp/bait"
    mkdir "$work/cdi" "$work/driver"
    printf 'the driver\n' > "$work/driver/libgpu.so.550.1"
    cat > "$work/cdi/gpu.yaml" << END
cdiVersion: 0.7.0
kind: vendor.com/gpu
devices:
- name: "0"
  containerEdits:
    additionalGids: [44]
    mounts:
    - {hostPath: $work/driver/libgpu.so.550.1, containerPath: /usr/lib/gpu/libgpu.so.550.1, options: [ro, nosuid, nodev, rbind, rprivate]}
    hooks:
    - {hookName: createContainer, path: /usr/bin/nvidia-cdi-hook, args: [nvidia-cdi-hook, create-symlinks, --link, "libgpu.so.550.1::/usr/lib/gpu/libgpu.so"]}
    - {hookName: createContainer, path: /usr/bin/nvidia-cdi-hook, args: [nvidia-cdi-hook, update-ldcache, --folder, /usr/lib/gpu]}
    - {hookName: createContainer, path: /usr/bin/nvidia-cdi-hook, args: [nvidia-cdi-hook, enable-cuda-compat, --host-driver-version=550.1]}
END
    chmod -R a+rX "$work"
}

teardown() {
    root rm -rf "$bait" /var/tmp/bait
    attacks_teardown
}

# An image of busybox with changes: the arguments are run in its root directory.
image() {
    rm -rf "$work/root" "$work/image.sqsh"
    unsquashfs -q -n -d "$work/root" "$PYXIS_TEST_IMAGES/busybox.sqsh" > /dev/null
    (cd "$work/root" && mkdir -p usr/lib && eval "$1")
    mksquashfs "$work/root" "$work/image.sqsh" -quiet -no-progress -noD > /dev/null
    chmod 644 "$work/image.sqsh"
}

with_device() {
    step --export="ALL,PYXIS_CDI_PATH=$work/cdi,PYXIS_CDI_DEVICES=vendor.com/gpu=0" --container-image="$work/image.sqsh" "$@"
}

nothing_was_made() {
    local made
    made=$(root find "$bait" /var/tmp/bait -mindepth 1)
    echo "made: $made"
    [ -z "$made" ]
}

@test "the files of a device are where they belong, without the toolkit" {
    image true
    with_device sh -c 'cat /usr/lib/gpu/libgpu.so; ls /etc/ld.so.cache'
    [ "$status" -eq 0 ]
    [[ $output == *"the driver"* ]]
    [[ $output == *"/etc/ld.so.cache"* ]]
}

@test "a folder of the image that is a link to the node: the step ends with a line, and nothing is made there" {
    local target
    for target in $bait $bait/absent ../../../../..$bait /proc/1/root$bait /proc/self/cwd /sys/kernel; do
        image "ln -s $target usr/lib/gpu"
        with_device sh -c 'echo ran'
        [ "$status" -ne 0 ]
        [[ $output != *ran* ]]
        [[ $output == *"/usr/lib/gpu/libgpu.so.550.1"* ]]
        nothing_was_made
    done
}

@test "files of the image that are links to the node: they are replaced, and the node is as it was" {
    local at
    for at in usr/lib/gpu/libgpu.so.550.1 usr/lib/gpu/libgpu.so etc/ld.so.cache etc/ld.so.cache~; do
        image "mkdir -p usr/lib/gpu; rm -f $at; ln -s $bait/made $at"
        with_device sh -c 'cat /usr/lib/gpu/libgpu.so'
        [ "$status" -eq 0 ]
        [[ $output == *"the driver"* ]]
        nothing_was_made
    done
    # Outside of what a container has of the node, a link leads to the image's own folder of that name.
    image "mkdir -p var/tmp/bait; ln -s /var/tmp/bait usr/lib/gpu"
    with_device sh -c 'cat /usr/lib/gpu/libgpu.so'
    [ "$status" -eq 0 ]
    nothing_was_made
}

@test "an image's compatibility folder and cache of FIFOs, devices and nonsense: no hang, no crash" {
    image "mkdir -p usr/local/cuda/compat; mkfifo -m 666 usr/local/cuda/compat/libcuda.so.570.1 etc/ld.so.cache"
    with_device sh -c 'echo ran'
    [ "$status" -eq 0 ]
    [[ $output == *ran* ]]
    image "mkdir -p usr/local/cuda/compat; head -c 100000 /dev/urandom > etc/ld.so.cache; printf '\177ELF\2\1\1' > usr/local/cuda/compat/libcuda.so.570.1"
    with_device sh -c 'echo ran'
    [ "$status" -eq 0 ]
    [[ $output == *ran* ]]
}

@test "a step that was given GPUs and would get none fails with a line, unless it says void" {
    image true
    step --export=ALL,SLURM_STEP_GPUS=0 --container-image="$work/image.sqsh" sh -c 'echo ran'
    [ "$status" -ne 0 ]
    [[ $output == *"Slurm gave this step the GPUs 0, and the container would get none"* ]]
    [[ $output != *ran* ]]
    step --export=ALL,SLURM_STEP_GPUS=0,NVIDIA_VISIBLE_DEVICES=void --container-image="$work/image.sqsh" sh -c 'echo ran'
    [ "$status" -eq 0 ]
    [[ $output == *ran* ]]
}
