//! Mounts for hooks, which see the container at a directory of the host's tree.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use linux::file_error::FileError;

use crate::start::error::StartError;
use crate::start::mounts::lines;
use crate::start::roots::Roots;

/// Carries out the lines with the number `pass`, targets below `root`.
///
/// # Errors
/// [`StartError`].
pub fn enroot_mount(root: &Path, pass: i32, lines: &[u8]) -> Result<(), StartError> {
    let mut roots = Roots::on_host(root).map_err(|error| FileError::new("open", root, error))?;
    let entries = lines::parse_lines_of_hooks(OsStr::from_bytes(lines))?;
    entries
        .iter()
        .filter(|entry| entry.pass == pass)
        .try_for_each(|entry| lines::apply(&mut roots, entry))
}
