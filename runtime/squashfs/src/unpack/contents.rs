//! Contents of regular files, written by several threads.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fchmod};

use super::attributes::{PERMISSIONS, set_time};
use super::{Name, Result, UnpackError, Unpacker};
use crate::Kind;

/// What is read and written at once.
const PIECE: usize = 1 << 20;
/// Zeros of this length are a hole.
const HOLE: usize = 4096;
/// More do not help a reader of one image.
const MOST_THREADS: usize = 8;
/// Bytes of holes that cost as much time as one of contents.
const HOLES_FOR_BYTE: usize = 64;

impl Unpacker<'_> {
    /// Writes the regular files, with as many threads as there are cores.
    pub(super) fn write_files(&self) -> Result<()> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (next, stopped) = (AtomicUsize::new(0), AtomicBool::new(false));
        let fault = Mutex::new(None);
        let work = || {
            let mut piece = vec![0; PIECE];
            let mut open = None;
            while !stopped.load(Ordering::Relaxed) {
                let Some((name, reference)) = self.files.get(next.fetch_add(1, Ordering::Relaxed))
                else {
                    return;
                };
                if let Err(error) = self.write_file(name, *reference, &mut open, &mut piece) {
                    stopped.store(true, Ordering::Relaxed);
                    let mut fault = fault.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                    fault.get_or_insert(error);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..cores.min(MOST_THREADS).min(self.files.len()) {
                // One less where there may be no more of them.
                let _ = std::thread::Builder::new().spawn_scoped(scope, work);
            }
            work();
        });
        let fault = fault.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        fault.map_or(Ok(()), Err)
    }

    /// `open` is the directory that the thread had last.
    fn write_file(
        &self,
        name: &Name,
        reference: u64,
        open: &mut Option<(usize, OwnedFd)>,
        piece: &mut [u8],
    ) -> Result<()> {
        if open.as_ref().is_none_or(|(number, _)| *number != name.directory) {
            *open = Some((name.directory, self.open(name.directory)?));
        }
        let Some((_, directory)) = open.as_ref() else { return Ok(()) };
        let inode = self.image.inode(reference)?;
        let Kind::File(contents) = &inode.kind else { return Ok(()) };
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
        let private = Mode::S_IRUSR | Mode::S_IWUSR;
        let file: File = openat(directory, name.name.as_c_str(), flags | OFlag::O_CLOEXEC, private)
            .map_err(|errno| self.failed("create", name, errno))?
            .into();
        let failed = |error: io::Error| self.failed("write", name, error);
        let mut offset = 0;
        while offset < inode.size {
            if (self.interrupted)() {
                return Err(UnpackError::Interrupted);
            }
            let length = self.image.read(&inode, contents, offset, piece)?;
            self.write_piece(&file, offset, &piece[..length]).map_err(failed)?;
            offset += length as u64;
            if self.bytes.load(Ordering::Relaxed) > self.limits.bytes {
                return Err(UnpackError::TooMuch("more contents"));
            }
        }
        file.set_len(inode.size).map_err(failed)?;
        self.set_attributes(file.as_fd(), &inode)?;
        fchmod(&file, Mode::from_bits_truncate(inode.mode & PERMISSIONS))
            .map_err(|errno| failed(errno.into()))?;
        set_time(directory.as_fd(), &name.name, inode.mtime).map_err(|errno| failed(errno.into()))
    }

    /// Leaves holes where there are zeros: an image may say of them as many as it likes.
    fn write_piece(&self, file: &File, offset: u64, piece: &[u8]) -> io::Result<()> {
        let is_hole = |part: &[u8]| part.iter().all(|byte| *byte == 0);
        let mut at = 0;
        while at < piece.len() {
            let parts = piece[at..].chunks(HOLE);
            let hole = is_hole(&piece[at..piece.len().min(at + HOLE)]);
            let same = parts.take_while(|part| is_hole(part) == hole);
            let end = at + same.map(<[u8]>::len).sum::<usize>();
            if !hole {
                file.write_all_at(&piece[at..end], offset + at as u64)?;
            }
            let cost = (end - at) / if hole { HOLES_FOR_BYTE } else { 1 };
            self.bytes.fetch_add(cost as u64, Ordering::Relaxed);
            at = end;
        }
        Ok(())
    }
}
