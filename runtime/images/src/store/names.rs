//! The names that stores give. Nothing else is ever removed from a store's folders, or counted: the directory that
//! somebody names for a store may have other things, in folders of these names as well. (But for what others than its owner
//! put into a `uses` that is open to all.)

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};

use linux::file_error::FileError;

/// Digits of the digest of an image's manifest, which is a sha256 always.
const IMAGE: usize = 64;
/// Digits of a sha256 and a sha512.
const DIGESTS: [usize; 2] = [IMAGE, 128];
/// Digits of a registry, as part of a lock's name.
const REGISTRY: usize = 16;

/// Before the name of a file's maker.
pub(super) const TEMPORARY: &str = ".pyxis-";
/// Behind the name of who writes, in the note of how much that is.
pub(super) const SPACE: &str = "-space";
/// Before the name of a blob that another node sends.
const SENT: &str = "spread-";

fn is_hex(text: &str, lengths: &[usize]) -> bool {
    let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    lengths.contains(&text.len()) && text.bytes().all(digit)
}

/// The name of a file, where it can be one of a store's.
pub(super) fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// Whether an image could be called so: the digits of its manifest's digest.
pub(super) fn is_image(hex: &str) -> bool {
    is_hex(hex, &[IMAGE])
}

/// The image that a file of `images` is, with `sqsh` or `json`.
pub(super) fn image(name: &str) -> Option<(&str, &str)> {
    name.split_once('.').filter(|(hex, kind)| is_image(hex) && matches!(*kind, "sqsh" | "json"))
}

/// Whether it is a file of `blobs`.
pub(super) fn is_blob(name: &str) -> bool {
    is_hex(name, &DIGESTS)
}

/// Whether it is a file of `references`: the hash of a tag.
pub(super) fn is_reference(name: &str) -> bool {
    is_hex(name, &[IMAGE])
}

/// Whether it is the lock on an image or a blob, `[blob-]HEX[-REGISTRY]`, or was one.
pub(super) fn is_lock(name: &str) -> bool {
    let made = name.strip_prefix("blob-").unwrap_or(name);
    let (hex, registry) = made.split_once('-').map_or((made, None), |(a, b)| (a, Some(b)));
    is_temporary(name)
        || is_blob(hex) && registry.is_none_or(|registry| is_hex(registry, &[REGISTRY]))
}

/// Whether it is a name of `file::unique`: `.pyxis-HOST-PID-nNAMESPACE-START-COUNT-NANOS`, or
/// `.pyxis-HOST-PID-COUNT-NANOS` as it was once.
pub(super) fn is_temporary(name: &str) -> bool {
    let Some(maker) = name.strip_prefix(TEMPORARY) else { return false };
    let mut parts = maker.strip_suffix(SPACE).unwrap_or(maker).rsplit('-');
    let digits = |part: Option<&str>| {
        part.is_some_and(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let nanos = parts.next().is_some_and(|part| u32::from_str_radix(part, 16).is_ok());
    // A count, and the start or the number of a process.
    nanos && digits(parts.next()) && digits(parts.next()) && parts.next().is_some()
}

/// How the names of what another node sends to a step, `JOB.STEP`, begin. They tell nobody what that is.
pub(super) fn sent_to(step: &str) -> String {
    format!("{SENT}{step}-")
}

/// Whether it is a blob on its way from another node: `spread-JOB.STEP-PLACE`, or its digest in the end as it was once.
pub(super) fn is_sent(name: &str) -> bool {
    let parts = name.strip_prefix(SENT).and_then(|rest| rest.split_once('-'));
    let is_number = |text: &str| text.parse::<u32>().is_ok();
    parts.is_some_and(|(step, place)| {
        step.split('.').count() == 2
            && step.split('.').all(is_number)
            && (is_number(place) || is_blob(place))
    })
}

/// Whether it has the form of a lease: `HEX.HOST.BOOT`, and mostly more.
pub(super) fn is_lease(name: &str) -> bool {
    let mut parts = name.split('.');
    let (image, _host, boot) = (parts.next(), parts.next(), parts.next());
    let boot = boot.and_then(|boot| boot.split('-').next());
    image.is_some_and(is_image) && boot.is_some_and(|boot| is_hex(boot, &[0, 8]))
}

/// What a folder has of names that `is` knows, and what each is: a link itself, if it is one.
pub(super) fn entries(
    folder: &Path,
    is: impl Fn(&str) -> bool,
) -> Result<Vec<(PathBuf, Metadata)>, FileError> {
    let failed = |source| FileError::new("list", folder, source);
    let mut out = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if is(name_of(&path)) {
            // What is gone by now is none.
            out.extend(path.symlink_metadata().ok().map(|data| (path, data)));
        }
    }
    Ok(out)
}

/// The files among these.
pub(super) fn files(
    folder: &Path,
    is: impl Fn(&str) -> bool,
) -> Result<Vec<(PathBuf, Metadata)>, FileError> {
    let mut files = entries(folder, is)?;
    files.retain(|(_, data)| data.is_file());
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stores_write_has_names_of_a_store_and_nothing_else() {
        let (hex, long) = ("0123456789abcdef".repeat(4), "0123456789abcdef".repeat(8));
        let unique = super::super::file::unique(Path::new("/x"));
        let unique = name_of(&unique);
        assert!(is_temporary(unique), "{unique}");
        assert!(is_temporary(&format!("{unique}{SPACE}")), "{unique}");
        assert!(is_temporary(".pyxis-a-node-77-0-3b9aca00"), "as it was once");
        for other in [".pyxis-notes", ".pyxis-1-2", ".pyxis-doctor-17-99", "pyxis-a-1-2-3", "run42"]
        {
            assert!(!is_temporary(other), "{other}");
        }
        assert!(is_blob(&hex) && is_blob(&long));
        for other in [&hex[1..], "model.bin", &hex.to_uppercase(), &format!("sha256-{hex}")] {
            assert!(!is_blob(other) && !is_lock(other), "{other}");
        }
        assert_eq!(image(&format!("{hex}.sqsh")), Some((&*hex, "sqsh")));
        assert_eq!(image(&format!("{hex}.json")), Some((&*hex, "json")));
        for other in [hex.clone(), format!("{hex}.png"), format!("{hex}.sqsh.bak"), "a.sqsh".into()]
        {
            assert_eq!(image(&other), None);
        }
        for lock in [hex.clone(), format!("{hex}-{}", &hex[..16]), format!("blob-{long}")] {
            assert!(is_lock(&lock), "{lock}");
        }
        assert!(!is_lock("blob-x") && !is_lock(&format!("{hex}-copy")) && !is_lock("apt"));
        assert!(
            is_sent(&format!("{}3", sent_to("12.0"))) && is_sent(&format!("spread-12.0-{hex}"))
        );
        assert!(!is_sent("spread-sheet.x-1") && !is_sent("spread-1.0-notes"));
        assert!(
            is_lease(&format!("{hex}.node.abcdef01-4242.7"))
                && is_lease(&format!("{hex}.n.abcdef01"))
        );
        assert!(
            !is_lease("notes.txt.old") && !is_lease(&hex) && !is_lease(&format!("{hex}.tar.gz"))
        );
    }
}
