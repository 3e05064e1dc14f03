//! Mounts that do not depend on the image. They are made while its server comes up, when there is no
//! root yet to put them into, and attached when there is: that takes a tenth of the time.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::mount::MsFlags;

use crate::fstab::Entry;
use crate::start::error::StartError;
use crate::start::mounts::lines;
use crate::start::roots::Roots;
use linux::detached::{self, Change};

/// Mount lines, and their mounts that are attached nowhere yet.
pub(in crate::start) struct DetachedMounts(Vec<(Entry, OwnedFd)>);

impl DetachedMounts {
    /// Makes those that can be made: what is wrong with another is said when its time comes. Before
    /// Linux 5.12 there are none, since each has something to be changed.
    pub(in crate::start) fn make(
        roots: &mut Roots,
        entries: impl IntoIterator<Item = Entry>,
    ) -> Result<DetachedMounts, StartError> {
        roots.host()?;
        let made = entries.into_iter().filter_map(|entry| {
            let mount = make(&entry).ok()?;
            Some((entry, mount))
        });
        Ok(DetachedMounts(made.collect()))
    }

    /// As [`lines::apply`], by the mount that is ready where there is one.
    pub(in crate::start) fn apply(
        &mut self,
        roots: &mut Roots,
        entry: &Entry,
    ) -> Result<(), StartError> {
        match self.0.iter().position(|(made, _)| made == entry) {
            Some(at) => lines::unless_nofail(entry, attach(roots, entry, self.0.swap_remove(at).1)),
            None => lines::apply(roots, entry),
        }
    }
}

/// Makes the mount, of a path of the present root or of a new file system.
fn make(entry: &Entry) -> nix::Result<OwnedFd> {
    let flags = entry.flags - MsFlags::MS_BIND - MsFlags::MS_REC;
    let recursive = entry.flags.contains(MsFlags::MS_REC);
    let spread = entry.propagation.contains(MsFlags::MS_REC);
    let none = MsFlags::empty();
    let (all, below) = match spread {
        true => (none, entry.propagation),
        false => (entry.propagation, none),
    };
    let read_only = if recursive { flags & MsFlags::MS_RDONLY } else { none };
    let changes = Change::adding(flags, all).zip(Change::adding(read_only, below));
    let (here, below) = changes.ok_or(Errno::ENOTSUP)?;
    let mount = match entry.is_bind() {
        true => detached::copy(&entry.source, recursive)?,
        false => detached::create(&entry.fstype, &entry.source, &entry.data, here)?,
    };
    here.apply(mount.as_fd(), false)?;
    below.apply(mount.as_fd(), true)?;
    Ok(mount)
}

fn attach(roots: &mut Roots, entry: &Entry, mount: OwnedFd) -> Result<(), StartError> {
    let target = Path::new("/").join(&entry.target);
    let opened = lines::open_target(&roots.container()?, entry, None, &target)?;
    if detached::attach(mount.as_fd(), opened.as_fd()).is_err() {
        // What the kernel has against it is said of the usual way, or it has nothing against that one.
        return lines::apply_strictly(roots, entry);
    }
    roots.keep_mount(target, mount);
    Ok(())
}
