//! What the file of a plugin is, read and not loaded.

use std::io;
use std::path::Path;

use slurm_releases::elf::{AARCH64, Elf, X86_64};
use slurm_releases::stamp::{SECTION, Stamp, StampError};

use crate::slurm::programs::bytes_of;

/// This processor.
const MACHINE: u16 = if cfg!(target_arch = "aarch64") { AARCH64 } else { X86_64 };

/// What a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plugin {
    /// A build of pyxis for one Slurm release.
    Build(Stamp),
    /// The loader, which opens the build for the running Slurm.
    Loader,
    /// The pyxis in C, built with that SLURM_VERSION_NUMBER.
    Original(u32),
    /// Another plugin of Slurm, or of SPANK.
    Other {
        /// `spank`, or `auth/munge`
        kind: String,
        /// SLURM_VERSION_NUMBER it was built with.
        number: u32,
    },
}

/// Why a file is no plugin.
#[derive(Debug, thiserror::Error)]
pub enum PluginFileError {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Read(io::Error),
    /// Too large, a directory or the like.
    #[error("is no file of a plugin")]
    NoFile,
    /// Not ELF, or for another processor.
    #[error("is no library for this processor")]
    NoElf,
    /// It ends before its own tables do.
    #[error("is truncated; install its package again")]
    Truncated,
    /// A stamp that cannot be understood.
    #[error("has a damaged stamp: {0}")]
    Stamp(StampError),
    /// A library, and no plugin of Slurm.
    #[error("is no plugin of Slurm, and has no stamp of pyxis")]
    NoPlugin,
}

/// Looks at the file.
///
/// # Errors
/// [`PluginFileError`], without the path.
pub fn look(path: &Path) -> Result<Plugin, PluginFileError> {
    of_bytes(&bytes_of(path).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::FileTooLarge => PluginFileError::NoFile,
        _ => PluginFileError::Read(error),
    })?)
}

fn of_bytes(bytes: &[u8]) -> Result<Plugin, PluginFileError> {
    let elf = Elf::parse(bytes).ok_or(PluginFileError::NoElf)?;
    if elf.machine() != MACHINE {
        return Err(PluginFileError::NoElf);
    }
    if let Some(text) = elf.section(SECTION).ok_or(PluginFileError::Truncated)? {
        return Stamp::parse(text).map(Plugin::Build).map_err(PluginFileError::Stamp);
    }
    let number = elf.number("plugin_version").ok_or(PluginFileError::NoPlugin)?;
    let kind = text(elf.datum("plugin_type")).ok_or(PluginFileError::NoPlugin)?;
    let named_pyxis = kind == "spank" && text(elf.datum("plugin_name")).as_deref() == Some("pyxis");
    Ok(match number {
        0 if named_pyxis => Plugin::Loader,
        number if named_pyxis => Plugin::Original(number),
        number => Plugin::Other { kind, number },
    })
}

fn text(datum: Option<&[u8]>) -> Option<String> {
    let text = datum?.split(|byte| *byte == 0).next()?;
    Some(String::from_utf8_lossy(text).into_owned())
}

/// A SLURM_VERSION_NUMBER as Slurm writes it, `22.05.8`.
pub fn dotted(number: u32) -> String {
    let [_, major, minor, micro] = number.to_be_bytes();
    format!("{major}.{minor:02}.{micro}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_plugin() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("x.so");
        std::fs::write(&file, "#!/bin/sh\n").unwrap();
        assert!(matches!(look(&file), Err(PluginFileError::NoElf)));
        assert!(matches!(look(temp.path()), Err(PluginFileError::NoFile)));
        assert!(matches!(look(Path::new("/nonexistent")), Err(PluginFileError::Read(_))));
        let own = std::fs::read("/proc/self/exe").unwrap();
        assert!(matches!(of_bytes(&own), Err(PluginFileError::NoPlugin)));
        assert!(matches!(of_bytes(&own[..own.len() / 2]), Err(PluginFileError::Truncated)));
    }

    #[test]
    fn numbers_as_slurm_writes_them() {
        assert_eq!(dotted(0x16_0508), "22.05.8");
    }
}
