//! Writes the release table as Rust.

use crate::facts::{Facts, function_name};
use std::fmt::Write;

/// `RELEASES`.
pub(crate) fn rust(all: &[Facts]) -> String {
    let mut out = String::from(
        "/// Every supported release, oldest first.\npub const RELEASES: &[Release] = &[\n",
    );
    for facts in all {
        row(&mut out, facts).expect("writing to a String");
    }
    out + "];\n"
}

fn row(out: &mut String, f: &Facts) -> std::fmt::Result {
    let prototypes: Vec<&str> = f.prototypes().collect();
    let functions: Vec<&str> = f.prototypes().map(function_name).collect();
    let errors: Vec<_> = f.error_values().collect();
    let (major, minor) = f.order();
    writeln!(out, "    Release {{")?;
    writeln!(out, "        name: {:?}, major: {major}, minor: {minor},", f.release)?;
    writeln!(out, "        first: {:?}, latest: {:?},", f.first, f.latest)?;
    writeln!(out, "        number: {:#08x}, api: {},", f.number(), f.api)?;
    writeln!(out, "        soname: {:?}, version_check: {:?},", f.soname, f.version_check)?;
    writeln!(out, "        task_prolog: {}, adds: &{:?},", f.task_prolog, f.adds)?;
    writeln!(out, "        items: &{:?},", f.items)?;
    writeln!(out, "        contexts: &{:?},", f.contexts)?;
    writeln!(out, "        hooks: &{:?},", f.hooks)?;
    writeln!(out, "        data: &{:?},", f.data)?;
    writeln!(out, "        version_symbols: &{:?},", f.version_symbols)?;
    writeln!(out, "        functions: &{functions:?},")?;
    writeln!(out, "        prototypes: &{prototypes:?},")?;
    writeln!(out, "        error_type: {:?},", f.error_type)?;
    writeln!(out, "        errors: &{errors:?},")?;
    writeln!(out, "        option_maxlen: {},", f.option_maxlen)?;
    writeln!(out, "    }},")
}
