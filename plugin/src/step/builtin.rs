//! The built-in runtime: the `pyxis` command, told what to start and where to send it.

use super::StepError;
use super::child::{self, SOCKET};
use super::job::{Job, for_runtime};
use crate::config::Config;
use crate::options::Options;
use nix::errno::Errno;
use spank_bindings::{Spank, log};
use std::ffi::{CString, OsString};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Whether the built-in runtime can do what is asked.
pub(super) fn check(options: &Options) -> Result<(), StepError> {
    let unsupported = StepError::Unsupported;
    match &options.image {
        None => return Err(unsupported("--container-name without --container-image")),
        Some(image) if !matches!(image.as_bytes(), [b'.' | b'/', ..]) => {
            return Err(unsupported("an image that is not a path (\"./x.sqsh\" or \"/x.sqsh\")"));
        }
        Some(_) => {}
    }
    for (asked, option) in [
        (options.name.is_some(), "--container-name"),
        (options.save.is_some(), "--container-save"),
        (options.entrypoint == Some(true), "--container-entrypoint"),
    ] {
        if asked {
            return Err(unsupported(option));
        }
    }
    Ok(())
}

/// Starts the container and has it sent to `socket`.
pub(super) fn start(
    spank: &Spank<'_>,
    config: &Config,
    options: &Options,
    job: &Job,
    socket: BorrowedFd<'_>,
) -> Result<(), StepError> {
    for mount in &options.mounts {
        check_source(Path::new(&mount.source))?;
    }
    let arguments = arguments(options);
    let environ = environ(spank, config, options, job)?;
    log::verbose!("pyxis: running {} {arguments:?}", config.pyxis_path.display());
    let outcome = child::run(&config.pyxis_path, arguments, environ, socket)?;
    if outcome.success() {
        for line in outcome.log.lines() {
            log::info!("{line}");
        }
        return Ok(());
    }
    let lines: Vec<&str> = outcome
        .log
        .lines()
        .map(|line| line.strip_prefix("pyxis: ").unwrap_or(line).trim())
        .filter(|line| !line.is_empty())
        .collect();
    Err(StepError::Start(if lines.is_empty() { outcome.ending() } else { lines.join("; ") }))
}

/// An absolute source that is not there is reported before anything is started; other troubles
/// are the runtime's to report.
fn check_source(source: &Path) -> Result<(), StepError> {
    if !source.is_absolute() {
        return Ok(());
    }
    match nix::sys::stat::stat(source) {
        Err(Errno::ENOENT | Errno::ENOTDIR) => Err(StepError::MountSource(source.to_owned())),
        _ => Ok(()),
    }
}

fn arguments(options: &Options) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["start".into(), format!("--handover={SOCKET}").into()];
    for mount in &options.mounts {
        arguments.push("--mount".into());
        arguments.push(mount.fstab_line());
    }
    for name in &options.env {
        arguments.push("--env".into());
        arguments.push(name.clone());
    }
    arguments.push("--".into());
    arguments.extend(options.image.clone());
    arguments
}

/// The environment the runtime gets: the job's, slurmstepd's PATH, and the user's choices in
/// enroot's variables.
fn environ(
    spank: &Spank<'_>,
    config: &Config,
    options: &Options,
    job: &Job,
) -> Result<Vec<CString>, StepError> {
    let choice = |yes| if yes { "y" } else { "n" };
    let mut ours: Vec<(&str, OsString)> = vec![
        ("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into())),
        ("SLURM_JOB_UID", job.uid.to_string().into()),
        ("SLURM_JOB_GID", job.gid.to_string().into()),
        ("PYXIS_RUNTIME_PATH", config.runtime_path.clone().into()),
        ("PYXIS_VERSION", env!("CARGO_PKG_VERSION").into()),
    ];
    for (name, chosen) in [
        ("ENROOT_MOUNT_HOME", options.mount_home),
        ("ENROOT_REMAP_ROOT", options.remap_root),
        ("ENROOT_ROOTFS_WRITABLE", options.writable),
        ("ENROOT_UNSHARE_NET", options.unshare.net.then_some(true)),
        ("ENROOT_UNSHARE_IPC", options.unshare.ipc.then_some(true)),
        ("ENROOT_UNSHARE_UTS", options.unshare.uts.then_some(true)),
    ] {
        ours.extend(chosen.map(|yes| (name, choice(yes).into())));
    }
    let mut environ = spank.job_env()?;
    environ.retain(|variable| {
        let name = variable.to_bytes().split(|byte| *byte == b'=').next().unwrap_or_default();
        for_runtime(variable) && !ours.iter().any(|(our, _)| our.as_bytes() == name)
    });
    for (name, value) in ours {
        let variable = [name.as_bytes(), b"=", value.as_bytes()].concat();
        environ.push(CString::new(variable).map_err(|error| StepError::Shared(error.into()))?);
    }
    Ok(environ)
}
