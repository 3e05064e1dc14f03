//! Links gcc's unwinder into the command, which otherwise loads libgcc_s.so.1: to find, map and
//! relocate it costs each start of a container a tenth of a millisecond.

#![expect(clippy::disallowed_methods, reason = "cargo speaks to build scripts by variables")]

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Another linker than the system's (zig's, a cross compiler's) has an unwinder of its own.
    if env::var_os("RUSTC_LINKER").is_some() || env::var("HOST") != env::var("TARGET") {
        return;
    }
    let Ok(asked) = Command::new("cc").arg("-print-file-name=libgcc_eh.a").output() else { return };
    let answer = String::from_utf8_lossy(&asked.stdout);
    // The bare name, if there is none.
    let file = Path::new(answer.trim());
    if let (true, Some(directory)) = (file.is_absolute(), file.parent()) {
        println!("cargo::rustc-link-search=native={}", directory.display());
        println!("cargo::rustc-link-lib=static:-bundle=gcc_eh");
    }
}
