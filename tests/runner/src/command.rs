//! What the suites execute: with a log, a deadline, and an end of everything that was started when that has passed.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, geteuid};

/// The variable by which a suite's processes are known, wherever they have gone.
pub(crate) const MARK: &str = "PYXIS_SUITE";

/// A program with its arguments.
#[derive(Clone, Debug)]
pub(crate) struct Cmd {
    words: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    is_root: bool,
    has_own_mounts: bool,
    is_marked: bool,
}

/// What is executed from the words, in the source tree.
pub(crate) fn cmd<S: AsRef<OsStr>>(words: impl IntoIterator<Item = S>) -> Cmd {
    let words = words.into_iter().map(|word| word.as_ref().to_owned()).collect();
    Cmd { words, env: vec![], is_root: false, has_own_mounts: false, is_marked: true }
}

impl Cmd {
    pub(crate) fn arg(mut self, word: impl AsRef<OsStr>) -> Cmd {
        self.words.push(word.as_ref().to_owned());
        self
    }

    pub(crate) fn args<S: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = S>) -> Cmd {
        self.words.extend(words.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }

    pub(crate) fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Cmd {
        self.env.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// By sudo, unless this is root already.
    pub(crate) fn by_root(mut self) -> Cmd {
        self.is_root = true;
        self
    }

    /// What it mounts is seen by nobody else, and gone when it ends; for root.
    pub(crate) fn with_own_mounts(mut self) -> Cmd {
        self.has_own_mounts = true;
        self
    }

    /// It may outlive the suite.
    pub(crate) fn unmarked(mut self) -> Cmd {
        self.is_marked = false;
        self
    }

    /// For messages.
    pub(crate) fn text(&self) -> String {
        self.words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn command(&self, mark: &str) -> Command {
        let is_root = geteuid().is_root();
        let mut words: Vec<OsString> = Vec::new();
        if self.is_root && !is_root {
            words.extend(["sudo", "--"].map(Into::into));
        }
        if self.has_own_mounts && (self.is_root || is_root) {
            words
                .extend(["unshare", "--mount", "--propagation", "unchanged", "--"].map(Into::into));
        }
        let mut env = self.env.clone();
        if self.is_marked {
            env.push((MARK.into(), mark.into()));
        }
        // sudo hands on no environment.
        words.push("env".into());
        words.extend(env.into_iter().map(|(name, value)| {
            let mut word = name;
            word.push("=");
            word.push(value);
            word
        }));
        words.extend(self.words.iter().cloned());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::null());
        if !self.is_marked {
            command.env_remove(MARK);
        }
        command
    }
}

/// How a program has ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Well,
    Badly(String),
    /// The time was over, and all that was left of it has been killed.
    TimedOut,
}

/// Runs it with its output in `log` until `deadline`, or until `is_over` says that all is to end.
pub(crate) fn run(
    cmd: &Cmd,
    mark: &str,
    log: &File,
    deadline: Instant,
    is_over: &dyn Fn() -> bool,
) -> Ended {
    let started = log.try_clone().and_then(|out| {
        let err = out.try_clone()?;
        // A group of its own: a key at the terminal reaches the runner, which ends the group.
        cmd.command(mark).stdout(out).stderr(err).process_group(0).spawn()
    });
    let mut child = match started {
        Ok(child) => child,
        Err(error) => return Ended::Badly(format!("cannot execute {}: {error}", cmd.text())),
    };
    match wait(&mut child, deadline, is_over) {
        Ok(Some(status)) if status.success() => Ended::Well,
        Ok(Some(status)) => Ended::Badly(format!("{}: {status}", cmd.text())),
        Ok(None) => {
            end(&mut child, mark);
            Ended::TimedOut
        }
        Err(error) => {
            end(&mut child, mark);
            Ended::Badly(format!("{}: {error}", cmd.text()))
        }
    }
}

/// `None` when the time is over.
fn wait(
    child: &mut Child,
    deadline: Instant,
    is_over: &dyn Fn() -> bool,
) -> io::Result<Option<ExitStatus>> {
    let mut pause = Duration::from_millis(2);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline || is_over() {
            return Ok(None);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

/// For what a program needs to clear up after SIGTERM.
const GRACE: Duration = Duration::from_secs(10);

/// Ends a program and its process group.
pub(crate) fn end_group(child: &mut Child) {
    let group = Pid::from_raw(i32::try_from(child.id()).unwrap_or(0));
    signal_group(group, Signal::SIGTERM);
    let _ = wait(child, Instant::now() + GRACE, &|| false);
    signal_group(group, Signal::SIGKILL);
    let _ = wait(child, Instant::now() + GRACE, &|| false);
}

/// The same, and whatever has the mark: it may have gone to a session of its own.
fn end(child: &mut Child, mark: &str) {
    end_group(child);
    for _ in 0..20 {
        let left = marked(mark);
        if left.is_empty() {
            break;
        }
        for pid in left {
            kill_as_root("-KILL", &pid.to_string());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn signal_group(group: Pid, signal: Signal) {
    // Never the runner's own.
    if group.as_raw() <= 1 {
        return;
    }
    if killpg(group, signal).is_ok() && geteuid().is_root() {
        return;
    }
    // What sudo has started is not the caller's to end.
    kill_as_root(&format!("-{}", signal as i32), &format!("-{group}"));
}

fn kill_as_root(signal: &str, whom: &str) {
    let kill = cmd(["kill", signal, "--", whom]).by_root().unmarked();
    let _ = kill.command("").stdout(Stdio::null()).stderr(Stdio::null()).status();
}

/// Processes with the mark in their environment, as far as it may be looked at.
fn marked(mark: &str) -> Vec<u32> {
    let wanted = format!("{MARK}={mark}");
    let is_marked = |pid: &u32| {
        fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environ| {
            environ.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes())
        })
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| *pid != std::process::id()).filter(is_marked).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn log() -> (tempfile::TempDir, File) {
        let folder = tempfile::tempdir().unwrap();
        let file = File::options()
            .create(true)
            .append(true)
            .read(true)
            .open(folder.path().join("log"))
            .unwrap();
        (folder, file)
    }

    fn in_time(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    fn is_alive(pid: &str) -> bool {
        // A zombie is not.
        fs::read_to_string(format!("/proc/{}/stat", pid.trim()))
            .is_ok_and(|stat| !stat.contains(") Z"))
    }

    #[test]
    fn how_it_ended_and_what_it_said() {
        let (folder, file) = log();
        let shell =
            |script: &str| run(&cmd(["sh", "-c", script]), "test-a", &file, in_time(60), &|| false);
        assert_eq!(shell("echo out; echo err >&2"), Ended::Well);
        assert!(matches!(shell("exit 3"), Ended::Badly(why) if why.contains("exit status: 3")));
        let absent = run(&cmd(["/no/such/program"]), "test-a", &file, in_time(60), &|| false);
        assert!(matches!(absent, Ended::Badly(_)));
        let mut text = String::new();
        File::open(folder.path().join("log")).unwrap().read_to_string(&mut text).unwrap();
        assert!(text.starts_with("out\nerr\n"), "{text}");
    }

    #[test]
    fn what_hangs_is_ended_with_all_that_it_has_started() {
        let (folder, file) = log();
        let pids = folder.path().join("pids");
        // One in the group, one in a session of its own, both deaf to SIGTERM.
        let script = "trap '' TERM; sleep 600 & echo $! >> $PIDS; setsid sh -c 'echo $$ >> $PIDS; exec sleep 600' & \
                      while [ $(wc -l < $PIDS) -lt 2 ]; do sleep 0.05; done; touch $PIDS.go; wait; wait; sleep 600";
        let ready = folder.path().join("pids.go");
        fs::write(&pids, "").unwrap();
        let hangs = cmd(["sh", "-c", script]).env("PIDS", &pids);
        let mark = format!("test-b-{}", std::process::id());
        assert_eq!(run(&hangs, &mark, &file, in_time(600), &|| ready.exists()), Ended::TimedOut);
        let pids = fs::read_to_string(pids).unwrap();
        assert_eq!(pids.lines().count(), 2);
        for pid in pids.lines() {
            assert!(!is_alive(pid), "{pid}");
        }
    }

    #[test]
    fn the_deadline_counts() {
        let (_folder, file) = log();
        let slow = cmd(["sleep", "600"]);
        assert_eq!(run(&slow, "test-c", &file, Instant::now(), &|| false), Ended::TimedOut);
    }
}
