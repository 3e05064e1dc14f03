//! Debug symbols, split off what is shipped.

use crate::error::Error;
use crate::kinds::Arch;
use build_matrix::workspace;
use slurm_releases::elf::Elf;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// A program or library without its debug symbols, and they.
#[derive(Debug)]
pub(crate) struct Split {
    pub(crate) file: PathBuf,
    pub(crate) stripped: Vec<u8>,
    /// Where debuggers look for them, and the symbols.
    pub(crate) symbols: (String, Vec<u8>),
}

/// Splits `file`; what is made goes beside it first.
pub(crate) fn split(file: &Path, arch: Arch) -> Result<Split, Error> {
    let (symbols, stripped) = (file.with_extension("debug"), file.with_extension("stripped"));
    let run = |args: &[&std::ffi::OsStr]| {
        let mut tool = objcopy(arch);
        let command = format!("{:?} {}", tool.get_program(), file.display());
        match tool.args(args).status() {
            Ok(status) if status.success() => Ok(()),
            Ok(_) => Err(Error::command(command, None)),
            Err(e) => Err(Error::command(command, Some(e))),
        }
    };
    run(&["--only-keep-debug".as_ref(), file.as_ref(), symbols.as_ref()])?;
    run(&["--strip-all".as_ref(), file.as_ref(), stripped.as_ref()])?;
    let bytes = fs::read(&stripped).map_err(Error::io("read", &stripped))?;
    let id = Elf::parse(&bytes).and_then(|elf| elf.build_id().map(workspace::hex));
    let id = id.filter(|id| id.len() > 2);
    let id = id.ok_or_else(|| Error::NoBuildId { path: file.to_path_buf() })?;
    let place = format!("usr/lib/debug/.build-id/{}/{}.debug", &id[..2], &id[2..]);
    let debug = fs::read(&symbols).map_err(Error::io("read", &symbols))?;
    Ok(Split { file: stripped, stripped: bytes, symbols: (place, debug) })
}

/// The one that comes with rustc knows every processor; else the system's.
fn objcopy(arch: Arch) -> Command {
    let rustc = env::var_os("RUSTC").unwrap_or("rustc".into());
    let print = |what: [&str; 2]| {
        let output = Command::new(&rustc).args(what).output().ok()?;
        String::from_utf8(output.stdout).ok()
    };
    let found = print(["--print", "sysroot"]).and_then(|sysroot| {
        let host = print(["--print", "host-tuple"])?;
        let lib = Path::new(sysroot.trim()).join("lib");
        let tool = lib.join("rustlib").join(host.trim()).join("bin/rust-objcopy");
        Some((tool, lib)).filter(|(tool, _)| tool.exists())
    });
    let Some((tool, lib)) = found else {
        let own = arch.name() == env::consts::ARCH;
        let other = format!("{}-linux-gnu-objcopy", arch.name());
        return Command::new(if own { "objcopy" } else { &other });
    };
    let mut command = Command::new(tool);
    // Where LLVM is.
    command.env("LD_LIBRARY_PATH", lib);
    command
}
