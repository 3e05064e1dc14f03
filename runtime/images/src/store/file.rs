//! Files without a name until they are complete.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use linux::file_error::FileError;
use nix::fcntl::{AT_FDCWD, AtFlags};

use super::StoreError;
use super::names::TEMPORARY;

/// A file that is being written. Dropped, or after a crash, it is gone, except on file systems
/// that cannot have files without names (NFS, Lustre): there it has one in the scratch folder.
#[derive(Debug)]
pub struct Pending {
    file: File,
    directory: PathBuf,
    name: Option<PathBuf>,
}

impl Pending {
    /// A new file on the file system of `directory`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn new(directory: &Path) -> Result<Pending, StoreError> {
        let nameless = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_TMPFILE)
            .mode(0o600)
            .open(directory);
        let directory = directory.to_owned();
        match nameless {
            Ok(file) => Ok(Pending { file, directory, name: None }),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                Err(FileError::new("write to", &directory, error).into())
            }
            Err(_) => {
                let name = unique(&directory);
                let file = OpenOptions::new()
                    .read(true)
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(&name)
                    .map_err(|source| FileError::new("create", &name, source))?;
                Ok(Pending { file, directory, name: Some(name) })
            }
        }
    }

    /// The file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Writes to it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn write_all(&self, content: &[u8]) -> Result<(), StoreError> {
        (&self.file)
            .write_all(content)
            .map_err(|source| FileError::new("write to", &self.directory, source).into())
    }

    /// Takes back what was written behind its first `length` bytes.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn cut(&self, length: u64) -> Result<(), StoreError> {
        let cut = || {
            self.file.set_len(length)?;
            (&self.file).seek(SeekFrom::Start(length))
        };
        cut().map(drop).map_err(|source| FileError::new("write to", &self.directory, source).into())
    }

    /// The file, which never gets a name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn into_file(self) -> Result<File, StoreError> {
        let failed = |source| FileError::new("keep open a file of", &self.directory, source);
        Ok(self.file.try_clone().map_err(failed)?)
    }

    /// The file, if it has no name meanwhile either: on file systems of a node's own.
    pub(crate) fn nameless(self) -> Option<File> {
        self.name.is_none().then(|| self.file.try_clone().ok())?
    }

    /// Gives it its name, replacing what has that name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn publish(mut self, path: &Path, mode: u32) -> Result<File, StoreError> {
        let failed = |source: io::Error| FileError::new("create", path, source);
        self.file.set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
        let name = match self.name.take() {
            Some(name) => name,
            None => {
                let name = unique(&self.directory);
                link(&self.file, &name).map_err(failed)?;
                name
            }
        };
        fs::rename(&name, path).map_err(|error| {
            let _ = fs::remove_file(&name);
            failed(error)
        })?;
        Ok(self.file.try_clone().map_err(failed)?)
    }

    /// Gives it its name; something that has it already is an error.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn publish_new(mut self, path: &Path, mode: u32) -> Result<(), StoreError> {
        let failed = |source: io::Error| FileError::new("create", path, source);
        self.file.set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
        match self.name.take() {
            None => Ok(link(&self.file, path).map_err(failed)?),
            Some(name) => {
                let linked = fs::hard_link(&name, path);
                let _ = fs::remove_file(&name);
                Ok(linked.map_err(failed)?)
            }
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            let _ = fs::remove_file(name);
        }
    }
}

fn link(file: &File, name: &Path) -> io::Result<()> {
    let own = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    Ok(nix::unistd::linkat(AT_FDCWD, &own, AT_FDCWD, name, AtFlags::AT_SYMLINK_FOLLOW)?)
}

/// A name that nobody else chooses, telling whose it is.
pub(super) fn unique(directory: &Path) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let moment = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = moment.map_or(0, |time| time.subsec_nanos());
    let maker = super::usage::file_signature();
    directory.join(format!("{TEMPORARY}{maker}-{count}-{nanos:x}"))
}

/// What the umask leaves of a new file's mode.
pub fn new_mode() -> u32 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    let umask = line.and_then(|octal| u32::from_str_radix(octal.trim(), 8).ok());
    // Kernels before 4.7 tell by changing it only.
    let umask = umask.unwrap_or_else(|| {
        let umask = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
        nix::sys::stat::umask(umask);
        umask.bits()
    });
    0o666 & !umask
}

/// Gives a user an image of the store as a file: the same file where it can be linked and nobody
/// may read it whom the umask keeps out, else a copy, which shares its blocks where the file
/// system can.
///
/// # Errors
/// [`StoreError`]; an existing file is one.
pub fn place(image: &File, path: &Path) -> Result<(), StoreError> {
    let mode = new_mode();
    let closed = image.metadata().is_ok_and(|is| is.permissions().mode() & 0o777 & !mode == 0);
    // A link to the very file that was checked.
    match closed.then(|| link(image, path)) {
        Some(Ok(())) => return Ok(()),
        Some(Err(error)) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(FileError::new("create", path, error).into());
        }
        _ => {}
    }
    let directory =
        path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let pending = Pending::new(directory)?;
    let failed = |source| FileError::new("write", path, source);
    let mut from = image.try_clone().map_err(failed)?;
    from.rewind().map_err(failed)?;
    io::copy(&mut from, &mut &pending.file).map_err(failed)?;
    pending.publish_new(path, mode)
}
