//! How squashfs files are written.

use std::ffi::OsStr;

use images::squash::Squash;
use linux::environ::Environ;
use squashfs::program::Program;

use super::SettingsError;
use super::layers::Resolved;
use super::table::Id;
use super::variables as v;

pub(super) fn squash(resolved: &Resolved, host: &Environ) -> Result<Squash, SettingsError> {
    let epoch = host.get(OsStr::new(v::SOURCE_DATE_EPOCH)).filter(|value| !value.is_empty());
    let time = epoch.map(|text| {
        let seconds = text.to_str().and_then(|text| text.trim().parse::<u32>().ok());
        seconds.ok_or_else(|| SettingsError::Variable {
            variable: v::SOURCE_DATE_EPOCH,
            value: text.to_string_lossy().into_owned(),
            problem: "it takes seconds since 1970, up to 4294967295".to_owned(),
        })
    });
    let time = time.transpose()?;
    Ok(Squash {
        program: Program::new(
            resolved.text(Id::SquashOptions),
            resolved.packing(),
            resolved.number(Id::MaxProcessors).unwrap_or(0) as usize,
        ),
        mtime: time.map_or(0, i64::from),
        one_time: time.is_some(),
    })
}
