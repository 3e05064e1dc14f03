//! fuse-overlayfs above an image's unpacked files, which stands in for the image's server and the kernel's overlay.
//!
//! It is no program of ours, and goes where programs of the container send it. So it is shut in, in namespaces of its own:
//! it reaches the image's files, to be read, its layer, its libraries, and nothing else of the host's.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use hygiene::unsecure;
use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;
use nix::unistd::{chdir, getegid, geteuid, mkdir};

use crate::record::unpacked::Unpacked;
use crate::start::mounts::change;
use crate::start::process::child::inherit;
use crate::start::roots::become_root;
use handover::namespaces::{Namespace, NewUser};
use linux::sys;

/// Where it is shut in. What is there shows again afterwards, to others.
const CELL: &str = "/tmp";
/// What its loader wants, as the host has it: a directory, or a link to one.
pub(in crate::start) const LIBRARIES: [&str; 5] = ["usr", "bin", "lib", "lib32", "lib64"];
const NONE: Option<&str> = None;

/// Who shows an image's files and what is changed of them as one tree.
pub(in crate::start) struct Merger {
    /// Below one of [`LIBRARIES`].
    pub(in crate::start) program: PathBuf,
    pub(in crate::start) image: Unpacked,
    /// A new layer's directory.
    pub(in crate::start) layer: PathBuf,
    /// What its mount shows as its source.
    pub(in crate::start) mark: String,
}

impl Merger {
    /// Becomes the program, which answers for `fuse` until it is mounted nowhere any more. `ids` are the user's inside;
    /// `kept` stays open meanwhile. Returns only what went wrong.
    pub(in crate::start) fn run(
        &self,
        ids: (u32, u32),
        fuse: &OwnedFd,
        kept: &[Option<i32>],
    ) -> io::Error {
        let fd = fuse.as_raw_fd();
        let mut command = unsecure::command(&self.program);
        command.args(["-f", "-o", &options(ids)]).arg(format!("/dev/fd/{fd}"));
        let ready = || -> io::Result<()> {
            inherit(fuse)?;
            inherit(&self.image.used)?;
            for fd in kept.iter().flatten() {
                // SAFETY: whoever calls has it open.
                inherit(unsafe { BorrowedFd::borrow_raw(*fd) })?;
            }
            self.shut_in()?;
            sys::set_no_new_privileges()
        };
        match ready() {
            Ok(()) => command.exec(),
            Err(error) => error,
        }
    }

    /// Goes where there is nothing but what the program needs. The user is root there, as of the image's files,
    /// which some programs cannot read by their modes alone.
    fn shut_in(&self) -> io::Result<()> {
        let directory = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let opened = |path: &Path| open(path, directory, Mode::empty());
        NewUser::new((0, geteuid().as_raw()), (0, getegid().as_raw())).enter()?;
        Namespace::Mount.unshare()?;
        mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
        let (tree, layer) = (opened(&self.image.tree)?, opened(&self.layer)?);
        // It names what it has opened by this.
        let own = opened(Path::new("/proc/self"))?;
        let libraries: Vec<_> = LIBRARIES
            .iter()
            .filter_map(|name| {
                let path = Path::new("/").join(name);
                match std::fs::read_link(&path) {
                    Ok(link) => Some((name, Err(link))),
                    Err(_) => Some((name, Ok(opened(&path).ok()?))),
                }
            })
            .collect();
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("pyxis"), CELL, Some("tmpfs"), flags, Some("mode=755,size=64k"))?;
        let cell = |name: &str| Path::new(CELL).join(name);
        let bind = |source: &OwnedFd, name: &str| -> io::Result<()> {
            mkdir(&cell(name), Mode::S_IRWXU)?;
            let target = cell(name);
            change::bind_directory(source, &target.to_string_lossy(), false)
                .map_err(io::Error::other)
        };
        for (name, library) in libraries {
            match library {
                Ok(library) => bind(&library, name)?,
                Err(link) => symlink(link, cell(name))?,
            }
        }
        bind(&tree, "tree")?;
        bind(&layer, "layer")?;
        mkdir(&cell("proc"), Mode::S_IRWXU)?;
        bind(&own, "proc/self")?;
        std::fs::create_dir_all(cell("proc/sys/kernel"))?;
        for name in ["overflowuid", "overflowgid"] {
            std::fs::write(cell("proc/sys/kernel").join(name), "65534\n")?;
        }
        chdir(CELL)?;
        become_root()?;
        Ok(change::readonly_below(Path::new("/tree"))?)
    }
}

/// Its user is 0 in there, and `ids` to programs of the container.
fn options((user, group): (u32, u32)) -> String {
    let mut options = String::from("lowerdir=/tree,upperdir=/layer/upper,workdir=/layer/work");
    if (user, group) != (0, 0) {
        options += &format!(",uidmapping=0:{user}:1,gidmapping=0:{group}:1");
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_the_users_by_the_ids_that_the_container_has() {
        assert!(!options((0, 0)).contains("mapping"));
        assert!(options((1000, 100)).ends_with(",uidmapping=0:1000:1,gidmapping=0:100:1"));
    }
}
