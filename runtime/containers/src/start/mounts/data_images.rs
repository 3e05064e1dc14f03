//! Squashfs files that are mounted at directories of a container, as data sets are shipped: served as images
//! are, each by a process of its own, which is forked with the other helpers.

use std::fs::File;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::MsFlags;
use nix::sys::stat::stat;
use nix::unistd::{chdir, fchdir};

use crate::fstab::Entry;
use crate::start::error::StartError;
use crate::start::mounts::lines;
use crate::start::plan::Plan;
use crate::start::process::identity::Identity;
use crate::start::rootfs::server::{Serve, Server, device};
use crate::start::roots::Roots;
use linux::file_error::FileError;
use squashfs::image::{Image, ImageError};

/// Each is a process, with threads.
const MOST: usize = 64;

/// The files, by the number of their mount in the plan, and who is to serve them.
#[derive(Default)]
pub(in crate::start) struct DataImages(Vec<(usize, Result<Server, StartError>)>);

impl DataImages {
    /// Opens the files, on the host's tree and outside of all namespaces. One that may be missing is told
    /// of when it would be mounted.
    pub(in crate::start) fn open(
        plan: &Plan,
        identity: &Identity,
        log: &File,
    ) -> Result<DataImages, StartError> {
        let mut images = Vec::new();
        for (at, entry) in plan.mounts.iter().enumerate().filter(|(_, entry)| entry.squashfs) {
            let path = Path::new(&entry.source);
            if images.len() == MOST {
                return Err(StartError::mount(
                    path.to_string_lossy(),
                    &entry.target.to_string_lossy(),
                    Errno::EMFILE,
                ));
            }
            match server(path, plan, identity, log) {
                Err(error) if !entry.nofail => return Err(error),
                opened => images.push((at, opened)),
            }
        }
        Ok(DataImages(images))
    }

    /// What the forked servers run.
    pub(in crate::start) fn serve(&self) -> impl Iterator<Item = Serve<'_>> {
        self.0.iter().filter_map(|(_, server)| server.as_ref().ok()?.serve())
    }

    /// Mounts the one of this number; `None` if there is none.
    pub(in crate::start) fn mount(
        &mut self,
        roots: &mut Roots,
        at: usize,
        entry: &Entry,
    ) -> Option<Result<(), StartError>> {
        let found = self.0.iter().position(|(number, _)| *number == at)?;
        let (_, server) = self.0.swap_remove(found);
        Some(server.and_then(|server| mount(roots, entry, server)))
    }
}

fn server(path: &Path, plan: &Plan, identity: &Identity, log: &File) -> Result<Server, StartError> {
    let Image::Squashfs { file, path } = Image::open(path, plan.host.in_use)? else {
        return Err(ImageError::not_squashfs(path).into());
    };
    let prepared = Server::prepare((file, &path), identity, None, &plan.host, log)?;
    prepared.map_err(|unserved| StartError::Server {
        image: unserved.path,
        log: unserved.reason.to_string(),
    })
}

fn mount(roots: &mut Roots, entry: &Entry, server: Server) -> Result<(), StartError> {
    let target = lines::target_of(entry)?;
    // The container may have another one, or none.
    roots.host()?;
    let fuse = device().map_err(|reason| StartError::Server {
        image: entry.source.clone().into(),
        log: reason.to_string(),
    })?;
    let root = roots.container()?;
    let there = lines::open_target(&root, entry, None, &target)?;
    let flags = entry.flags - MsFlags::MS_RDONLY;
    fchdir(&there).map_err(|errno| FileError::new("enter", &target, errno))?;
    let mut mounted = server.mount_device(fuse, (Path::new("."), &target), flags)?;
    chdir("/").map_err(|errno| FileError::new("enter", "/", errno))?;
    // The first request: one that cannot be answered is told here.
    stat(&target).map(drop).map_err(|errno| mounted.failure(&errno))
}
