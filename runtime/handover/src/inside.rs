//! Paths of a container, walked by the kernel within the container's root.

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// How often a walk is begun again. Whoever renames without a pause may deny it, but not hold it.
const TRIES: usize = 1000;

/// Opens `path` with `root` as the root directory of the walk: no link and no `..` leads out of it.
///
/// The kernel gives up (EAGAIN, openat2(2)) when anything on the machine is renamed or mounted while
/// it takes a `..`; the walk is begun again then.
///
/// # Errors
/// The kernel's; ENOSYS before Linux 5.6.
pub fn open_in_root(root: impl AsFd, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_IN_ROOT);
    for _ in 0..TRIES {
        match openat2(&root, path, how) {
            Err(Errno::EAGAIN) => {}
            opened => return opened,
        }
    }
    Err(Errno::EAGAIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn a_rename_elsewhere_does_not_end_the_walk() {
        let temp = tempfile::tempdir().unwrap();
        let top = temp.path().join("inside");
        fs::create_dir_all(top.join("root/a")).unwrap();
        fs::create_dir_all(top.join("other")).unwrap();
        let root = File::open(top.join("root")).unwrap();
        let (names, over) = ([top.join("other/x"), top.join("other/y")], AtomicBool::new(false));
        fs::write(&names[0], "").unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    fs::rename(&names[0], &names[1]).unwrap();
                    fs::rename(&names[1], &names[0]).unwrap();
                }
            });
            let failed = (0..20_000)
                .filter_map(|_| {
                    open_in_root(&root, Path::new("a/../a/../../a"), OFlag::O_PATH).err()
                })
                .next();
            over.store(true, Ordering::Relaxed);
            assert_eq!(failed, None);
        });
    }
}
