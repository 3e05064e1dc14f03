//! The two container runtimes: what each can do, and the command of either, which takes enroot's verbs: how it is
//! run and reported, and the verbs that root has run at the end of a step and of a job.

use super::child::{Caller, LIMIT, Outcome, Patience};
use super::text::after;
use crate::config::{Config, RuntimeChoice};
use crate::step::error::StepError;
use nix::sys::stat::stat;
use spank_bindings::log;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A container runtime, with its command.
pub(crate) enum Runtime {
    /// The `pyxis` command, which hands the container over by itself.
    Builtin(RuntimeCommand),
    /// enroot, which executes a command in the container.
    Enroot(RuntimeCommand),
}

impl Runtime {
    /// The runtime that the configuration chooses on this node, where programs are looked for in
    /// `path`. Where there is enroot, `caller` asks whether the built-in one can take its place.
    pub(crate) fn choose(config: &Config, path: &OsStr, caller: Caller<'_>) -> Runtime {
        let enroot = Path::new("enroot");
        let enroot = match config.runtime {
            RuntimeChoice::Pyxis => None,
            RuntimeChoice::Auto => find_in(path, enroot)
                .filter(|enroot| !is_builtin(enroot, config, path) && !fits(config, caller)),
            // By name: the attempt to run it says what is wrong.
            RuntimeChoice::Enroot => Some(find_in(path, enroot).unwrap_or(enroot.into())),
        };
        match enroot {
            Some(program) => Runtime::Enroot(RuntimeCommand { name: "enroot", program }),
            None => Runtime::Builtin(RuntimeCommand {
                name: "pyxis",
                program: config.pyxis_path.clone(),
            }),
        }
    }

    /// The verbs that both take.
    pub(crate) fn command(&self) -> &RuntimeCommand {
        match self {
            Runtime::Builtin(command) | Runtime::Enroot(command) => command,
        }
    }

    /// Whether it starts any squashfs file as it is, with nothing to be set up on the node.
    pub(crate) fn serves_images(&self) -> bool {
        matches!(self, Runtime::Builtin(_))
    }

    /// Whether it keeps what it fetches in a store of images.
    pub(crate) fn has_store(&self) -> bool {
        matches!(self, Runtime::Builtin(_))
    }

    /// Whether it says which digest a tag names, and takes a digest for it.
    pub(crate) fn resolves_tags(&self) -> bool {
        matches!(self, Runtime::Builtin(_))
    }
}

/// A runtime's command.
pub(crate) struct RuntimeCommand {
    /// For messages.
    pub(crate) name: &'static str,
    /// Looked for in PATH where it is a bare name.
    pub(crate) program: PathBuf,
}

impl RuntimeCommand {
    /// Runs a verb. `failing` says what failed if it does; the verb's own words follow.
    pub(crate) fn verb(
        &self,
        caller: Caller<'_>,
        arguments: &[&OsStr],
        failing: &str,
    ) -> Result<Outcome, StepError> {
        let outcome = self.run(caller, arguments)?;
        if outcome.success() {
            return Ok(outcome);
        }
        self.report(&outcome, failing);
        Err(StepError::Reported)
    }

    fn run(&self, caller: Caller<'_>, arguments: &[&OsStr]) -> Result<Outcome, StepError> {
        caller.command(&self.program, arguments, [None; 2]).run()
    }

    /// The cause first, then all that the runtime said.
    pub(crate) fn report(&self, outcome: &Outcome, failing: &str) {
        let lines: Vec<&str> = outcome.lines().collect();
        let cause = lines
            .iter()
            .rev()
            .find(|line| after(line.as_bytes(), b"ERROR").is_some())
            .or(lines.last());
        match cause {
            Some(cause) => log::error!("pyxis: {failing}: {}", cause.trim_start()),
            None => log::error!("pyxis: {failing}: {} {}", self.name, outcome.ending()),
        }
        outcome.print_log(self.name);
    }

    /// The names of all containers.
    pub(crate) fn names(&self, caller: Caller<'_>) -> Result<Vec<String>, StepError> {
        let failing = "couldn't get list of existing containers";
        let list = self.verb(caller, &["list".as_ref()], failing)?;
        Ok(list.lines().map(str::to_owned).collect())
    }

    /// Saves a container to a squashfs file; `begun` gets the number of the process that does.
    pub(crate) fn export(
        &self,
        caller: Caller<'_>,
        name: &str,
        file: &Path,
        begun: &dyn Fn(u32),
    ) -> Result<(), StepError> {
        let arguments = ["export", "-f", "-o"].map(OsStr::new);
        let arguments = [&arguments[..], &[file.as_ref(), name.as_ref()]].concat();
        let outcome = caller.command(&self.program, &arguments, [None; 2]).run_noted(begun)?;
        if outcome.success() {
            log::spank_log!("pyxis: exported container {name} to {}", file.display());
            return Ok(());
        }
        self.report(&outcome, &not_exported(name, file));
        if outcome.code().is_none() {
            remove_partial(caller, file, outcome.pid.as_raw().unsigned_abs());
        }
        Err(StepError::Reported)
    }

    /// Removes a container.
    pub(crate) fn remove(&self, caller: Caller<'_>, name: &str) -> Result<(), StepError> {
        let failing = format!("failed to remove container filesystem: {name}");
        self.verb(caller, &["remove", "-f", name].map(OsStr::new), &failing).map(drop)
    }
}

/// What failed.
pub(crate) fn not_exported(name: &str, file: &Path) -> String {
    format!("failed to export container {name} to {}", file.display())
}

/// Removes what an export by process `pid`, which was killed, had written.
pub(crate) fn remove_partial(caller: Caller<'_>, file: &Path, pid: u32) {
    let mut partial = OsString::from(format!(".pyxis.{pid}."));
    partial.push(file.file_name().unwrap_or_default());
    let partial = file.parent().unwrap_or(file).join(partial);
    let arguments = ["-f".as_ref(), "--".as_ref(), partial.as_os_str()];
    let patience = Patience::Until(Instant::now() + LIMIT);
    let _ = Caller { patience, ..caller }.command(Path::new("rm"), &arguments, [None; 2]).run();
}

/// Whether `enroot` is the built-in runtime's command, as the package `pyxis-enroot` has it: there is nothing to
/// choose, and the question would take longer than a start.
fn is_builtin(enroot: &Path, config: &Config, path: &OsStr) -> bool {
    let file = |program: &Path| stat(program).ok().map(|status| (status.st_dev, status.st_ino));
    let pyxis = find_in(path, &config.pyxis_path).and_then(|program| file(&program));
    pyxis.is_some() && file(enroot) == pyxis
}

/// Whether the built-in runtime understands what the node has of enroot's configuration, and has what it
/// needs.
fn fits(config: &Config, caller: Caller<'_>) -> bool {
    let why = match caller.command(&config.pyxis_path, &[OsStr::new("fits")], [None; 2]).run() {
        Ok(outcome) if outcome.success() => return true,
        Ok(outcome) => outcome.last_words(),
        Err(error) => error.to_string(),
    };
    log::verbose!("pyxis: runtime=auto takes enroot: {why}");
    false
}

/// A program in `path`, or where it is.
pub(super) fn find_in(path: &OsStr, program: &Path) -> Option<PathBuf> {
    std::env::split_paths(path)
        .map(|directory| directory.join(program))
        .find(|file| nix::unistd::access(file, nix::unistd::AccessFlags::X_OK).is_ok())
}

/// Where programs are looked for when nothing says so.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// This process's PATH.
pub(crate) fn own_path() -> OsString {
    std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program of the test's own.
    fn program(path: &Path, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn auto_takes_enroot_where_it_is_in_path_and_the_built_in_runtime_does_not_fit() {
        let temp = tempfile::tempdir().unwrap();
        let directory = temp.path().join("path");
        std::fs::create_dir_all(&directory).unwrap();
        let pyxis = directory.join("pyxis");
        let groups = nix::unistd::getgroups().unwrap().iter().map(|gid| gid.as_raw()).collect();
        let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
        let user = super::super::user::Credentials { uid, gid, groups };
        let patience = Patience::Until(Instant::now() + LIMIT);
        let caller = Caller { user: &user, environ: &[], patience, cgroup: None };
        let chosen = |choice: &str| {
            let line = format!("{choice} pyxis_path={}", pyxis.display());
            let config = Config::parse(line.split(' ').map(str::as_bytes)).unwrap();
            let runtime = Runtime::choose(&config, directory.as_os_str(), caller);
            let command = runtime.command();
            (command.name, command.program.clone())
        };
        assert_eq!(chosen("runtime=auto"), ("pyxis", pyxis.clone()));
        assert_eq!(chosen("runtime=enroot"), ("enroot", PathBuf::from("enroot")));
        let enroot = directory.join("enroot");
        program(&enroot, "");
        // There is no pyxis to be asked.
        assert_eq!(chosen("runtime=auto"), ("enroot", enroot.clone()));
        program(
            &pyxis,
            "#!/bin/sh\n[ \"$*\" = fits ] && echo /etc/enroot/enroot.conf:3: why && exit 1\n",
        );
        assert_eq!(chosen("runtime=auto"), ("enroot", enroot.clone()));
        program(&pyxis, "#!/bin/sh\n[ \"$*\" = fits ]\n");
        assert_eq!(chosen("runtime=auto"), ("pyxis", pyxis.clone()));
        assert_eq!(chosen("runtime=enroot"), ("enroot", enroot.clone()));
        assert_eq!(chosen("runtime=pyxis").0, "pyxis");
        // One file under two names: it is not asked whether it fits.
        program(&pyxis, "#!/bin/sh\nexit 1\n");
        assert_eq!(chosen("runtime=auto"), ("enroot", enroot.clone()));
        std::fs::remove_file(&enroot).unwrap();
        std::os::unix::fs::symlink("pyxis", &enroot).unwrap();
        assert_eq!(chosen("runtime=auto"), ("pyxis", pyxis.clone()));
        assert_eq!(chosen("runtime=enroot").0, "enroot");
    }
}
