//! The built-in runtime: the `pyxis` command hands the container over by itself.

use super::{Backend, Context, Target};
use crate::step::StepError;
use crate::step::child::{Command, SOCKET};
use spank_bindings::log;
use std::ffi::OsString;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

/// The `pyxis` command.
pub(crate) struct Builtin {
    pub(crate) program: PathBuf,
}

impl Backend for Builtin {
    fn name(&self) -> &'static str {
        "pyxis"
    }

    fn program(&self) -> &Path {
        &self.program
    }

    fn start(
        &self,
        context: Context<'_>,
        target: Target<'_>,
        socket: BorrowedFd<'_>,
    ) -> Result<(), StepError> {
        let Context { job, plan, environ, .. } = context;
        let arguments = arguments(context, target);
        log::verbose!("pyxis: running {} {arguments:?}", self.program.display());
        let (program, user) = (self.program(), &job.user);
        let command = Command { program, arguments, environ, user, socket: Some(socket) };
        let outcome = command.run()?;
        if outcome.success() {
            for line in outcome.lines() {
                if plan.entrypoint && plan.entrypoint_log {
                    log::spank_log!("{line}");
                } else {
                    log::info!("{line}");
                }
            }
            return Ok(());
        }
        let lines: Vec<&str> =
            outcome.lines().map(|line| line.strip_prefix("pyxis: ").unwrap_or(line)).collect();
        Err(StepError::Start(if lines.is_empty() { outcome.ending() } else { lines.join("; ") }))
    }
}

fn arguments(context: Context<'_>, target: Target<'_>) -> Vec<OsString> {
    let plan = context.plan;
    let mut arguments: Vec<OsString> = vec!["start".into(), format!("--handover={SOCKET}").into()];
    for mount in &plan.mounts {
        arguments.push("--mount".into());
        arguments.push(mount.fstab_line());
    }
    for name in &plan.env {
        arguments.push("--env".into());
        arguments.push(name.clone());
    }
    if plan.entrypoint {
        arguments.push("--entrypoint".into());
    }
    if let Target::Running(..) = target {
        arguments.push("--join".into());
    }
    arguments.push("--".into());
    arguments.push(match target {
        Target::File(path) => path.into(),
        Target::Name(name) | Target::Running(name, _) => name.into(),
    });
    arguments
}
