//! What runs on each node: `pyxis node-task`. It answers on stdout, one line that begins with [`MARK`].

use std::fs::{self, File};

use hygiene::console;
use images::digest::Digest;
use images::import::{ImportError, Importer, PullPolicy};
use images::progress::Progress;
use images::store::Store;
use images::uri::Uri;
use linux::sys;
use nix::sys::signal::{SigSet, Signal};

use pyxis::progress;
use pyxis::settings::Settings;

use super::super::{CliError, Exit};
use super::error::NodesError;
use super::order::{Part, next_line};
use super::slurm::{self, variable};

/// Before every answer.
pub(super) const MARK: &str = "pyxis-node";
/// The answers: the image is there; it is not, with the store's identity and place; digests of what was
/// sent; all went well; or why not.
pub(super) const HAS: &str = "has";
pub(super) const LACKS: &str = "lacks";
pub(super) const SENT: &str = "sent";
pub(super) const DONE: &str = "done";
pub(super) const FAILED: &str = "failed";
/// In place of the identity of a store that the layers do not fit in.
pub(super) const ALONE: &str = "-";
/// Does a part, and says how that went. Who has said it has done its own: what it exits with is about that alone.
pub(crate) fn run(
    part: Part,
    settings: &Settings,
    uri: &Uri,
    make: impl Fn(Progress) -> Result<Importer, CliError>,
) -> Result<Exit, CliError> {
    let name = variable(&settings.host, "SLURMD_NODENAME").unwrap_or_else(|| "-".to_owned());
    let answer = |answer: &str| console::print(format_args!("{MARK} {name} {answer}"));
    let done = match part {
        Part::Look => look(&make(Progress::SILENT)?, uri),
        Part::Spread => spread(settings, uri, &make),
        Part::Fetch => make(Progress::SILENT).and_then(|importer| {
            importer.pull(uri, PullPolicy::Missing)?;
            Ok(DONE.to_owned())
        }),
    };
    answer(&done.unwrap_or_else(|error| format!("{FAILED} {error}"))).map_err(CliError::Output)?;
    Ok(Exit::SUCCESS)
}

fn look(importer: &Importer, uri: &Uri) -> Result<String, CliError> {
    let Some(size) = importer.lacks(uri)? else { return Ok(HAS.to_owned()) };
    let store = importer.store();
    // Slurm ends the sending for all nodes if it fails on one.
    let identity = if store.has_room(size) { store.identity()? } else { ALONE.to_owned() };
    Ok(format!("{LACKS} {identity} {}", store.root().display()))
}

fn spread(
    settings: &Settings,
    uri: &Uri,
    make: &impl Fn(Progress) -> Result<Importer, CliError>,
) -> Result<String, CliError> {
    let of = |name| variable(&settings.host, name).ok_or(NodesError::NoStep(name));
    let step = format!("{}.{}", of("SLURM_JOB_ID")?, of("SLURM_STEP_ID")?);
    if of("SLURM_NODEID")? == "0" {
        let importer = make(progress::lines())?;
        let alone = of("SLURM_STEP_NUM_NODES")? == "1";
        let sent = send_parts(&importer, uri, &step, alone)?;
        let digests: Vec<&str> = sent.iter().map(|digest| &**digest).collect();
        return Ok(format!("{SENT} {}", digests.join(" ")));
    }
    let importer = make(Progress::SILENT)?;
    let store = importer.store();
    clear_when_ended(store, &step).map_err(NodesError::Task)?;
    let taken = take_parts(&importer, &step);
    store.clear_sent(&step);
    taken.map(|()| DONE.to_owned())
}

/// Takes what the first node has sent, by its answer, which comes from who started all of this; nothing if there is none.
fn take_parts(importer: &Importer, step: &str) -> Result<(), CliError> {
    let line = next_line().map_err(NodesError::Task)?;
    let mut fault = None;
    for (place, digest) in line.split_whitespace().filter_map(Digest::parse).enumerate() {
        let adopted = importer.adopt(&importer.store().sent(step, place), &digest);
        fault = fault.or(adopted.err());
    }
    fault.map_or(Ok(()), |error| Err(error.into()))
}

/// Has this process leave nothing of what has come when Slurm ends its step.
fn clear_when_ended(store: &Store, step: &str) -> std::io::Result<()> {
    let ending = SigSet::from_iter([Signal::SIGTERM]);
    ending.thread_block()?;
    let (store, step) = (store.clone(), step.to_owned());
    std::thread::Builder::new().spawn(move || {
        if sys::wait_for_signal(&ending).is_ok() {
            store.clear_sent(&step);
            std::process::exit(128 + Signal::SIGTERM as i32);
        }
    })?;
    Ok(())
}

/// Fetches the parts of an image and sends them to the step's nodes. This one is among them.
fn send_parts(
    importer: &Importer,
    uri: &Uri,
    step: &str,
    alone: bool,
) -> Result<Vec<Digest>, CliError> {
    let parts = importer.fetch_parts(uri)?;
    let store = importer.store();
    // Others have the same store.
    for (place, digest) in parts.iter().enumerate().filter(|_| !alone) {
        let to = store.sent(step, place);
        let part = File::open(store.blob_path(digest)).map_err(NodesError::Task)?;
        let sent = slurm::send(step, part, &to);
        // Its own copy it has no use for.
        let _ = fs::remove_file(&to);
        sent?;
    }
    if parts.is_empty() {
        return Err(ImportError::NotKept(uri.to_string()).into());
    }
    Ok(parts)
}
