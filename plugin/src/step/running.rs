//! What a running process of a container has, taken by descriptors of its `/proc` directory: they
//! stand for the process, not for its PID.

use super::StepError;
use nix::fcntl::{OFlag, openat};
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::Mode;
use runtime::handover::{Handover, Part};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A process, by its `/proc` directory.
pub(crate) struct Process(File);

/// Part, name below `ns/`, and whether it is joined even if it is our own.
const NAMESPACES: [(Part, &str, bool); 6] = [
    (Part::User, "user", true),
    (Part::Cgroup, "cgroup", true),
    (Part::Mount, "mnt", true),
    (Part::Ipc, "ipc", false),
    (Part::Uts, "uts", false),
    (Part::Net, "net", false),
];

impl Process {
    pub(crate) fn open(pid: i32) -> Result<Process, StepError> {
        OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECTORY | libc::O_CLOEXEC)
            .open(format!("/proc/{pid}"))
            .map(Process)
            .map_err(StepError::Process)
    }

    /// The container it is in: namespaces, directory, environment.
    pub(crate) fn container(&self) -> Result<Handover, StepError> {
        let mut container = Handover::new(self.namespaces()?);
        container.put(Part::Cwd, self.open_below("cwd", OFlag::O_PATH)?);
        container.put(Part::Environ, self.environ().map_err(StepError::Environ)?);
        Ok(container)
    }

    /// The namespaces of this process, with directory and environment of `started`, which is
    /// another instance of the same container.
    pub(crate) fn namespaces_with(&self, mut started: Handover) -> Result<Handover, StepError> {
        let mut container = Handover::new(self.namespaces()?);
        let missing = || StepError::NoContainer;
        container.put(Part::Environ, started.take(Part::Environ).ok_or_else(missing)?);
        let cwd = started.take(Part::Cwd).ok_or_else(missing)?;
        let path =
            std::fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&cwd)))
                .unwrap_or_else(|_| PathBuf::from("/"));
        let mut below = PathBuf::from("root");
        below.push(path.strip_prefix("/").unwrap_or(Path::new("")));
        container.put(Part::Cwd, self.open_below(&below, OFlag::O_PATH)?);
        Ok(container)
    }

    fn namespaces(&self) -> Result<Vec<(Part, OwnedFd)>, StepError> {
        let mut found = Vec::new();
        for (part, name, always) in NAMESPACES {
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
        let mut block = Vec::new();
        let source = self.open_below("environ", OFlag::O_RDONLY);
        let source = source.map_err(|_| io::Error::from(io::ErrorKind::PermissionDenied))?;
        File::from(source).read_to_end(&mut block)?;
        let mut copy = File::from(memfd_create("environ", MFdFlags::MFD_CLOEXEC)?);
        copy.write_all(&block)?;
        Ok(copy.into())
    }

    fn open_below(&self, path: impl AsRef<Path>, flags: OFlag) -> Result<OwnedFd, StepError> {
        openat(&self.0, path.as_ref(), flags | OFlag::O_CLOEXEC, Mode::empty()).map_err(|errno| {
            let shown = String::from_utf8_lossy(path.as_ref().as_os_str().as_bytes()).into_owned();
            StepError::ContainerProcess { file: shown, source: errno }
        })
    }
}
