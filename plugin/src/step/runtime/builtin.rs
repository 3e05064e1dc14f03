//! The built-in runtime: the `pyxis` command hands the container over by itself.

use super::context::{Context, Resumed, StoredImage, Target};
use super::verbs::not_imported;
use crate::options::{Mount, NameFlag};
use crate::root::runtime::RuntimeCommand;
use crate::root::shared::Channels;
use crate::step::error::StepError;
use crate::step::image::Image;
use handover::request::{self, Joining, Request, Start};
use handover::{AGAIN, VERBOSE, ending};
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{MsgFlags, send};
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
    match hand_over(command, context, target, Joining::Never, channels)? {
        HandoverOutcome::Done(_) => Ok(()),
        HandoverOutcome::Absent | HandoverOutcome::NotRunning => {
            Err(StepError::Vanished(context.plan.name.clone()))
        }
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
    let joining = match flag {
        NameFlag::Create => return Ok(None),
        NameFlag::Auto => Joining::IfRunning,
        NameFlag::Exec => Joining::OnlyRunning,
        NameFlag::NoExec => Joining::Never,
    };
    match (hand_over(command, context, Target::Name(name), joining, channels)?, flag) {
        (HandoverOutcome::Done(resumed), _) => Ok(Some(resumed)),
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
) -> Result<Option<StoredImage>, StepError> {
    let Image::Remote { uri, shown } = image else { return Ok(None) };
    if image.is_daemon() {
        return Ok(None);
    }
    let request = Request::Pull { uri, digest: context.plan.digest.as_deref() };
    let with = broker.as_slice();
    // Between its words and our lock the garbage collector may have taken it.
    for _ in 0..3 {
        // Where somebody may be watching, told how it goes on.
        let outcome = context.caller.ask(&command.program, &request, with, &mut |command| {
            if !context.one_node {
                return command.run_for_output();
            }
            command.run_and_tell(teller(context.talkative, shown))
        })?;
        if !outcome.success() {
            command.report(&outcome, &not_imported(shown));
            return Err(StepError::Reported);
        }
        let path = outcome.path();
        if let Some(stored) = open(path.to_owned()) {
            return Ok(Some(stored));
        }
    }
    Err(StepError::ImageVanished(shown.clone()))
}

/// How a start ended.
enum HandoverOutcome {
    Done(Resumed),
    Absent,
    NotRunning,
}

/// Starts or joins `target`.
fn hand_over(
    command: &RuntimeCommand,
    context: Context<'_>,
    target: Target<'_>,
    joining: Joining,
    channels: Channels<'_>,
) -> Result<HandoverOutcome, StepError> {
    let plan = context.plan;
    let request = Request::Start(request(context, target, joining));
    log::verbose!("pyxis: asking for {} {joining:?}", target.argument().display());
    let mounter = channels.mounter.filter(|mounter| is_asked(*mounter, context, target));
    let with = [channels.socket, channels.step_socket, mounter.unwrap_or(channels.socket)];
    let with = &with[..2 + usize::from(mounter.is_some())];
    let outcome =
        context.caller.ask(&command.program, &request, with, &mut |command| command.run())?;
    let resumed = match outcome.code() {
        Some(0) => Resumed::Started,
        Some(ending::JOINED) => Resumed::Joined,
        Some(ending::ABSENT) => return Ok(HandoverOutcome::Absent),
        Some(ending::NOT_RUNNING) => return Ok(HandoverOutcome::NotRunning),
        _ => {
            let lines = outcome.lines().map(|line| line.strip_prefix("pyxis: ").unwrap_or(line));
            let lines: Vec<&str> = lines.collect();
            let words = if lines.is_empty() { outcome.ending() } else { lines.join("; ") };
            return Err(StepError::Start(words));
        }
    };
    let level = if plan.entrypoint && plan.entrypoint_log { log::spank_log } else { log::info };
    for line in outcome.lines() {
        let verbose = line.strip_prefix(VERBOSE);
        let log = if verbose.is_some() { log::verbose } else { level };
        log(format_args!("{}", verbose.unwrap_or(line)));
    }
    Ok(HandoverOutcome::Done(resumed))
}

/// Asks root's process for the kernel's mount of what is in the shared store, so that it is at work while the command
/// is executed.
fn is_asked(mounter: BorrowedFd<'_>, context: Context<'_>, target: Target<'_>) -> bool {
    let (Target::File(path), Some(store)) = (target, &context.config.shared_store) else {
        return false;
    };
    let path = path.as_os_str().as_bytes();
    // `HEX.sqsh`; what is none root's process refuses.
    let digest = path.len().checked_sub(69).and_then(|at| path.get(at..at + 64));
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    path.starts_with(store.as_os_str().as_bytes())
        && digest.is_some_and(|digest| send(mounter.as_raw_fd(), digest, flags).is_ok())
}

/// Tells how an import goes on. Of several tasks one gets the image, and says so if the others have to
/// wait for long.
fn teller(mut announced: bool, shown: &str) -> impl FnMut(&str) {
    move |line| {
        // The image's place is the answer, and nobody's to read.
        if line.starts_with('/') {
            return;
        }
        if !std::mem::replace(&mut announced, true) {
            log::spank_log!("pyxis: importing docker image: {shown}");
        }
        let again = line.strip_prefix(AGAIN);
        let line = again.unwrap_or(line);
        let text = line.strip_prefix("[INFO] ").unwrap_or(line);
        let log = if again.is_some() { log::spank_log_again } else { log::spank_log };
        log(format_args!("pyxis: {text}"));
    }
}

/// Opens an image and keeps the garbage collector from it; `None` if it is gone.
#[allow(clippy::disallowed_methods)] // A task sleeps, for 20 ms at most.
fn open(path: PathBuf) -> Option<StoredImage> {
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
            Ok(_) => return linked().then_some(StoredImage { path, _lock: Some(file) }),
            Err(Errno::EWOULDBLOCK) => {}
            Err(_) => break, // a file system without locks: it has leases
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Some(StoredImage { path, _lock: None })
}

const SHARED: libc::c_int = libc::LOCK_SH | libc::LOCK_NB;

/// Whether a variable is set, and not to nothing.
fn has_value(environ: &[CString], name: &OsStr) -> bool {
    let value = |variable: &CString| {
        variable.as_bytes().strip_prefix(name.as_bytes())?.strip_prefix(b"=").map(<[u8]>::len)
    };
    environ.iter().find_map(value).is_some_and(|length| length > 0)
}

fn request<'a>(context: Context<'a>, target: Target<'a>, joining: Joining) -> Start<'a> {
    let plan = context.plan;
    // The image's value stays where the job has none.
    let has_value = |name: &&OsStr| has_value(context.caller.environ, name);
    let mounts = target.mounts(plan);
    let (target, joining) = match target {
        Target::File(path) => {
            // Other steps find it under this name.
            let label = OsStr::new(&plan.name);
            (request::Target::File { path: path.as_os_str(), label }, joining)
        }
        Target::Name(name) => (request::Target::Name(OsStr::new(name)), joining),
        Target::Running(name, _) => (request::Target::Name(OsStr::new(name)), Joining::IfRunning),
    };
    Start {
        target,
        joining,
        entrypoint: plan.entrypoint,
        mounts: mounts.iter().map(mount).collect(),
        env: plan.env.iter().map(OsString::as_os_str).filter(has_value).collect(),
    }
}

fn mount(mount: &Mount) -> request::Mount<'_> {
    let Mount { source, target, flags } = mount;
    request::Mount { source, target, options: flags }
}

#[cfg(test)]
mod tests;
