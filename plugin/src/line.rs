//! Whether the line of plugstack.conf that Slurm loads this plugin by may ask for `container_scope=job`, known before Slurm
//! calls any hook.
//!
//! slurmd looks a plugin's hooks up as soon as it has opened it, and decides by `job_epilog` being there whether each job
//! ends with one more process (`spank_stack_plugin_valid_for_context` in spank.c). The line's arguments come later, with
//! `init`. But the file that the line is in is open then: slurmd reads it line by line, in all releases
//! (`_spank_stack_load`), so it is among the process's descriptors.
//!
//! What cannot be told is taken for yes, and so is a mention in a comment: the hook itself asks again (`step/epilog.rs`).

use nix::libc;
use std::mem::MaybeUninit;

/// The plugin's file. Of a file that does not name it, it is not known whose it is.
const PLUGIN: &[u8] = b"spank_pyxis.so";
/// What is looked for.
const ASKED: &[u8] = b"container_scope=job";
/// No plugstack.conf is longer.
const MOST: usize = 16 << 10;
/// slurmd has but few files open when it begins.
const DESCRIPTORS: i32 = 256;

/// Asked when Slurm looks the hook up. Only slurmd, and the process it starts for an epilog, heed the answer.
pub(crate) fn may_ask_for_job_scope() -> bool {
    let (mut known, mut asked, mut room) = (false, false, [0; MOST]);
    // Behind stdio.
    for descriptor in 3..DESCRIPTORS {
        let text = read(descriptor, &mut room);
        known |= mentions(text, PLUGIN);
        asked |= mentions(text, ASKED);
    }
    asked || !known
}

/// The text of an open file, if it may be a configuration: a regular one of root's or slurmd's own, of a sensible size. By
/// position: where slurmd reads on is slurmd's.
fn read(descriptor: i32, room: &mut [u8; MOST]) -> &[u8] {
    let mut status = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: room for what fstat writes, and all zeroes are a valid status. A number that is no open file is an error.
    let (failed, status) =
        unsafe { (libc::fstat(descriptor, status.as_mut_ptr()) != 0, status.assume_init()) };
    let ours = status.st_uid == 0 || status.st_uid == nix::unistd::geteuid().as_raw();
    let fits = usize::try_from(status.st_size).is_ok_and(|size| size <= MOST);
    if failed || status.st_mode & libc::S_IFMT != libc::S_IFREG || !ours || !fits {
        return &[];
    }
    // SAFETY: memory of that length to write to.
    let length = unsafe { libc::pread(descriptor, room.as_mut_ptr().cast(), MOST, 0) };
    usize::try_from(length).ok().and_then(|length| room.get(..length)).unwrap_or_default()
}

fn mentions(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|part| part == word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek, Write};
    use std::os::fd::AsRawFd;

    #[test]
    fn only_what_may_be_a_configuration_is_read_and_where_its_reader_is_stays() {
        let mut room = [0; MOST];
        assert_eq!(read(-1, &mut room), b"");
        let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(read(socket.as_raw_fd(), &mut room), b"");
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("line");
        std::fs::write(&path, "required x").unwrap();
        let mut file = std::fs::File::options().read(true).write(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        file.read_exact(&mut [0; 4]).unwrap();
        assert_eq!(read(file.as_raw_fd(), &mut room), b"required x");
        assert_eq!(file.stream_position().unwrap(), 4);
        file.write_all(&[b'x'; MOST]).unwrap();
        assert_eq!(read(file.as_raw_fd(), &mut room), b"");
    }
}
