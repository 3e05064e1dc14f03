//! From a plan to a started container, in the first task of a step.

use super::error::StepError;
use super::image::Image;
use super::importer;
use super::lock::RecordLock;
use super::plan::Plan;
use super::runtime::context::{Context, Resumed, StoredImage, Target};
use super::runtime::verbs::Existing;
use super::save;
use crate::options::NameFlag;
use crate::root::child::Caller;
use crate::root::importer::release;
use crate::root::runtime::Runtime;
use crate::root::shared::{Channels, Shared};
use handover::request::Request;
use nix::errno::Errno;
use nix::libc;
use nix::sys::stat::{Mode, fchmod};
use spank_bindings::log;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Imports, creates and starts, as far as it is needed.
pub(crate) fn launch(
    context: Context<'_>,
    runtime: &Runtime,
    shared: &Shared,
    channels: Channels<'_>,
) -> Result<(), StepError> {
    let plan = context.plan;
    save::check(plan.save.as_deref(), None)?;
    save::check_apart(plan.save.as_deref().filter(|_| !context.one_node && !plan.saves_apart))?;
    if let Some(to) = plan.save.as_deref().filter(|path| save::is_push(path)) {
        let failing = format!("--container-save: cannot save to {}", to.display());
        runtime.ask(context.caller, &Request::MayPush { uri: to.as_os_str() }, &failing)?;
    }
    let Some(flag) = plan.named else {
        check_sources(plan)?;
        return match fetch_and_create(context, runtime, shared)? {
            Some(file) => {
                let started = runtime.start(context, Target::File(&file.path), channels);
                if started.is_err() {
                    file.release(context);
                }
                started
            }
            None => runtime.start(context, Target::Name(&plan.name), channels),
        };
    };
    // Who joins a running container has no mounts; only the runtime knows by now whether it does.
    let resumed = runtime.resume(context, flag, channels).map_err(|error| match error {
        StepError::Start(_) => check_sources(plan).err().unwrap_or(error),
        error => error,
    });
    match resumed? {
        None => {}
        Some(Resumed::Joined) => {
            reusing(true);
            if !plan.mounts.is_empty() {
                ignoring_mounts();
            }
            return Ok(());
        }
        Some(Resumed::Started) => {
            reusing(false);
            return Ok(());
        }
        Some(Resumed::Absent) if plan.image.is_none() => {
            return Err(StepError::NoSuchContainer(plan.name.clone()));
        }
        Some(Resumed::Absent) => {}
    }
    for _ in 1..ATTEMPTS {
        let target = find_or_make(context, runtime, shared, flag)?;
        match start_named(context, runtime, target, channels) {
            // Somebody removed it, or its last process ended, between our look and our start.
            Err(StepError::Vanished(_)) => {}
            done => return done,
        }
    }
    start_named(context, runtime, find_or_make(context, runtime, shared, flag)?, channels)
}

/// How often to start over with a container that others keep removing.
const ATTEMPTS: u32 = 10;

/// The named container; with a lock held, so that of two steps that want the same absent one, one
/// makes it and the other finds it.
fn find_or_make<'a>(
    context: Context<'a>,
    runtime: &Runtime,
    shared: &Shared,
    flag: NameFlag,
) -> Result<Target<'a>, StepError> {
    let locks = lock_file(&context.plan.directory)?;
    let _lock = RecordLock::take(&locks, lock_of(&context.plan.name)).map_err(process)?;
    named_target(context, runtime, shared, flag)
}

fn start_named(
    context: Context<'_>,
    runtime: &Runtime,
    target: Target<'_>,
    channels: Channels<'_>,
) -> Result<(), StepError> {
    let plan = context.plan;
    if target.mounts(plan).len() < plan.mounts.len() {
        ignoring_mounts();
    }
    runtime.start(context, target, channels)
}

fn ignoring_mounts() {
    log::spank_log!("pyxis: ignoring --container-mounts when attaching to a running container");
}

fn reusing(running: bool) {
    let what = if running { "namespaces" } else { "filesystem" };
    log::info!("pyxis: reusing existing container {what}");
}

fn process(errno: Errno) -> StepError {
    StepError::Process(errno.into())
}

/// Finds the named container, or makes it.
fn named_target<'a>(
    context: Context<'a>,
    runtime: &Runtime,
    shared: &Shared,
    flag: NameFlag,
) -> Result<Target<'a>, StepError> {
    let name = &context.plan.name;
    let existing = runtime.find(context.caller, name)?;
    match (flag, existing) {
        (NameFlag::Create, Some(_)) => Err(StepError::Exists(name.clone())),
        (NameFlag::Exec, None | Some(Existing::Stopped)) => {
            Err(StepError::NotRunning(name.clone()))
        }
        (NameFlag::Auto | NameFlag::Exec, Some(Existing::Running(pid))) => {
            reusing(true);
            Ok(Target::Running(name, pid))
        }
        (_, Some(_)) => {
            check_sources(context.plan)?;
            reusing(false);
            Ok(Target::Name(name))
        }
        (_, None) if context.plan.image.is_none() => Err(StepError::NoSuchContainer(name.clone())),
        (_, None) => {
            check_sources(context.plan)?;
            fetch_and_create(context, runtime, shared)?;
            Ok(Target::Name(name))
        }
    }
}

/// A squashfs file to start from.
struct Squashfs {
    path: PathBuf,
    origin: Origin,
}

enum Origin {
    /// The user's own.
    User,
    /// The runtime's store.
    Store { _kept: StoredImage },
    /// Imported to the runtime directory.
    Imported,
    /// The importer's, until it is told to release it.
    Importer,
}

impl Squashfs {
    /// The file is no longer needed.
    fn release(&self, context: Context<'_>) {
        match (&self.origin, &context.config.importer) {
            (Origin::Imported, _) => {
                let _ = fs::remove_file(&self.path);
            }
            (Origin::Importer, Some(program)) => release(context.caller, program),
            _ => {}
        }
    }
}

/// Gets the image and makes a container of it; returns the file where it is to be started as it is.
fn fetch_and_create(
    context: Context<'_>,
    runtime: &Runtime,
    shared: &Shared,
) -> Result<Option<Squashfs>, StepError> {
    let Context { config, plan, .. } = context;
    let image = plan.image.as_ref().ok_or(StepError::NoContainer)?;
    let direct = plan.is_direct(runtime.serves_images(), config);
    if !direct && plan.named.is_none() && is_requeued(context.caller) {
        // Where a node has failed there may be what an earlier run of the job had under this number.
        let _ = fs::remove_file(&plan.squashfs);
        runtime.remove_silently(context.caller, &plan.name);
    }
    if matches!(image, Image::Remote { .. })
        && config.importer.is_none()
        && config.use_enroot_load
        && !image.is_daemon()
        && !direct
        && !runtime.has_store()
    {
        announce(context, image);
        let load = || runtime.load(context.caller, image, &plan.name);
        creating(shared, || load().inspect_err(|_| hint(image)))?;
        announce_done(image);
        return Ok(None);
    }
    let file = fetch(context, runtime, shared, image)?;
    save::check(plan.save.as_deref(), Some(&file.path)).inspect_err(|_| file.release(context))?;
    if direct {
        return Ok(Some(file));
    }
    log::info!("pyxis: creating container filesystem: {}", plan.name);
    let new = !matches!(plan.named, Some(NameFlag::Auto));
    let create = || runtime.create(context.caller, image, &file.path, &plan.name, new);
    let created = creating(shared, create);
    file.release(context);
    created.map(|()| None)
}

/// Whether Slurm runs the job once more.
fn is_requeued(caller: Caller<'_>) -> bool {
    caller.environ.iter().any(|variable| variable.to_bytes().starts_with(b"SLURM_RESTART_COUNT="))
}

/// Runs `work`, which makes a container. Should this task be killed meanwhile, slurmstepd knows
/// that there may be one to remove.
fn creating(
    shared: &Shared,
    work: impl FnOnce() -> Result<(), StepError>,
) -> Result<(), StepError> {
    shared.note_created(true)?;
    shared.note_making(true)?;
    let result = work();
    shared.note_making(false)?;
    shared.note_created(result.is_ok())?;
    result
}

fn fetch(
    context: Context<'_>,
    runtime: &Runtime,
    shared: &Shared,
    image: &Image,
) -> Result<Squashfs, StepError> {
    let uri = match image {
        Image::File(path) => {
            // Whichever runtime it is, the reason is said in one line. Nobody may ever write into a FIFO.
            OpenOptions::new()
                .read(true)
                .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
                .open(path)
                .map_err(|source| StepError::ImageFile { path: path.clone(), source })?;
            return Ok(Squashfs { path: path.clone(), origin: Origin::User });
        }
        Image::Remote { uri, .. } => uri.clone(),
    };
    announce(context, image);
    if context.config.importer.is_none() {
        if let Some(stored) =
            runtime.pull(context, image, shared.broker()).inspect_err(|_| hint(image))?
        {
            announce_done(image);
            return Ok(Squashfs {
                path: stored.path.clone(),
                origin: Origin::Store { _kept: stored },
            });
        }
    }
    // From here on there may be something to release, whatever happens to this task.
    shared.note_fetched()?;
    let file = match &context.config.importer {
        Some(program) => {
            let path = importer::get(context.caller, program, &uri).inspect_err(|_| {
                if let Image::Remote { shown, .. } = image {
                    log::error!("pyxis: failed to import docker image: {shown}");
                }
            })?;
            Squashfs { path, origin: Origin::Importer }
        }
        None => {
            let path = context.plan.squashfs.clone();
            runtime.import(context.caller, image, &path).inspect_err(|_| hint(image))?;
            Squashfs { path, origin: Origin::Imported }
        }
    };
    announce_done(image);
    Ok(file)
}

fn announce(context: Context<'_>, image: &Image) {
    if let (Image::Remote { shown, .. }, true) = (image, context.talkative) {
        log::spank_log!("pyxis: importing docker image: {shown}");
    }
}

fn announce_done(image: &Image) {
    if let Image::Remote { shown, .. } = image {
        log::spank_log!("pyxis: imported docker image: {shown}");
    }
}

fn hint(image: &Image) {
    if let Some(hint) = image.hint() {
        log::error!("pyxis: hint: {hint}");
    }
}

/// An absolute source that is not there is reported before anything is started; other troubles
/// are the runtime's to report.
fn check_sources(plan: &Plan) -> Result<(), StepError> {
    for source in plan.mounts.iter().map(|mount| Path::new(&mount.source)) {
        let found = nix::sys::stat::stat(source);
        if source.is_absolute() && matches!(found, Err(Errno::ENOENT | Errno::ENOTDIR)) {
            return Err(StepError::MountSource(source.to_owned()));
        }
    }
    Ok(())
}

/// One file for all names: each has a byte of it to lock.
fn lock_file(directory: &Path) -> Result<File, StepError> {
    let path = directory.join("names.lock");
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        // Whatever the job's mask has taken from it: the next step opens it, too.
        .inspect(|file| {
            let _ = fchmod(file, Mode::S_IRUSR | Mode::S_IWUSR);
        })
        .map_err(|source| StepError::Write { path, source })
}

/// FNV-1a; names that share a byte only wait for each other.
fn lock_of(name: &str) -> i64 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash >> 2) as i64
}
