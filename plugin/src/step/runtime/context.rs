//! What a runtime is asked for, and what it answers.

use crate::config::Config;
use crate::options::Mount;
use crate::root::child::Caller;
use crate::step::plan::Plan;
use std::fs::File;
use std::path::{Path, PathBuf};

/// What a start works with.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) config: &'a Config,
    pub(crate) plan: &'a Plan,
    /// Who runs the runtime's command.
    pub(crate) caller: Caller<'a>,
    /// Whether somebody may be watching.
    pub(crate) talkative: bool,
    /// Whether what is said here is said once for the whole step.
    pub(crate) one_node: bool,
}

/// What to start.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target<'a> {
    /// The squashfs file itself.
    File(&'a Path),
    /// A container of the runtime's list.
    Name(&'a str),
    /// A container that is running: its namespaces are joined.
    Running(&'a str, i32),
}

impl Target<'_> {
    /// What the runtime calls it.
    pub(crate) fn argument(&self) -> &Path {
        match self {
            Target::File(path) => path,
            Target::Name(name) | Target::Running(name, _) => Path::new(name),
        }
    }

    /// What is to be mounted: a container that is running has its mounts.
    pub(crate) fn mounts<'a>(&self, plan: &'a Plan) -> &'a [Mount] {
        match self {
            Target::Running(..) => &[],
            Target::File(_) | Target::Name(_) => &plan.mounts,
        }
    }
}

/// What became of a named container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resumed {
    /// It was running.
    Joined,
    /// It was not, or is not to be shared.
    Started,
    /// There is none.
    Absent,
}

/// An image in the runtime's store, kept from its garbage collector.
pub(crate) struct StoredImage {
    pub(crate) path: PathBuf,
    /// Where the file system has locks.
    pub(crate) _lock: Option<File>,
}
