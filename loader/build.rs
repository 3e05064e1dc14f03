//! The releases that have a package, by API number.

use std::fmt::Write;
use std::path::PathBuf;
use std::{env, fs};

fn main() {
    let mut table = String::from("/// API number and release, oldest first.\n");
    table += "pub(crate) const RELEASES: &[(u32, &str)] = &[\n";
    for release in spank_bindings::RELEASES {
        writeln!(table, "    ({}, \"{}\"),", release.api, release.name).expect("memory");
    }
    table += "];\n";
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("releases.rs"), table).expect("OUT_DIR is writable");
    // An undefined symbol is an error: see panic.rs.
    for arg in ["-Wl,-z,defs", "-ldl", "-lc"] {
        println!("cargo::rustc-cdylib-link-arg={arg}");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
