//! Where merged entries go: an archive for a squashfs tool, or a directory.

use std::fs::{self, File, FileTimes, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use squashfs::write::Spooled;

use super::LayerError;
use crate::tarball::{Header, Kind, Writer, Xattr};

/// Takes entries: parents before children, hard links right after what they link to, no path
/// through a symbolic link.
pub trait Sink {
    /// Takes one entry and, of a regular file, its content.
    ///
    /// # Errors
    /// [`LayerError`]: from the layer that is read, or [`LayerError::Write`].
    fn put(&mut self, header: &Header, data: &mut dyn Read) -> Result<(), LayerError>;

    /// Takes a regular file whose content was kept, for an image as this sink writes it.
    ///
    /// # Errors
    /// [`LayerError::Write`], too, where it writes none.
    fn put_spooled(&mut self, header: &Header, _: &Spooled, _: u32) -> Result<(), LayerError> {
        Err(failed(&header.path, io::ErrorKind::Unsupported.into()))
    }
}

/// Passes entries on as an archive.
#[derive(Debug)]
pub struct ArchiveSink<W>(Writer<W>);

impl<W: Write> ArchiveSink<W> {
    /// An archive in `output`.
    pub fn new(output: W) -> ArchiveSink<W> {
        ArchiveSink(Writer::new(output))
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// What writing says.
    pub fn finish(self) -> io::Result<W> {
        self.0.finish()
    }
}

impl<W: Write> Sink for ArchiveSink<W> {
    fn put(&mut self, header: &Header, data: &mut dyn Read) -> Result<(), LayerError> {
        let mut failure = None;
        let data = ReadErrors { data, failure: &mut failure };
        let written = self.0.append(header, data);
        match (failure, written) {
            (Some(source), _) => Err(LayerError::Decompress(source)),
            (None, Ok(())) => Ok(()),
            (None, Err(source)) => Err(failed(&header.path, source)),
        }
    }
}

/// A reader that keeps its own error, so that a failed read is told from a failed write.
struct ReadErrors<'a> {
    data: &'a mut dyn Read,
    failure: &'a mut Option<io::Error>,
}

impl Read for ReadErrors<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.data.read(buffer).inspect_err(|error| {
            *self.failure = Some(io::Error::new(error.kind(), error.to_string()));
        })
    }
}

/// Makes the entries in a directory that is empty and nobody else's.
#[derive(Debug)]
pub struct DirectorySink {
    root: PathBuf,
    /// Directories' own times are set last.
    times: Vec<(PathBuf, i64)>,
    buffer: Box<[u8]>,
}

impl DirectorySink {
    /// Entries go below `root`.
    pub fn new(root: &Path) -> DirectorySink {
        DirectorySink {
            root: root.to_owned(),
            times: Vec::new(),
            buffer: vec![0; 128 << 10].into(),
        }
    }

    /// Sets what could not be set before.
    ///
    /// # Errors
    /// [`LayerError::Write`].
    pub fn finish(self) -> Result<(), LayerError> {
        for (path, mtime) in self.times.iter().rev() {
            let set = || File::open(path)?.set_times(times(*mtime));
            set().map_err(|source| failed(path.as_os_str().as_bytes(), source))?;
        }
        Ok(())
    }

    fn file(
        &mut self,
        path: &Path,
        header: &Header,
        data: &mut dyn Read,
    ) -> Result<(), LayerError> {
        let write_failed = |source| failed(&header.path, source);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(write_failed)?;
        loop {
            let count = match data.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(LayerError::Decompress(error)),
            };
            let bytes = &self.buffer[..count];
            if bytes.iter().all(|byte| *byte == 0) {
                file.seek(SeekFrom::Current(count as i64)).map_err(write_failed)?;
            } else {
                file.write_all(bytes).map_err(write_failed)?;
            }
        }
        let finish = || {
            file.set_len(header.size)?;
            set_xattrs(&file, &header.xattrs)?;
            file.set_permissions(Permissions::from_mode(header.mode))?;
            file.set_times(times(header.mtime))
        };
        finish().map_err(write_failed)
    }
}

impl Sink for DirectorySink {
    fn put(&mut self, header: &Header, data: &mut dyn Read) -> Result<(), LayerError> {
        let path = self.root.join(std::ffi::OsStr::from_bytes(&header.path));
        let done = match &header.kind {
            Kind::File => return self.file(&path, header, data),
            Kind::Directory => {
                self.times.push((path.clone(), header.mtime));
                let make = || {
                    fs::DirBuilder::new().mode(0o700).create(&path)?;
                    let directory = File::open(&path)?;
                    set_xattrs(&directory, &header.xattrs)?;
                    directory.set_permissions(Permissions::from_mode(header.mode))
                };
                make()
            }
            Kind::Symlink(target) => symlink(std::ffi::OsStr::from_bytes(target), &path)
                .and_then(|()| set_time_of_link(&path, header.mtime)),
            Kind::HardLink(target) => {
                fs::hard_link(self.root.join(std::ffi::OsStr::from_bytes(target)), &path)
            }
            Kind::Fifo => {
                let mode = nix::sys::stat::Mode::from_bits_truncate(header.mode);
                nix::unistd::mkfifo(&path, mode).map_err(Into::into)
            }
            Kind::Device => Ok(()),
        };
        done.map_err(|source| failed(&header.path, source))
    }
}

fn failed(path: &[u8], source: io::Error) -> LayerError {
    LayerError::Write { what: String::from_utf8_lossy(path).into_owned(), source }
}

fn times(mtime: i64) -> FileTimes {
    let offset = Duration::from_secs(mtime.unsigned_abs());
    let time = if mtime < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(offset)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(offset)
    };
    FileTimes::new().set_modified(time.unwrap_or(SystemTime::UNIX_EPOCH))
}

fn set_time_of_link(path: &Path, mtime: i64) -> io::Result<()> {
    let time = TimeSpec::new(mtime, 0);
    let flags = UtimensatFlags::NoFollowSymlink;
    Ok(utimensat(AT_FDCWD, path, &time, &time, flags)?)
}

/// Attributes are a courtesy: file systems without them exist.
fn set_xattrs(file: &File, xattrs: &[Xattr]) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    for (name, value) in xattrs {
        let name = std::ffi::CString::new(name.as_slice())?;
        // SAFETY: the name is NUL-terminated, the value's length is given, and both outlive the
        // call.
        let result = unsafe {
            libc::fsetxattr(file.as_raw_fd(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0)
        };
        if result != 0 {
            let error = io::Error::last_os_error();
            if error.raw_os_error() != Some(libc::EOPNOTSUPP) {
                return Err(error);
            }
        }
    }
    Ok(())
}
