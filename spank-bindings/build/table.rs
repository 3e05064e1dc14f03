//! Writes the release table as Rust.

use crate::facts::{Facts, function_name};
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// `RELEASES`, and the constants of the chosen release.
pub(crate) fn rust(
    all: &[Facts],
    chosen: &Facts,
    number: u32,
    bindings: &str,
    home: &Path,
) -> String {
    let mut out = String::from(
        "/// Every supported release, oldest first.\npub const RELEASES: &[Release] = &[\n",
    );
    for facts in all {
        // A release may have its facts but not yet its bindings.
        let committed = fs::read(crate::generated(home, facts)).unwrap_or_default();
        row(&mut out, facts, fnv1a(&committed)).expect("writing to a String");
    }
    let index = all.iter().position(|f| f.release == chosen.release).expect("chosen from all");
    let _ = write!(
        out,
        "];\n\
         /// The release this crate is compiled for.\n\
         pub const RELEASE: &Release = &RELEASES[{index}];\n\
         /// SLURM_VERSION_NUMBER of the header that the bindings come from.\n\
         pub const SLURM_VERSION_NUMBER: u32 = {number:#08x};\n\
         pub(crate) const NUMBER_TEXT: &str = \"{number:#08x}\";\n\
         pub(crate) const API_TEXT: &str = \"{}\";\n\
         /// Hash of the text of the bindings in use.\n\
         pub const BINDINGS_HASH: &str = \"{:016x}\";\n\
         /// The target triple this crate is compiled for.\n\
         pub const TARGET: &str = {:?};\n",
        chosen.api,
        fnv1a(bindings.as_bytes()),
        std::env::var("TARGET").unwrap_or_default(),
    );
    out
}

fn row(out: &mut String, f: &Facts, hash: u64) -> std::fmt::Result {
    let names: Vec<&str> = f.prototypes().map(function_name).collect();
    let errors: Vec<_> = f.error_values().collect();
    let (major, minor) = f.order();
    writeln!(out, "    Release {{")?;
    writeln!(out, "        name: {:?}, major: {major}, minor: {minor},", f.release)?;
    writeln!(out, "        first: {:?}, latest: {:?},", f.first, f.latest)?;
    writeln!(out, "        number: {:#08x}, api: {},", f.number(), f.api)?;
    writeln!(out, "        soname: {:?}, version_check: {:?},", f.soname, f.version_check)?;
    writeln!(out, "        adds: &{:?},", f.adds)?;
    writeln!(out, "        hooks: &{:?},", f.hooks)?;
    writeln!(out, "        data: &{:?},", f.data)?;
    writeln!(out, "        version_symbols: &{:?},", f.version_symbols)?;
    writeln!(out, "        functions: &{names:?},")?;
    writeln!(out, "        bindings: \"{hash:016x}\",")?;
    writeln!(out, "        errors: &{errors:?},")?;
    writeln!(out, "    }},")
}

/// FNV-1a, 64 bits: enough to tell two texts apart, no protection against anyone.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
