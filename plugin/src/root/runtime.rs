//! The two container runtimes: what each can do, how the command of either is asked for something and reported,
//! and what root asks for at the end of a step and of a job.

use super::child::{Caller, Outcome, Patience};
use super::text::after;
use crate::config::{Config, RuntimeChoice};
use crate::step::error::StepError;
use handover::nodes::partial;
use handover::request::Request;
use nix::sys::stat::stat;
use spank_bindings::log;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

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

impl Runtime {
    /// Has its command do what is asked for: the built-in one's by the request itself, enroot's by the words that
    /// enroot takes for it. `failing` says what failed if it does; the command's own words follow.
    pub(crate) fn ask(
        &self,
        caller: Caller<'_>,
        request: &Request<'_>,
        failing: &str,
    ) -> Result<Outcome, StepError> {
        let outcome = self.run(caller, request, &|_| {})?;
        if outcome.success() {
            return Ok(outcome);
        }
        self.command().report(&outcome, failing);
        Err(StepError::Reported)
    }

    fn run(
        &self,
        caller: Caller<'_>,
        request: &Request<'_>,
        begun: &dyn Fn(u32),
    ) -> Result<Outcome, StepError> {
        match self {
            Runtime::Builtin(command) => {
                caller.ask(&command.program, request, &[], &mut |command| command.run_noted(begun))
            }
            Runtime::Enroot(command) => {
                let words = enroot_words(request);
                let program = match request {
                    Request::Discard { .. } => Path::new("rm"),
                    _ => &command.program,
                };
                caller.command(program, &words, [None; 4]).run_noted(begun)
            }
        }
    }

    /// The names of all containers.
    pub(crate) fn names(&self, caller: Caller<'_>) -> Result<Vec<String>, StepError> {
        let list = self.ask(caller, &Request::List, "couldn't get list of existing containers")?;
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
        let request = Request::Export { name: name.as_ref(), to: file.as_os_str() };
        let outcome = self.run(caller, &request, begun)?;
        if outcome.success() {
            log::spank_log!("pyxis: exported container {name} to {}", file.display());
            return Ok(());
        }
        self.command().report(&outcome, &not_exported(name, file));
        if let (None, Patience::OfStep(allowance)) = (outcome.code(), caller.patience) {
            let caller = Caller { patience: Patience::Within(allowance), ..caller };
            self.remove_partial(caller, file, outcome.pid.as_raw().unsigned_abs());
        }
        Err(StepError::Reported)
    }

    /// Removes what an export by process `pid`, which was killed, had written.
    pub(crate) fn remove_partial(&self, caller: Caller<'_>, file: &Path, pid: u32) {
        let partial = partial(pid, file.file_name().unwrap_or_default());
        self.discard(caller, &file.parent().unwrap_or(file).join(partial));
    }

    /// Removes a container.
    pub(crate) fn remove(&self, caller: Caller<'_>, name: &str) -> Result<(), StepError> {
        let failing = format!("failed to remove container filesystem: {name}");
        self.ask(caller, &Request::Remove { name: name.as_ref() }, &failing).map(drop)
    }

    /// The same of one that may not be there.
    pub(crate) fn remove_silently(&self, caller: Caller<'_>, name: &str) {
        let _ = self.run(caller, &Request::Remove { name: name.as_ref() }, &|_| {});
    }

    /// Removes a file as the user: where it is, a file system of the user's may be mounted.
    pub(crate) fn discard(&self, caller: Caller<'_>, file: &Path) {
        let _ = self.run(caller, &Request::Discard { file: file.as_os_str() }, &|_| {});
    }
}

/// What enroot takes for it, or `rm`. (How it starts a container is in `step/runtime/enroot`.)
fn enroot_words<'a>(request: &Request<'a>) -> Vec<&'a OsStr> {
    let (verb, texts) = match *request {
        Request::Import { uri, file } => ("import --output", [Some(file), Some(uri)]),
        Request::Load { uri, name } => ("load --name", [Some(name), Some(uri)]),
        Request::Create { file, name } | Request::Ensure { file, name } => {
            ("create --name", [Some(name), Some(file)])
        }
        Request::Export { name, to } => ("export -f -o", [Some(to), Some(name)]),
        Request::MayPush { uri } => ("push --may", [Some(uri), None]),
        Request::Remove { name } => ("remove -f", [Some(name), None]),
        Request::Discard { file } => ("-f --", [Some(file), None]),
        Request::Processes => ("list -f", [None; 2]),
        Request::List => ("list", [None; 2]),
        // It is not asked for these.
        Request::Start(_) | Request::Pull { .. } | Request::Digest { .. } => ("", [None; 2]),
    };
    let mut words = Vec::new();
    for word in verb.split(' ') {
        words.push(word.as_ref());
    }
    words.extend(texts.into_iter().flatten());
    words
}

impl RuntimeCommand {
    /// The cause first, then all that the runtime said.
    pub(crate) fn report(&self, outcome: &Outcome, failing: &str) {
        let lines: Vec<&str> = outcome.lines().collect();
        let cause = lines
            .iter()
            .rev()
            .find(|line| after(line.as_bytes(), b"ERROR").is_some())
            .or(lines.last());
        match cause {
            Some(cause) => log::error!("pyxis: {failing}: {}", cause.trim_ascii_start()),
            None => log::error!("pyxis: {failing}: {} {}", self.name, outcome.ending()),
        }
        outcome.print_log(self.name);
    }
}

/// What failed.
pub(crate) fn not_exported(name: &str, file: &Path) -> String {
    format!("failed to export container {name} to {}", file.display())
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
    let why = match caller.command(&config.pyxis_path, &[OsStr::new("fits")], [None; 4]).run() {
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
    use crate::root::child::Allowance;

    /// A program of the test's own.
    fn program(path: &Path, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// These are its interface.
    #[test]
    fn enroot_is_asked_in_its_own_words() {
        let text = OsStr::new;
        let (uri, name, file) = (text("docker://x"), text("pyxis_c"), text("/a b.sqsh"));
        for (request, words) in [
            (Request::Import { uri, file }, &["import", "--output", "/a b.sqsh", "docker://x"][..]),
            (Request::Load { uri, name }, &["load", "--name", "pyxis_c", "docker://x"]),
            (Request::Create { file, name }, &["create", "--name", "pyxis_c", "/a b.sqsh"]),
            (Request::Ensure { file, name }, &["create", "--name", "pyxis_c", "/a b.sqsh"]),
            (Request::Export { name, to: file }, &["export", "-f", "-o", "/a b.sqsh", "pyxis_c"]),
            (Request::MayPush { uri }, &["push", "--may", "docker://x"]),
            (Request::Remove { name }, &["remove", "-f", "pyxis_c"]),
            (Request::List, &["list"]),
            (Request::Processes, &["list", "-f"]),
            (Request::Discard { file }, &["-f", "--", "/a b.sqsh"]),
        ] {
            assert_eq!(enroot_words(&request), words);
        }
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
        let allowance = Allowance::new();
        let patience = Patience::Within(&allowance);
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
