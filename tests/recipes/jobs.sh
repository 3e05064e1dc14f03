# shellcheck shell=bash
# The jobs. Each runs as an ordinary user in a directory that the nodes see; $I and $E
# are images, REPLAY_* what else a job needs, $S is `show`.
jobs=()
one() { jobs+=("$1"); }

one identity
job_identity() { srun -w n1 --container-image="$I" sh -c 'id -u; id -g; whoami'; }

one root-user
job_root-user() { srun -w n1 --container-image="$I" --container-remap-root sh -c 'id -u; whoami; touch /tmp/x; ls -n /tmp/x | cut -d" " -f1'; }

one write
job_write() { srun -w n1 --container-image="$I" sh -c 'touch /x && echo written'; }

one write-asked
job_write-asked() { srun -w n1 --container-image="$I" --container-writable sh -c 'touch /x && ls /x'; }

one read-only-asked
job_read-only-asked() { srun -w n1 --container-image="$I" --container-readonly sh -c 'touch /x && ls /x'; }

one home
job_home() {
    echo mine > ~/mine
    srun -w n1 --container-image="$I" sh -c 'cd; pwd; cat mine; echo more > more && echo written'
    ls ~
    rm -f ~/more
}

one home-asked
job_home-asked() { srun -w n1 --container-image="$I" --container-mount-home sh -c 'cd; pwd; cat mine'; }

one home-not
job_home-not() { srun -w n1 --container-image="$I" --no-container-mount-home sh -c 'cat ~/mine'; }

one mounts
job_mounts() { srun -w n1 --container-image="$I" sh -c "$(cat "$S")" show mounts; }

one mounts-asked
job_mounts-asked() {
    mkdir -p data
    echo text > data/file
    srun -w n1 --container-image="$I" --container-mounts="$PWD/data:/data:ro,/etc/hostname:/name" \
        sh -c 'cat /data/file; touch /data/x; grep -c . /name; grep -E " /(data|name) " /proc/self/mountinfo | cut -d" " -f5,6 | sed "s/,.*atime//"'
}

one devices
job_devices() { srun -w n1 --container-image="$I" sh -c "$(cat "$S")" show devices; }

one environment
job_environment() { OF_JOB=1 srun -w n1 --container-image="$I" sh -c "$(cat "$S")" show environment; }

one environment-kept
job_environment-kept() { PATH=$PATH:/mine HOME_OF=me srun -w n1 --container-image="$E" --container-env=PATH,IMAGE_VARIABLE sh -c 'echo $PATH,$HOME_OF,$IMAGE_VARIABLE'; }

one entrypoint
job_entrypoint() { srun -w n1 --container-image="$E" --container-entrypoint sh -c 'echo $FROM_ENTRYPOINT; pwd; ls -d /from-fstab'; }

one directory
job_directory() {
    srun -w n1 --container-image="$I" --container-workdir=/usr pwd
    srun -w n1 --container-image="$I" pwd
}

one named
job_named() {
    srun -w n1 --container-image="$I" --container-name=kept --container-writable sh -c 'echo one > /one'
    srun -w n1 --container-name=kept cat /one
    srun -w n1 enroot list | sed 's/pyxis_[0-9]*_/pyxis_JOB_/'
    salloc -Q -w n1 bash -c '
        srun --container-image="$I" --container-name=two:create --container-writable sh -c "echo two > /two"
        srun --container-name=two:exec true; echo "exec: $?"
        srun --container-name=two:no_exec cat /two'
}

one saved
job_saved() {
    srun -w n1 --container-image="$I" --container-writable --container-save="$PWD/saved.sqsh" sh -c 'echo saved > /saved'
    srun -w n2 --container-image="$PWD/saved.sqsh" cat /saved
}

one batch
job_batch() {
    printf '#!/bin/bash\n#SBATCH -N2\nsrun -n2 --container-image="$I" sh -c '"'"'echo $SLURM_PROCID of $SLURM_NTASKS'"'"' | sort\n' > two-nodes
    sbatch -Q --wait -o batch.out -e /dev/null two-nodes
    cat batch.out
}

one batch-inside
job_batch-inside() {
    printf '#!/bin/sh\n. /etc/os-release\necho "$ID $SLURM_JOB_NUM_NODES"\n' > inside
    sbatch -Q --wait -o inside.out --container-image="$I" inside
    cat inside.out
}

one mpi
job_mpi() { srun -Q --mpi=pmi2 -N2 -n4 --overcommit --container-image="$REPLAY_MPI" timeout 120 ring-mpich | sort; }

one registry
job_registry() { srun -Q -w n1 --container-image="docker://$REPLAY_OPEN#one" cat /which; }

one credentials
job_credentials() {
    srun -Q -w n1 --container-image="docker://$REPLAY_CLOSED#one" cat /which; echo "$?"
    mkdir -p "$REPLAY_CREDENTIALS"
    echo "machine 127.0.0.1 login someone password word" > "$REPLAY_CREDENTIALS/.credentials"
    chmod 600 "$REPLAY_CREDENTIALS/.credentials"
    srun -Q -w n1 --container-image="docker://someone@$REPLAY_CLOSED#one" cat /which
}

one endings
job_endings() {
    srun -Q -w n1 --container-image="$I" sh -c 'exit 42'; echo "$?"
    srun -Q -w n1 --container-image="$I" sh -c 'kill -9 $$'; echo "$?"
    srun -Q -w n1 --container-image="$I" nosuch; echo "$?"
    srun -Q -w n1 --container-image=/nosuch.sqsh true; echo "$?"
}

one tasks
job_tasks() { srun -N2 -n4 --overcommit --container-image="$I" sh -c 'readlink /proc/self/ns/mnt > /tmp/$SLURM_PROCID; echo $SLURMD_NODENAME' | sort; }

one command
job_command() { srun -w n1 bash -c 'enroot version; cp "$I" /tmp/i.sqsh; enroot create -n c /tmp/i.sqsh 2> /dev/null; enroot list; enroot list -f | head -n 1; enroot start c sh -c ". /etc/os-release; echo \$ID"; enroot remove -f c; enroot list'; }
