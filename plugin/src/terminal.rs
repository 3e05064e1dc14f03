//! Whether what a task says comes to a terminal: then how an import goes on is drawn there, in place.
//!
//! Only srun can know that. What its variables say of it (`SLURM_LABELIO` and others), the command finds on the node.

use nix::libc;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// How options begin by which srun writes what tasks say elsewhere. Slurm takes long ones by their beginnings as well.
const ELSEWHERE: &str = "-o -e --ou --er";

unsafe extern "C" {
    /// Where getopt found the first word that is no option.
    #[link_name = "optind"]
    static PROGRAM: libc::c_int;
}

/// Of srun's words those before the program's name, which with all that follows is the program's.
pub(crate) fn options(words: &[OsString]) -> &[OsString] {
    // SAFETY: a number of the C library's; srun has read its options by now, in the thread that calls this.
    let program = unsafe { PROGRAM };
    usize::try_from(program).ok().and_then(|program| words.get(..program)).unwrap_or_default()
}

/// How wide srun's terminal is, in digits, where its options send nothing elsewhere.
pub(crate) fn width(options: &[OsString]) -> Option<String> {
    if options.iter().any(|word| is_elsewhere(word.as_bytes())) {
        return None;
    }
    watched(libc::STDERR_FILENO).map(|columns| columns.to_string())
}

fn is_elsewhere(word: &[u8]) -> bool {
    ELSEWHERE.split(' ').any(|start| word.starts_with(start.as_bytes()))
}

/// How wide the terminal is, if this process is the one that it shows: one in the background would draw over what its
/// user types.
fn watched(stderr: libc::c_int) -> Option<u32> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: of what is no terminal both are errors; the kernel writes one winsize.
    let shown = unsafe {
        libc::tcgetpgrp(stderr) == libc::getpgrp()
            && libc::ioctl(stderr, libc::TIOCGWINSZ, &raw mut size) == 0
    };
    shown.then_some(size.ws_col.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_lead_elsewhere_are_seen() {
        for word in ["-o", "-ofile", "-e", "--output=x", "--out", "--error=x"] {
            assert!(is_elsewhere(word.as_bytes()), "{word}");
        }
        for word in
            ["-n4", "-pdebug", "-u", "--overlap", "--export=ALL", "--exclusive", "o", "-", "--"]
        {
            assert!(!is_elsewhere(word.as_bytes()), "{word}");
        }
    }

    #[test]
    fn what_is_no_terminal_has_no_width() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(watched(std::os::fd::AsRawFd::as_raw_fd(&file)), None);
    }
}
