//! Picks the release, brings its bindings to OUT_DIR, and turns the data files into a Rust table.

mod facts;
mod table;

#[cfg(feature = "real-header")]
mod header;
#[cfg(feature = "real-header")]
mod probe;
#[cfg(feature = "real-header")]
mod real;

use facts::Facts;
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
    for watched in ["build", "releases", "src/generated", "src/mock", "src/header.rs"] {
        println!("cargo::rerun-if-changed={watched}");
    }
    let all = facts::load(&home.join("releases"))?;
    let chosen = choose(&all, &home)?;
    write(&out.join("features.rs"), &one_release(&all))?;

    let (bindings, number) = interface(chosen, &home, &out)?;
    write(&out.join("bindings.rs"), &bindings)?;
    write(&out.join("table.rs"), &table::rust(&all, chosen, number, &bindings, &home))?;
    tell_cfgs(&all, chosen);
    #[cfg(feature = "mock")]
    compile_mock();
    Ok(())
}

/// The release asked for by feature; without one the newest whose bindings are there.
///
/// Two features are reported by a `compile_error!` in the crate: that names the place to look.
fn choose<'a>(all: &'a [Facts], home: &Path) -> Result<&'a Facts, String> {
    if let Some(facts) = all.iter().rev().find(|f| asked(f)) {
        return Ok(facts);
    }
    all.iter()
        .rev()
        .find(|f| generated(home, f).exists())
        .ok_or_else(|| "no bindings in src/generated: run `build-matrix bindings`".into())
}

fn asked(facts: &Facts) -> bool {
    env::var_os(format!("CARGO_FEATURE_SLURM_{}", facts.ident())).is_some()
}

/// Rust that does not compile if more than one release is asked for.
fn one_release(all: &[Facts]) -> String {
    let asked: Vec<&str> = all.iter().filter(|f| asked(f)).map(|f| f.release.as_str()).collect();
    if asked.len() < 2 {
        return String::new();
    }
    format!(
        "compile_error!(\"one Slurm release at a time, but the features of {} are set: build the \
         plugin once for each\");\n",
        asked.join(" and ")
    )
}

fn generated(home: &Path, facts: &Facts) -> PathBuf {
    home.join(format!("src/generated/slurm_{}.rs", facts.ident()))
}

/// The text of the bindings and the number that plugins state as theirs.
#[cfg(not(feature = "real-header"))]
fn interface(facts: &Facts, home: &Path, _out: &Path) -> Result<(String, u32), String> {
    println!("cargo::rerun-if-env-changed=SLURM_SPANK_INCLUDE");
    if env::var_os("SLURM_SPANK_INCLUDE").is_some() {
        return Err("SLURM_SPANK_INCLUDE is set but spank-bindings is built without its feature \
                    `real-header`: add it, or unset the variable"
            .into());
    }
    let path = generated(home, facts);
    let text = fs::read_to_string(&path)
        .map_err(|e| format!("{}: {e}: run `build-matrix bindings` to make it", path.display()))?;
    Ok((text, facts.number()))
}

/// The same from a header at hand.
#[cfg(feature = "real-header")]
fn interface(facts: &Facts, _home: &Path, out: &Path) -> Result<(String, u32), String> {
    println!("cargo::rerun-if-env-changed=SLURM_SPANK_INCLUDE");
    real::interface(facts, out)
}

/// `slurm_ge_XX_YY` for every release up to the chosen one, here and (as metadata) in dependents.
fn tell_cfgs(all: &[Facts], chosen: &Facts) {
    let names = |pick: &dyn Fn(&&Facts) -> bool| -> Vec<String> {
        all.iter().filter(pick).map(|f| format!("slurm_ge_{}", f.ident())).collect()
    };
    let known = names(&|_| true);
    let set = names(&|f| f.order() <= chosen.order());
    for name in &known {
        println!("cargo::rustc-check-cfg=cfg({name})");
    }
    for name in &set {
        println!("cargo::rustc-cfg={name}");
    }
    println!("cargo::rustc-check-cfg=cfg(compared)");
    println!("cargo::metadata=CHECK_CFGS={}", known.join(","));
    println!("cargo::metadata=CFGS={}", set.join(","));
    println!("cargo::metadata=RELEASE={}", chosen.release);
}

#[cfg(feature = "mock")]
fn compile_mock() {
    cc::Build::new().file("src/mock/mock.c").warnings_into_errors(true).compile("spank_mock");
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))
}
