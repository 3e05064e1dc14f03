//! Whether what a task says comes to a terminal as it says it: then how an import goes on is drawn there, in place.
//!
//! Only srun can know that. Where it cannot be told, it is taken for no.

use nix::libc;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// With any of these srun writes what tasks say elsewhere, or something before it.
const ELSEWHERE: &str = "SLURM_LABELIO SLURM_STDERRMODE SLURM_STDOUTMODE SRUN_ERROR SRUN_OUTPUT";
/// srun's short options without a value, `-l` apart.
const FLAGS: &[u8] = b"hHIkKOqQsuvVXZ";

/// How wide srun's terminal is. The last `program` of its `words` are the program's.
pub(crate) fn width(
    words: &[OsString],
    program: usize,
    get: fn(&str) -> Option<OsString>,
) -> Option<u32> {
    let options = words.len().checked_sub(program)?;
    let moved = words.get(1..options)?.iter().any(|word| is_elsewhere(word.as_bytes()));
    let term = get("TERM").filter(|term| !term.is_empty() && term != "dumb");
    if moved || term.is_none() || ELSEWHERE.split(' ').any(|name| get(name).is_some()) {
        return None;
    }
    watched(libc::STDERR_FILENO)
}

/// Whether this option has srun write what tasks say elsewhere, or something before it.
fn is_elsewhere(word: &[u8]) -> bool {
    if let Some(long) = word.strip_prefix(b"--") {
        // Slurm takes them by their beginnings as well.
        return ["ou", "er", "la"].iter().any(|start| long.starts_with(start.as_bytes()));
    }
    let Some(short) = word.strip_prefix(b"-") else { return false };
    short
        .iter()
        .find(|letter| !FLAGS.contains(letter))
        .is_some_and(|letter| b"oel".contains(letter))
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
        for word in [
            "-o",
            "-ofile",
            "-e",
            "-l",
            "-ul",
            "-vvle",
            "--output=x",
            "--out",
            "--error=x",
            "--label",
        ] {
            assert!(is_elsewhere(word.as_bytes()), "{word}");
        }
        for word in [
            "-n4",
            "-pdebug",
            "-u",
            "-wnode1",
            "-Jmodel",
            "--overlap",
            "--export=ALL",
            "--exclusive",
            "x",
            "-",
            "--",
        ] {
            assert!(!is_elsewhere(word.as_bytes()), "{word}");
        }
    }

    #[test]
    fn what_is_no_terminal_has_no_width() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(watched(std::os::fd::AsRawFd::as_raw_fd(&file)), None);
    }

    #[test]
    fn a_terminal_that_cannot_move_its_cursor_gets_lines() {
        fn dumb(name: &str) -> Option<OsString> {
            (name == "TERM").then(|| "dumb".into())
        }
        assert_eq!(width(&["srun".into(), "x".into()], 1, dumb), None);
        assert_eq!(width(&["srun".into()], 2, |_| None), None);
    }
}
