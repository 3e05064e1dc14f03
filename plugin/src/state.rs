//! What the plugin remembers between hooks. Statics survive `dlclose` (the .so is never unmapped)
//! and so a reload of the plugin, hence `init` resets them.

use crate::config::{Config, ConfigError};
use crate::options::Options;
use crate::options::components::Components;
use crate::options::repeats::Repeats;
use crate::step::Step;
use crate::step::error::StepError;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Everything, in one place.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) config: Config,
    pub(crate) options: Options,
    pub(crate) repeats: Repeats,
    /// In srun.
    pub(crate) components: Components,
    /// In srun: the options are a component's that has been read. Those of the next are to come.
    pub(crate) complete: bool,
    /// In slurmstepd, when a container was asked for: the step, or why there is none. srun shows
    /// errors of a task and no others (22.05 even exits 0), hence they wait for `task_init`.
    pub(crate) step: Option<Result<Step, StepError>>,
    /// In slurmstepd: what is wrong with the plugin's own line, until a container is asked for.
    pub(crate) refused: Option<ConfigError>,
}

impl State {
    /// In srun: the options of the next component are no continuation of the last one's. sbatch itself hands them on to it.
    pub(crate) fn begin_component(&mut self) {
        if std::mem::take(&mut self.complete) {
            (self.options, self.repeats) = Default::default();
        }
    }
}

static STATE: Mutex<Option<State>> = Mutex::new(None);

/// Runs `work` on the state. Slurm calls hooks one at a time, so that nobody ever waits here.
pub(crate) fn with<T>(work: impl FnOnce(&mut State) -> T) -> T {
    work(lock().get_or_insert_with(State::default))
}

/// Starts afresh, or (`None`) forgets everything.
pub(crate) fn reset(state: Option<State>) {
    *lock() = state;
}

fn lock() -> MutexGuard<'static, Option<State>> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}
