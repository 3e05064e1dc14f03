//! What a file has beside its contents, as far as a user may set it.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering;

use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;

use super::{Result, Unpacker};
use crate::Inode;

/// Attributes of one file: each is looked for among all.
const MOST_ATTRIBUTES: usize = 256;
/// In which programs that merge layers keep what they know.
const OF_LAYERS: [&[u8]; 3] = [b"user.overlay.", b"user.fuseoverlayfs.", b"user.containers."];
/// What a user may not set, or not for others.
pub(super) const PERMISSIONS: u32 = 0o1777;

impl Unpacker<'_> {
    /// Sets the attributes that a user may set. What overlayfs or fuse-overlayfs would take for its own is left
    /// out: an image is not to steer a layer.
    pub(super) fn set_attributes(&self, file: BorrowedFd<'_>, inode: &Inode) -> Result<()> {
        let names = self.image.attribute_names(inode)?;
        for name in names.split_inclusive(|byte| *byte == 0).take(MOST_ATTRIBUTES) {
            let Ok(text) = CStr::from_bytes_with_nul(name) else { continue };
            let bytes = text.to_bytes();
            if !bytes.starts_with(b"user.")
                || OF_LAYERS.iter().any(|layer| bytes.starts_with(layer))
            {
                continue;
            }
            let value = self.image.attribute(inode, bytes)?.unwrap_or_default();
            if linux::xattr::set(file, text, &value).is_err() {
                self.attributes.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

pub(super) fn set_time(directory: BorrowedFd<'_>, name: &CStr, mtime: u32) -> nix::Result<()> {
    let time = TimeSpec::new(mtime.into(), 0);
    utimensat(directory, name, &time, &time, UtimensatFlags::NoFollowSymlink)
}
