//! What the package `pyxis-enroot` has in enroot's place for sites' recipes: the hooks are run here as enroot would run them. (Where
//! nobody has changed them the runtime does the same by itself.)

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

fn share(below: &str) -> PathBuf {
    let share = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging/enroot/share");
    PathBuf::from(share).join(below)
}

/// What a hook is run with.
struct Hook {
    top: tempfile::TempDir,
    name: &'static str,
}

impl Hook {
    fn new(name: &'static str) -> Hook {
        let top = tempfile::tempdir().unwrap();
        for file in ["environ", "mounts"] {
            fs::write(top.path().join(file), "").unwrap();
        }
        Hook { top, name }
    }

    fn program(&self, name: &str, text: &str) {
        let path = self.top.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn output(&self, image: &str, variables: &[(&str, &str)]) -> Output {
        fs::write(self.top.path().join("environ"), image).unwrap();
        let mut command = Command::new("bash");
        command.arg(share("hooks.d").join(self.name)).env_clear();
        command.env("PATH", format!("{}:/usr/bin:/bin", self.top.path().display()));
        for (variable, file) in [("ENROOT_ENVIRON", "environ"), ("ENROOT_MOUNTS", "mounts")] {
            command.env(variable, self.top.path().join(file));
        }
        command.envs(variables.iter().copied()).output().unwrap()
    }

    /// The lines that it adds to a container's variables, sorted.
    fn adds(&self, image: &str, variables: &[(&str, &str)]) -> Vec<String> {
        let output = self.output(image, variables);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        let text = self.read("environ");
        let mut lines: Vec<String> =
            text.strip_prefix(image).unwrap().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.top.path().join(file)).unwrap()
    }
}

#[test]
fn the_pmi_hook_hands_on_what_a_step_has() {
    let hook = Hook::new("50-slurm-pmi.sh");
    let step = [("SLURM_JOB_ID", "7"), ("SLURM_STEP_ID", "0"), ("OTHER", "x")];
    let with = |more: &[(&'static str, &'static str)]| [&step[..], more].concat();
    assert!(hook.adds("A=1\n", &step[..1]).is_empty());
    let slurm = ["SLURM_JOB_ID=7", "SLURM_STEP_ID=0"];
    assert_eq!(hook.adds("A=1\n", &step), slurm);
    let pmi2 = [("SLURM_MPI_TYPE", "pmi2"), ("PMI_FD", "3"), ("PMIX_RANK", "0")];
    assert_eq!(
        hook.adds("", &with(&pmi2)),
        ["PMI_FD=3", "SLURM_JOB_ID=7", "SLURM_MPI_TYPE=pmi2", "SLURM_STEP_ID=0"]
    );
    assert_eq!(hook.read("mounts"), "");
    let pmix = [
        ("PMIX_RANK", "a b"),
        ("PMIX_SERVER_TMPDIR", "/run/p m"),
        ("PMIX_GDS_MODULE", "hash"),
        ("PMIX_SECURITY_MODE", "munge,native"),
        ("PMIX_MCA_psec", "native"),
    ];
    assert_eq!(
        hook.adds("", &with(&pmix)),
        [
            "PMIX_GDS_MODULE=hash",
            "PMIX_MCA_gds=hash",
            "PMIX_MCA_psec=native",
            "PMIX_RANK=a b",
            "PMIX_SECURITY_MODE=munge,native",
            "PMIX_SERVER_TMPDIR=/run/p m",
            slurm[0],
            slurm[1]
        ]
    );
    let mount = "/run/p m x-create=dir,bind,rw,nosuid,nodev,noexec,private,nofail\n";
    assert_eq!(hook.read("mounts"), mount);
}

#[test]
fn the_pytorch_hook_sets_what_is_not_there() {
    let hook = Hook::new("50-slurm-pytorch.sh");
    hook.program("scontrol", "echo n3; echo n4");
    let step = [
        ("SLURM_STEP_NODELIST", "n[3-4]"),
        ("SLURM_JOB_ID", "4537"),
        ("SLURM_NTASKS", "4"),
        ("SLURM_PROCID", "3"),
        ("SLURM_LOCALID", "1"),
        ("SLURM_STEP_NUM_TASKS", "4"),
        ("SLURM_STEP_NUM_NODES", "2"),
    ];
    assert!(hook.adds("A=1\n", &step).is_empty());
    let torch = "PYTORCH_VERSION=2\nRANK=9\n";
    let all = ["LOCAL_RANK=1", "MASTER_ADDR=n3", "MASTER_PORT=61001", "OMP_NUM_THREADS=1"];
    assert_eq!(hook.adds(torch, &step), [&all[..], &["WORLD_SIZE=4"]].concat());
    assert_eq!(hook.adds("PYTORCH_VERSION=2\n", &step[3..5]), ["LOCAL_RANK=1", "RANK=3"]);
}

#[test]
fn the_sharp_hook_is_for_steps_that_ask_for_it_and_see_adapters() {
    let hook = Hook::new("50-sharp.sh");
    let sharp = ("SLURM_NETWORK", "sharp");
    let seen = "MELLANOX_VISIBLE_DEVICES=none\nMELLANOX_VISIBLE_DEVICES=all\n";
    assert!(hook.adds(seen, &[]).is_empty());
    assert!(hook.adds("", &[sharp]).is_empty());
    assert!(hook.adds(seen, &[sharp, ("MELLANOX_VISIBLE_DEVICES", "void")]).is_empty());
    let all = [
        "NCCL_COLLNET_ENABLE=1",
        "NCCL_SHARP_GROUP_SIZE_THRESH=8",
        "SHARP_COLL_LOCK_ON_COMM_INIT=1",
        "SHARP_COLL_NUM_COLL_GROUP_RESOURCE_ALLOC_THRESHOLD=0",
    ];
    let nodes = [sharp, ("SLURM_STEP_NUM_NODES", "8"), ("OMPI_MCA_orte_num_nodes", "9")];
    assert_eq!(hook.adds(seen, &nodes), all);
    let some = format!("NCCL_COLLNET_ENABLE=0\n{seen}");
    assert_eq!(hook.adds(&some, &nodes[..1]), all[2..]);
}

#[test]
fn the_mig_hook_asks_about_whole_gpus() {
    let hook = Hook::new("50-mig-config.sh");
    let gpus = |value: &'static str| [("NVIDIA_VISIBLE_DEVICES", value)];
    for none in ["", "void", "none", "MIG-GPU-1/2/3", "0:1"] {
        assert!(hook.adds("", &gpus(none)).is_empty(), "{none}");
    }
    assert!(hook.adds("NVIDIA_VISIBLE_DEVICES=void\n", &[]).is_empty());
    let missing = hook.output("", &gpus("all"));
    assert!(!missing.status.success());
    let line = "50-mig-config.sh: nvidia-smi is not there to ask whether GPUs are split\n";
    assert_eq!(String::from_utf8_lossy(&missing.stderr), line);
    hook.program("nvidia-smi", "echo \"$*\" > \"${0%/*}/words\"; echo Disabled; echo Enabled");
    let given = ["NVIDIA_MIG_CONFIG_DEVICES=all"];
    assert_eq!(hook.adds("NVIDIA_VISIBLE_DEVICES=all\n", &[]), given);
    let query = "--query-gpu=mig.mode.current --format=csv,noheader";
    assert_eq!(hook.read("words"), format!("{query}\n"));
    assert_eq!(hook.adds("NVIDIA_VISIBLE_DEVICES=all\n", &gpus("0,1")), given);
    assert_eq!(hook.read("words"), format!("{query} -i 0,1\n"));
    hook.program("nvidia-smi", "echo Disabled");
    assert!(hook.adds("", &gpus("all")).is_empty());
}
