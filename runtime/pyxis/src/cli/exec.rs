//! `pyxis exec`.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Args;
use containers::verbs::Exec;

use pyxis::settings::Settings;

use super::{CliError, check_variables};

#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    /// Set an environment variable, or keep the host's value of it
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<OsString>,
    /// A process in the container, as `list -f` shows it
    pid: i32,
    /// Program to run and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

impl ExecArgs {
    pub(crate) fn run(self, settings: &Settings) -> Result<ExitCode, CliError> {
        check_variables(&self.env)?;
        Exec { pid: self.pid, env: self.env, host: settings.host.clone() }
            .enter()?
            .launch(&self.command)?;
        Ok(ExitCode::SUCCESS)
    }
}
