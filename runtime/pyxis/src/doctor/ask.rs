//! Asking a program: it is executed without root's rights, without this process's variables,
//! terminal and descriptors, for so long and no longer, and heard to so many bytes and no more.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Gid, Pid, Uid, geteuid, pipe2, setgroups, setresgid, setresuid, setsid};

use linux::sys;

/// Somebody without rights, where root asks.
const NOBODY: u32 = 65534;
/// No program asked here takes that long.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long a killed one may take to be gone.
const REMAINS: Duration = Duration::from_secs(1);
/// More than any answer.
const MOST: usize = 64 << 10;
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Prepares a program to be asked.
pub(super) fn program(path: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(path);
    command.env_clear().env("PATH", PATH).env("HOME", "/").env("LC_ALL", "C").current_dir("/");
    let root = geteuid().is_root();
    // SAFETY: system calls on numbers, between fork and exec of a process with one thread.
    unsafe {
        command.pre_exec(move || {
            // No terminal: what runs there could type into it.
            setsid()?;
            sys::close_on_exec_from(3)?;
            if root {
                let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
                setgroups(&[])?;
                setresgid(group, group, group)?;
                setresuid(user, user, user)?;
                sys::leave_session_keyring()?;
            }
            Ok(())
        });
    }
    command
}

/// What a program prints to both of its outputs, or why that is not known.
pub(super) fn answer(mut command: Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let wrong = |problem: io::Error| format!("{name}: {problem}");
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).map_err(|errno| wrong(errno.into()))?;
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(|errno| wrong(errno.into()))?;
    command.stdin(Stdio::null()).stdout(writer.try_clone().map_err(wrong)?).stderr(writer);
    let child = command.spawn().map_err(wrong);
    // The command holds the pipe's other end open as long as it lives.
    drop(command);
    let mut asked = RunningProgram { child: child?, pipe: reader.into(), text: Vec::new() };
    let heard = asked.listen(Instant::now() + PATIENCE);
    match heard {
        Ok(()) => Ok(String::from_utf8_lossy(&asked.text).into_owned()),
        Err(error) => {
            asked.end();
            Err(wrong(error))
        }
    }
}

/// A program that was started, and what it has printed so far.
struct RunningProgram {
    child: Child,
    pipe: File,
    text: Vec<u8>,
}

impl RunningProgram {
    fn listen(&mut self, deadline: Instant) -> io::Result<()> {
        let mut open = true;
        loop {
            // Looked at first: what it said before its end is in the pipe by then.
            let ended = self.child.try_wait()?.is_some();
            let quiet = !open || !self.hear(&mut open)?;
            // What it leaves running may hold the pipe, and is not waited for.
            if ended && quiet {
                return Ok(());
            }
            if self.text.len() > MOST {
                return Err(io::Error::other("it says more than anybody wants to know"));
            }
            if Instant::now() >= deadline {
                return Err(io::Error::other("it does not end"));
            }
            if quiet {
                self.wait_a_little(open);
            }
        }
    }

    /// Takes what there is; whether there was any.
    fn hear(&mut self, open: &mut bool) -> io::Result<bool> {
        let mut piece = [0; 4096];
        match self.pipe.read(&mut piece) {
            Ok(0) => *open = false,
            Ok(count) => {
                self.text.extend_from_slice(&piece[..count]);
                return Ok(true);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(false)
    }

    fn wait_a_little(&self, open: bool) {
        if open {
            let mut pipe = [PollFd::new(self.pipe.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut pipe, 10u8);
        } else {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills it and what it has started, but for those that have left its session. If it cannot
    /// die it is left behind.
    fn end(&mut self) {
        let group = Pid::from_raw(-(self.child.id() as i32));
        if kill(group, Signal::SIGKILL) == Err(Errno::ESRCH) {
            let _ = self.child.kill();
        }
        let deadline = Instant::now() + REMAINS;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Result<String, String> {
        let mut command = program("/bin/sh");
        command.args(["-c", script]);
        answer(command)
    }

    #[test]
    fn both_outputs_are_heard() {
        assert_eq!(shell("echo a; echo b >&2; exit 3").unwrap(), "a\nb\n");
        let error = answer(program("/nonexistent")).unwrap_err();
        assert!(error.starts_with("/nonexistent: No such file"), "{error}");
    }

    #[test]
    fn it_has_neither_rights_nor_keys_nor_variables_nor_terminal() {
        // There is one to be left.
        sys::leave_session_keyring().unwrap();
        let said = shell(
            "id -u; id -G; env | cut -d= -f1 | sort; pwd; ls /proc/self/fd | wc -l; (: < /dev/tty) 2>&1 | wc -l; \
             grep _ses: /proc/keys | grep -v \" $(id -u) * $(id -g) keyring\" | wc -l",
        );
        let user = if geteuid().is_root() { NOBODY } else { geteuid().as_raw() };
        let said = said.unwrap();
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[0], user.to_string());
        assert!(!geteuid().is_root() || lines[1] == user.to_string(), "{lines:?}");
        // The last one is what `ls` itself reads.
        assert_eq!(&lines[2..], ["HOME", "LC_ALL", "PATH", "PWD", "/", "4", "1", "0"]);
    }

    #[test]
    fn who_never_ends_or_never_stops_talking_is_ended() {
        let begin = Instant::now();
        assert!(
            shell("while :; do echo xxxxxxxxxxxxxxxxxxxxxxxx; done")
                .unwrap_err()
                .contains("more than")
        );
        // What is left behind holds the pipe.
        assert_eq!(shell("sleep 100 & echo done").unwrap(), "done\n");
        assert!(begin.elapsed() < PATIENCE, "{:?}", begin.elapsed());
        assert!(shell("trap '' TERM; sleep 100; sleep 100").unwrap_err().contains("does not end"));
        assert!(begin.elapsed() < PATIENCE * 2);
    }
}
