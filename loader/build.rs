//! The releases that have a package, by API number, and how the stamp of a build is found.

use slurm_releases::RELEASES;
use slurm_releases::stamp::{FIRST_LINE, SECTION};
use std::fmt::Write;
use std::path::PathBuf;
use std::{env, fs};

fn main() {
    let mut table = String::from("/// API number and release, oldest first.\n");
    table += "pub(crate) const RELEASES: &[(u32, &str)] = &[\n";
    for release in RELEASES {
        writeln!(table, "    ({}, \"{}\"),", release.api, release.name).expect("memory");
    }
    table += "];\n";
    let stamp = format!(
        "/// The name of its section.\nconst NAME: &[u8] = b\"{SECTION}\\0\";\n\
         /// What it begins with.\nconst FIRST_LINES: &[u8] = b\"{FIRST_LINE}\\nplugin=pyxis\\n\";\n"
    );
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    for (name, text) in [("releases.rs", table), ("stamp.rs", stamp)] {
        fs::write(out.join(name), text).expect("OUT_DIR is writable");
    }
    // An undefined symbol is an error: see panic.rs.
    for arg in ["-Wl,-z,defs", "-ldl", "-lc"] {
        println!("cargo::rustc-cdylib-link-arg={arg}");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
