//! What several tests need.
#![allow(dead_code, reason = "each test program uses a part of it")]

use nix::fcntl::{Flock, FlockArg};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

/// The root of the source tree.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a folder of the workspace").into()
}

/// A target directory for the cargo that tests run: the outer one may hold its lock.
fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("cargo")
}

/// The one for the workspace in `dir`. Cargo names what it makes of a workspace's members by their
/// place in it, and takes for its own what it has made of another workspace later than a copy was made.
pub(crate) fn target_of(dir: &Path) -> PathBuf {
    if dir == root() { target() } else { target().join("copy") }
}

/// Held while a cargo of a test works and its results are read: the next one overwrites them.
pub(crate) fn target_lock() -> Flock<File> {
    fs::create_dir_all(target()).expect("a directory for cargo");
    let file = File::create(target().join("tests.lock")).expect("a file to lock");
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno).expect("a lock")
}

/// Runs this `build-matrix` in `dir`.
pub(crate) fn build_matrix(dir: &Path, args: &[&str]) -> Output {
    let _lock = target_lock();
    let mut command = Command::new(env!("CARGO_BIN_EXE_build-matrix"));
    command.current_dir(dir).args(args).env("CARGO_TARGET_DIR", target_of(dir));
    command.output().expect("build-matrix runs")
}

/// Bindings of a release from the header below `include`, or what cargo printed.
pub(crate) fn bindings_from(include: &Path, release: &str) -> Result<String, String> {
    let _lock = target_lock();
    let features = format!("real-header,slurm-{}", release.replace('.', "-"));
    let output = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()))
        .current_dir(root())
        .args([
            "check",
            "-p",
            "spank-bindings",
            "--lib",
            "--message-format=json-render-diagnostics",
        ])
        .args(["--features", &features])
        .env("CARGO_TARGET_DIR", target())
        .env("SLURM_SPANK_INCLUDE", include)
        .output()
        .expect("cargo runs");
    if !output.status.success() {
        return Err(text(&output.stderr));
    }
    let out = text(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|m| m["reason"] == "build-script-executed")
        .find(|m| m["package_id"].as_str().is_some_and(|id| id.contains("spank-bindings")))
        .and_then(|m| m["out_dir"].as_str().map(PathBuf::from))
        .expect("cargo ran the build script");
    Ok(fs::read_to_string(out.join("bindings.rs")).expect("the build script wrote it"))
}

/// The committed bindings of a release.
pub(crate) fn committed(release: &str) -> String {
    let name = format!("spank-bindings/src/generated/slurm_{}.rs", release.replace('.', "_"));
    fs::read_to_string(root().join(name)).expect("committed bindings")
}

/// The headers that fetch-headers.sh has brought.
pub(crate) fn headers() -> PathBuf {
    let default = || target().ancestors().nth(2).expect("target/tmp/cargo").join("headers");
    let dir = env::var_os("PYXIS_HEADERS_DIR").map_or_else(default, PathBuf::from);
    assert!(
        dir.join("bookworm/usr/include/slurm/spank.h").exists(),
        "no headers in {0}: run `build-matrix/fetch-headers.sh {0}`, or say where they are with \
         PYXIS_HEADERS_DIR",
        dir.display()
    );
    dir
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
