//! Who may start a container: one at a time, and only one overlay on its changes.
//!
//! Two kernel overlays on one upper directory corrupt it. The first start mounts one and its
//! image server holds `used` for as long as that mount lives; later starts borrow the mount.
//! Where `flock` reaches over the network, this keeps other nodes away too.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::container::Container;
use super::error::ContainerError;
use super::fresh::forget_names;
use super::metadata::Metadata;
use super::running;
use linux::file_error::FileError;
use linux::sys::{FlockKind, flock};

/// How long to wait for a container that is neither running any more nor gone yet.
const PATIENCE: Duration = Duration::from_secs(20);

/// The right to start a container, until dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    _lock: File,
    environ: File,
    state: Option<State>,
}

impl Claim {
    /// Remembers the environment for those who join.
    pub(crate) fn save_environ(&mut self, block: &[u8]) -> io::Result<()> {
        self.environ.set_len(0)?;
        self.environ.write_all(block)
    }

    /// What was found; to be asked once.
    pub(crate) fn take_state(&mut self) -> State {
        self.state.take().expect("asked once")
    }
}

/// What was found.
#[derive(Debug)]
pub(crate) enum State<T = OwnedFd> {
    /// Nobody uses it. The file is for the image server to hold.
    Unused(File),
    /// It runs; this is what was looked for (for a start, the root mount to be attached).
    Running(T),
}

impl Container {
    /// Waits for the right to start this container.
    pub(crate) fn claim(&self) -> Result<Claim, ContainerError> {
        let _lock = self.lock()?;
        let environ = self.environ_file();
        // Opened here: the path leads nowhere once the container's root is entered.
        let environ = open(&environ).map_err(|e| FileError::new("open", &environ, e))?;
        let state = self.usage(|| running::borrow_root(&self.mark()))?;
        Ok(Claim { _lock, environ, state: Some(state) })
    }

    /// Whether the container, which the caller has locked, is in use, and what `look` finds then.
    pub(crate) fn usage<T>(
        &self,
        mut look: impl FnMut() -> io::Result<Option<T>>,
    ) -> Result<State<T>, ContainerError> {
        let path = self.path.join("used");
        let failed = |error| FileError::new("lock", &path, error);
        let used = open(&path).map_err(failed)?;
        let started = Instant::now();
        let mut pause = Duration::from_millis(1);
        loop {
            if flock(&used, FlockKind::TryExclusive).map_err(failed)? {
                return Ok(State::Unused(used));
            }
            if let Some(found) =
                look().map_err(|error| FileError::new("join", &self.path, error))?
            {
                return Ok(State::Running(found));
            }
            // Its last process is gone and the server about to follow, or it was handed over and
            // nobody has moved in yet.
            if started.elapsed() > PATIENCE {
                return Err(ContainerError::Busy { path: self.path.clone() });
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    /// Keeps others from starting or removing the container.
    pub(crate) fn lock(&self) -> Result<File, ContainerError> {
        let path = self.path.join("lock");
        let failed = |error| FileError::new("lock", &path, error);
        let file = match open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ContainerError::Absent { path: self.path.clone() });
            }
            result => result.map_err(failed)?,
        };
        flock(&file, FlockKind::Exclusive).map_err(failed)?;
        if !is_at(&file, &path) {
            return Err(ContainerError::Absent { path: self.path.clone() }); // removed meanwhile
        }
        let id = |metadata: &Metadata| metadata.id.clone();
        match Metadata::read(&self.path) {
            // Removed and made anew.
            Ok(now) if now.as_ref().map(id) != self.layered.as_ref().map(id) => {
                Err(ContainerError::Absent { path: self.path.clone() })
            }
            _ => Ok(file),
        }
    }
}

/// Whether `path`, a file in a directory of the place of containers, still leads to the opened `file`. Both directories are opened
/// first: another node may have renamed or removed what this one has cached of NFS, and names are looked up again then.
pub(crate) fn is_at(file: &File, path: &Path) -> bool {
    let directory = path.parent();
    let above = directory.and_then(Path::parent);
    above.into_iter().chain(directory).for_each(forget_names);
    match (file.metadata(), path.symlink_metadata()) {
        (Ok(file), Ok(path)) => {
            file.nlink() > 0 && (file.dev(), file.ino()) == (path.dev(), path.ino())
        }
        _ => false,
    }
}

/// For writing: `flock` on NFS wants that.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

    /// On NFS names that are cached stay until their directory is opened: what another node has published or removed would be
    /// cleared as if it were still being made.
    #[test]
    fn both_directories_are_opened_before_the_look() {
        let data = tempfile::tempdir().unwrap();
        let container = data.path().join("container");
        std::fs::create_dir(&container).unwrap();
        let path = container.join("lock");
        let file = open(&path).unwrap();
        for directory in [data.path(), &container] {
            let opened = Inotify::init(InitFlags::IN_NONBLOCK).unwrap();
            opened.add_watch(directory, AddWatchFlags::IN_OPEN).unwrap();
            assert!(is_at(&file, &path));
            assert!(opened.read_events().is_ok_and(|events| !events.is_empty()), "{directory:?}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(!is_at(&file, &path));
    }
}
