//! A new release of Slurm: one data file and one command.

mod common;

use common::{build_matrix, root, target_lock, target_of, text};
use std::fs;
use std::path::Path;
use std::process::Command;

const DATA: &str = r#"
release = "27.05"
first = "27.05.0"
latest = "27.05.1"
api = 47
soname = "libslurm.so.47"
version_check = "major.minor"
task_prolog = 1576
adds = ["spank_made_up"]

[interface]
functions = ["int spank_made_up(spank_t spank)"]
"#;

/// A copy of the parts of the workspace that take part, the plugin being a small one.
fn workspace(dir: &Path) {
    let copy = |part: &&str| {
        let (from, to) = (root().join(part), dir.join(part));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        let status = Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap();
        assert!(status.success(), "cp {part}");
    };
    [
        "Cargo.lock",
        "slurm-releases",
        "spank-bindings",
        "build-matrix",
        "plugin/Cargo.toml",
        "plugin/build.rs",
        "debian/control",
        "rpm/pyxis.spec",
    ]
    .iter()
    .for_each(copy);
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let members =
        |line: &&str| !line.starts_with("members") && !line.starts_with("default-members");
    let manifest: Vec<&str> = manifest.lines().filter(members).collect();
    let manifest = manifest.join("\n").replace(
        "[workspace]",
        "[workspace]\nmembers = [\"slurm-releases\", \"spank-bindings\", \"build-matrix\", \"plugin\"]",
    );
    fs::write(dir.join("Cargo.toml"), manifest).unwrap();

    // The manifest is the plugin's own, without what its sources need.
    let manifest = fs::read_to_string(dir.join("plugin/Cargo.toml")).unwrap();
    let (mut kept, mut keep) = (String::new(), true);
    for line in manifest.lines() {
        if line.starts_with('[') {
            keep = !line.contains("dependencies") && !line.contains("[[");
        }
        if keep {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept.push_str("[dependencies]\nspank-bindings.workspace = true\n");
    fs::write(dir.join("plugin/Cargo.toml"), kept).unwrap();
    fs::create_dir_all(dir.join("plugin/src")).unwrap();
    fs::write(dir.join("plugin/src/lib.rs"), PLUGIN).unwrap();
}

const PLUGIN: &str = r#"//! A plugin that does nothing, and does it differently from a release on.
#![deny(unexpected_cfgs)]
use spank_bindings::{Args, FailureMode, Spank};

fn nothing(_: &Spank<'_>, _: Args<'_>) -> Result<(), String> {
    Ok(())
}

fn wanted() -> bool {
    false
}

#[cfg(slurm_ge_27_05)]
fn wrap(spank: &Spank<'_>, _: Args<'_>) -> Result<(), spank_bindings::SpankError> {
    spank.prepend_task_argv(&[c"wrap"])
}

spank_bindings::export_plugin! {
    name: "pyxis",
    version: env!("CARGO_PKG_VERSION"),
    failure_mode: FailureMode::Job,
    hooks: {
        init => nothing, init_post_opt => nothing, local_user_init => nothing,
        user_init => nothing, task_init_privileged => nothing, task_init => wrap, task_exit => nothing, job_epilog => nothing where wanted, exit => nothing,
    }
}
"#;

/// The `build-matrix` of that workspace, run by cargo: what `make` does.
fn run(dir: &Path, args: &[&str]) -> String {
    let _lock = target_lock();
    let output = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()))
        .current_dir(dir)
        .args(["run", "--quiet", "-p", "build-matrix", "--"])
        .args(args)
        .env("CARGO_TARGET_DIR", target_of(dir))
        .output()
        .unwrap();
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn a_release_is_added_by_one_file_and_one_command() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    workspace(dir);
    fs::write(dir.join("slurm-releases/releases/27.05.toml"), DATA).unwrap();

    let stale = build_matrix(dir, &["bindings", "--check"]);
    assert!(!stale.status.success());
    assert!(text(&stale.stderr).contains("spank-bindings/Cargo.toml"), "{}", text(&stale.stderr));

    run(dir, &["bindings"]);
    let generated =
        fs::read_to_string(dir.join("spank-bindings/src/generated/slurm_27_05.rs")).unwrap();
    assert!(generated.contains("pub fn spank_made_up(spank: spank_t)"));
    for (file, line) in [
        ("spank-bindings/Cargo.toml", "\nslurm-27-05 = ["),
        ("plugin/Cargo.toml", "\nslurm-27-05 = ["),
        ("debian/control", "\nPackage: pyxis-slurm27.05\n"),
        ("debian/control", ", pyxis-slurm27.05 (= ${source:Version})\n"),
        ("debian/control", "\nBreaks: slurmd (>= 27.06~), "),
        ("rpm/pyxis.spec", " 27.05\n"),
        ("rpm/pyxis.spec", "\nConflicts:      slurm >= 27.06\n"),
    ] {
        let text = fs::read_to_string(dir.join(file)).unwrap();
        assert!(text.contains(line), "{line} is not in {file}: {text}");
    }

    let list = run(dir, &["list"]);
    assert!(list.lines().last().unwrap().starts_with("27.05     47  libslurm.so.47"), "{list}");
    let built = run(dir, &["build", "27.05"]);
    assert!(built.contains("for Slurm 27.05"), "{built}");
    assert!(built.contains("verified"), "{built}");
    run(dir, &["verify", "target/matrix/27.05/spank_pyxis.so"]);

    let faults = restamped(dir, b"slurm=23.02");
    for fault in [
        "stamped with number 0x1b0501, not of 23.02",
        "stamped with API 47, not 39",
        "exports slurm_spank_init_failure_mode",
        "wants spank_prepend_task_argv, which Slurm 23.02 does not have",
    ] {
        assert!(faults.contains(fault), "{fault} is not among\n{faults}");
    }
    assert!(restamped(dir, b"slurm=19.05").contains("no such Slurm release: 19.05"));
}

/// What `verify` says of the plugin with another release in its stamp.
fn restamped(dir: &Path, release: &[u8; 11]) -> String {
    let mut bytes = fs::read(dir.join("target/matrix/27.05/spank_pyxis.so")).unwrap();
    let place = bytes.windows(11).position(|part| part == b"slurm=27.05").unwrap();
    bytes[place..place + 11].copy_from_slice(release);
    let file = dir.join("restamped.so");
    fs::write(&file, bytes).unwrap();
    let output = build_matrix(dir, &["verify", "restamped.so"]);
    assert!(!output.status.success());
    text(&output.stdout)
}
