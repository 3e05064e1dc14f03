//! Who uses what: processes by name, images by locks.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::USES;

/// File system types (from `linux/magic.h` and their own sources) of shared file systems, whose
/// locks may not reach other nodes.
const SHARED: [i64; 9] = [
    0x6969,      // NFS
    0x0bd0_0bd0, // Lustre
    0x4750_4653, // GPFS
    0x1983_0326, // BeeGFS
    0x00c3_6400, // Ceph
    0x6573_5546, // FUSE
    0xff53_4d42, // CIFS
    0xfe53_4d42, // SMB2
    0x0102_1997, // 9P
];

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
        Usage {
            images: sum(&self.root().join(super::IMAGES)),
            blobs: sum(&self.root().join(super::BLOBS)),
            leftovers: sum(&self.scratch()),
        }
    }
}

fn sum(directory: &Path) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let files = entries.filter_map(|entry| {
        let is_record = entry.path().extension().is_some_and(|extension| extension == "json");
        entry.metadata().ok().filter(|_| !is_record)
    });
    files.fold((0, 0), |(count, bytes), data| (count + 1, bytes + data.blocks() * 512))
}

/// Keeps the garbage collector from an image for as long as the descriptor, or one inherited
/// from it, is open.
pub(super) fn hold(file: &File) {
    // The collector holds its lock for a moment only. A file system without locks has leases.
    for _ in 0..20 {
        match flock(file, libc::LOCK_SH | libc::LOCK_NB) {
            Err(error) if error.raw_os_error() == Some(libc::EWOULDBLOCK) => {
                std::thread::sleep(Duration::from_millis(1));
            }
            _ => return,
        }
    }
}

/// Whether nobody on any node that shares locks with this one holds the image.
pub(super) fn is_free(file: &File) -> bool {
    // Where there are no locks, nobody holds one.
    match flock(file, libc::LOCK_EX | libc::LOCK_NB) {
        Ok(()) => true,
        Err(error) => error.raw_os_error() != Some(libc::EWOULDBLOCK),
    }
}

fn flock(file: &File, operation: i32) -> std::io::Result<()> {
    // SAFETY: the call takes a descriptor, which is open, and no memory.
    let result = unsafe { libc::flock(file.as_raw_fd(), operation) };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// Tells the store that an image is being started: called with every opened image, does nothing
/// for those outside of stores but one cheap lock.
pub fn mark_use(path: &Path, file: &File) {
    hold(file);
    let shared = nix::sys::statfs::fstatfs(file)
        .is_ok_and(|info| SHARED.contains(&(info.filesystem_type().0 & 0xffff_ffff)));
    if !shared {
        return;
    }
    let lease = || {
        let hex = path.file_name()?.to_str()?.strip_suffix(".sqsh")?;
        let uses = path.parent()?.parent()?.join(USES);
        let (boot, user) = (boot_id(), nix::unistd::geteuid());
        let name = format!("{hex}.{}.{}-{user}", host(), &boot[..boot.len().min(8)]);
        // In a store for all users others may have put something there: nothing is followed,
        // nothing waited for, and nothing changed but the time. (A store that cannot be written to
        // is the administrator's.)
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).mode(0o644);
        options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY);
        options.open(uses.join(name)).ok()?.set_modified(SystemTime::now()).ok()
    };
    lease();
}

/// Whether a lease says that an image is in use on another node, or on this one since it booted.
pub(super) fn has_lease(root: &Path, hex: &str, age: Duration) -> bool {
    let mut found = false;
    for entry in fs::read_dir(root.join(USES)).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(hex)) else { continue };
        // Not that of what a link leads to.
        let modified = entry.path().symlink_metadata().and_then(|data| data.modified());
        let old = modified
            .is_ok_and(|time| SystemTime::now().duration_since(time).is_ok_and(|is| is > age));
        let own = rest.strip_prefix('.').and_then(|rest| rest.strip_prefix(&host()));
        let boot = own.and_then(|rest| rest.strip_prefix('.')?.split('-').next());
        let rebooted = boot.is_some_and(|boot| !boot_id().starts_with(boot));
        if old || rebooted {
            let _ = fs::remove_file(entry.path());
        } else {
            found = true;
        }
    }
    found
}

/// This node's name, as part of a file name.
pub(super) fn host() -> String {
    let name = nix::unistd::gethostname().unwrap_or_default();
    let plain = |char: char| char.is_ascii_alphanumeric() || char == '-' || char == '_';
    name.to_string_lossy().chars().filter(|char| plain(*char)).take(64).collect()
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
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
