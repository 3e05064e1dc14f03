//! Mounts that are made while the image's server comes up, when there is no root yet to put them
//! into. Afterwards they are moved, which takes a tenth of the time.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;

use super::StartError;
use super::mounts::{self, Proc, create_target, mount_entry, open_source};
use super::roots::Roots;
use crate::fstab::Entry;

/// Entries, and where on the stage their mounts are.
#[derive(Default)]
pub(super) struct Ready(Vec<(Entry, PathBuf)>);

impl Ready {
    /// Makes those that can be made: what is wrong with another is said when its time comes.
    pub(super) fn make(roots: &Roots, entries: impl IntoIterator<Item = Entry>) -> Ready {
        let mut ready = Vec::new();
        for (number, entry) in entries.into_iter().enumerate() {
            let place = PathBuf::from(format!("/ready.{number}"));
            if make(roots, &entry, &place).is_ok() {
                ready.push((entry, place));
            }
        }
        Ready(ready)
    }

    /// As [`mounts::apply`], by the mount that is ready where there is one.
    pub(super) fn apply(&mut self, roots: &Roots, entry: &Entry) -> Result<(), StartError> {
        match self.0.iter().position(|(made, _)| made == entry) {
            Some(at) => mounts::forgiving(entry, attach(roots, entry, &self.0.swap_remove(at).1)),
            None => mounts::apply(roots, entry),
        }
    }
}

fn make(roots: &Roots, entry: &Entry, place: &Path) -> Result<(), StartError> {
    let source = open_source(roots, entry)?;
    let failed = |error| StartError::file("create", place, error);
    roots.stage(|| {
        match source.as_ref().is_none_or(mounts::is_directory) {
            true => fs::create_dir(place).map_err(failed)?,
            false => File::create(place).map(drop).map_err(failed)?,
        }
        mount_entry(entry, source.as_ref(), place, Proc::OfHost)
    })?
}

fn attach(roots: &Roots, entry: &Entry, place: &Path) -> Result<(), StartError> {
    let target = Path::new("/").join(&entry.target);
    let failed =
        |errno| StartError::mount(entry.source.to_string_lossy(), &target.to_string_lossy(), errno);
    // Looked up in the container, moved to from the stage.
    let opened = roots.container(|| {
        create_target(entry, None, &target)?;
        mounts::check_way(&target)?;
        open(&target, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).map_err(failed)
    })??;
    let path = format!("{}/self/fd/{}", Proc::OfHost.path(), opened.as_raw_fd());
    let none: Option<&str> = None;
    roots.stage(|| mount(Some(place), path.as_str(), none, MsFlags::MS_MOVE, none))?.map_err(failed)
}
