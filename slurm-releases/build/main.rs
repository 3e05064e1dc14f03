//! Turns the data files of `releases/` into a Rust table.

mod facts;
mod table;

use std::path::PathBuf;
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
    for watched in ["build", "releases"] {
        println!("cargo::rerun-if-changed={watched}");
    }
    let table = table::rust(&facts::load(&home.join("releases"))?);
    let file = out.join("table.rs");
    fs::write(&file, table).map_err(|e| format!("cannot write {}: {e}", file.display()))
}
