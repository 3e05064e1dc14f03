//! What runs on each node: `pyxis pull --task`. It answers on stdout, one line that begins with [`MARK`].

use std::io::{BufRead, Read};
use std::path::PathBuf;

use clap::ValueEnum;
use hygiene::console;
use images::digest::Digest;
use images::import::{ImportError, Importer, PullPolicy};
use images::progress::Progress;
use images::uri::Uri;

use pyxis::progress;
use pyxis::settings::Settings;

use super::super::{CliError, Exit};
use super::NodesError;
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
/// More layers than any image has, 136 bytes each.
const LONGEST: u64 = 1 << 20;

/// What a task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Says whether the image is there.
    Look,
    /// The first fetches the layers and sends them, the others take them.
    Spread,
    /// Fetches the image.
    Fetch,
}

impl Part {
    /// The word for it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Part::Look => "look",
            Part::Spread => "spread",
            Part::Fetch => "fetch",
        }
    }
}

/// Does a part, and says how that went.
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
    let (text, exit) = match done {
        Ok(text) => (text, Exit::SUCCESS),
        Err(error) => (format!("{FAILED} {error}"), Exit::FAILURE),
    };
    answer(&text).map_err(CliError::Output)?;
    Ok(exit)
}

fn look(importer: &Importer, uri: &Uri) -> Result<String, CliError> {
    let Some(size) = importer.lacks(uri)? else { return Ok(HAS.to_owned()) };
    let store = importer.store();
    // Slurm ends the sending for all nodes if it fails on one.
    let identity = if store.has_room(size) { store.identity()? } else { ALONE.to_owned() };
    Ok(format!("{LACKS} {identity} {}", store.root().display()))
}

/// A name for what is on its way, as long as it is.
fn sent_as(importer: &Importer, step: &str, digest: &Digest) -> PathBuf {
    importer.store().scratch().join(format!("spread-{step}-{}", digest.hex()))
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
    // The first node's answer, from who started all of this; nothing if there is none.
    let mut line = String::new();
    let read = std::io::stdin().lock().take(LONGEST).read_line(&mut line);
    read.map_err(|source| NodesError::Run { program: "srun".to_owned(), source })?;
    let mut fault = None;
    for digest in line.split_whitespace().filter_map(Digest::parse) {
        let adopted = importer.adopt(&sent_as(&importer, &step, &digest), &digest);
        fault = fault.or(adopted.err());
    }
    fault.map_or(Ok(DONE.to_owned()), |error| Err(error.into()))
}

/// Fetches the parts of an image and sends them to the step's nodes. This one is among them.
fn send_parts(
    importer: &Importer,
    uri: &Uri,
    step: &str,
    alone: bool,
) -> Result<Vec<Digest>, CliError> {
    let parts = importer.fetch_parts(uri)?;
    // Others have the same store.
    for digest in parts.iter().filter(|_| !alone) {
        let to = sent_as(importer, step, digest);
        let sent = slurm::send(step, &importer.store().blob_path(digest), &to);
        // Its own copy it has no use for.
        let _ = std::fs::remove_file(&to);
        sent?;
    }
    if parts.is_empty() {
        return Err(ImportError::NotKept(uri.to_string()).into());
    }
    Ok(parts)
}
