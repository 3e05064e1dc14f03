//! A suite while it runs: what it executes and counts.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::command::{Cmd, Ended, run};
use crate::shared::Shared;
use crate::tally::{self, Tally, Test};

/// Ends a suite before its last step.
#[derive(Debug)]
pub(crate) struct Stop;

pub(crate) struct Run<'a> {
    pub(crate) shared: &'a Shared,
    suite: &'static str,
    /// Whether it has the compiler all the time.
    compiles: bool,
    log: File,
    deadline: Instant,
    pub(crate) tally: Tally,
    /// Each test with the part of the suite that it belongs to, which is empty where there are none.
    pub(crate) tests: Vec<(String, Test)>,
    pub(crate) timed_out: bool,
}

impl<'a> Run<'a> {
    /// A suite that has so many minutes, and whether it compiles all the time.
    pub(crate) fn new(
        shared: &'a Shared,
        suite: &'static str,
        minutes: u64,
        compiles: bool,
    ) -> std::io::Result<Run<'a>> {
        let path = shared.log_of(suite);
        let log = File::options().create(true).truncate(true).write(true).open(&path)?;
        drop(log);
        // Programs and this one write at its end.
        let log = File::options().append(true).read(true).open(path)?;
        let time = Duration::from_secs(minutes * 60).mul_f64(shared.patience);
        let deadline = Instant::now() + time;
        Ok(Run {
            shared,
            suite,
            compiles,
            log,
            deadline,
            tally: Tally::default(),
            tests: vec![],
            timed_out: false,
        })
    }

    /// Of the suite.
    pub(crate) fn name(&self) -> &'static str {
        self.suite
    }

    /// A line of the log.
    pub(crate) fn say(&mut self, line: &str) {
        let _ = writeln!(self.log, "{line}");
    }

    /// One thing that passes or fails as a whole, and is known.
    pub(crate) fn verdict(&mut self, text: &str, passed: bool) {
        if passed {
            self.tally.passed += 1;
        } else {
            self.say(&format!("FAILED: {text}"));
            self.tally.failed += 1;
        }
    }

    /// One thing that passes or fails as a whole.
    pub(crate) fn check(&mut self, text: &str, cmd: &Cmd) -> Result<(), Stop> {
        let ended = self.execute(cmd)?;
        self.verdict(text, ended);
        Ok(())
    }

    /// What has to succeed for the rest to make sense.
    pub(crate) fn need(&mut self, cmd: &Cmd) -> Result<(), Stop> {
        if self.execute(cmd)? { Ok(()) } else { Err(self.stop(&format!("needed: {}", cmd.text()))) }
    }

    /// The same, and what it prints.
    pub(crate) fn output(&mut self, cmd: &Cmd) -> Result<String, Stop> {
        let (ended, text) = self.listen(cmd)?;
        if ended { Ok(text) } else { Err(self.stop(&format!("needed: {}", cmd.text()))) }
    }

    /// Something else than a command went wrong.
    pub(crate) fn stop(&mut self, why: &str) -> Stop {
        self.verdict(why, false);
        Stop
    }

    /// A command that prints TAP.
    pub(crate) fn tap(&mut self, group: &str, cmd: &Cmd) -> Result<(), Stop> {
        let (ended, text) = self.listen(cmd)?;
        self.count_tap(group, tally::tap(&text).ended(ended));
        Ok(())
    }

    pub(crate) fn count_tap(&mut self, group: &str, mut tally: Tally) {
        self.tests.extend(tally.tests.drain(..).map(|test| (group.to_owned(), test)));
        self.tally.add(tally);
    }

    /// A command that prints what Rust's tests do.
    pub(crate) fn rust(&mut self, cmd: &Cmd) -> Result<(), Stop> {
        let (ended, text) = self.listen(cmd)?;
        self.tally.add(tally::rust(&text).ended(ended));
        Ok(())
    }

    /// Runs it, and returns whether it ended well with what it printed on stdout and stderr.
    pub(crate) fn listen(&mut self, cmd: &Cmd) -> Result<(bool, String), Stop> {
        let from = self.log.seek(SeekFrom::End(0)).unwrap_or(0);
        let ended = self.execute(cmd)?;
        let mut bytes = Vec::new();
        let read =
            self.log.seek(SeekFrom::Start(from)).and_then(|_| self.log.read_to_end(&mut bytes));
        if let Err(error) = read {
            return Err(self.stop(&format!("cannot read the log: {error}")));
        }
        Ok((ended, String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn execute(&mut self, cmd: &Cmd) -> Result<bool, Stop> {
        let is_over = || self.shared.is_over();
        match run(cmd, &self.shared.mark(self.suite), &self.log, self.deadline, &is_over) {
            Ended::Well => Ok(true),
            Ended::Badly(why) => {
                self.say(&why);
                Ok(false)
            }
            Ended::TimedOut => {
                self.timed_out = true;
                let why = if self.shared.is_over() { "ended by a signal" } else { "TIME IS OVER" };
                Err(self.stop(&format!("{why}: {}", cmd.text())))
            }
        }
    }

    /// Runs `work` while no other suite compiles. The time until then is not the suite's.
    pub(crate) fn compiling<T>(
        &mut self,
        work: impl FnOnce(&mut Run<'a>) -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        if self.compiles {
            return work(self);
        }
        let begin = Instant::now();
        let shared = self.shared;
        let Some(_turn) = shared.compiler.lock(&|| shared.is_over()) else {
            return Err(self.stop("ended by a signal"));
        };
        self.deadline += begin.elapsed();
        work(self)
    }

    /// A place of the suite's own below the folder of logs.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.shared.logs.join(format!("{}.{name}", self.suite))
    }

    /// Counts a file of TAP that a command has left.
    pub(crate) fn tap_file(&mut self, group: &str, ended: bool) {
        let text = fs::read_to_string(self.file(group)).unwrap_or_default();
        let _ = self.log.write_all(text.as_bytes());
        self.count_tap(group, tally::tap(&text).ended(ended));
    }
}
