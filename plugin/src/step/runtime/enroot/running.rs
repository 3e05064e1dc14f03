//! What a running process of a container has, taken by descriptors of its `/proc` directory: they
//! stand for the process, not for its PID.

use crate::root::child::output::some_of;
use crate::step::error::StepError;
use handover::inside::open_in_root;
use handover::namespaces::Namespace;
use handover::{Handover, MAX_ENVIRON, Part, environ_file};
use nix::fcntl::{OFlag, openat};
use nix::libc;
use nix::sys::stat::{Mode, fstat};
use nix::unistd::geteuid;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A process, by its `/proc` directory.
pub(crate) struct Process(File);

/// A running container's namespaces and root directory.
pub(crate) struct Joinable {
    namespaces: Vec<(Part, OwnedFd)>,
    root: OwnedFd,
}

impl Joinable {
    /// Whether both have the same directory as their root, as instances of one container have.
    pub(crate) fn has_root_of(&self, other: &Joinable) -> bool {
        match (fstat(&self.root), fstat(&other.root)) {
            (Ok(a), Ok(b)) => (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino),
            _ => false,
        }
    }

    /// The container, with directory and environment of `started`, which is another instance of
    /// the same.
    pub(crate) fn container(self, mut started: Handover) -> Result<Handover, StepError> {
        let mut container = Handover::new(self.namespaces);
        let missing = || StepError::NoContainer;
        container.put(Part::Environ, started.take(Part::Environ).ok_or_else(missing)?);
        let cwd = started.take(Part::Cwd).ok_or_else(missing)?;
        let path = std::fs::read_link(format!("/proc/self/fd/{}", cwd.as_raw_fd()))
            .unwrap_or_else(|_| PathBuf::from("/"));
        let directory = open_in_root(&self.root, &path, OFlag::O_PATH | OFlag::O_DIRECTORY)
            .unwrap_or(self.root);
        container.put(Part::Cwd, directory);
        Ok(container)
    }
}

impl Process {
    /// A process of the caller's own: what others run could have been made to look like a
    /// container's, and root can look into all of them.
    pub(crate) fn open(pid: i32) -> Result<Process, StepError> {
        let process = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECTORY | libc::O_CLOEXEC)
            .open(format!("/proc/{pid}"))
            .map_err(StepError::Process)?;
        match process.metadata().map_err(StepError::Process)?.uid() == geteuid().as_raw() {
            true => Ok(Process(process)),
            false => Err(StepError::Process(io::ErrorKind::PermissionDenied.into())),
        }
    }

    /// The container it is in: namespaces, directory, environment.
    pub(crate) fn container(&self) -> Result<Handover, StepError> {
        let mut container = Handover::new(self.namespaces()?);
        container.put(Part::Cwd, self.open_below("cwd", OFlag::O_PATH | OFlag::O_DIRECTORY)?);
        container.put(Part::Environ, self.environ().map_err(StepError::Environ)?);
        Ok(container)
    }

    /// What it takes to join this process's container, whatever becomes of the process.
    pub(crate) fn pin(&self) -> Result<Joinable, StepError> {
        let root = self.open_below("root", OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        Ok(Joinable { namespaces: self.namespaces()?, root })
    }

    fn namespaces(&self) -> Result<Vec<(Part, OwnedFd)>, StepError> {
        let mut found = Vec::new();
        for namespace in Namespace::ALL {
            let (name, Some(part)) = (namespace.file(), namespace.part()) else { continue };
            // These even if they are our own.
            let always = matches!(namespace, Namespace::User | Namespace::Mount);
            let own = std::fs::metadata(format!("/proc/self/ns/{name}"));
            let fd = match self.open_below(Path::new("ns").join(name), OFlag::O_RDONLY) {
                Ok(fd) => File::from(fd),
                // Kernels without cgroup namespaces.
                Err(_) if part == Part::Cgroup && own.is_err() => continue,
                Err(error) => return Err(error),
            };
            let (its, own) = (fd.metadata().map_err(StepError::Process)?, own);
            let same = own.is_ok_and(|own| (own.dev(), own.ino()) == (its.dev(), its.ino()));
            // Nobody can join the user namespace they are in.
            if same && (!always || part == Part::User) {
                continue;
            }
            found.push((part, fd.into()));
        }
        Ok(found)
    }

    fn environ(&self) -> io::Result<OwnedFd> {
        let source = self.open_below("environ", OFlag::O_RDONLY);
        let source = source.map_err(|_| io::Error::from(io::ErrorKind::PermissionDenied))?;
        environ_file(&some_of(&File::from(source), MAX_ENVIRON as usize)?)
    }

    fn open_below(&self, path: impl AsRef<Path>, flags: OFlag) -> Result<OwnedFd, StepError> {
        openat(&self.0, path.as_ref(), flags | OFlag::O_CLOEXEC, Mode::empty()).map_err(|errno| {
            let shown = String::from_utf8_lossy(path.as_ref().as_os_str().as_bytes()).into_owned();
            StepError::ContainerProcess { file: shown, source: errno }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_of_another_root_is_not_joined() {
        let at = |path: &str| Joinable {
            namespaces: Vec::new(),
            root: File::open(path).unwrap().into(),
        };
        assert!(at("/").has_root_of(&at("/")));
        // A PID that has gone to another container since it was listed.
        assert!(!at("/proc").has_root_of(&at("/")));
    }

    #[test]
    fn the_directory_is_looked_for_in_the_container_that_is_joined() {
        let temp = tempfile::tempdir().unwrap();
        let top = temp.path().join("join");
        std::fs::create_dir_all(top.join("joined/work")).unwrap();
        std::fs::create_dir_all(top.join("joined/etc")).unwrap();
        let cwd = |path: &Path, environ: &str| {
            Handover::new(vec![
                (Part::Cwd, File::open(path).unwrap().into()),
                (Part::Environ, File::open(environ).unwrap().into()),
            ])
        };
        let joined = |started: &Path| {
            let root = File::open(top.join("joined")).unwrap().into();
            let joinable = Joinable { namespaces: Vec::new(), root };
            let container = joinable.container(cwd(started, "/dev/null")).unwrap();
            let directory = container.get(Part::Cwd).unwrap().as_raw_fd();
            std::fs::read_link(format!("/proc/self/fd/{directory}")).unwrap()
        };
        let inside = std::fs::canonicalize(top.join("joined")).unwrap();
        assert_eq!(joined(Path::new("/etc")), inside.join("etc"));
        // Not there: the root, and never the node's directory of that name.
        assert_eq!(joined(Path::new("/proc")), inside);
    }
}
