//! A squashfs file of a container's merged tree, written by ourselves or by the host's mksquashfs.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use handover::nodes::partial;
use linux::file_error::FileError;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, FcntlArg, FdFlag, RenameFlags, fcntl, renameat2};

use crate::HostSide;
use crate::record::Container;
use linux::{detached, phases};
use squashfs::mksquashfs::Mksquashfs;
use squashfs::program::{OwnWriter, Program, complaint};
use squashfs::write::{WriteError, Writer};

use crate::start::{self, StartError};

/// What to write where.
#[derive(Clone, Debug)]
pub struct Export {
    /// The squashfs file to make.
    pub output: PathBuf,
    /// Replace a file that exists.
    pub force: bool,
    /// By which program.
    pub program: Program,
    /// The host.
    pub host: HostSide,
}

/// Why there is no export.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The output exists.
    #[error("File already exists: {} (-f replaces it)", path.display())]
    Exists {
        /// The output.
        path: PathBuf,
    },
    /// The container cannot be read.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// It cannot be written.
    #[error("cannot export to {}: {source}", path.display())]
    Write {
        /// The output.
        path: PathBuf,
        /// Why not.
        source: WriteError,
    },
    /// mksquashfs could not be run.
    #[error("cannot run mksquashfs: {0}; install squashfs-tools")]
    Program(io::Error),
    /// mksquashfs failed.
    #[error("cannot export to {}: mksquashfs: {log}", path.display())]
    Failed {
        /// The output.
        path: PathBuf,
        /// Its last words.
        log: String,
    },
}

impl Export {
    /// Writes the container's tree, all of it owned by root, without what was made for mounts
    /// only. The file appears when it is complete.
    ///
    /// # Errors
    /// [`ExportError`]; nothing is left then. The process is in namespaces of its own afterwards
    /// and should exit.
    pub fn run(&self, container: &Container) -> Result<(), ExportError> {
        let failed = |operation, source| FileError::new(operation, &self.output, source);
        if !self.force && self.output.symlink_metadata().is_ok() {
            return Err(ExportError::Exists { path: self.output.clone() });
        }
        let output = std::path::absolute(&self.output).map_err(|e| failed("create", e))?;
        let name = output
            .file_name()
            .ok_or_else(|| failed("create", io::Error::from(io::ErrorKind::IsADirectory)))?;
        let partial = output.with_file_name(partial(std::process::id(), name));

        phases::begin("mount");
        let mut merged = start::merged(container, &self.host)?;
        let tree = merged.tree.as_raw_fd();
        fcntl(&merged.tree, FcntlArg::F_SETFD(FdFlag::empty()))
            .map_err(|errno| failed("inherit", errno.into()))?;
        let tree = PathBuf::from(format!("/proc/self/fd/{tree}/."));
        // Only what was made here can be a mount point made here.
        let made = match &container.layered {
            Some(_) => container.path.join("upper"),
            None => tree.clone(),
        };
        merged.enter_host()?;
        let _ = fs::remove_file(&partial);
        phases::begin("write");
        let excluded = excluded(&made, &tree);
        let written = match &self.program {
            Program::Own(own) => self.write(own, merged.tree.as_fd(), &partial, &excluded),
            Program::Mksquashfs(program) => {
                // It goes by paths, and programs of the container may change the tree meanwhile.
                let _ = detached::follow_no_links(merged.tree.as_fd());
                self.squash(program, &tree, &partial, &excluded)
            }
        };
        phases::begin("publish");
        let result = written.and_then(|()| publish(&partial, &output, self.force));
        if result.is_err() {
            let _ = fs::remove_file(&partial);
        }
        result
    }

    fn write(
        &self,
        own: &OwnWriter,
        tree: BorrowedFd<'_>,
        output: &Path,
        excluded: &[OsString],
    ) -> Result<(), ExportError> {
        let mut how = File::options();
        let how = how.read(true).write(true).create_new(true).mode(0o644);
        let file =
            how.open(output).map_err(|source| FileError::new("create", &self.output, source))?;
        let excluded: HashSet<&[u8]> = excluded.iter().map(|path| path.as_bytes()).collect();
        let write = || {
            let mut writer = Writer::new(file, own.options())?;
            writer.add_directory(tree, &mut |found| excluded.contains(found.path))?;
            writer.finish()
        };
        let written = write().map(drop);
        written.map_err(|source| ExportError::Write { path: self.output.clone(), source })
    }

    fn squash(
        &self,
        program: &Mksquashfs,
        tree: &Path,
        output: &Path,
        excluded: &[OsString],
    ) -> Result<(), ExportError> {
        let mut command = program.command(tree, output);
        if !excluded.is_empty() {
            command.arg("-e").args(excluded);
        }
        let done = command.output().map_err(ExportError::Program)?;
        if done.status.success() {
            return Ok(());
        }
        let log = complaint(&String::from_utf8_lossy(&done.stderr));
        let log = if log.is_empty() { done.status.to_string() } else { log };
        Err(ExportError::Failed { path: self.output.clone(), log })
    }
}

/// What is not to be exported, relative to the root: the contents of `/dev`, mount points that a
/// start has made (mode 0), enroot's lock and bundle.
fn excluded(made: &Path, tree: &Path) -> Vec<OsString> {
    let mut out: Vec<OsString> = fs::read_dir(tree.join("dev"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| Path::new("dev").join(entry.file_name()).into())
        .collect();
    for name in [".lock", ".enroot"] {
        if tree.join(name).symlink_metadata().is_ok() {
            out.push(name.into());
        }
    }
    add_mount_points(made, Path::new(""), &mut out);
    out
}

fn add_mount_points(top: &Path, below: &Path, out: &mut Vec<OsString>) {
    let Ok(entries) = fs::read_dir(top.join(below)) else { return };
    for entry in entries.flatten() {
        let Ok(stat) = entry.metadata() else { continue };
        let path = below.join(entry.file_name());
        let unused = stat.mode() & 0o7777 == 0;
        if unused && (stat.is_dir() || (stat.is_file() && stat.len() == 0)) {
            out.push(path.into());
        } else if stat.is_dir() && below.join(entry.file_name()) != Path::new("dev") {
            add_mount_points(top, &path, out);
        }
    }
}

fn publish(partial: &Path, output: &Path, force: bool) -> Result<(), ExportError> {
    let failed = |source| FileError::new("create", output, source);
    if force {
        return Ok(fs::rename(partial, output).map_err(failed)?);
    }
    match renameat2(AT_FDCWD, partial, AT_FDCWD, output, RenameFlags::RENAME_NOREPLACE) {
        Ok(()) => Ok(()),
        Err(Errno::EEXIST) => Err(ExportError::Exists { path: output.to_owned() }),
        // Without flags on this file system, a link does it where links are known.
        Err(Errno::EINVAL | Errno::ENOSYS) => match fs::hard_link(partial, output) {
            Ok(()) => Ok(fs::remove_file(partial).map_err(failed)?),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(ExportError::Exists { path: output.to_owned() })
            }
            Err(_) => Ok(fs::rename(partial, output).map_err(failed)?),
        },
        Err(errno) => Err(failed(errno.into()).into()),
    }
}

/// The name of an export that was given none.
pub fn default_output(name: &OsStr) -> PathBuf {
    let mut file = name.to_owned();
    file.push(".sqsh");
    file.into()
}
