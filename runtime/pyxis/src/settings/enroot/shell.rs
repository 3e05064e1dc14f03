//! The values that only a shell can tell: one `bash`, as the calling user, for all of them.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use hygiene::unsecure;
use linux::environ::Environ;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// Nothing that a node asks at each start of a container takes that long.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// More than all values of a node together.
const MOST: usize = 1 << 20;

/// For each pair of arguments a name and words: what went to stderr, whether the shell understood, and
/// what `echo` of the words prints. What is said first holds for the words that follow. The
/// descriptors of the container's start are not for what the words run.
const SCRIPT: &str = r#"
for fd in /proc/self/fd/*; do
    fd=${fd##*/}
    if [ "$fd" -gt 2 ]; then eval "exec $fd>&-" 2> /dev/null; fi
done
unset fd
exec 3>&1
set -uo pipefail
while [ $# -gt 0 ]; do
    if said=$(eval "echo $2" 2>&3 3>&-); then understood=y; else understood=; fi
    printf '\0%s\0%s\0' "$understood" "$said"
    if [ -z "${!1-}" ]; then export "$1=$said"; fi
    shift 2
done
"#;

/// What the shell made of a value.
#[derive(Debug)]
pub(super) struct Answer {
    /// The value.
    pub(super) value: Vec<u8>,
    /// What a program has complained of all the same.
    pub(super) complaint: String,
}

/// Evaluates the words of variables, in order, each with what those before it say.
pub(super) fn evaluate<'a>(
    lines: impl ExactSizeIterator<Item = (&'a str, &'a [u8])>,
    environ: &Environ,
    patience: Duration,
) -> Vec<Result<Answer, String>> {
    let count = lines.len();
    let (text, ended) = match run(lines, environ, patience) {
        Ok((text, ended)) => (text, ended),
        Err(error) => (Vec::new(), Some(format!("bash: {error}"))),
    };
    let mut fields = text.split(|byte| *byte == 0);
    let mut answers = Vec::new();
    for _ in 0..count {
        let next = (fields.next(), fields.next(), fields.next());
        // What comes last is not ended by a NUL, and not an answer.
        let (Some(complaint), Some(understood), Some(value)) = next else { break };
        let complaint = words(complaint);
        answers.push(match understood {
            b"" => Err(if complaint.is_empty() { "a shell fails at it".into() } else { complaint }),
            _ => Ok(Answer { value: value.to_vec(), complaint }),
        });
    }
    if answers.len() == count && fields.next().is_none() {
        answers.pop();
    }
    let ended = ended.unwrap_or_else(|| "the shell ended before it".to_owned());
    answers.resize_with(count, || Err(ended.clone()));
    answers
}

/// One line, without the shell's own name.
fn words(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let first = lines.first().copied().unwrap_or_default();
    let own = first.split_once(": line ").and_then(|(_, rest)| rest.split_once(": "));
    own.map_or(first, |(_, rest)| rest).to_owned()
}

/// All that is printed, and why that may not be all.
fn run<'a>(
    lines: impl ExactSizeIterator<Item = (&'a str, &'a [u8])>,
    environ: &Environ,
    patience: Duration,
) -> io::Result<(Vec<u8>, Option<String>)> {
    use std::os::unix::ffi::OsStrExt;
    let wanted = 3 * lines.len();
    let mut command = unsecure::command("bash");
    let kept = |(name, _): &(&std::ffi::OsString, _)| !unsecure::is_unsecure(name.as_bytes());
    command.env_clear().envs(environ.iter().filter(kept));
    command.args(["--norc", "--noprofile", "-c", SCRIPT, "enroot.conf"]);
    for (name, words) in lines {
        command.arg(name).arg(std::ffi::OsStr::from_bytes(words));
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let mut child = command.spawn()?;
    let heard = hear(&mut child, wanted, Instant::now() + patience);
    if !matches!(heard, Ok((_, None))) {
        let _ = killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL);
    }
    let _ = child.kill();
    let _ = child.wait();
    heard
}

fn hear(
    child: &mut Child,
    wanted: usize,
    deadline: Instant,
) -> io::Result<(Vec<u8>, Option<String>)> {
    let mut text = Vec::new();
    let Some(pipe) = child.stdout.as_mut() else { return Ok((text, None)) };
    let mut piece = [0; 4096];
    let mut seen = 0;
    // What it leaves running may hold the pipe, and is not waited for.
    while seen < wanted {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok((text, Some("it does not end".to_owned())));
        }
        if text.len() > MOST {
            return Ok((text, Some("it says more than a value can be".to_owned())));
        }
        let time = u16::try_from(left.as_millis()).unwrap_or(u16::MAX).max(1);
        match poll(&mut [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)], time) {
            Ok(0) | Err(Errno::EINTR) => continue,
            Ok(_) => {}
            Err(errno) => return Err(errno.into()),
        }
        let count = match pipe.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        seen += piece[..count].iter().filter(|byte| **byte == 0).count();
        text.extend_from_slice(&piece[..count]);
    }
    Ok((text, None))
}
