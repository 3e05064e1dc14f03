//! Asking nodes: a step of srun, of one task on each, and what they answer.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{ChildStdin, ExitStatus, Stdio};

use linux::sys;
use nix::sys::signal::Signal;

use super::error::NodesError;
use super::order::{Order, Part};
use super::slurm::Job;
use super::task;

/// What a node has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) node: String,
    pub(super) word: String,
    pub(super) rest: String,
}

/// Has a part done on nodes, and takes what they say as it comes. An error if not all of them have done theirs.
pub(super) fn ask(
    order: &Order,
    job: &Job,
    nodes: &[String],
    mut take: impl FnMut(&mut Option<ChildStdin>, Answer),
) -> Result<(), NodesError> {
    let failed = |source| NodesError::Run { program: "srun".to_owned(), source };
    let line = order.line().map_err(failed)?;
    let mut command = job.step(nodes, order.part == Part::Spread)?;
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = piped.spawn().map_err(failed)?;
    let mut stdin = child.stdin.take();
    // Where nobody reads it srun has ended, and its status says more.
    let _ = stdin.as_mut().map(|stdin| stdin.write_all(&line));
    if order.part != Part::Spread {
        stdin = None;
    }
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            if let Some(answer) = parse(&line.map_err(failed)?) {
                take(&mut stdin, answer);
            }
        }
    }
    drop(stdin);
    let status = child.wait().map_err(failed)?;
    end_as(status);
    if status.success() {
        return Ok(());
    }
    Err(NodesError::Failed { program: "srun".to_owned(), status })
}

/// Ends this process if somebody has had srun end: it is no fault, and nothing is to follow.
fn end_as(status: ExitStatus) {
    let ended = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM];
    let signal = ended.into_iter().find(|signal| status.signal() == Some(*signal as i32));
    if let Some(signal) = signal {
        sys::die_by(signal);
    }
}

/// A line of a task's.
pub(super) fn parse(line: &str) -> Option<Answer> {
    let mut words = line.splitn(4, ' ');
    if words.next()? != task::MARK {
        return None;
    }
    let (node, word) = (words.next()?.to_owned(), words.next()?.to_owned());
    Some(Answer { node, word, rest: words.next().unwrap_or_default().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_of_ours_are_answers() {
        assert_eq!(parse("hello"), None);
        assert_eq!(parse("pyxis-node n1"), None);
        let has = Answer { node: "n1".into(), word: "has".into(), rest: String::new() };
        assert_eq!(parse("pyxis-node n1 has"), Some(has));
    }
}
