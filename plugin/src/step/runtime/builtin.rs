//! The built-in runtime: the `pyxis` command hands the container over by itself.

use super::context::{Context, Resumed, Stored, Target};
use crate::options::NameFlag;
use crate::root::child::{GIVEN, Outcome};
use crate::root::runtime::RuntimeCommand;
use crate::root::shared::Channels;
use crate::step::error::StepError;
use crate::step::image::Image;
use handover::ending;
use nix::errno::Errno;
use nix::libc;
use spank_bindings::log;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

/// Starts `target` and has its descriptors sent.
pub(super) fn start(
    command: &RuntimeCommand,
    context: Context<'_>,
    target: Target<'_>,
    channels: Channels<'_>,
) -> Result<(), StepError> {
    match hand_over(command, context, target, &[], channels)? {
        Ended::Done(_) => Ok(()),
        Ended::Absent | Ended::NotRunning => Err(StepError::Vanished(context.plan.name.clone())),
    }
}

/// Joins or starts the named container as `flag` says; `None` if it has to be made.
pub(super) fn resume(
    command: &RuntimeCommand,
    context: Context<'_>,
    flag: NameFlag,
    channels: Channels<'_>,
) -> Result<Option<Resumed>, StepError> {
    let name = &context.plan.name;
    let options: &[&str] = match flag {
        NameFlag::Create => return Ok(None),
        NameFlag::Auto => &["--join"],
        NameFlag::Exec => &["--join", "--no-start"],
        NameFlag::NoExec => &[],
    };
    match (hand_over(command, context, Target::Name(name), options, channels)?, flag) {
        (Ended::Done(resumed), _) => Ok(Some(resumed)),
        (_, NameFlag::Exec) => Err(StepError::NotRunning(name.clone())),
        _ => Ok(Some(Resumed::Absent)),
    }
}

/// A remote image in the store; `None` of a docker daemon's.
pub(super) fn pull(
    command: &RuntimeCommand,
    context: Context<'_>,
    image: &Image,
    broker: Option<BorrowedFd<'_>>,
) -> Result<Option<Stored>, StepError> {
    let Image::Remote { uri, shown } = image else { return Ok(None) };
    if image.is_daemon() {
        return Ok(None);
    }
    let mut arguments: Vec<OsString> = vec!["pull".into()];
    if let Some(digest) = &context.plan.digest {
        arguments.extend(["--resolved".into(), digest.clone()]);
    }
    if broker.is_some() {
        arguments.push(format!("--broker={GIVEN}").into());
    }
    arguments.extend(["--".into(), uri.clone()]);
    // Between its words and our lock the garbage collector may have taken it.
    for _ in 0..3 {
        let outcome = run_pull(command, context, arguments.clone(), broker)?;
        if !outcome.success() {
            command.report(&outcome, &format!("failed to import docker image: {shown}"));
            return Err(StepError::Reported);
        }
        let path = outcome.path();
        match open(path.to_owned()) {
            Some(stored) => return Ok(Some(stored)),
            None => log::verbose!("pyxis: {} is gone again", path.display()),
        }
    }
    Err(StepError::ImageVanished(shown.clone()))
}

/// How `pyxis start --handover` ended.
enum Ended {
    Done(Resumed),
    Absent,
    NotRunning,
}

/// Starts or joins `target`.
fn hand_over(
    command: &RuntimeCommand,
    context: Context<'_>,
    target: Target<'_>,
    options: &[&str],
    channels: Channels<'_>,
) -> Result<Ended, StepError> {
    let plan = context.plan;
    let arguments = arguments(context, target, options);
    let given = [Some(channels.socket), Some(channels.lease)];
    let outcome = context.caller.command(&command.program, arguments, given).run()?;
    let resumed = match outcome.code() {
        Some(0) => Resumed::Started,
        Some(ending::JOINED) => Resumed::Joined,
        Some(ending::ABSENT) => return Ok(Ended::Absent),
        Some(ending::NOT_RUNNING) => return Ok(Ended::NotRunning),
        _ => {
            let lines = outcome.lines().map(|line| line.strip_prefix("pyxis: ").unwrap_or(line));
            let lines: Vec<&str> = lines.collect();
            let words = if lines.is_empty() { outcome.ending() } else { lines.join("; ") };
            return Err(StepError::Start(words));
        }
    };
    for line in outcome.lines() {
        if plan.entrypoint && plan.entrypoint_log {
            log::spank_log!("{line}");
        } else {
            log::info!("{line}");
        }
    }
    Ok(Ended::Done(resumed))
}

/// Runs it, and where somebody may be watching tells how it goes on.
fn run_pull(
    command: &RuntimeCommand,
    context: Context<'_>,
    arguments: Vec<OsString>,
    socket: Option<BorrowedFd<'_>>,
) -> Result<Outcome, StepError> {
    let command = context.caller.command(&command.program, arguments, [socket, None]);
    if !context.talkative {
        return command.run_for_output();
    }
    command.run_and_tell(|line| {
        log::spank_log!("pyxis: {}", line.strip_prefix("[INFO] ").unwrap_or(line));
    })
}

/// Opens an image and keeps the garbage collector from it; `None` if it is gone.
fn open(path: PathBuf) -> Option<Stored> {
    let file = File::open(&path).ok()?;
    let linked = || file.metadata().is_ok_and(|data| data.nlink() > 0);
    if !linked() {
        return None;
    }
    // The collector holds its lock for a moment. Whoever holds one for longer means no good and
    // is not waited for: the collector does not get the image then either.
    for _ in 0..20 {
        // SAFETY: the descriptor is open; its lock goes when it is closed.
        match Errno::result(unsafe { libc::flock(file.as_raw_fd(), SHARED) }) {
            Ok(_) => return linked().then_some(Stored { path, _lock: Some(file) }),
            Err(Errno::EWOULDBLOCK) => {}
            Err(_) => break, // a file system without locks: it has leases
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Some(Stored { path, _lock: None })
}

const SHARED: libc::c_int = libc::LOCK_SH | libc::LOCK_NB;

/// Whether a variable is set, and not to nothing.
fn has_value(environ: &[CString], name: &OsStr) -> bool {
    let value = |variable: &CString| {
        variable.as_bytes().strip_prefix(name.as_bytes())?.strip_prefix(b"=").map(<[u8]>::len)
    };
    environ.iter().find_map(value).is_some_and(|length| length > 0)
}

fn arguments(context: Context<'_>, target: Target<'_>, options: &[&str]) -> Vec<OsString> {
    let plan = context.plan;
    let (socket, lease) = (format!("--handover={GIVEN}"), format!("--lease={}", GIVEN + 1));
    let mut arguments: Vec<OsString> = vec!["start".into(), socket.into(), lease.into()];
    for mount in target.mounts(plan) {
        arguments.push("--mount".into());
        arguments.push(mount.fstab_line());
    }
    // The image's value stays where the job has none.
    for name in plan.env.iter().filter(|name| has_value(context.caller.environ, name)) {
        arguments.push("--env".into());
        arguments.push(name.clone());
    }
    if plan.entrypoint {
        arguments.push("--entrypoint".into());
    }
    arguments.extend(options.iter().map(Into::into));
    if let Target::Running(..) = target {
        arguments.push("--join".into());
    }
    if let Target::File(_) = target {
        // Other steps find it under this name.
        arguments.push(format!("--label={}", plan.name).into());
    }
    arguments.push("--".into());
    arguments.push(target.argument().into());
    arguments
}
