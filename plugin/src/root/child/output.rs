//! What a child says, through a pipe and with a limit: a file in its place could be opened and
//! grown by its user.

use crate::step::error::StepError;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{pipe2, read};
use std::os::fd::OwnedFd;

/// The most that is kept of what a child says: its first half and its last.
pub(crate) const KEPT: usize = 64 << 10;

/// The first and the last bytes of a stream, of whatever length that is.
#[derive(Debug, Default)]
pub(crate) struct CappedOutput {
    head: Vec<u8>,
    tail: Vec<u8>,
    cut: u64,
}

impl CappedOutput {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let room = (KEPT / 2).saturating_sub(self.head.len()).min(bytes.len());
        let (first, rest) = bytes.split_at(room);
        self.head.extend_from_slice(first);
        self.tail.extend_from_slice(rest);
        let extra = self.tail.len().saturating_sub(KEPT / 2);
        self.tail.drain(..extra);
        self.cut += extra as u64;
    }

    /// All of it, or its whole lines, with one in between that says how much was cut.
    pub(crate) fn bytes(mut self) -> Vec<u8> {
        if self.cut > 0 {
            let newline = |byte: &u8| *byte == b'\n';
            let end = self.head.iter().rposition(newline).map_or(0, |at| at + 1);
            let begin = self.tail.iter().position(newline).map_or(0, |at| at + 1);
            let cut = self.cut + (self.head.len() - end + begin) as u64;
            self.head.truncate(end);
            self.head.extend_from_slice(format!("[{cut} bytes were cut here]\n").as_bytes());
            self.tail.drain(..begin);
        }
        self.head.append(&mut self.tail);
        self.head
    }

    pub(crate) fn text(self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }
}

/// The reading end of a pipe, and what came out of it.
pub(super) struct Output {
    /// `None` at its end.
    pub(super) pipe: Option<OwnedFd>,
    pub(super) kept: CappedOutput,
}

impl Output {
    /// With the end for the child.
    pub(super) fn new() -> Result<(Output, OwnedFd), StepError> {
        let failed = |errno: Errno| StepError::Process(errno.into());
        let (pipe, child) = pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(failed)?;
        Ok((Output { pipe: Some(pipe), kept: CappedOutput::default() }, child))
    }

    /// Takes what is there, and not more than a pipe may hold: who writes on and on is not read on
    /// and on. `tell` gets it as well.
    pub(super) fn take(&mut self, tell: &mut dyn FnMut(&[u8])) {
        let mut buffer = [0; 16 << 10];
        for _ in 0..FULL / buffer.len() {
            let Some(pipe) = &self.pipe else { return };
            match read(pipe, &mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(count) => {
                    self.kept.push(&buffer[..count]);
                    tell(&buffer[..count]);
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                Err(_) => self.pipe = None,
            }
        }
    }
}

/// Bytes in the largest pipe that users can have (`/proc/sys/fs/pipe-max-size`).
const FULL: usize = 1 << 20;

/// For what does not ask for it: whatever the descriptor, it is read by position and by at most
/// this many bytes.
pub(crate) fn some_of(file: &std::fs::File, limit: usize) -> std::io::Result<Vec<u8>> {
    use std::os::unix::fs::FileExt;
    let mut text = vec![0; limit];
    let mut length = 0;
    while length < limit {
        match file.read_at(&mut text[length..], length as u64) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    text.truncate(length);
    Ok(text)
}

/// As [`some_of`], of the file at `path`: at most 64 KiB.
pub(crate) fn some_of_path(path: &str) -> std::io::Result<Vec<u8>> {
    some_of(&std::fs::File::open(path)?, KEPT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_is_long_the_whole_lines_at_both_ends_stay() {
        let mut kept = CappedOutput::default();
        let mut all = 0;
        for number in 0..100_000 {
            let line = format!("line {number}\n");
            all += line.len();
            kept.push(line.as_bytes());
            assert!(kept.head.len() + kept.tail.len() <= KEPT);
        }
        let text = kept.text();
        assert!(text.len() < KEPT + 100, "{}", text.len());
        assert!(text.starts_with("line 0\n") && text.ends_with("line 99999\n"));
        let (before, rest) = text.split_once("\n[").unwrap();
        let (cut, after) = rest.split_once(" bytes were cut here]\n").unwrap();
        assert_eq!(cut.parse::<usize>().unwrap() + before.len() + 1 + after.len(), all);
        assert!(text.lines().all(|line| line.starts_with("line ") || line.starts_with('[')));
        let mut short = CappedOutput::default();
        short.push(b"a\nb");
        assert_eq!(short.text(), "a\nb");
    }
}
