//! The names of gcc's unwinder, to link against.
//!
//! cargo-zigbuild would link LLVM's unwinder into each file. In a process of Slurm there would then be
//! two of them, which do not understand each other's frames, and a plugin is 30 KiB larger. gcc's is
//! wherever Slurm is; only its names are needed here.

use crate::error::Error;
use crate::kinds::Arch;
use std::ffi::OsStr;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Versions and their functions, as libgcc_s.so.1 has them on both processors.
const NAMES: &[(&str, &[&str])] = &[
    (
        "GCC_3.0",
        &[
            "_Unwind_DeleteException",
            "_Unwind_GetDataRelBase",
            "_Unwind_GetGR",
            "_Unwind_GetIP",
            "_Unwind_GetLanguageSpecificData",
            "_Unwind_GetRegionStart",
            "_Unwind_GetTextRelBase",
            "_Unwind_RaiseException",
            "_Unwind_Resume",
            "_Unwind_SetGR",
            "_Unwind_SetIP",
        ],
    ),
    ("GCC_3.3", &["_Unwind_Backtrace", "_Unwind_FindEnclosingFunction", "_Unwind_GetCFA"]),
    ("GCC_4.2.0", &["_Unwind_GetIPInfo"]),
];

/// Makes `dir/libgcc_s.so.1` below `root`: the path from there.
pub(crate) fn unwinder(
    root: &Path,
    dir: &Path,
    arch: Arch,
    zig: &Path,
    path: &OsStr,
) -> Result<PathBuf, Error> {
    let (mut code, mut map, mut before) = (String::new(), String::new(), String::new());
    for (version, functions) in NAMES {
        for function in *functions {
            let _ = writeln!(code, "void {function}(void) {{}}");
        }
        let functions = functions.join("; ");
        let _ = writeln!(map, "{version} {{ global: {functions}; }} {before};");
        before = (*version).to_owned();
    }
    let place = root.join(dir);
    fs::create_dir_all(&place).map_err(Error::io("make", &place))?;
    for (name, text) in [("libgcc_s.c", code), ("libgcc_s.map", map)] {
        let file = place.join(name);
        fs::write(&file, text).map_err(Error::io("write", &file))?;
    }
    let mut command = Command::new(zig);
    command.current_dir(&place).env("PATH", path);
    command.args(["zig", "cc", "--", "-target", &format!("{}-linux-gnu", arch.name())]);
    command.args(["-shared", "-nostdlib", "-Wl,-soname,libgcc_s.so.1"]);
    command.args(["-Wl,--version-script=libgcc_s.map", "-o", "libgcc_s.so.1", "libgcc_s.c"]);
    let failed = |why| Error::command("zig cc", why);
    let status = command.status().map_err(|e| failed(Some(e)))?;
    if status.success() { Ok(dir.join("libgcc_s.so.1")) } else { Err(failed(None)) }
}
