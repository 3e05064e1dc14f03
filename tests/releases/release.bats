#!/usr/bin/env bats
# What is particular to having builds for several releases, as root on a cluster of tests/releases/up (CLUSTER_STATE): that
# the loader is as good as the build itself, and that nothing but that build is ever loaded.

cluster() { "$BATS_TEST_DIRNAME/../cluster/cluster" "$@"; }
user() { cluster run -- "$@"; }

setup_file() {
    local version
    version=$(cluster run -- srun --version)
    version=${version#* }
    export release=${version%.*}
    export lib=/usr/lib/x86_64-linux-gnu
    export conf=/etc/slurm/plugstack.conf.d/pyxis.conf
    export line="required $lib/slurm/spank_pyxis.so pyxis_path=/usr/bin/pyxis"
    export build="required $lib/pyxis/$release/spank_pyxis.so pyxis_path=/usr/bin/pyxis"
}

setup() { image=$PYXIS_TEST_IMAGES/busybox.sqsh; }

# What a test has changed is put back by the packages' own files.
teardown() {
    cluster login -- sh -c "ln -sf /usr/share/pyxis/pyxis.conf $conf
        if [ -e /run/aside ]; then rm -rf $lib/pyxis && cp -a /run/aside $lib/pyxis; fi"
    # The epilog of a job that ended without a build has failed, and that drains a node.
    cluster login -- sh -c 'for node in $(sinfo -h -N -t drain,draining -o %N); do scontrol update nodename=$node state=resume; done'
}

output_has() { [[ $output == *"$1"* ]] || { echo "not in the output: $1"; return 1; }; }

# `! grep` would not fail a test; nor may a grep that cannot look.
absent() {
    local found=0
    grep "$@" || found=$?
    ((found == 1))
}

# Has srun, sbatch, salloc and slurmstepd read another line. (slurmd reads it when it starts.)
plugstack() { cluster login -- sh -c "rm -f $conf && echo '$1' > $conf"; }

# Changes below $lib/pyxis are undone by teardown.
aside() { cluster login -- sh -c "[ -e /run/aside ] || cp -a $lib/pyxis /run/aside; cd $lib/pyxis && $1"; }

# srun does not run the program, and says so in one line of the plugin's and in Slurm's own.
refused() {
    run user srun echo ran-on-the-host
    echo "$output"
    [ "$status" -ne 0 ]
    [[ $output != *ran-on-the-host* ]]
    output_has "$1"
    [ "$(grep -c 'pyxis: ' <<< "$output")" -eq "${2:-1}" ]
}

@test "every program of Slurm has this release's build, and no other" {
    for program in srun sbatch salloc; do
        user $program --help > "$BATS_TEST_TMPDIR/help"
        grep -q -e --container-image "$BATS_TEST_TMPDIR/help"
    done
    # slurmd of 20.11 calls init only in plugins that have slurmd_exit.
    [[ $release == 20.11 ]] || cluster logs | grep 'pyxis: version v'
    pid=$(cluster node 1 -- cat /run/slurm/slurmd.pid)
    for maps in "$(cluster node 1 -- cat "/proc/$pid/maps")" "$(cluster login -- srun -w n1 sh -c 'cat /proc/$PPID/maps')"; do
        found=$(grep -o "$lib/.*pyxis.*" <<< "$maps" | sort -u)
        echo "$found"
        # That slurmd of 20.11 has let the plugin go, of which the build stays.
        if [[ $release != 20.11 || $maps == *slurmstepd* ]]; then [[ $found == *"$lib/slurm/spank_pyxis.so"* ]]; fi
        [ "$(grep -c "/pyxis/" <<< "$found")" -eq 1 ]
        [[ $found == *"$lib/pyxis/$release/spank_pyxis.so"* ]]
    done
}

@test "options, output and errors are those of the build named directly" {
    said() {
        user srun --help
        user sbatch --help
        # Lines of several processes come in any order.
        user srun -n2 --overcommit --container-image="$image" sh -c 'id; env | grep -v -E "SLURM|TMPDIR|HOSTNAME|PWD"; ls -l / /proc/self/fd' 2>&1 | steady | sort
        { user srun --container-image=/nonexistent.sqsh true 2>&1 || echo "exit $?"; } | steady | sort
        user srun --container-mounts=:/b --container-image="$image" true 2>&1 || echo "exit $?"
        user sbatch --container-writable --container-readonly --wrap true 2>&1 || echo "exit $?"
    } < /dev/null
    # Times, process and job numbers, and what has the process number in it.
    steady() { sed -E 's/[0-9]+/N/g; s/[A-Z][a-z]{2} +N N:N//'; }
    said | steady > "$BATS_TEST_TMPDIR/through"
    grep -q 'nonexistent.sqsh' "$BATS_TEST_TMPDIR/through"
    plugstack "$build"
    said | steady | diff "$BATS_TEST_TMPDIR/through" -
}

@test "arguments of plugstack.conf arrive" {
    plugstack "$line sbatch_support=0"
    user srun --help > "$BATS_TEST_TMPDIR/help"
    grep -q -e --container-image "$BATS_TEST_TMPDIR/help"
    user sbatch --help > "$BATS_TEST_TMPDIR/help"
    absent -e --container-image "$BATS_TEST_TMPDIR/help"
    plugstack "$line nonsense=1"
    refused "pyxis: unknown configuration option: nonsense=1"
}

@test "no build for this release: refused, with the package to install; others do not step in" {
    aside "rm -r $release"
    refused "pyxis: no build for this Slurm ($release) in $lib/pyxis: install the package pyxis-slurm$release; installed: "
    others=$(cluster login -- ls "$lib/pyxis")
    [ -n "$others" ]
    for other in $others; do output_has " $other"; done
    output_has "spank: "
    # Nor does a batch script run, where sbatch is of a host that still has the build.
    aside "cp -a /run/aside/$release ."
    user sbatch --wait -w n1 -o "$CLUSTER_STATE/work/out" --wrap "until [ -e $CLUSTER_STATE/work/go ]; do sleep 0.1; done; srun echo ran-on-the-host" > /dev/null &
    for _ in $(seq 600); do [[ $(cluster login -- squeue -h -t R) == "" ]] || break; sleep 0.1; done
    aside "rm -r $release"
    touch "$CLUSTER_STATE/work/go"
    if wait $!; then return 1; fi
    grep "pyxis-slurm$release" "$CLUSTER_STATE/work/out"
    absent ran-on-the-host "$CLUSTER_STATE/work/out"
}

@test "slurmd without a build does not start, and its log has the line" {
    aside "rm -r $release"
    cluster node 2 -- sh -c 'kill $(cat /run/slurm/slurmd.pid)'
    run cluster node 2 -- timeout 120 slurmd -D -N n2
    aside "cp -a /run/aside/$release ."
    cluster restart slurmd 2
    [ "$status" -ne 0 ]
    [ "$status" -ne 124 ]
    cluster logs | grep "pyxis: no build for this Slurm ($release).*install the package pyxis-slurm$release"
    user srun -w n2 true
}

@test "a build that fails its checks is refused, saying why" {
    file=$release/spank_pyxis.so
    refuses() {
        aside "$1"
        refused "$2"
        aside "rm -rf $release && cp -a /run/aside/$release ."
    }
    refuses "chmod o+w $file" "$lib/pyxis/$file, is refused: it or its directory can be written by others than root; chmod go-w"
    refuses "chmod g+w $release" "is refused: it or its directory can be written by others"
    refuses "chown 12345 $file" "is refused: it or its directory belongs to somebody else than root"
    refuses "truncate -s 20000 $file" "not usable: $release (truncated; install its package again)"
    refuses "chmod 000 $file" "not usable: $release (unreadable)"
    refuses "echo text > $file" "not usable: $release (without the stamp of a build of pyxis)"
    refuses "printf '\\010' | dd of=$file bs=1 seek=18 conv=notrunc status=none" "not usable: $release (for another processor)"
    # Another release's build in this one's place is that of the other release.
    other=22.05
    [[ $release != 22.05 ]] || other=24.11
    refuses "cp -a $other/spank_pyxis.so $file" "install the package pyxis-slurm$release; installed: "
    user srun true
}

@test "a wrong build named directly is Slurm's to refuse" {
    others=$(cluster login -- ls "$lib/pyxis")
    [ "$(wc -w <<< "$others")" -gt 1 ]
    for other in $others; do
        [[ $other != "$release" ]] || continue
        plugstack "required $lib/pyxis/$other/spank_pyxis.so pyxis_path=/usr/bin/pyxis"
        if [[ $release == 20.11 ]]; then
            # 20.11 compares no versions and takes the plugin. What later releases answer means nothing to it, and
            # so every task fails, with or without a container: nothing runs where it should not.
            user srun --help > "$BATS_TEST_TMPDIR/help"
            grep -q -e --container-image "$BATS_TEST_TMPDIR/help"
            for container in '' "--container-image=$image"; do
                # shellcheck disable=SC2086
                run user srun $container echo ran-anyway
                echo "$output"
                [ "$status" -ne 0 ]
                [[ $output != *ran-anyway* ]]
                output_has "pyxis: Slurm refused a request: spank_getenv: unknown error"
            done
        elif [[ $release == 21.08 ]]; then
            # 21.08 compares versions of plugins named by a relative path only. With the codes of later releases, which are
            # its own, all goes well; with those of 20.11 every task fails. Never does one run outside.
            run user srun --container-image="$image" grep ^ID= /etc/os-release
            echo "$output"
            if [[ $other == 20.11 ]]; then
                [ "$status" -ne 0 ]
                output_has "pyxis: Slurm refused a request: spank_getenv: unknown error"
            else
                [ "$output" = ID=pyxis-test ]
            fi
        else
            refused "Incompatible Slurm plugin $lib/pyxis/$other/spank_pyxis.so version ($other." 0
            output_has "spank: $lib/pyxis/$other/spank_pyxis.so: Incompatible plugin version"
        fi
    done
}

@test "a Slurm newer than all builds: refused, with the line that says so" {
    # Real programs that state the number of a release to come, as all of them ask libslurm for it.
    echo 'long slurm_api_version(void) { return 99L << 16; }' |
        cc -shared -fPIC -nostdlib -x c -o "$CLUSTER_STATE/work/newer.so" -
    for program in srun sbatch salloc; do
        run user env LD_PRELOAD="$CLUSTER_STATE/work/newer.so" $program -n1 "$CLUSTER_STATE/work/tests/common.bash"
        echo "$output"
        [ "$status" -ne 0 ]
        output_has "pyxis: no build for this Slurm (API 99) in $lib/pyxis: it is newer than "
        output_has "install a newer pyxis; installed: "
    done
}

@test "an epilog is one fork per job, and only where the line asks for it, as without the loader; there is no prolog" {
    # slurmd starts `slurmstepd spank prolog|epilog` if a plugin has that hook: a slurmstepd that notes its arguments.
    epilogs() {
        plugstack "$1"
        cluster restart slurmd 1
        rm -f "$CLUSTER_STATE/work/calls"
        user srun -w n1 true
        # A node is idle when its epilog is through.
        until [[ $(cluster login -- sinfo -h -n n1 -o %t) == idle* ]]; do sleep 0.1; done
        grep -o -E 'spank (prolog|epilog)' "$CLUSTER_STATE/work/calls" | sort | uniq -c
    }
    stepd=$(cluster login -- sh -c 'ls /usr/sbin/slurmstepd /usr/lib/*/slurm*/sbin/slurmstepd 2> /dev/null' | head -n 1)
    cluster login -- sh -c "mv $stepd $stepd.real; printf '#!/bin/sh\necho \"\$*\" >> $CLUSTER_STATE/work/calls\nexec $stepd.real \"\$@\"\n' > $stepd; chmod 755 $stepd"
    through=$(epilogs "$line container_scope=job")
    direct=$(epilogs "$build container_scope=job")
    neither=$(epilogs "$line" && epilogs "$build")
    cluster login -- mv "$stepd.real" "$stepd"
    teardown
    cluster restart slurmd 1
    echo "$through / $direct / $neither"
    [ "$through" = "$direct" ]
    [[ $through == *"1 spank epilog"* ]]
    [[ $through != *prolog* ]]
    [ -z "$neither" ]
}
