//! Slurm's own headers, fetched by fetch-headers.sh, against what is committed.

mod common;

use common::{bindings_from, build_matrix, committed, headers, root, text};
use slurm_releases::header::{release_name, version_number};
use std::fs;
use std::path::{Path, PathBuf};

const DEBIAN: [(&str, &str); 4] =
    [("bullseye", "20.11"), ("bookworm", "22.05"), ("trixie", "24.11"), ("forky", "26.05")];

fn include(suite: &str) -> PathBuf {
    headers().join(suite).join("usr/include")
}

#[test]
fn debians_headers_give_the_committed_bytes() {
    for (suite, release) in DEBIAN {
        let include = include(suite);
        let number = version_number(&include).unwrap_or_else(|| panic!("no header of {suite}"));
        assert_eq!(release_name(number), release, "{suite} has moved on: fetch its headers again");
        let made = bindings_from(&include, release).unwrap_or_else(|e| panic!("{suite}: {e}"));
        assert_eq!(made, committed(release), "{suite}");
    }
}

#[test]
fn headers_of_a_crate_give_the_committed_bytes() {
    for release in ["21.08", "23.02", "23.11"] {
        let include = include(&format!("crate_{}", release.replace('.', "_")));
        let made = bindings_from(&include, release).unwrap_or_else(|e| panic!("{release}: {e}"));
        assert_eq!(made, committed(release), "{release}");
    }
}

#[test]
fn a_header_of_another_release_is_an_error_that_names_both() {
    let error = bindings_from(&include("bookworm"), "24.11").unwrap_err();
    assert!(error.contains("is Slurm 22.05, but 24.11 was asked for"), "{error}");

    let prefix = headers().join("bookworm/usr");
    let args = ["build", "24.11", "--slurm", prefix.to_str().unwrap()];
    let output = build_matrix(&root(), &args);
    let error = text(&output.stderr);
    assert!(!output.status.success());
    assert!(error.contains("is Slurm 22.05, but 24.11 was asked for"), "{error}");
    // Other tests build in this tree, too.
    let own = error.lines().filter(|line| !line.starts_with("waiting for another build-matrix"));
    assert_eq!(own.count(), 1, "{error}");
}

/// A copy of a suite's headers with `from` replaced by `to` in spank.h.
fn changed(suite: &str, dir: &Path, from: &str, to: &str) {
    let copy = dir.join("slurm");
    fs::create_dir_all(&copy).unwrap();
    for entry in fs::read_dir(include(suite).join("slurm")).unwrap() {
        let file = entry.unwrap().path();
        fs::copy(&file, copy.join(file.file_name().unwrap())).unwrap();
    }
    let spank_h = copy.join("spank.h");
    let old = fs::read_to_string(&spank_h).unwrap();
    let new = old.replacen(from, to, 1);
    assert_ne!(old, new, "{from:?} is not in {suite}'s spank.h");
    fs::write(spank_h, new).unwrap();
}

#[test]
fn the_probe_refuses_another_number_type_or_layout() {
    for (from, to, fault) in [
        ("S_JOB_GID, ", "S_NEW, S_JOB_GID, ", "S_JOB_GID"),
        ("S_CTX_LOCAL, ", "S_CTX_LOCAL = 7, ", "S_CTX_LOCAL"),
        ("SPANK_OPTION_MAXLEN      75", "SPANK_OPTION_MAXLEN 80", "SPANK_OPTION_MAXLEN"),
        ("int            has_arg;", "long has_arg;", "offsetof(struct spank_option, val)"),
        ("char *buf, int len", "char *buf, long len", "spank_getenv"),
        ("int spank_remote (spank_t", "int spank_local (spank_t", "spank_remote"),
        ("extern spank_f slurm_spank_exit;", "", "slurm_spank_exit"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        changed("trixie", dir.path(), from, to);
        let error = bindings_from(dir.path(), "24.11").expect_err(fault);
        assert!(error.contains(fault), "{fault} is not named:\n{error}");
        assert!(error.contains("not the interface of Slurm 24.11"), "{error}");
    }
}

#[test]
fn diff_of_two_releases_is_a_table() {
    let output = build_matrix(&root(), &["diff", "20.11", "26.05"]);
    assert!(!output.status.success());
    let table = text(&output.stdout);
    let has = |words: &[&str]| {
        table.lines().any(|line| line.split_whitespace().collect::<Vec<_>>() == words)
    };
    assert!(has(&["KIND", "NAME", "20.11", "26.05"]), "{table}");
    assert!(has(&["error", "ESPANK_BAD_ARG", "2", "3001"]), "{table}");
    assert!(has(&["data", "slurm_spank_init_failure_mode", "-", "int"]), "{table}");
    assert!(table.contains("function  spank_prepend_task_argv "), "{table}");
    // What both have is not in it.
    assert!(!table.contains("S_JOB_GID"), "{table}");

    let output = build_matrix(&root(), &["diff", "24.11", "24.11"]);
    assert!(output.status.success());
    assert_eq!(text(&output.stdout), "24.11: same interface as 24.11\n");
    let output = build_matrix(&root(), &["diff", "24.11", "24.12"]);
    assert!(text(&output.stderr).contains("no release \"24.12\""));
}

/// One test: cargo keeps the bindings of one header at a time.
#[test]
fn a_patched_slurm_is_compared_with_its_release() {
    for (suite, release) in [("bookworm", "22.05"), ("trixie", "24.11")] {
        let dir = tempfile::tempdir().unwrap();
        // The site's own comment, and its own micro release.
        changed(suite, dir.path(), "enum spank_context {", "/* ours */ enum spank_context {");
        let output = build_matrix(&root(), &["diff", release, dir.path().to_str().unwrap()]);
        let line = text(&output.stdout);
        assert!(output.status.success(), "{line}{}", text(&output.stderr));
        assert!(
            line.contains(&format!("(Slurm {release}): same interface as {release}")),
            "{line}"
        );
    }

    let dir = tempfile::tempdir().unwrap();
    changed("trixie", dir.path(), "S_JOB_GID, ", "S_SITE, S_JOB_GID, ");
    let patched = dir.path().to_str().unwrap();
    let output = build_matrix(&root(), &["diff", "24.11", patched]);
    let table = text(&output.stdout);
    let has = |words: &[&str]| {
        table.lines().any(|line| line.split_whitespace().collect::<Vec<_>>() == words)
    };
    assert!(has(&["item", "S_SITE", "-", "1"]), "{table}{}", text(&output.stderr));
    assert!(has(&["item", "S_JOB_GID", "1", "2"]), "{table}");
    assert!(text(&output.stderr).contains("differ in"), "{}", text(&output.stderr));
}
