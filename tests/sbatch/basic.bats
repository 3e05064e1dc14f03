#!/usr/bin/env bats
# Batch scripts with the plugin loaded.

load ../common

@test "sbatch without a container" {
    run_sbatch <<< '#!/bin/sh
echo "on $(hostname)"'
    output_has "on "
}

@test "srun with a container in a batch script" {
    run_sbatch << END
#!/bin/sh
srun --container-image=$(image busybox) cat /etc/os-release
END
    output_has ID=pyxis-test
}
