//! The stamp: what a built plugin says of itself, in plain text and readable without loading it.
//!
//! ```text
//! pyxis-stamp 1
//! plugin=pyxis
//! version=0.1.0
//! slurm=24.11
//! number=0x180b07
//! api=42
//! bindings=0011223344556677
//! target=x86_64-unknown-linux-gnu
//! ```
//!
//! It ends with a NUL, is exported as `pyxis_stamp`, and fills the section `.pyxis.stamp` of the
//! ELF file (loaded with the rest, so that `strip` leaves it alone).

use crate::elf::Elf;
use std::collections::HashMap;
use std::fmt;

/// The ELF section that holds it.
pub const SECTION: &str = ".pyxis.stamp";
/// The symbol that names it.
pub const SYMBOL: &str = "pyxis_stamp";
/// Its first line. A reader takes no other number.
pub const FIRST_LINE: &str = "pyxis-stamp 1";

/// A stamp, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// Name of the plugin.
    pub plugin: String,
    /// Version of the plugin.
    pub version: String,
    /// The Slurm release it was built for, `24.11`.
    pub slurm: String,
    /// SLURM_VERSION_NUMBER it was built with.
    pub number: u32,
    /// What that Slurm's `slurm_api_version()` returns, shifted right by 16.
    pub api: u32,
    /// Hash of the bindings it was built with.
    pub bindings: String,
    /// Target triple.
    pub target: String,
}

impl Stamp {
    /// The text of it, without the NUL at the end.
    pub fn text(&self) -> String {
        let Stamp { plugin, version, slurm, number, api, bindings, target } = self;
        format!(
            "{FIRST_LINE}\nplugin={plugin}\nversion={version}\nslurm={slurm}\nnumber={number:#08x}\n\
             api={api}\nbindings={bindings}\ntarget={target}\n"
        )
    }

    /// Reads the text of a stamp. Keys it does not know are left alone.
    ///
    /// # Errors
    ///
    /// What is wrong with the text.
    pub fn parse(bytes: &[u8]) -> Result<Stamp, StampError> {
        let text = bytes.split(|b| *b == 0).next().unwrap_or_default();
        let text = std::str::from_utf8(text).map_err(|_| StampError::NoStamp)?;
        let (first, rest) = text.split_once('\n').ok_or(StampError::NoStamp)?;
        if first != FIRST_LINE {
            return Err(StampError::NoStamp);
        }
        let values: HashMap<&str, &str> = rest.lines().filter_map(|l| l.split_once('=')).collect();
        let value = |key| values.get(key).copied().ok_or(StampError::Value(key));
        let hex = value("number")?.strip_prefix("0x").ok_or(StampError::Value("number"))?;
        Ok(Stamp {
            plugin: value("plugin")?.to_owned(),
            version: value("version")?.to_owned(),
            slurm: value("slurm")?.to_owned(),
            number: u32::from_str_radix(hex, 16).map_err(|_| StampError::Value("number"))?,
            api: value("api")?.parse().map_err(|_| StampError::Value("api"))?,
            bindings: value("bindings")?.to_owned(),
            target: value("target")?.to_owned(),
        })
    }

    /// Reads the stamp of a plugin from the bytes of its file.
    ///
    /// # Errors
    ///
    /// The file is no 64-bit ELF file, or has no (sound) stamp.
    pub fn from_elf(file: &[u8]) -> Result<Stamp, StampError> {
        let section = Elf::parse(file).and_then(|elf| elf.section(SECTION));
        Stamp::parse(section.ok_or(StampError::NoElf)?.ok_or(StampError::NoStamp)?)
    }
}

/// Why there is no stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StampError {
    /// Not an ELF file that can be read.
    NoElf,
    /// No stamp in it.
    NoStamp,
    /// A value is missing or wrong.
    Value(&'static str),
}

impl fmt::Display for StampError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StampError::NoElf => f.write_str("not a 64-bit ELF file of this byte order"),
            StampError::NoStamp => write!(f, "no stamp (section {SECTION}): not a pyxis plugin"),
            StampError::Value(key) => write!(f, "stamp without a sound `{key}`"),
        }
    }
}

impl std::error::Error for StampError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_has_no_stamp() {
        let none = |bytes: &[u8]| Stamp::from_elf(bytes).unwrap_err();
        assert_eq!(none(b""), StampError::NoElf);
        assert_eq!(none(b"#!/bin/sh\n"), StampError::NoElf);
        assert_eq!(none(&std::fs::read("/bin/true").unwrap()), StampError::NoStamp);
        assert_eq!(Stamp::parse(b"pyxis-stamp 2\nplugin=x\n"), Err(StampError::NoStamp));
        assert_eq!(Stamp::parse(b"pyxis-stamp 1\nplugin=x\n"), Err(StampError::Value("number")));
    }

    proptest! {
        #[test]
        fn any_text_is_no_panic(text in "(pyxis-stamp 1\n)?([a-z]{1,8}=[0-9a-fx.]{0,12}\n){0,9}\0?") {
            let _ = Stamp::parse(text.as_bytes());
        }

        #[test]
        fn what_is_written_is_read(words in prop::array::uniform5("[a-z0-9._-]{0,12}"), number: u32, api: u32) {
            let [plugin, version, slurm, bindings, target] = words;
            let stamp = Stamp { plugin, version, slurm, number, api, bindings, target };
            prop_assert_eq!(Stamp::parse(stamp.text().as_bytes()), Ok(stamp.clone()));
            prop_assert_eq!(Stamp::parse(format!("{}\0x", stamp.text()).as_bytes()), Ok(stamp));
        }
    }
}
