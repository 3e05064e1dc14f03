//! The hooks Slurm calls, and which program calls them.

use crate::config::Config;
use crate::options::{OptionError, Options, components, defaults, repeats, table};
use crate::root;
use crate::root::runtime::{Runtime, own_path};
use crate::state::{self, State};
use crate::step::error::StepError;
use crate::step::pin;
use crate::terminal;
use spank_bindings::{Args, Context, Spank, context, log};
use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Why a hook fails; Slurm logs it as one line.
#[derive(Debug)]
pub(crate) struct HookError(String);

impl std::fmt::Display for HookError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for HookError {
    fn from(error: E) -> Self {
        HookError(error.to_string())
    }
}

type HookResult = Result<(), HookError>;

/// The plugin is loaded.
pub(crate) fn init(spank: &Spank<'_>, args: Args<'_>) -> HookResult {
    let parsed = Config::parse(args.iter().map(CStr::to_bytes));
    match context() {
        Context::Local | Context::Allocator => {
            let config = parsed?;
            let wanted = config.sbatch_support || context() == Context::Local;
            state::reset(Some(State { config, ..State::default() }));
            if !wanted {
                return Ok(());
            }
        }
        Context::Remote => {
            // Slurm drains a node whose plugin fails here, and without a container nothing is wrong.
            let (config, refused) = match parsed {
                Ok(config) => (config, None),
                Err(error) => (Config::default(), Some(error)),
            };
            state::reset(Some(State { config, refused, ..State::default() }));
        }
        Context::Slurmd => {
            log::info!("pyxis: version v{}", env!("CARGO_PKG_VERSION"));
            root::settle(&mut parsed?, log::info)?;
            return Ok(());
        }
        Context::JobScript | Context::Error => return Ok(()),
    }
    spank.register_options(table::specs(take_option))?;
    Ok(())
}

fn take_option(val: i32, arg: Option<&CStr>, remote: bool) -> Result<(), String> {
    state::with(|state| {
        state.begin_component();
        let State { options, repeats, step, .. } = state;
        if let Err(error) = options.take(val, arg) {
            let line = error.to_string();
            if remote {
                // On the node Slurm logs a refused option and goes on without it; this one then
                // would run the program on the host.
                step.get_or_insert(Err(error.into()));
            }
            return Err(line);
        }
        if let (Some(which), Some(arg)) = (table::valued(val), arg) {
            repeats.note(which, arg.to_bytes(), &own);
        }
        Ok(())
    })
}

/// All options are known.
pub(crate) fn init_post_opt(spank: &Spank<'_>, _args: Args<'_>) -> HookResult {
    state::with(|state| match context() {
        Context::Local | Context::Allocator => post_opt_local(state),
        Context::Remote => {
            post_opt_remote(spank, state);
            Ok(())
        }
        _ => Ok(()),
    })
}

/// From 25.05 on Slurm then waits until nothing is left in a task's cgroup, and the container's helpers wait for the task's end.
const WAITS: &str = "--wait-for-children and a container wait for each other: leave it out";

fn post_opt_local(state: &mut State) -> HookResult {
    state.begin_component();
    let State { options, repeats, components, complete, .. } = state;
    let mut wrong = options.apply_defaults(&mut |name| own(name).map(OsStringExt::into_vec));
    // Without a container there is nothing that a bad default could spoil.
    let last = if wants_container(options, &wrong) { wrong.pop() } else { None };
    for error in &wrong {
        log::error!("pyxis: {error}");
    }
    if let Some(error) = last {
        return Err(error.into());
    }
    for line in options.ignored() {
        log::error!("pyxis: {line}");
    }
    // With sbatch's --export Slurm loses options of plugins, all of them before 23.11, and the script would run on the node.
    let submits = context() == Context::Allocator;
    repeats.hand_on(submits, &own, &mut |name, list| set(name, Some(list)));
    for (place, (variable, name)) in (0..).zip(defaults::handed_on()) {
        let value = options.text(place).or_else(|| repeats.whole(place, &own));
        let value = value.or_else(|| own(variable).map(OsStringExt::into_vec));
        if let Some(value) = &value {
            components.note(place, value);
        }
        // Where none is to be there may be one of the allocation's.
        set(name, value.filter(|_| options.wants_container()).as_deref());
    }
    if !submits {
        *complete = true;
        let arguments: Vec<OsString> = std::env::args_os().collect();
        // Slurm takes --task-prolog by its beginning as well. A step that is wrongly thought to have one enters its container later.
        let prolog = |one: &OsString| one.as_bytes().starts_with(b"--task-p");
        if own(c"SLURM_TASK_PROLOG").is_some() || arguments.iter().any(prolog) {
            set(root::job::PROLOG, options.wants_container().then_some(b"1"));
        }
        let words = terminal::options(&arguments);
        let waits = |one: &OsString| one.as_bytes().starts_with(b"--wait-");
        if options.wants_container() && words.iter().any(waits) {
            return Err(HookError(WAITS.into()));
        }
        let width = terminal::width(words).filter(|_| options.wants_container());
        set(root::job::TERMINAL, width.as_deref().map(str::as_bytes));
        let all = components.end(own, &arguments).map_err(|line| HookError(line.into()))?;
        set(components::VARIABLE, Some(all.as_slice()).filter(|all| !all.is_empty()));
    }
    Ok(())
}

/// Whether a container is asked for, be it with a name that is none.
fn wants_container(options: &Options, wrong: &[OptionError]) -> bool {
    options.wants_container() || wrong.iter().any(OptionError::is_of_name)
}

/// A variable of this process.
fn own(name: &CStr) -> Option<OsString> {
    std::env::var_os(OsStr::from_bytes(name.to_bytes()))
}

/// Changes the environment of the job to come.
fn set(name: &CStr, value: Option<&[u8]>) {
    let name = OsStr::from_bytes(name.to_bytes());
    // SAFETY: SPANK names setenv as the way to the job's environment in srun, sbatch and salloc,
    // which call it themselves when options are known; of the threads that 26.05 may have by then,
    // and of srun's thread for signals later, none reads the environment (SAFETY.md, section 6).
    unsafe {
        match value {
            Some(value) => std::env::set_var(name, OsStr::from_bytes(value)),
            None => std::env::remove_var(name),
        }
    }
}

fn post_opt_remote(spank: &Spank<'_>, state: &mut State) {
    let State { config, options, step, refused, .. } = state;
    let own = own_component(spank);
    if let Ok(Some(_)) = own {
        // What Slurm has brought is of all components together.
        (*options, *step) = (Options::default(), None);
    }
    match own.and_then(|own| node_options(spank, options, own.as_deref())) {
        _ if step.is_some() => {} // an option was refused
        Err(error) => *step = Some(Err(error)),
        Ok(mut wrong) if wants_container(options, &wrong) => {
            *step = Some(match (wrong.pop(), refused.take()) {
                (_, Some(error)) => Err(error.into()),
                (Some(error), _) => Err(error.into()),
                _ => root::prepare(spank, config, options),
            });
        }
        Ok(_) => {} // srun has said what is wrong
    }
}

/// The options of this node's component, where those of a heterogeneous step differ.
fn own_component(spank: &Spank<'_>) -> Result<Option<Vec<u8>>, StepError> {
    let Some(all) = spank.getenv(components::VARIABLE)? else { return Ok(None) };
    spank.unsetenv(components::VARIABLE)?;
    // The first component's job is the one that the job's environment names, and theirs are counted from it.
    let first = spank.getenv(c"SLURM_JOB_ID")?.and_then(|id| components::number(id.to_bytes()));
    let this = spank.job_id()?.wrapping_sub(first.unwrap_or_default());
    components::of(all.to_bytes(), this).ok_or(StepError::NoComponent).map(|own| Some(own.to_vec()))
}

/// Completes what Slurm has brought to the node, or takes all of this node's `component`; returns what is wrong with the defaults.
fn node_options(
    spank: &Spank<'_>,
    options: &mut Options,
    component: Option<&[u8]>,
) -> Result<Vec<OptionError>, StepError> {
    for (which, variable) in repeats::LISTS {
        if let Some(list) = spank.getenv(variable)? {
            spank.unsetenv(variable)?;
            if component.is_none() {
                options.replace(which, list.to_bytes())?;
            }
        }
    }
    let get = |name: &CStr| spank.getenv(name).ok().flatten().map(CString::into_bytes);
    let wrong = options.apply_defaults(&mut |variable| {
        let (place, name) =
            (0..).zip(defaults::handed_on()).find(|(_, (of, _))| *of == variable)?;
        match component {
            Some(own) => components::value(own, place).map(<[u8]>::to_vec),
            None => get(variable).or_else(|| get(name.1)),
        }
    });
    for (_, name) in defaults::handed_on() {
        spank.unsetenv(name)?;
    }
    Ok(wrong)
}

/// In srun, when the step is there and before its tasks are launched.
pub(crate) fn local_user_init(_spank: &Spank<'_>, _args: Args<'_>) -> HookResult {
    state::with(|State { config, options, .. }| {
        if !options.wants_container() {
            return;
        }
        // Nodes find out themselves who runs their containers; here somebody has to want to know.
        let wanted = pin::is_wanted(config, options);
        if !wanted && !is_verbose() {
            return;
        }
        // The command asks the nodes who has the image there; the job has no use for it.
        if let Some(store) = &config.shared_store {
            set(root::broker::VARIABLE, Some(store.as_os_str().as_bytes()));
        }
        let user = pin::SrunCaller::new();
        if config.shared_store.is_some() {
            set(root::broker::VARIABLE, None);
        }
        let runtime = Runtime::choose(config, &own_path(), user.caller());
        let command = runtime.command();
        log::verbose!("pyxis: container runtime: {} (seen from this host)", command.name);
        if !wanted || !runtime.resolves_tags() {
            return;
        }
        if let Some(value) = pin::look_up(options, user.caller(), &command.program) {
            set(root::job::PINNED, Some(value.to_bytes()));
        }
    });
    Ok(())
}

/// Whether srun shows what is said with `log::verbose`: it tells its tasks so before this hook is called.
fn is_verbose() -> bool {
    std::env::var_os("SRUN_DEBUG").is_none_or(|level| level.as_bytes() > b"3".as_slice())
}

/// In slurmstepd, as the user, before the tasks are forked.
pub(crate) fn user_init(spank: &Spank<'_>, _args: Args<'_>) -> HookResult {
    state::with(|State { config, options, step, .. }| {
        let failed = match step {
            Some(Ok(step)) => step.plan(spank, config, options).err(),
            _ => None,
        };
        if let Some(error) = failed {
            *step = Some(Err(error));
        }
    });
    Ok(())
}

/// In each task, as root, before it becomes the user's.
pub(crate) fn task_init_privileged(spank: &Spank<'_>, _args: Args<'_>) -> HookResult {
    state::with(|state| {
        if let Some(Ok(step)) = &mut state.step {
            root::prepare_task(spank, step);
        }
    });
    Ok(())
}

/// In each task, as the user, just before the user's program.
pub(crate) fn task_init(spank: &Spank<'_>, _args: Args<'_>) -> HookResult {
    state::with(|State { config, options, step, .. }| match step.take() {
        Some(entered) => entered?.enter(spank, config, options).map_err(HookError::from),
        None => Ok(()),
    })
}

/// In slurmstepd, after each task.
pub(crate) fn task_exit(_spank: &Spank<'_>, _args: Args<'_>) -> HookResult {
    state::with(|State { config, step, .. }| match step {
        Some(Ok(step)) => root::task_exited(step, config).map_err(HookError::from),
        _ => Ok(()),
    })
}

/// After a job, as root, in a process of its own that gets no `init`.
pub(crate) fn job_epilog(spank: &Spank<'_>, args: Args<'_>) -> HookResult {
    let config = Config::parse(args.iter().map(CStr::to_bytes))?;
    Ok(root::remove_containers_of_job(spank, &config)?)
}

/// The plugin is about to be unloaded.
pub(crate) fn exit(_spank: &Spank<'_>, _args: Args<'_>) -> HookResult {
    state::reset(None);
    Ok(())
}
