//! Writing squashfs files: by our own writer (`pack.rs`) or with mksquashfs: fed an archive where
//! it reads archives (since 4.5), a directory where it does not.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use linux::file_error::{FileError, is_full};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use squashfs::mksquashfs::{self, Mksquashfs};
use squashfs::program::{Program, complaint};
use squashfs::write::WriteError;

use crate::layers::{ArchiveSink, DirectorySink, LayerError, Meta, Sink};
use crate::tarball::Header;

/// Of what it prints.
const LOG_LIMIT: usize = 16 << 10;

/// How images are written.
#[derive(Clone, Debug)]
pub struct Squash {
    /// By which program.
    pub program: Program,
    /// The time of the file system itself and of what has no time of its own.
    pub mtime: i64,
    /// Whether everything gets that time.
    pub one_time: bool,
}

/// Why no squashfs file was written.
#[derive(Debug, thiserror::Error)]
pub enum SquashError {
    /// Not installed.
    #[error("cannot run mksquashfs: {0}; install squashfs-tools")]
    Tool(io::Error),
    /// Our own writer failed.
    #[error(transparent)]
    Write(WriteError),
    /// It failed.
    #[error("mksquashfs failed ({status}): {log}")]
    Failed {
        /// How it ended.
        status: std::process::ExitStatus,
        /// The last of what it printed.
        log: String,
    },
    /// It would have become larger than it may.
    #[error("the squashfs file would become too large")]
    TooLarge,
    /// The directory for an old mksquashfs cannot be had.
    #[error(transparent)]
    Scratch(FileError),
}

impl SquashError {
    /// Whether our own writer has found no room on the file system.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self, SquashError::Write(WriteError::Output(error)) if is_full(error))
    }
}

impl Squash {
    /// Does with less memory.
    pub fn save_memory(&mut self) {
        self.program.save_memory();
    }

    /// Whether our own writer is what writes.
    pub(crate) fn is_own(&self) -> bool {
        matches!(self.program, Program::Own(_))
    }

    /// Whether mksquashfs can be run at all, if it is wanted.
    ///
    /// # Errors
    /// [`SquashError::Tool`].
    pub fn check(&self) -> Result<(), SquashError> {
        match self.program {
            Program::Own(_) => Ok(()),
            Program::Mksquashfs(_) => {
                mksquashfs::reads_archives().map(drop).map_err(SquashError::Tool)
            }
        }
    }

    /// Writes to `output`, an empty file of at most `limit` bytes, what `fill` puts into the sink.
    /// `scratch` is where an old mksquashfs gets its directory.
    ///
    /// # Errors
    /// What `fill` says, or [`SquashError`].
    pub fn write<E: From<SquashError> + From<LayerError>>(
        &self,
        output: &File,
        limit: u64,
        root: &Meta,
        scratch: &Path,
        fill: impl FnOnce(&mut dyn Sink) -> Result<(), E>,
    ) -> Result<(), E> {
        match &self.program {
            Program::Own(own) => self.pack(own, output, limit, root, fill),
            Program::Mksquashfs(program) => {
                if mksquashfs::reads_archives().map_err(SquashError::Tool)? {
                    self.feed_archive(program, output, limit, root, fill)
                } else {
                    self.read_directory(program, output, limit, root, scratch, fill)
                }
            }
        }
    }

    fn feed_archive<E: From<SquashError>>(
        &self,
        program: &Mksquashfs,
        output: &File,
        limit: u64,
        root: &Meta,
        fill: impl FnOnce(&mut dyn Sink) -> Result<(), E>,
    ) -> Result<(), E> {
        let file = output.try_clone().map_err(SquashError::Tool)?;
        let (mut command, output) = command(program, "-".into(), output)?;
        let seconds = |time: i64| seconds(time).to_string();
        command.args(["-tar", "-quiet", "-root-mode", &format!("{:o}", root.mode | 0o700)]);
        command.args(["-root-time", &seconds(root.mtime), "-mkfs-time", &seconds(self.mtime)]);
        if self.one_time {
            command.args(["-all-time", &seconds(self.mtime)]);
        }
        let mut child = Running::new(command.stdin(Stdio::piped()), limit)?;
        drop(output);
        let input = child.child.stdin.take().expect("it is piped");
        // The default is sixteen pages, which makes both sides wait for each other.
        let _ = fcntl(&input, FcntlArg::F_SETPIPE_SZ(1 << 20));
        let mut sink = ArchiveSink::new(BufWriter::with_capacity(256 << 10, input));
        let filled = fill(&mut sink);
        let ended = match filled {
            Ok(()) => sink.finish().and_then(|mut writer| writer.flush()),
            Err(error) => {
                // If mksquashfs is gone, why is more telling than that a pipe broke.
                if child.has_ended() {
                    child.finish()?;
                }
                return Err(error);
            }
        };
        child.finish()?;
        ended.map_err(SquashError::Tool)?;
        let time = if self.one_time { self.mtime } else { root.mtime };
        set_root_time(&file, time).map_err(|error| SquashError::Tool(error).into())
    }

    fn read_directory<E: From<SquashError> + From<LayerError>>(
        &self,
        program: &Mksquashfs,
        output: &File,
        limit: u64,
        root: &Meta,
        scratch: &Path,
        fill: impl FnOnce(&mut dyn Sink) -> Result<(), E>,
    ) -> Result<(), E> {
        let failed = |source| {
            SquashError::Scratch(FileError::new(
                "make a directory for mksquashfs in",
                scratch,
                source,
            ))
        };
        let directory = crate::store::Scratch::new(scratch).map_err(failed)?;
        let time = |own: i64| if self.one_time { self.mtime } else { own };
        // Below it: an old time would have the scratch directory taken for one left over.
        let tree = directory.path().join("root");
        std::fs::create_dir(&tree).map_err(failed)?;
        let mut sink = DirectorySink::new(&tree);
        let time_of_all = self.one_time.then_some(self.mtime);
        fill(&mut LimitedSink { sink: &mut sink, time: time_of_all, left: limit })?;
        sink.finish()?;
        set_mode_and_time(&tree, root.mode | 0o700, time(root.mtime)).map_err(failed)?;
        let (mut command, _output) = command(program, tree.into(), output)?;
        Running::new(&mut command, limit)?.finish()?;
        set_mkfs_time(output, self.mtime).map_err(|error| SquashError::Tool(error).into())
    }
}

/// The command, and the descriptor to keep until it was started: the file has no name yet and is
/// opened by the descriptor that mksquashfs inherits.
fn command(
    program: &Mksquashfs,
    input: OsString,
    output: &File,
) -> Result<(Command, File), SquashError> {
    let own = output.try_clone().map_err(SquashError::Tool)?;
    fcntl(&own, FcntlArg::F_SETFD(FdFlag::empty()))
        .map_err(|errno| SquashError::Tool(errno.into()))?;
    let command = program.command(input, format!("/dev/fd/{}", own.as_raw_fd()));
    Ok((command, own))
}

/// Sets the time of the root directory, for which mksquashfs up to 4.6 takes the current one when
/// it reads an archive, whatever `-root-time` says. Where inodes are compressed it stays.
///
/// Superblock, inode reference and directory inode: Documentation/filesystems/squashfs.rst of
/// Linux and `squashfs_fs.h`.
fn set_root_time(file: &File, time: i64) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    const UNCOMPRESSED: u16 = 0x8000;
    let number = |at: u64| -> io::Result<u64> {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, at).map(|()| u64::from_le_bytes(bytes))
    };
    let (root, table) = (number(32)?, number(64)?);
    let block = table + (root >> 16);
    let mut header = [0; 2];
    file.read_exact_at(&mut header, block)?;
    if u16::from_le_bytes(header) & UNCOMPRESSED == 0 {
        return Ok(());
    }
    // Behind type, mode, uid and gid.
    file.write_all_at(&seconds(time).to_le_bytes(), block + 2 + (root & 0xffff) + 8)
}

/// Sets the time of the file system, for which mksquashfs up to 4.3 takes the current one.
fn set_mkfs_time(file: &File, time: i64) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    file.write_all_at(&seconds(time).to_le_bytes(), 8)
}

/// Of the directory that is to be the root.
fn set_mode_and_time(path: &Path, mode: u32, time: i64) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let directory = File::open(path)?;
    directory.set_permissions(std::fs::Permissions::from_mode(mode))?;
    let time = std::time::Duration::from_secs(seconds(time).into());
    directory.set_modified(std::time::UNIX_EPOCH + time)
}

/// As squashfs has them.
fn seconds(time: i64) -> u32 {
    time.clamp(0, i64::from(u32::MAX)) as u32
}

/// A sink that gives everything the same time, if there is one, and fails where a directory would take more than
/// its limit.
struct LimitedSink<'a> {
    sink: &'a mut dyn Sink,
    time: Option<i64>,
    left: u64,
}

impl Sink for LimitedSink<'_> {
    fn put(&mut self, header: &Header, data: &mut dyn Read) -> Result<(), LayerError> {
        /// A file's own block or inode.
        const BLOCK: u64 = 4096;
        let taken = header.size.saturating_add(BLOCK);
        self.left = self.left.checked_sub(taken).ok_or_else(|| LayerError::Write {
            what: String::from_utf8_lossy(&header.path).into_owned(),
            source: io::ErrorKind::StorageFull.into(),
        })?;
        match self.time {
            Some(mtime) => self.sink.put(&Header { mtime, ..header.clone() }, data),
            None => self.sink.put(header, data),
        }
    }
}

/// A running mksquashfs, killed when it is no longer needed.
struct Running {
    child: Child,
    /// Reads what it prints: it would wait for that, and we for it.
    log: Option<JoinHandle<String>>,
}

impl Running {
    fn new(command: &mut Command, limit: u64) -> Result<Running, SquashError> {
        let parent = nix::unistd::getpid();
        // SAFETY: between fork and exec the closure makes system calls and nothing else.
        unsafe { command.pre_exec(move || confine(parent, limit)) };
        let mut child = command.spawn().map_err(SquashError::Tool)?;
        let log = child.stderr.take().map(|stderr| std::thread::spawn(move || end_of(stderr)));
        Ok(Running { child, log })
    }

    fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    fn finish(&mut self) -> Result<(), SquashError> {
        let log = self.log.take().and_then(|log| log.join().ok()).unwrap_or_default();
        let status = self.child.wait().map_err(SquashError::Tool)?;
        if status.success() {
            return Ok(());
        }
        if status.signal() == Some(libc::SIGXFSZ) {
            return Err(SquashError::TooLarge);
        }
        Err(SquashError::Failed { status, log: complaint(&log) })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// In the child: it ends with who started it, and writes no larger file than it may.
fn confine(parent: nix::unistd::Pid, limit: u64) -> io::Result<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
    if nix::unistd::getppid() != parent {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    let (soft, hard) = getrlimit(Resource::RLIMIT_FSIZE)?;
    let limit = limit.min(soft).min(hard);
    setrlimit(Resource::RLIMIT_FSIZE, limit, limit)?;
    Ok(setrlimit(Resource::RLIMIT_CORE, 0, 0)?)
}

/// Reads to the end and keeps the last of it.
fn end_of(mut output: impl Read) -> String {
    let mut kept = std::collections::VecDeque::new();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = output.read(&mut buffer) {
        kept.extend(&buffer[..count]);
        kept.drain(..kept.len().saturating_sub(LOG_LIMIT));
    }
    String::from_utf8_lossy(kept.make_contiguous()).into_owned()
}
