//! What people and machines see.

mod common;

use common::{build_matrix, root, text};
use nix::fcntl::{Flock, FlockArg};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Standard error of a run that must fail with one line.
fn complaint(dir: &Path, args: &[&str]) -> String {
    let output = build_matrix(dir, args);
    assert!(!output.status.success(), "{args:?}");
    let error = text(&output.stderr);
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

#[test]
fn list_is_a_table_and_a_document() {
    let table = text(&build_matrix(&root(), &["list"]).stdout);
    assert_eq!(table.lines().count(), 1 + slurm_releases::RELEASES.len());
    assert!(table.contains("24.11     42  libslurm.so.42 24.11.7   0x180b07"), "{table}");

    let document = build_matrix(&root(), &["list", "--json"]).stdout;
    let document: serde_json::Value = serde_json::from_slice(&document).unwrap();
    assert_eq!(document[0]["release"], "20.11");
    assert_eq!(document[4]["adds"][0], "spank_prepend_task_argv");
}

#[test]
fn an_unknown_release_is_answered_with_those_there_are() {
    let error = complaint(&root(), &["build", "24.12"]);
    assert!(error.contains("no release \"24.12\""), "{error}");
    assert!(error.contains("24.11, 25.05"), "{error}");
}

#[test]
fn one_header_is_for_one_release() {
    complaint(&root(), &["build", "24.11", "25.05", "--slurm", "/usr"]);
    complaint(&root(), &["build", "all", "--slurm", "/usr"]);
}

#[test]
fn outside_of_the_source_tree_there_is_nothing_to_build() {
    let dir = tempfile::tempdir().unwrap();
    let error = complaint(dir.path(), &["build", "24.11"]);
    assert!(error.contains(&dir.path().display().to_string()), "{error}");
}

#[test]
fn a_second_build_in_a_tree_waits_for_the_first() {
    let tree = tempfile::tempdir().unwrap();
    fs::create_dir_all(tree.path().join("slurm-releases/releases")).unwrap();
    fs::create_dir(tree.path().join("target")).unwrap();
    let file = fs::File::create(tree.path().join("target/build-matrix.lock")).unwrap();
    let first = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno).unwrap();
    let mut second = Command::new(env!("CARGO_BIN_EXE_build-matrix"))
        .current_dir(tree.path())
        .args(["build", "24.11"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(second.stderr.take().unwrap()).lines();
    let line = said.next().unwrap().unwrap();
    assert!(line.starts_with("waiting for another build-matrix in "), "{line}");
    assert!(second.try_wait().unwrap().is_none());
    drop(first);
    // There is nothing to build in this tree.
    assert!(!second.wait().unwrap().success());
}

#[test]
fn verify_names_each_fault_of_something_else() {
    let output = build_matrix(&root(), &["verify", "/bin/true", "Cargo.toml"]);
    assert!(!output.status.success());
    let lines = text(&output.stdout);
    assert!(lines.contains("/bin/true: no stamp"), "{lines}");
    assert!(lines.contains("/bin/true: not linked with -z nodelete"), "{lines}");
    assert!(lines.contains("Cargo.toml: no shared library"), "{lines}");
    assert!(text(&output.stderr).contains("2 of 2 plugins"), "{}", text(&output.stderr));
    complaint(&root(), &["verify", "/nonexistent.so"]);
}

#[test]
fn what_packaging_does_is_handed_to_it_as_it_is_typed() {
    // A cargo that says what it was asked for.
    let dir = tempfile::tempdir().unwrap();
    let cargo = dir.path().join("cargo");
    fs::write(&cargo, "#!/bin/sh\nprintf '%s\\n' \"$@\"\nexit 7\n").unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    let mut run = Command::new(env!("CARGO_BIN_EXE_build-matrix"));
    run.current_dir(root().join("docs")).env("CARGO", &cargo);
    let output =
        run.args(["--json", "package", "24.11", "--format", "deb", "--help"]).output().unwrap();
    assert_eq!(output.status.code(), Some(7));
    let manifest = root().join("Cargo.toml");
    let expected = format!(
        "run --quiet --release --locked --package=packaging --manifest-path {} -- package --json 24.11 --format deb --help",
        manifest.display()
    );
    assert_eq!(text(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" "), expected);
    assert_eq!(text(&output.stderr), "");
    complaint(dir.path(), &["report"]);
}
