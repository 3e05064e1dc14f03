//! Picks the release, brings its bindings to OUT_DIR, and says there what a plugin built with them is for.

#![expect(clippy::disallowed_methods, reason = "a build reads files of this repository")]

#[cfg(feature = "real-header")]
mod header;
#[cfg(feature = "real-header")]
mod probe;
#[cfg(feature = "real-header")]
mod real;

use slurm_releases::stamp::Stamp;
use slurm_releases::{RELEASES, Release, bindings_file, bindings_hash};
use std::path::{Path, PathBuf};
use std::{env, fs, process};

fn main() {
    if let Err(message) = run() {
        println!("cargo::error={message}");
        process::exit(1);
    }
}

fn run() -> Result<(), String> {
    let home = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("no CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("no OUT_DIR")?);
    for watched in ["build", "src/generated", "src/mock"] {
        println!("cargo::rerun-if-changed={watched}");
    }
    let chosen = choose(&home)?;
    write(&out.join("features.rs"), &one_release())?;

    let (bindings, number) = interface(chosen, &home, &out)?;
    write(&out.join("bindings.rs"), &bindings)?;
    write(&out.join("release.rs"), &release(chosen, number, &bindings))?;
    tell_cfgs(chosen);
    #[cfg(feature = "mock")]
    compile_mock();
    Ok(())
}

/// The release asked for by feature; without one the newest whose bindings are there.
///
/// Two features are reported by a `compile_error!` in the crate: that names the place to look.
fn choose(home: &Path) -> Result<&'static Release, String> {
    if let Some(release) = RELEASES.iter().rev().find(|release| asked(release)) {
        return Ok(release);
    }
    let mut made = RELEASES.iter().rev().filter(|release| generated(home, release).exists());
    made.next().ok_or_else(|| "no bindings in src/generated: run `build-matrix bindings`".into())
}

fn asked(release: &Release) -> bool {
    env::var_os(format!("CARGO_FEATURE_SLURM_{}", release.ident())).is_some()
}

/// Rust that does not compile if more than one release is asked for.
fn one_release() -> String {
    let asked: Vec<&str> = RELEASES.iter().filter(|r| asked(r)).map(|r| r.name).collect();
    if asked.len() < 2 {
        return String::new();
    }
    format!(
        "compile_error!(\"one Slurm release at a time, but the features of {} are set: build the \
         plugin once for each\");\n",
        asked.join(" and ")
    )
}

fn generated(home: &Path, release: &Release) -> PathBuf {
    home.join(bindings_file(release.name))
}

/// What a plugin built with these bindings is for, as Rust: constants, and its stamp in three parts, between which the
/// names of the plugin and of its version belong.
fn release(chosen: &Release, number: u32, bindings: &str) -> String {
    let hash = bindings_hash(bindings.as_bytes());
    let target = env::var("TARGET").unwrap_or_default();
    let stamp = Stamp {
        plugin: "\0".into(),
        version: "\0".into(),
        slurm: chosen.name.into(),
        number,
        api: chosen.api,
        bindings: hash.clone(),
        target: target.clone(),
    };
    let text = stamp.text();
    let parts: Vec<&str> = text.split('\0').collect();
    format!(
        "/// The release that this crate is compiled for.\n\
         pub const RELEASE: &str = {:?};\n\
         /// SLURM_VERSION_NUMBER of the header that the bindings come from.\n\
         pub const SLURM_VERSION_NUMBER: u32 = {number:#08x};\n\
         /// Hash of the text of the bindings in use.\n\
         pub const BINDINGS_HASH: &str = {hash:?};\n\
         /// The target triple this crate is compiled for.\n\
         pub const TARGET: &str = {target:?};\n\
         pub(crate) const TASK_PROLOG: usize = {};\n\
         pub(crate) const STAMP: [&str; {}] = {parts:?};\n",
        chosen.name,
        chosen.task_prolog,
        parts.len(),
    )
}

/// The text of the bindings and the number that plugins state as theirs.
#[cfg(not(feature = "real-header"))]
fn interface(release: &Release, home: &Path, _out: &Path) -> Result<(String, u32), String> {
    println!("cargo::rerun-if-env-changed=SLURM_SPANK_INCLUDE");
    if env::var_os("SLURM_SPANK_INCLUDE").is_some() {
        return Err("SLURM_SPANK_INCLUDE is set but spank-bindings is built without its feature \
                    `real-header`: add it, or unset the variable"
            .into());
    }
    let path = generated(home, release);
    let text = fs::read_to_string(&path)
        .map_err(|e| format!("{}: {e}: run `build-matrix bindings` to make it", path.display()))?;
    Ok((text, release.number))
}

/// The same from a header at hand.
#[cfg(feature = "real-header")]
fn interface(release: &Release, _home: &Path, out: &Path) -> Result<(String, u32), String> {
    println!("cargo::rerun-if-env-changed=SLURM_SPANK_INCLUDE");
    real::interface(release, out)
}

/// `slurm_ge_XX_YY` for every release up to the chosen one, here and (as metadata) in dependents.
fn tell_cfgs(chosen: &Release) {
    let known: Vec<String> = RELEASES.iter().map(Release::cfg).collect();
    let set: Vec<String> =
        RELEASES.iter().filter(|r| r.number <= chosen.number).map(Release::cfg).collect();
    for name in &known {
        println!("cargo::rustc-check-cfg=cfg({name})");
    }
    for name in &set {
        println!("cargo::rustc-cfg={name}");
    }
    println!("cargo::rustc-check-cfg=cfg(compared)");
    println!("cargo::metadata=CHECK_CFGS={}", known.join(","));
    println!("cargo::metadata=CFGS={}", set.join(","));
    println!("cargo::metadata=RELEASE={}", chosen.name);
}

#[cfg(feature = "mock")]
fn compile_mock() {
    cc::Build::new().file("src/mock/mock.c").warnings_into_errors(true).compile("spank_mock");
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))
}
