//! Container runtimes. Both take enroot's verbs; they differ in how a container is started and
//! its namespaces become known.

mod builtin;
mod enroot;

use super::StepError;
use super::image::Image;
use super::job::Job;
use super::plan::Plan;
use super::text::after;
use crate::config::{Config, RuntimeChoice};
use crate::options::NameFlag;
use crate::root::child::{Command, LIMIT, Outcome, Patience};
use spank_bindings::log;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::Instant;

pub(crate) use builtin::Builtin;
pub(crate) use enroot::Enroot;

/// What a backend works with.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) config: &'a Config,
    pub(crate) job: &'a Job,
    pub(crate) plan: &'a Plan,
    /// The runtime's environment.
    pub(crate) environ: &'a [CString],
    /// How long who runs it waits.
    pub(crate) patience: Patience,
    /// `cgroup.procs` of the cgroup that what root runs goes to.
    pub(crate) cgroup: Option<&'a File>,
}

impl<'a> Context<'a> {
    /// Something to be run as the step's user.
    pub(crate) fn command(
        &self,
        program: &'a Path,
        arguments: Vec<OsString>,
        given: [Option<BorrowedFd<'a>>; 2],
    ) -> Command<'a> {
        let Context { job, environ, patience, cgroup, .. } = *self;
        Command { program, arguments, environ, user: &job.user, given, patience, cgroup }
    }
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

/// A container of the runtime's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    /// Its file system is there.
    Stopped,
    /// And a process runs in it.
    Running(i32),
}

/// What whoever starts a container is given.
#[derive(Clone, Copy)]
pub(crate) struct Ways<'a> {
    /// Where to send the container.
    pub(crate) socket: BorrowedFd<'a>,
    /// A word comes from here when the step ends; without one, slurmstepd is dead.
    pub(crate) lease: BorrowedFd<'a>,
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
pub(crate) struct Stored {
    pub(crate) path: PathBuf,
    /// Where the file system has locks.
    pub(crate) _lock: Option<File>,
}

/// A container runtime.
pub(crate) trait Backend: Send {
    /// Its name, for messages.
    fn name(&self) -> &'static str;

    /// Its program.
    fn program(&self) -> &Path;

    /// Starts `target` and has its descriptors sent.
    fn start(
        &self,
        context: Context<'_>,
        target: Target<'_>,
        ways: Ways<'_>,
    ) -> Result<(), StepError>;

    /// Joins or starts the container `plan.name`, which is thought to exist, as `flag` says: in
    /// one go, without a list of what there is. `None` where the list has to be asked for.
    fn resume(
        &self,
        _: Context<'_>,
        _: NameFlag,
        _: Ways<'_>,
    ) -> Result<Option<Resumed>, StepError> {
        Ok(None)
    }

    /// A remote image in the runtime's own store; `None` where there is none to have.
    fn pull(
        &self,
        _: Context<'_>,
        _: &Image,
        _broker: Option<BorrowedFd<'_>>,
    ) -> Result<Option<Stored>, StepError> {
        Ok(None)
    }
}

/// The verbs that both take: one copy of the code for all runtimes.
impl dyn Backend + '_ {
    /// Runs a verb. `failing` says what failed if it does; the verb's own words follow.
    pub(crate) fn verb(
        &self,
        context: Context<'_>,
        arguments: Vec<OsString>,
        failing: &str,
    ) -> Result<Outcome, StepError> {
        let outcome = self.run(context, arguments)?;
        if outcome.success() {
            return Ok(outcome);
        }
        self.report(&outcome, failing);
        Err(StepError::Reported)
    }

    fn run(&self, context: Context<'_>, arguments: Vec<OsString>) -> Result<Outcome, StepError> {
        log::verbose!("pyxis: running {} {arguments:?}", self.name());
        context.command(self.program(), arguments, [None; 2]).run()
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
            None => log::error!("pyxis: {failing}: {} {}", self.name(), outcome.ending()),
        }
        log::error!("pyxis: printing {} log file:", self.name());
        for line in lines {
            log::error!("pyxis:     {line}");
        }
    }

    /// The container of that name, if there is one.
    pub(crate) fn find(
        &self,
        context: Context<'_>,
        name: &str,
    ) -> Result<Option<Existing>, StepError> {
        let list = self.verb(
            context,
            vec!["list".into(), "-f".into()],
            "couldn't get list of existing container filesystems",
        )?;
        Ok(parse_list(&list.log).find(|(have, _)| *have == name).map(|(_, existing)| existing))
    }

    /// The names of all containers.
    pub(crate) fn names(&self, context: Context<'_>) -> Result<Vec<String>, StepError> {
        let failing = "couldn't get list of existing containers";
        let list = self.verb(context, vec!["list".into()], failing)?;
        Ok(list.lines().map(str::to_owned).collect())
    }

    /// Makes a squashfs file of a remote image.
    pub(crate) fn import(
        &self,
        context: Context<'_>,
        image: &Image,
        file: &Path,
    ) -> Result<(), StepError> {
        let Image::Remote { uri, shown } = image else { return Ok(()) };
        let arguments = vec!["import".into(), "--output".into(), file.into(), uri.clone()];
        self.verb(context, arguments, &format!("failed to import docker image: {shown}")).map(drop)
    }

    /// Makes a container of a remote image.
    pub(crate) fn load(
        &self,
        context: Context<'_>,
        image: &Image,
        name: &str,
    ) -> Result<(), StepError> {
        let Image::Remote { uri, shown } = image else { return Ok(()) };
        let arguments = vec!["load".into(), "--name".into(), name.into(), uri.clone()];
        self.verb(context, arguments, &format!("failed to import docker image: {shown}")).map(drop)
    }

    /// Makes a container of a squashfs file.
    pub(crate) fn create(
        &self,
        context: Context<'_>,
        file: &Path,
        name: &str,
    ) -> Result<(), StepError> {
        let image = context.plan.image.as_ref().map_or(file.to_string_lossy(), Image::shown);
        let failing = format!("failed to create container filesystem for image: {image}");
        let arguments = vec!["create".into(), "--name".into(), name.into(), file.into()];
        self.verb(context, arguments, &failing).map(drop)
    }

    /// Saves a container to a squashfs file.
    pub(crate) fn export(
        &self,
        context: Context<'_>,
        name: &str,
        file: &Path,
    ) -> Result<(), StepError> {
        let failing = format!("failed to export container {name} to {}", file.display());
        let arguments = vec!["export".into(), "-f".into(), "-o".into(), file.into(), name.into()];
        let outcome = self.run(context, arguments)?;
        if outcome.success() {
            return Ok(());
        }
        self.report(&outcome, &failing);
        if outcome.code().is_none() {
            // It has not been able to remove what it had written.
            let mut partial = OsString::from(format!(".pyxis.{}.", outcome.pid));
            partial.push(file.file_name().unwrap_or_default());
            let partial = file.parent().unwrap_or(file).join(partial);
            let arguments = vec!["-f".into(), "--".into(), partial.into()];
            let patience = Patience::Until(Instant::now() + LIMIT);
            let _ = Context { patience, ..context }
                .command(Path::new("rm"), arguments, [None; 2])
                .run();
        }
        Err(StepError::Reported)
    }

    /// Removes a container.
    pub(crate) fn remove(&self, context: Context<'_>, name: &str) -> Result<(), StepError> {
        let failing = format!("failed to remove container filesystem: {name}");
        self.verb(context, vec!["remove".into(), "-f".into(), name.into()], &failing).map(drop)
    }
}

/// The runtime that the configuration chooses on this node, where programs are looked for in
/// `path`.
pub(crate) fn choose(config: &Config, path: &OsStr) -> Box<dyn Backend> {
    let found = find_in(path, "enroot");
    let builtin = || Box::new(Builtin { program: config.pyxis_path.clone() });
    match (config.runtime, found) {
        (RuntimeChoice::Enroot | RuntimeChoice::Auto, Some(program)) => {
            Box::new(Enroot { program })
        }
        // By name: the attempt to run it says what is wrong.
        (RuntimeChoice::Enroot, None) => Box::new(Enroot { program: PathBuf::from("enroot") }),
        (RuntimeChoice::Pyxis | RuntimeChoice::Auto, _) => builtin(),
    }
}

fn find_in(path: &OsStr, program: &str) -> Option<PathBuf> {
    std::env::split_paths(path)
        .map(|directory| directory.join(program))
        .find(|file| nix::unistd::access(file, nix::unistd::AccessFlags::X_OK).is_ok())
}

/// Where programs are looked for when nothing says so.
pub(crate) const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// This process's PATH.
pub(crate) fn own_path() -> OsString {
    std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into())
}

/// Names and states from the table of `list -f`: a line of headers, then name and, of running
/// containers, the PID.
fn parse_list(table: &str) -> impl Iterator<Item = (&str, Existing)> {
    table.lines().skip(1).filter_map(|line| {
        let mut columns = line.split_whitespace();
        let name = columns.next()?;
        // Further processes of a container have lines without a name.
        if line.starts_with(char::is_whitespace) {
            return None;
        }
        let pid = columns.next().and_then(|pid| pid.parse().ok());
        Some((name, pid.map_or(Existing::Stopped, Existing::Running)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enroot_is_what_the_given_path_has() {
        use std::os::unix::fs::PermissionsExt;
        let directory = std::env::temp_dir().join(format!("pyxis-path-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let config = |line: &str| Config::parse([line.as_bytes()].into_iter()).unwrap();
        let chosen = |line| {
            let backend = choose(&config(line), directory.as_os_str());
            (backend.name(), backend.program().to_owned())
        };
        assert_eq!(chosen("runtime=auto").0, "pyxis");
        assert_eq!(chosen("runtime=enroot"), ("enroot", PathBuf::from("enroot")));
        let program = directory.join("enroot");
        std::fs::write(&program, "").unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(chosen("runtime=auto"), ("enroot", program.clone()));
        assert_eq!(chosen("runtime=enroot"), ("enroot", program));
        assert_eq!(chosen("runtime=pyxis").0, "pyxis");
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn the_list_of_containers_is_read() {
        let table =
            "NAME      PID  COMM  STATE\npyxis_a\npyxis_b   123  sleep S\n          124  sh    S\n";
        let got: Vec<_> = parse_list(table).collect();
        assert_eq!(got, [("pyxis_a", Existing::Stopped), ("pyxis_b", Existing::Running(123))]);
        assert_eq!(parse_list("").count(), 0);
    }
}
