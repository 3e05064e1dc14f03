//! Hands on the release's cfgs from spank-bindings and says how the .so is linked.

// cargo reads what is printed here.
#![allow(clippy::disallowed_macros)]

fn main() {
    for (list, line) in [("CHECK_CFGS", "rustc-check-cfg=cfg(NAME)"), ("CFGS", "rustc-cfg=NAME")] {
        let variable = format!("DEP_SLURM_SPANK_{list}");
        // Without them code for a release would be left out, and nobody told.
        let Ok(names) = std::env::var(&variable) else {
            println!("cargo::error={variable} is not set: spank-bindings no longer publishes it");
            std::process::exit(1);
        };
        for name in names.split(',') {
            println!("cargo::{}", line.replace("NAME", name));
        }
    }
    // Rust's thread-local destructors would dangle after dlclose (SAFETY.md).
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // One table of symbols: that which every glibc since 2.5 looks things up by.
    println!("cargo::rustc-cdylib-link-arg=-Wl,--hash-style=gnu");
    println!("cargo::rerun-if-changed=build.rs");
}
