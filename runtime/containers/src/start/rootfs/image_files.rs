//! What an image says about how it wants to be started.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use crate::start::rootfs::tree::Tree;

/// The files by which an image, or its importer, says so.
pub(in crate::start) struct ImageFiles {
    /// `/etc/environment`.
    pub(in crate::start) environment: Vec<u8>,
    /// `/etc/fstab`.
    pub(in crate::start) fstab: Vec<u8>,
    /// The directory that programs start in.
    pub(in crate::start) workdir: Option<PathBuf>,
}

impl ImageFiles {
    pub(in crate::start) fn read(tree: Tree<'_>) -> ImageFiles {
        ImageFiles {
            environment: tree.read("/etc/environment").unwrap_or_default(),
            fstab: tree.read("/etc/fstab").unwrap_or_default(),
            workdir: tree.read("/etc/rc").ok().as_deref().and_then(workdir),
        }
    }
}

/// The directory that an image's command script starts in: enroot's importer writes it as
/// `cd "DIR" && unset OLDPWD || exit 1`.
fn workdir(script: &[u8]) -> Option<PathBuf> {
    script.split(|byte| *byte == b'\n').find_map(|line| {
        let rest = line.trim_ascii().strip_prefix(b"cd \"")?;
        let end = rest.iter().position(|byte| *byte == b'"')?;
        (end > 0).then(|| PathBuf::from(OsString::from_vec(rest[..end].to_vec())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_working_directory_of_an_image() {
        let script = b"# enroot-provenance: docker://x\n\nmkdir -p \"/work dir\" 2> /dev/null\n\
            cd \"/work dir\" && unset OLDPWD || exit 1\n\nexec \"$@\"\n";
        assert_eq!(workdir(script), Some("/work dir".into()));
        assert_eq!(workdir(b"exec \"$@\"\n"), None);
    }
}
