//! What people and machines see of packages, repositories and the report.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The root of the source tree.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a folder of the workspace").into()
}

/// Runs this program in `dir`.
fn packaging(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_packaging"));
    command.current_dir(dir).args(args).output().expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Standard error of a run that must fail with one line.
fn complaint(dir: &Path, args: &[&str]) -> String {
    let output = packaging(dir, args);
    assert!(!output.status.success(), "{args:?}");
    let error = text(&output.stderr);
    assert_eq!(error.lines().count(), 1, "{error}");
    error
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
fn a_repository_is_not_made_of_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (repo, deb) = (dir.path().to_str().unwrap(), dir.path().join("deb"));
    fs::create_dir(&deb).unwrap();
    fs::write(deb.join("a.deb"), "").unwrap();
    let link = dir.path().join("a.deb");
    std::os::unix::fs::symlink(deb.join("a.deb"), &link).unwrap();
    for from in [deb.to_str().unwrap(), repo] {
        let error = complaint(dir.path(), &["repo", repo, "--from", from]);
        assert!(error.contains("a.deb: is in a folder that is made anew"), "{error}");
        assert!(deb.join("a.deb").exists());
    }
}

#[test]
fn without_zig_it_is_said_where_it_comes_from() {
    let cache = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_packaging"))
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
    // The one that ran later counts.
    write(
        "suite-machines.json",
        r#"{ "passed": 1, "failed": 0, "seconds": 900.5, "finished": "2026-01-02 03:05",
            "notes": ["bookworm: Debian 12, Linux 6.1.0, slurm-wlm 22.05.8, pyxis 0.1.0, ready after 80 s, all in 700 s", "no colon",
                "Ubuntu cannot be had (mirror, keys): Debian 13, in its place, for once, at least"],
            "tests": [{ "group": "bookworm", "name": "it boots", "ok": true }] }"#,
    );
    write(
        "suite-all-machines.json",
        r#"{ "passed": 1, "failed": 2, "seconds": 900.5, "finished": "2026-01-01 00:00",
            "notes": ["bookworm: Debian 12, Linux 6.0, old, older", "noble: Ubuntu 24.04, Linux 6.8.0, slurm-wlm 23.11.4, pyxis 0.1.0, ready"],
            "tests": [{ "group": "noble", "name": "a label", "ok": false }, { "group": "noble", "name": "it boots", "ok": true },
                { "group": "bookworm", "name": "it boots", "ok": false }] }"#,
    );
    let output = packaging(tree.path(), &["report", "--out", "r"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let table = fs::read_to_string(tree.path().join("r/report.md")).unwrap();
    let row = "| 24.11 | x86_64 | \u{2713} 5.9 s | 467 KiB | 0123456789ab | \u{2717} 1 fault | 7.0 s | 2.28 \
               | 2 KiB | 4 KiB | \u{2717} 1 of 2 |";
    assert!(table.contains(row), "{table}");
    assert!(table.contains("| releases | 2 | \u{2717} 1 | 61.5 s | 2026-01-02 03:04 |"), "{table}");
    assert!(table.contains("| a.rpm | 4 KiB | bb |"), "{table}");
    let row = "| bookworm | Debian 12 | Linux 6.1.0 | slurm-wlm 22.05.8 | pyxis 0.1.0 | \u{2713} 1 of 1 | 2026-01-02 03:05 |";
    assert!(table.contains(row), "{table}");
    assert!(!table.contains("Linux 6.0 "), "{table}");
    let row = "| noble | Ubuntu 24.04 | Linux 6.8.0 | slurm-wlm 23.11.4 | pyxis 0.1.0 | \u{2717} 1 of 2 |";
    assert!(table.contains(row), "{table}");
    assert!(!table.contains("cannot be had"), "{table}");
    assert!(table.contains("- noble, checks: a label\n"), "{table}");
    assert!(table.contains("| it boots | \u{2713} bookworm, noble | \u{2013} |"), "{table}");
    assert!(table.contains("| a label | \u{2013} | \u{2717} noble |"), "{table}");
    assert!(table.contains("- 24.11, verify: not stripped\n"), "{table}");
    let page = fs::read_to_string(tree.path().join("r/index.html")).unwrap();
    assert!(page.contains("title=\"not stripped\""), "{page}");
    assert!(!page.contains("http"), "{page}");
}
