//! What people and machines see.

mod common;

use common::{build_matrix, root, text};
use nix::fcntl::{Flock, FlockArg};
use std::fs;
use std::io::{BufRead, BufReader};
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
fn a_repository_is_made_of_packages() {
    let empty = tempfile::tempdir().unwrap();
    let empty = empty.path().to_str().unwrap();
    let error = complaint(&root(), &["repo", "/nonexistent/repo", "--from", empty]);
    assert!(error.contains(&format!("no deb and no rpm in {empty}")), "{error}");
    let error = complaint(&root(), &["repo", "/nonexistent/repo", "--from", "/nonexistent/dist"]);
    assert!(error.contains("cannot list /nonexistent/dist"), "{error}");
}

#[test]
fn without_zig_it_is_said_where_it_comes_from() {
    let cache = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_build-matrix"))
        .current_dir(root())
        .args(["package", "24.11"])
        .env("PYXIS_CACHE", cache.path())
        .env("PATH", "/usr/bin:/bin")
        .output()
        .unwrap();
    assert!(!output.status.success());
    let error = text(&output.stderr);
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.contains("packaging/zig fetches it"), "{error}");
}

/// A source tree with results in it, as far as `report` looks.
#[test]
fn report_is_made_of_the_last_results() {
    let tree = tempfile::tempdir().unwrap();
    let results = tree.path().join("target/results");
    fs::create_dir_all(tree.path().join("slurm-releases/releases")).unwrap();
    let error = complaint(tree.path(), &["report"]);
    assert!(error.contains("no results in target/results"), "{error}");

    fs::create_dir_all(&results).unwrap();
    let write = |name: &str, text: &str| fs::write(results.join(name), text).unwrap();
    write(
        "build-24.11-x86_64.json",
        r#"{ "seconds": 5.94, "verdict": { "size": 478000, "sha256": "0123456789abcdef", "faults": [] } }"#,
    );
    write("verify-24.11-x86_64.json", r#"{ "faults": ["not stripped"] }"#);
    write(
        "package-x86_64.json",
        r#"{ "plugins": [{ "release": "24.11", "seconds": 7, "glibc": "2.28" }], "packages": [
            { "package": "pyxis-slurm24.11", "file": "dist/a.deb", "size": 2048, "sha256": "aa" },
            { "package": "pyxis-slurm24.11", "file": "dist/a.rpm", "size": 4096, "sha256": "bb" }] }"#,
    );
    write(
        "suite-releases.json",
        r#"{ "passed": 2, "failed": 1, "seconds": 61.5, "finished": "2026-01-02 03:04", "tests": [
            { "group": "trixie", "name": "a <step>", "ok": true },
            { "group": "trixie", "name": "another", "ok": false },
            { "group": "bookworm", "name": "a step", "ok": true }] }"#,
    );
    let output = build_matrix(tree.path(), &["report", "--out", "r"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let table = fs::read_to_string(tree.path().join("r/report.md")).unwrap();
    let row = "| 24.11 | x86_64 | \u{2713} 5.9 s | 467 KiB | 0123456789ab | \u{2717} 1 fault | 7.0 s | 2.28 \
               | 2 KiB | 4 KiB | \u{2717} 1 of 2 |";
    assert!(table.contains(row), "{table}");
    assert!(table.contains("| releases | 2 | \u{2717} 1 | 61.5 s | 2026-01-02 03:04 |"), "{table}");
    assert!(table.contains("| a.rpm | 4 KiB | bb |"), "{table}");
    assert!(table.contains("- 24.11, verify: not stripped\n"), "{table}");
    let page = fs::read_to_string(tree.path().join("r/index.html")).unwrap();
    assert!(page.contains("title=\"not stripped\""), "{page}");
    assert!(!page.contains("http"), "{page}");
}
