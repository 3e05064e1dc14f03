//! Hands on the release's cfgs from spank-bindings and says how the .so is linked.

fn main() {
    let cfgs = [("KNOWN_CFGS", "rustc-check-cfg=cfg(NAME)"), ("CFGS", "rustc-cfg=NAME")];
    for (list, line) in cfgs {
        let names = std::env::var(format!("DEP_SLURM_SPANK_{list}")).unwrap_or_default();
        for name in names.split(',').filter(|name| !name.is_empty()) {
            println!("cargo::{}", line.replace("NAME", name));
        }
    }
    // Rust's thread-local destructors would dangle after dlclose (SAFETY.md).
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    println!("cargo::rerun-if-changed=build.rs");
}
