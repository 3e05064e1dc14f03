//! Who uses what: processes by name, images by locks.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use linux::sys::{FlockKind, flock};

use super::node::{boot_id, host};
use super::{leases, names};

/// What a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Images and their bytes.
    pub images: (u64, u64),
    /// Layers and other blobs and their bytes.
    pub blobs: (u64, u64),
    /// Leftovers and their bytes.
    pub leftovers: (u64, u64),
}

impl super::Store {
    /// What the caller's own store holds.
    pub fn usage(&self) -> Usage {
        let is_image = |name: &str| matches!(names::image(name), Some((_, "sqsh")));
        let is_leftover = |name: &str| names::is_temporary(name) || names::is_sent(name);
        Usage {
            images: sum(&self.root().join(super::IMAGES), is_image),
            blobs: sum(&self.root().join(super::BLOBS), names::is_blob),
            leftovers: sum(&self.scratch(), is_leftover),
        }
    }
}

fn sum(folder: &Path, is: impl Fn(&str) -> bool) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    let files = names::files(folder, is).unwrap_or_default();
    files.iter().fold((0, 0), |(count, bytes), (_, data)| (count + 1, bytes + data.blocks() * 512))
}

/// Keeps the garbage collector from an image for as long as the descriptor, or one inherited
/// from it, is open. On NFS leases do.
pub(super) fn hold(file: &File) {
    if leases::is_nfs(file) {
        return;
    }
    // The collector holds its lock for a moment only. A file system without locks has leases.
    for _ in 0..20 {
        match flock(file, FlockKind::TryShared) {
            Ok(false) => std::thread::sleep(Duration::from_millis(1)),
            _ => return,
        }
    }
}

/// Whether nobody on any node that shares locks with this one holds the image.
pub(super) fn is_free(file: &File) -> bool {
    // Where there are no locks, nobody holds one.
    flock(file, FlockKind::TryExclusive).unwrap_or(true)
}

/// Tells the store that an image is being started: called with every opened image, does nothing
/// for those outside of stores, where nobody collects.
pub fn mark_use(path: &Path, file: &File) {
    if is_in_store(path) {
        hold(file);
        leases::note(path, file);
    }
}

/// Whether a path is that of an image in a store: `images/HEX.sqsh` beside `locks`.
fn is_in_store(path: &Path) -> bool {
    if names::image(names::name_of(path)).is_none() {
        return false;
    }
    let Ok(path) = std::path::absolute(path) else { return false };
    let Some(images) = path.parent() else { return false };
    // Its real name may be another one: a store may be reached by links.
    fs::canonicalize(images).is_ok_and(|images| {
        images.ends_with(super::IMAGES) && images.with_file_name(super::LOCKS).is_dir()
    })
}

/// A name for this process that no other has, on any node: host, boot, process, its start, and
/// a number of its own for each of its threads.
pub(super) fn signature() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{} {}", signature_of(std::process::id()), COUNT.fetch_add(1, Ordering::Relaxed))
}

pub(super) fn signature_of(pid: u32) -> String {
    let start = started(pid).unwrap_or_default();
    format!("{} {} {} {pid} {start}", host(), boot_id(), namespace().unwrap_or_default())
}

/// This process, as part of a file name: `HOST-PID-nNAMESPACE-START`.
pub(super) fn file_signature() -> String {
    let (pid, start) = (std::process::id(), started(std::process::id()).unwrap_or_default());
    let namespace = namespace().unwrap_or_default().replace(|char: char| !char.is_numeric(), "");
    format!("{}-{pid}-n{namespace}-{start}", host())
}

/// Whether a name that begins so is of a process of this node that is gone.
pub(super) fn is_dead_by_file(name: &str) -> bool {
    let fields = || {
        let mut fields = name.strip_prefix(&host())?.strip_prefix('-')?.split('-');
        let pid: u32 = fields.next()?.parse().ok()?;
        Some((pid, fields.next()?.strip_prefix('n')?, fields.next()?))
    };
    let (Some((pid, inside, start)), Some(here)) = (fields(), namespace()) else { return false };
    here == format!("pid:[{inside}]") && started(pid).is_none_or(|now| now != start)
}

/// Whether a signature is of a process of this node that is gone.
pub(super) fn is_dead(signature: &str) -> bool {
    let mut words = signature.split(' ');
    let Some(namespace) = namespace() else { return false };
    let here = [host(), boot_id(), namespace];
    if here.iter().any(|want| words.next() != Some(want)) {
        return false;
    }
    let (Some(pid), Some(start)) = (words.next().and_then(|pid| pid.parse().ok()), words.next())
    else {
        return false;
    };
    started(pid).is_none_or(|now| now != start)
}

/// Process numbers mean something within their namespace only. `None` if `/proc` is another's.
fn namespace() -> Option<String> {
    let own = fs::read_link("/proc/self").ok()?;
    if own.to_str()? != std::process::id().to_string() {
        return None;
    }
    let link = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(link.to_str()?.replace(' ', ""))
}

/// When a process was started, in ticks since boot: the twenty-second field, counted behind the
/// program's name, which may hold anything.
fn started(pid: u32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    // A zombie does nothing any more.
    (fields.first() != Some(&"Z")).then(|| fields.get(19).map(|start| (*start).to_owned()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_a_store_are_known_by_where_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let (images, hex) = (folder.path().join("images"), "0123456789abcdef".repeat(4));
        let image = images.join(format!("{hex}.sqsh"));
        fs::create_dir(&images).unwrap();
        assert!(!is_in_store(&image), "no locks beside it");
        fs::create_dir(folder.path().join("locks")).unwrap();
        assert!(is_in_store(&image));
        std::os::unix::fs::symlink("images", folder.path().join("link")).unwrap();
        assert!(is_in_store(&folder.path().join("link").join(format!("{hex}.sqsh"))));
        for other in [images.join("image.sqsh"), folder.path().join(format!("{hex}.sqsh"))] {
            assert!(!is_in_store(&other), "{}", other.display());
        }
    }
}
