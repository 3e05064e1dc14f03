#!/usr/bin/env bats
# What is left when things go wrong: nothing. As root, on a cluster of tests/cluster that has the plugin
# (CLUSTER_STATE names it), because a site's users can neither kill slurmstepd nor look at all of a node.

cluster() { "$BATS_TEST_DIRNAME/cluster" "$@"; }
on_node() { cluster node 1 -- "$@"; }
user() { cluster run -- "$@"; }

setup() {
    image=$PYXIS_TEST_IMAGES/busybox.sqsh work=
    user true # makes what a first step makes, such as Slurm's cgroups
    user srun -N2 --container-image="$image" true
    before=$(what_exists)
}

teardown() {
    if [[ -n ${work:-} ]]; then
        rm -rf "$work"
        [[ $PYXIS_TEST_RUNTIME == enroot ]] || rm -f "$CLUSTER_STATE/enroot/enroot"
        cluster plugstack "$PYXIS_TEST_LINE"
    fi
    on_node sh -c 'umount /usr/bin/unsquashfs /usr/bin/squashfuse* 2> /dev/null; chmod 666 /dev/fuse; true'
    user scancel -u pyxistest
    settle
}

# Slurm's own cgroup directories outlive a slurmstepd that was killed; a user's file of locks is made once.
what_exists() { cluster snapshot | grep -Ev ' (cgroup|mount-namespaces) |/names.lock '; }

# `run wait` would wait in a subshell, whose child it is not.
wait_status() {
    status=0
    wait "$1" || status=$?
}

# Waits until no job is left.
settle() {
    local i
    for ((i = 0; i < 1200; i++)); do
        [[ -n $(user squeue -h) ]] || return 0
        sleep 0.1
    done
    return 1
}

# Fails unless everything is as before, after a moment for what is being taken down.
nothing_left() {
    local i
    settle
    for ((i = 0; i < 600; i++)); do
        [[ $(what_exists) != "$before" ]] || return 0
        sleep 0.1
    done
    diff <(echo "$before") <(what_exists)
}

# Which /proc then has no root of, nor namespaces.
@test "a program that has ended but for a thread is ended with its step, and the container is saved" {
    work=$(mktemp -d "$CLUSTER_STATE/work/fault.XXXXXX")
    chmod 777 "$work"
    gcc -static -pthread -x c -o "$work/threads" - << 'END'
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>
static void *stay(void *unused) { sleep(1000); return unused; }
int main(void) {
    pthread_t thread;
    if (fork() || setsid() < 0 || pthread_create(&thread, 0, stay, 0))
        return 0;
    syscall(SYS_exit, 0);
}
END
    for option in "--container-name=threads" "--container-save=$work/saved.sqsh"; do
        run timeout 100 "$BATS_TEST_DIRNAME/cluster" run -- srun -w n1 --container-image="$image" "$option" --container-writable \
            --container-mounts="$work:/mnt" sh -c '/mnt/threads; sleep 1; echo made > /made'
        echo "$output"
        [ "$status" -eq 0 ]
    done
    [ -s "$work/saved.sqsh" ]
    user srun -w n1 "$PYXIS_TEST_COMMAND" remove -f pyxis_threads
    nothing_left
}

@test "200 steps one after the other" {
    run user bash -c 'for i in $(seq 200); do srun --container-image="$1" true || echo "failed: $i"; done' - "$image"
    [ "$status" -eq 0 ]
    [ -z "$output" ]
    nothing_left
}

@test "slurmstepd killed at random moments, 20 times, with processes in the background" {
    local i
    for ((i = 0; i < 20; i++)); do
        user srun --container-image="$image" sh -c 'sleep 1000 & (setsid sleep 1000 &) ; sleep 1000' &> /dev/null &
        sleep "0.$(printf %03d $((RANDOM % 200)))"
        for node in 1 2; do cluster node $node -- pkill -KILL slurmstepd || true; done
        user scancel -u pyxistest
    done
    wait
    nothing_left
}

@test "steps cancelled at random moments" {
    local i
    for ((i = 0; i < 10; i++)); do
        user srun -N2 --container-image="$image" sleep 1000 &> /dev/null &
        sleep "0.$(printf %03d $((RANDOM % 200)))"
        user scancel -u pyxistest
    done
    # One may have got its nodes after the last of these.
    while jobs -rp | grep -q .; do
        user scancel -u pyxistest
        sleep 0.1
    done
    wait
    nothing_left
}

@test "the image's server killed: the task fails, the step ends" {
    # What was read before is the kernel's: a file that was not.
    user srun -w n1 --container-image="$image" sh -c 'echo ready; while /bin/busybox pidof pyxis-image; do sleep 0.1; done > /dev/null
        cat /etc/os-release && echo read-anyway' &> "$BATS_TEST_TMPDIR/out" &
    until grep -q ready "$BATS_TEST_TMPDIR/out"; do sleep 0.05; done
    on_node pkill -KILL pyxis-image
    wait_status $!
    [ "$status" -ne 0 ]
    [[ $(< "$BATS_TEST_TMPDIR/out") != *read-anyway* ]]
    nothing_left
}

@test "when memory is used up a program is ended before the image's server: tasks offer themselves, and none can spare itself" {
    run user srun -w n1 -n2 --overcommit --container-image="$image" sh -c 'cat /proc/self/oom_score_adj
        { echo -1 > /proc/self/oom_score_adj; } 2> /dev/null && echo spared
        for pid in $(/bin/busybox pidof pyxis-image pyxis-keeper); do echo "$(cat /proc/$pid/comm) $(cat /proc/$pid/oom_score_adj)"; done
        echo 0 > /proc/self/oom_score_adj && cat /proc/self/oom_score_adj'
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$(sort <<< "$output" | uniq -c | xargs)" = "2 0 2 16 2 pyxis-image 0 2 pyxis-keeper 0" ]
    # Without a container it is as Slurm has it.
    [ "$(user srun -w n1 cat /proc/self/oom_score_adj)" = 0 ]
}

@test "one task of several killed" {
    user srun -w n1 -n3 --overcommit --container-image="$image" \
        sh -c 'if [ $SLURM_PROCID = 1 ]; then kill -KILL $$; fi; sleep 0.3; ls /bin > /dev/null && echo fine' \
        &> "$BATS_TEST_TMPDIR/out" || true
    [ "$(grep -c fine "$BATS_TEST_TMPDIR/out")" -eq 2 ]
    nothing_left
}

@test "no FUSE: the image is extracted, and gone afterwards" {
    on_node chmod 600 /dev/fuse
    run user srun -w n1 --container-image="$image" cat /etc/os-release
    [ "$status" -eq 0 ]
    [[ $output == *ID=pyxis-test* ]]
    on_node chmod 666 /dev/fuse
    nothing_left
}

@test "no FUSE and no unsquashfs: the image is extracted all the same" {
    on_node chmod 600 /dev/fuse
    on_node mount --bind /dev/null /usr/bin/unsquashfs
    run user srun -w n1 --container-image="$image" cat /etc/os-release
    [ "$status" -eq 0 ]
    [[ $output == *ID=pyxis-test* ]]
    on_node sh -c 'chmod 666 /dev/fuse; umount /usr/bin/unsquashfs'
    nothing_left
}

@test "no FUSE, no unsquashfs, and an image packed with xz: a line that names both" {
    work=$(mktemp -d "$CLUSTER_STATE/work/fault.XXXXXX")
    chmod 755 "$work"
    unsquashfs -no-progress -dest "$work/root" "$image" > /dev/null
    mksquashfs "$work/root" "$work/xz.sqsh" -comp xz -no-progress -quiet > /dev/null
    on_node chmod 600 /dev/fuse
    on_node mount --bind /dev/null /usr/bin/unsquashfs
    run user srun -w n1 --container-image="$work/xz.sqsh" echo ran-anyway
    [ "$status" -ne 0 ]
    [[ $output == *"/dev/fuse cannot be opened"*"unsquashfs is not installed"* ]]
    [[ $output != *ran-anyway* ]]
}

@test "an image packed with xz: by squashfuse; without squashfuse extracted" {
    work=$(mktemp -d "$CLUSTER_STATE/work/fault.XXXXXX")
    chmod 755 "$work"
    unsquashfs -no-progress -dest "$work/root" "$image" > /dev/null
    mksquashfs "$work/root" "$work/xz.sqsh" -comp xz -no-progress -quiet > /dev/null
    run user srun -w n1 --container-image="$work/xz.sqsh" cat /etc/os-release
    [ "$status" -eq 0 ]
    [[ $output == *ID=pyxis-test* && $output != *extracting* ]]
    on_node sh -c "for f in /usr/bin/squashfuse*; do mount --bind /dev/null \$f; done"
    run user srun -w n1 --container-image="$work/xz.sqsh" cat /etc/os-release
    [ "$status" -eq 0 ]
    [[ $output == *ID=pyxis-test* ]]
}

@test "the runtime directory is gone: it is made again" {
    on_node rm -rf /run/pyxis
    user srun -w n1 --container-image="$image" true
    [ "$(on_node stat -c '%U %a' /run/pyxis)" = "root 755" ]
}

@test "a runtime directory that others can write, or a link or file in its place: root's own is used" {
    local trap own
    for trap in 'chmod 777 /run/pyxis' 'chmod 1777 /run/pyxis; touch /run/pyxis/pyxis-root' 'rm -rf /run/pyxis; ln -s /nowhere /run/pyxis' \
        'rm -rf /run/pyxis; touch /run/pyxis' 'chmod 700 /run/pyxis'; do
        on_node sh -c "$trap"
        run user srun -w n1 --container-image="$image" --container-name=own echo ran
        own=$(on_node sh -c 'stat -c "%a %U" /run/pyxis-root /run/pyxis-root/*')
        on_node sh -c 'rm -rf /run/pyxis /run/pyxis-root; mkdir -m 755 /run/pyxis'
        user srun -w n1 "$PYXIS_TEST_COMMAND" remove -f pyxis_own
        echo "$trap: $output; $own"
        [ "$status" -eq 0 ]
        [[ $output == *ran* ]]
        [ "$own" = $'755 root\n700 pyxistest' ]
    done
}

@test "a link in the place of a user's own directory: refused, and nothing runs" {
    on_node sh -c 'u=$(id -u pyxistest); rm -rf /run/pyxis/$u; ln -s /var/tmp /run/pyxis/$u'
    run user srun -w n1 --container-image="$image" echo ran-anyway
    on_node sh -c 'rm -rf /run/pyxis; mkdir -m 755 /run/pyxis'
    [ "$status" -ne 0 ]
    [[ $output != *ran-anyway* ]]
    # No node is drained for it.
    user true
    user srun -w n1 true
}

@test "the end of a step does not wait for a helper" {
    local on_host took
    # The quickest of ten: what else the machine does delays some of them.
    quickest() {
        user bash -c 'for i in 1 2 3 4 5 6 7 8 9 10; do
            begin=${EPOCHREALTIME/./}
            srun -w n1 "$@" true || exit 1
            echo $((${EPOCHREALTIME/./} - begin))
        done' - "$@" | sort -n | head -n 1
    }
    on_host=$(quickest)
    took=$(quickest --container-image="$image")
    echo "a step: $on_host us; in a container: $took us"
    # slurmstepd looks for leftovers once a second: with one of them every step would last as much longer.
    ((took - on_host < 900000))
}

# What a step of $1 tasks in a container does to the kernel, to a file $1 of the test's: the whole tree below slurmstepd, from slurmd on.
trace_step() {
    # Attached to slurmd, or nothing is seen.
    on_node sh -c 'strace -f -qq -e trace=execve,mount,move_mount,open_tree,fsmount,unshare,setns -e status=successful \
        -o /run/trace -p "$(pgrep -o slurmd)" & echo $! > /run/trace.pid
        while ! grep -q "^TracerPid:.*[1-9]" "/proc/$(pgrep -o slurmd)/status"; do sleep 0.05; done'
    user srun -w n1 -n "$1" --overcommit --container-image="$image" true
    on_node sh -c 'pid=$(cat /run/trace.pid); kill "$pid"; while kill -0 "$pid"; do sleep 0.05; done 2> /dev/null
        grep -v -e slurmstepd -e " SIG" /run/trace; rm -f /run/trace*' > "$BATS_TEST_TMPDIR/$1"
    cat "$BATS_TEST_TMPDIR/$1"
}

# How often something is in the trace of $1 tasks.
traced() { grep -c "$2" "$BATS_TEST_TMPDIR/$1"; }

@test "a container start executes pyxis, and then the user's program" {
    trace_step 1
    [ "$(traced 1 'execve("[^"]*/pyxis"')" -eq 1 ]
    [ "$(traced 1 'execve("/bin/true"')" -eq 1 ]
    [ "$(traced 1 execve)" -eq 2 ]
}

@test "64 tasks cost what one costs: one start, no more mounts and namespaces, and a fixed number of joins each" {
    local mounts spaces joins
    trace_step 1
    trace_step 64
    [ "$(traced 64 'execve("[^"]*/pyxis"')" -eq 1 ]
    [ "$(traced 64 'execve("/bin/true"')" -eq 64 ]
    [ "$(traced 64 execve)" -eq 65 ]
    mounts=$(traced 1 ' \(mount\|move_mount\|open_tree\|fsmount\)(')
    [ "$(traced 64 ' \(mount\|move_mount\|open_tree\|fsmount\)(')" -eq "$mounts" ]
    spaces=$(traced 1 ' unshare(')
    [ "$(traced 64 ' unshare(')" -eq "$spaces" ]
    joins=$(traced 1 ' setns(')
    [ "$(traced 64 ' setns(')" -eq $((64 * joins)) ]
    [ "$joins" -le 4 ]
}

# The rest of the table in docs/faults.md, a test per row: the line, the exit code, and that nothing is left.

# Fails unless the step of the last `run` was refused with exit code 1 and this text, and its program did not run.
refused() {
    echo "$output"
    [ "$status" -eq 1 ]
    [[ $output == *"$1"* ]]
    [[ $output != *ran-anyway* ]]
}

# The plugin's line with a runtime of the test's, a script on stdin; $work is gone with the test.
runtime_is() {
    work=$(mktemp -d "$CLUSTER_STATE/work/fault.XXXXXX")
    chmod 755 "$work"
    cat > "$work/runtime"
    chmod 755 "$work/runtime"
    local path=${PYXIS_TEST_LINE#* pyxis_path=}
    cluster plugstack "${PYXIS_TEST_LINE/ pyxis_path=${path%% *}/ pyxis_path=$work/runtime}"
    before=$(what_exists)
}

@test "slurmstepd killed: the container is gone at once, the step when it is cancelled" {
    user srun -w n1 --container-image="$image" sh -c 'echo ready; sleep 1000' &> "$BATS_TEST_TMPDIR/out" &
    until grep -q ready "$BATS_TEST_TMPDIR/out"; do sleep 0.05; done
    on_node pkill -KILL slurmstepd
    local i
    for ((i = 0; i < 40; i++)); do
        [[ $(on_node ps -e -o args=) == *"sleep 1000"* || $(on_node ps -e -o comm=) == *pyxis-image* ]] || break
        sleep 0.05
    done
    ((i < 40))
    user scancel -u pyxistest
    # srun 22.05 fails, or gives up with these words and exits with 0.
    wait_status $!
    cat "$BATS_TEST_TMPDIR/out"
    ((status != 0)) || grep -q 'Timed out waiting for job step to complete' "$BATS_TEST_TMPDIR/out"
    nothing_left
}

@test "slurmstepd killed in a step whose container is to be saved: the task that waits for the program goes, too" {
    user srun -w n1 --container-image="$image" --container-save=/var/tmp/x.sqsh sh -c 'echo ready; sleep 1000' &> "$BATS_TEST_TMPDIR/out" &
    until grep -q ready "$BATS_TEST_TMPDIR/out"; do sleep 0.05; done
    on_node pkill -KILL slurmstepd
    local i
    for ((i = 0; i < 1200; i++)); do
        [[ $(on_node ps -e -o args=) == *"sleep 1000"* || $(on_node ps -e -o comm=) == *slurmstepd* ]] || break
        sleep 0.05
    done
    ((i < 1200))
    user scancel -u pyxistest
    wait_status $!
    run on_node test -e /var/tmp/x.sqsh
    [ "$status" -eq 1 ]
    user srun -w n1 sh -c "$PYXIS_TEST_COMMAND list | xargs $PYXIS_TEST_COMMAND remove -f"
    nothing_left
}

# With cgroups of version 1 Slurm gives them to the user, and looks for whom to kill in the step's own alone.
@test "the image's server, moved by its user to where Slurm's SIGKILL does not reach it, and stopped, keeps no step" {
    [[ -d /sys/fs/cgroup/freezer ]] || skip "this machine has no freezer of version 1"
    work=$(mktemp -d "$CLUSTER_STATE/work/fault.XXXXXX")
    chmod 777 "$work"
    user srun -w n1 --container-image="$image" --container-mounts="$work" sh -c "touch $work/up; while [ ! -e $work/end ]; do sleep 0.1; done" &
    until [[ -e $work/up ]]; do sleep 0.05; done
    pid=$(on_node pgrep -x pyxis-image)
    step=/sys/fs/cgroup/freezer$(on_node sed -n 's/.*:freezer://p' "/proc/$pid/cgroup")
    on_node setpriv --reuid="$(on_node stat -c %u "/proc/$pid")" --regid=nogroup --clear-groups \
        sh -c "mkdir $step/x && echo $pid > $step/x/cgroup.procs && kill -STOP $pid"
    touch "$work/end"
    local i
    for ((i = 0; i < 600; i++)); do [[ -n $(user squeue -h) ]] || break; sleep 0.1; done
    on_node kill -KILL "$pid" 2> /dev/null || true
    wait_status $!
    [ "$status" -eq 0 ]
    ((i < 600))
    [ "$(cluster login -- sinfo -h -N -n n1 -o %T)" = idle ]
    on_node rmdir "$step/x" 2> /dev/null || true
    nothing_left
}

@test "the runtime killed: the step fails and says so" {
    runtime_is <<< $'#!/bin/sh\nkill -KILL $$'
    run user srun -w n1 --container-image="$image" echo ran-anyway
    refused "container start failed: terminated by SIGKILL"
    nothing_left
}

@test "the runtime is not installed: its name, and where to say where it is" {
    runtime_is < /dev/null
    rm "$work/runtime"
    run user srun -w n1 --container-image="$image" echo ran-anyway
    refused "couldn't execute $work/runtime (is it installed on this node? plugstack.conf can name it with pyxis_path=)"
    nothing_left
}

@test "user namespaces forbidden: the setting, and the command that changes it" {
    # In a namespace of its own, where the limit is one too: the machine's stays as it is.
    runtime_is << END
#!/bin/sh
exec unshare -r sh -c 'echo 0 > /proc/sys/user/max_user_namespaces; exec "\$0" "\$@"' "$PYXIS_TEST_COMMAND" "\$@"
END
    run user srun -w n1 --container-image="$image" echo ran-anyway
    refused "cannot create a user namespace: No space left on device"
    [[ $output == *'user.max_user_namespaces is 0 on this node; `sysctl -w user.max_user_namespaces='* ]]
    nothing_left
}

@test "runtime_path full: the step fails, named or not" {
    on_node mount -t tmpfs -o nr_inodes=1,mode=755 tmpfs /run/pyxis
    run user srun -w n1 --container-image="$image" echo ran-anyway
    on_node umount /run/pyxis
    refused "couldn't create the runtime directory /run/pyxis/"
    [[ $output == *"No space left on device"* ]]
    on_node mount -t tmpfs -o nr_inodes=2,mode=755 tmpfs /run/pyxis
    run user srun -w n1 --container-image="$image" --container-name=full echo ran-anyway
    on_node umount /run/pyxis
    refused "names.lock: No space left on device"
    nothing_left
}

@test "no room for the container: the step fails, nothing half made stays" {
    local data=/var/tmp/full
    on_node sh -c "mkdir -m 777 $data; mount -t tmpfs -o size=100k,mode=777 tmpfs $data"
    run user srun -w n1 --export=ALL,XDG_DATA_HOME=$data --container-image="$image" --container-name=full echo ran-anyway
    left=$(on_node find $data -mindepth 1 -name '*full*')
    [ -z "$left" ]
    on_node sh -c "umount $data; rmdir $data"
    refused "failed to create container filesystem for image: $image: "
    [[ $output == *"No space left on device"* ]]
    nothing_left
}

@test "no room for what is saved, or no right: said before the program starts" {
    on_node sh -c 'mkdir -m 777 /var/tmp/full; mount -t tmpfs -o size=100k,mode=777 tmpfs /var/tmp/full'
    run user srun -w n1 --container-image="$image" --container-save=/var/tmp/full/x.sqsh echo ran-anyway
    on_node sh -c 'umount /var/tmp/full; rmdir /var/tmp/full'
    refused "cannot save to /var/tmp/full/x.sqsh: No space left on device"
    run user srun -w n1 --container-image="$image" --container-save=/root/x.sqsh echo ran-anyway
    refused "cannot save to /root/x.sqsh: Permission denied"
    nothing_left
}

@test "no room any more for what is saved: the step fails, no file is left" {
    on_node sh -c 'mkdir -m 777 /var/tmp/full; mount -t tmpfs -o size=8m,mode=777 tmpfs /var/tmp/full'
    run user srun -w n1 --container-image="$image" --container-mounts=/var/tmp/full --container-save=/var/tmp/full/x.sqsh \
        sh -c 'head -c 8000000 /dev/zero > /var/tmp/full/data; echo it ran'
    left=$(on_node find /var/tmp/full -type f)
    on_node sh -c 'umount /var/tmp/full; rmdir /var/tmp/full'
    echo "$output"
    [ "$left" = /var/tmp/full/data ]
    [ "$status" -eq 1 ]
    [[ $output == *"it ran"*"failed to export container"*" to /var/tmp/full/x.sqsh: "* ]]
    nothing_left
}

@test "a source with a mount below: it comes along, and is as read-only" {
    [[ $PYXIS_TEST_RUNTIME == pyxis ]] || skip "built in: enroot's own lines say rbind"
    on_node sh -c 'mkdir -m 755 /var/tmp/above /var/tmp/above/below; mount -t tmpfs tmpfs /var/tmp/above/below; touch /var/tmp/above/below/seen; chmod 777 /var/tmp/above/below'
    run user srun -w n1 "$PYXIS_TEST_COMMAND" start --mount "/var/tmp/above /mnt none x-create=dir,bind,ro" "$image" \
        sh -c 'ls /mnt/below; touch /mnt/below/new'
    left=$(on_node ls /var/tmp/above/below)
    on_node sh -c 'umount /var/tmp/above/below; rmdir /var/tmp/above/below /var/tmp/above'
    echo "$output"
    [ "$status" -eq 1 ] # touch's
    [[ $output == *seen*"Read-only file system"* ]]
    [ "$left" = seen ]
}

@test "a home with a mount below, and a site's mount of all homes: what is mounted there is seen" {
    [[ $PYXIS_TEST_RUNTIME == pyxis ]] || skip "built in: enroot's own lines say rbind"
    home=$CLUSTER_STATE/home/pyxistest
    on_node sh -c "mkdir -p $home/below; mount -t tmpfs tmpfs $home/below; touch $home/below/seen"
    run user srun -w n1 --container-image="$image" --container-mount-home ls "$home/below"
    asked=$status,$output
    run user srun -w n1 --container-image="$image" --container-mounts="$home:/mnt:ro" sh -c 'ls /mnt/below; touch /mnt/below/new'
    mounted=$status,$output
    run user srun -w n1 "$PYXIS_TEST_COMMAND" start --mount "${home%/*} ${home%/*} none x-create=dir,bind,rw" "$image" ls "$home/below"
    on_node sh -c "umount $home/below; rmdir $home/below"
    echo "$asked / $mounted / $status,$output"
    [ "$asked" = 0,seen ]
    [[ $mounted == 1,*seen*"Read-only file system"* ]]
    [ "$status,$output" = 0,seen ]
}

@test "the image: closed to the user, truncated, no squashfs at all" {
    work=$(mktemp -d "$CLUSTER_STATE/work/fault.XXXXXX")
    chmod 755 "$work"
    install -m 000 "$image" "$work/closed.sqsh"
    run user srun -w n1 --container-image="$work/closed.sqsh" echo ran-anyway
    refused "cannot open image $work/closed.sqsh: Permission denied"
    head -c 20000 "$image" > "$work/cut.sqsh"
    run user srun -w n1 --container-image="$work/cut.sqsh" echo ran-anyway
    refused "container start failed: $work/cut.sqsh is truncated: it should have "
    head -c 20000 /dev/zero > "$work/zero.sqsh"
    run user srun -w n1 --container-image="$work/zero.sqsh" echo ran-anyway
    refused "$work/zero.sqsh"
    run user srun -w n1 --container-image=/nonexistent.sqsh echo ran-anyway
    refused "cannot open image /nonexistent.sqsh: No such file or directory"
    nothing_left
}

@test "the runtime directory lost in mid-step: the step goes on and ends as it should, and so does the next" {
    on_node rm -rf /run/pyxis
    user srun -w n1 --container-image="$image" true
    before=$(what_exists)
    user srun -w n1 --container-image="$image" sh -c 'echo ready; sleep 1; ls /bin > /dev/null && echo fine' &> "$BATS_TEST_TMPDIR/out" &
    until grep -q ready "$BATS_TEST_TMPDIR/out"; do sleep 0.05; done
    on_node rm -rf /run/pyxis
    wait_status $!
    [ "$status" -eq 0 ]
    grep -q fine "$BATS_TEST_TMPDIR/out"
    user srun -w n1 --container-image="$image" true
    nothing_left
}

@test "the runtime directory lost while an image is fetched: what was lost is named" {
    work=$(mktemp -d "$CLUSTER_STATE/work/fault.XXXXXX")
    chmod 777 "$work"
    printf '%s\n' '#!/bin/sh' "[ \"\$1\" = get ] || exit 0" "touch $work/fetching; while [ ! -e $work/go ]; do sleep 0.05; done" \
        "echo $image" > "$work/importer"
    chmod 755 "$work/importer"
    # enroot's way needs the directory afterwards, for its configuration file.
    ln -s "$PYXIS_TEST_COMMAND" "$CLUSTER_STATE/enroot/enroot"
    cluster plugstack "$PYXIS_TEST_LINE runtime=enroot importer=$work/importer"
    user srun -w n1 --container-image=some/image echo ran-anyway &> "$BATS_TEST_TMPDIR/out" &
    until [ -e "$work/fetching" ]; do sleep 0.05; done
    on_node rm -rf /run/pyxis
    touch "$work/go"
    wait_status $!
    rm "$CLUSTER_STATE/enroot/enroot"
    cat "$BATS_TEST_TMPDIR/out"
    [ "$status" -eq 1 ]
    grep -q "couldn't write /run/pyxis/.*: No such file or directory.*the node has lost its runtime directory" "$BATS_TEST_TMPDIR/out"
    [ "$(grep -c ran-anyway "$BATS_TEST_TMPDIR/out")" -eq 0 ]
}

# Slurm's own limits are cgroups as well; the test cluster's slurmd sets none, so this one is made by hand.
@test "the memory limit hit by what is written to a container: the writer is killed, nothing is left" {
    work=$(mktemp -d "$CLUSTER_STATE/work/fault.XXXXXX")
    chmod 777 "$work"
    user srun -w n1 --container-image="$image" --container-writable --container-mounts="$work:$work" \
        sh -c 'touch "$1/ready"; while [ ! -e "$1/go" ]; do sleep 0.05; done; dd if=/dev/zero of=/big bs=1M count=300; echo "dd: $?"; ls /big' - "$work" \
        &> "$BATS_TEST_TMPDIR/out" &
    until [ -e "$work/ready" ]; do sleep 0.05; done
    # The machine's cgroups are everybody's: a name of this test's own. The kernel may take its time to give one back.
    limit=/run/memory/pyxis-limit.$(basename "$work").$(basename "$CLUSTER_STATE")
    on_node sh -c 'mkdir -p /run/memory; mount -n -t cgroup -o memory memory /run/memory && mkdir "$1" &&
        echo 100M > "$1"/memory.limit_in_bytes &&
        for pid in $(pgrep -u pyxistest); do
            # The sleep of the loop above may have ended by now.
            { echo "$pid" > "$1"/cgroup.procs; } 2> /dev/null || [ ! -e "/proc/$pid" ] || exit 1
        done' - "$limit"
    touch "$work/go"
    wait_status $!
    cat "$BATS_TEST_TMPDIR/out"
    # Slurm's word for it when the kernel takes the task itself, the shell's when it takes its child.
    grep -q -e 'Killed' -e 'dd: 137' -e 'Bus error' "$BATS_TEST_TMPDIR/out"
    on_node sh -c 'for i in $(seq 200); do rmdir "$1" && break; sleep 0.1; done 2> /dev/null; umount -n /run/memory; rmdir /run/memory' - "$limit"
    nothing_left
}
