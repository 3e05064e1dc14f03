#!/usr/bin/env bats
# Slurm is upgraded under running containers, as root: pyxis stays as it was installed, in plugstack.conf too, and there is no
# moment at which a container is missing. From Debian's Slurm to its next; where that is further than Slurm itself keeps jobs
# across (24.11 reads the state of 23.02 and later), by one in between.

cluster() { "$BATS_TEST_DIRNAME/../cluster/cluster" --state "$CLUSTER_STATE" "$@"; }
user() { cluster run -- "$@"; }

setup() {
    export CLUSTER_STATE=$BATS_TEST_TMPDIR/pyxis-cluster.test
    chmod 755 "$BATS_RUN_TMPDIR" "$BATS_RUN_TMPDIR"/test "$BATS_TEST_TMPDIR"
    mkdir "$CLUSTER_STATE"
    work=$CLUSTER_STATE/work
    image=$work/images/busybox.sqsh
}

teardown() {
    touch "$work/enough"
    wait
    # Shown where the test has failed.
    tail -n 20 "$CLUSTER_STATE"/log/slurm*.log
    cluster down
}

# Waits at most $1 seconds for a command to succeed.
wait_for() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do ((SECONDS < end)) || { echo "in vain: $*"; return 1; }; sleep 0.2; done
}

# A batch script in a container, and one with a step in a container, which say every half second where they are until
# $work/NAME.stop is there. /etc/os-release of the image says ID=pyxis-test. Sets jobs[NAME] and jobs[NAME.step].
start_long() {
    local name=$1 which options=(--container-image="$image" --container-mounts="$work")
    for which in "$name" "$name.step"; do
        cat > "$work/$which" << END
#!/bin/sh
while [ ! -e $work/$name.stop ]; do echo "\$(grep ^ID= /etc/os-release)" >> $work/$which.ticks; sleep 0.5; done
echo finished in "\$(grep ^ID= /etc/os-release)"
END
    done
    printf '#!/bin/sh\nsrun %s sh %s\n' "${options[*]}" "$work/$name.step" > "$work/outer"
    jobs[$name]=$(user sbatch --parsable -w n1 -o "$work/$name.out" "${options[@]}" "$work/$name")
    # One after the other: two that start at once on a slow machine can lose each other's cgroups, in Slurm.
    wait_for 30 test -s "$work/$name.ticks"
    jobs[$name.step]=$(user sbatch --parsable -w n1 -o "$work/$name.step.out" "$work/outer")
    wait_for 30 test -s "$work/$name.step.ticks"
}

# They are still where they were, and at work.
lives() {
    local which
    for which in "$1" "$1.step"; do
        cp "$work/$which.ticks" "$BATS_TEST_TMPDIR/ticks"
        wait_for 5 eval '! cmp -s "$work/$which.ticks" "$BATS_TEST_TMPDIR/ticks"'
        [ "$(sort -u "$work/$which.ticks")" = ID=pyxis-test ]
    done
}

# They end in their containers when they are told to.
ends() {
    local which
    touch "$work/$1.stop"
    for which in "$1" "$1.step"; do wait_for 30 grep -x "finished in ID=pyxis-test" "$work/$which.out"; done
}

# Somebody who asks for one container after another, whatever the weather.
keep_asking() {
    local i
    for ((i = 0; ; i++)); do
        [[ ! -e $work/enough ]] || break
        user timeout 60 srun -w n2 -n1 --container-image="$image" grep ^ID= /etc/os-release > "$work/asked.$i" 2>&1
        echo "exit $?" >> "$work/asked.$i"
        user sbatch -w n2 -n1 --container-image="$image" -o "$work/asked.batch.$i" --wrap 'grep ^ID= /etc/os-release' > "$work/submitted.$i" 2>&1
        sleep 0.5
    done < /dev/null 3>&-
}

# What the site has told Slurm, and which packages of pyxis there are.
told() {
    cluster login -- sh -c 'cd /etc/slurm && ls -l --time-style=full-iso plugstack.conf plugstack.conf.d/* && sha256sum plugstack.conf plugstack.conf.d/*
        dpkg-query -W "pyxis*"'
}

# Upgrades Slurm to a suite's, or to 23.11, while all of it is running, and restarts it.
upgrade() {
    local debs apt
    debs=$("$BATS_TEST_DIRNAME/debs" "$from" "$1")
    # At the place it was made at: keys are named by it.
    cluster login -- sh -c 'rm -rf /debs'
    cp -a "$debs" "$CLUSTER_STATE/debs.$1"
    cluster login -- ln -s "$CLUSTER_STATE/debs.$1" /debs
    # Debian's scripts would restart what they find, in their own order.
    cluster login -- sh -c 'printf "#!/bin/sh\nexit 101\n" > /usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d'
    apt=(apt-get -q -y -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold -o Dpkg::Options::=--force-unsafe-io
        -o APT::Sandbox::User=root -o Acquire::Check-Valid-Until=false -o Dir::Etc::sourcelist=/debs/sources
        -o Dir::Etc::sourceparts=/none -o Dir::Etc::preferences=/debs/preferences -o Dir::State::lists=/debs/lists
        -o Dir::Cache::archives=/debs/archives --no-download)
    cluster login -- env DEBIAN_FRONTEND=noninteractive "${apt[@]}" install slurmctld slurmd slurm-client > "$CLUSTER_STATE/log/apt.$1" 2>&1 ||
        { tail -n 30 "$CLUSTER_STATE/log/apt.$1"; return 1; }
    # SchedMD's order.
    cluster restart slurmctld
    cluster restart slurmd
    # Between two of Debian's packages slurmstepd does not fit its own library, and a job that ends just then drains its node,
    # as its epilog cannot be run. Whoever wants none of that stops slurmd for as long as apt runs.
    cluster login -- sh -c 'for node in $(sinfo -h -N -t drain,draining -o %N | sort -u); do
        echo "$node drained: $(sinfo -h -n $node -R)"
        scontrol update nodename=$node state=resume
    done'
}

# No image's server runs on the node.
no_server() {
    local found=0
    cluster node 1 -- pgrep pyxis-image || found=$?
    ((found == 1))
}

# `! grep` would not fail a test; nor may a grep that cannot look.
absent() {
    local found=0
    grep "$@" || found=$?
    ((found == 1))
}

state_of() { cluster login -- scontrol show job "$1" | sed -n 's/.*JobState=\([A-Z]*\).*/\1/p'; }

# Whoever asks now gets a container of this release.
serves() {
    [[ $(user srun --version) == *" $1."* ]]
    wait_for 60 user timeout 20 srun -w n2 --container-image="$image" true
    [ "$(user srun -w n2 --container-image="$image" grep ^ID= /etc/os-release)" = ID=pyxis-test ]
    [[ $(cluster login -- srun -w n2 sh -c 'cat /proc/$PPID/maps') == *"/pyxis/$1/spank_pyxis.so"* ]]
}

# From a suite, whose Slurm is of this release, by TARGET=RELEASE...
survives() {
    local from=$1 release=$2 hop file which
    local -A jobs
    shift 2
    # What cannot be fetched is no fault of what is tested.
    for hop in "$@"; do
        "$BATS_TEST_DIRNAME/debs" "$from" "${hop%=*}" > /dev/null || { (($? == 3)) && skip "Slurm ${hop%=*} cannot be fetched"; return 1; }
    done
    "$BATS_TEST_DIRNAME/up" "$CLUSTER_STATE" "$from" "$PYXIS_DIST"
    told > "$BATS_TEST_TMPDIR/told"
    serves "$release"
    start_long oldest
    keep_asking &
    for hop in "$@"; do
        start_long "$release"
        upgrade "${hop%=*}"
        serves "${hop#*=}"
        lives "$release"
        lives oldest
        ends "$release"
        for which in "$release" "$release.step"; do wait_for 60 eval '[ "$(state_of "${jobs[$which]}")" = COMPLETED ]'; done
        release=${hop#*=}
    done
    # Of a job that has seen two upgrades the container and its programs live as well. Slurm is not told of its end: 24.11
    # does not understand what a slurmstepd of 22.05 says.
    ends oldest
    wait_for 60 no_server

    touch "$work/enough"
    wait
    told | diff "$BATS_TEST_TMPDIR/told" -
    tail -n 3 "$work"/asked.[0-9]*
    # Whoever asked got a container or nothing: never the host, whose ID is another.
    [ "$(cat "$work"/asked.* | grep ^ID= | sort -u)" = ID=pyxis-test ]
    for file in "$work"/asked.[0-9]*; do
        if grep -q '^exit 0$' "$file"; then grep -q ^ID=pyxis-test "$file"; fi
    done
    absent -i -E 'spank.*incompatible|incompatible.*(spank|pyxis)|pyxis: no build' \
        "$work"/asked.* "$work"/submitted.* "$work"/*.out "$CLUSTER_STATE"/log/*
}

@test "from 22.05 to 24.11, by 23.11 as Slurm wants it" { survives bookworm 22.05 23.11=23.11 trixie=24.11; }

@test "from 24.11 to 26.05" { survives trixie 24.11 forky=26.05; }
