//! `pyxis exec`.

use std::ffi::OsString;

use clap::Args;
use containers::verbs::Exec;

use pyxis::settings::Settings;

use super::{CliError, Exit, as_enroot, check_variables};

#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    /// Set an environment variable, or keep the host's value of it
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<OsString>,
    /// A process in the container, as `list -f` shows it
    pid: OsString,
    /// Program to run and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

impl ExecArgs {
    pub(crate) fn run(self, settings: &Settings) -> Result<Exit, CliError> {
        check_variables(&self.env)?;
        let pid = self.pid.to_str().and_then(|pid| pid.parse().ok());
        let pid =
            pid.ok_or_else(|| CliError::NoProcess(self.pid.to_string_lossy().into_owned()))?;
        let entered = Exec { pid, env: self.env, host: settings.host.clone() }.enter()?;
        match entered.launch(&self.command) {
            Ok(never) => match never {},
            // enroot's helper has one code for all that goes wrong.
            Err(error) if as_enroot() => Err(CliError::Within(error)),
            Err(error) => Err(error.into()),
        }
    }
}
