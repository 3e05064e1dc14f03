//! The two container runtimes. Both take enroot's verbs; they differ in what else they can do, in how a
//! container is started and in how its namespaces become known.

mod builtin;
pub(crate) mod context;
mod enroot;
pub(crate) mod verbs;

use super::error::StepError;
use super::image::Image;
use super::plan::Plan;
use super::shared::Channels;
use crate::config::{Config, RuntimeChoice};
use crate::options::NameFlag;
use crate::root::runtime_command::RuntimeCommand;
use context::{Context, Resumed, Stored, Target};
use std::ffi::{OsStr, OsString};
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

/// A container runtime, with its command.
pub(crate) enum Runtime {
    /// The `pyxis` command, which hands the container over by itself.
    Builtin(RuntimeCommand),
    /// enroot, which executes a command in the container.
    Enroot(RuntimeCommand),
}

impl Runtime {
    /// The runtime that the configuration chooses on this node, where programs are looked for in
    /// `path`.
    pub(crate) fn choose(config: &Config, path: &OsStr) -> Runtime {
        let enroot = match config.runtime {
            RuntimeChoice::Pyxis => None,
            RuntimeChoice::Auto => find_in(path, "enroot"),
            // By name: the attempt to run it says what is wrong.
            RuntimeChoice::Enroot => Some(find_in(path, "enroot").unwrap_or("enroot".into())),
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

    /// The file that tells it how to start the step's container, where it needs one.
    pub(crate) fn configuration_file(&self, plan: &Plan) -> Option<PathBuf> {
        match self {
            Runtime::Builtin(_) => None,
            Runtime::Enroot(_) => Some(enroot::conf::path(plan)),
        }
    }

    /// Starts `target` and has its descriptors sent.
    pub(crate) fn start(
        &self,
        context: Context<'_>,
        target: Target<'_>,
        channels: Channels<'_>,
    ) -> Result<(), StepError> {
        match self {
            Runtime::Builtin(command) => builtin::start(command, context, target, channels),
            Runtime::Enroot(command) => enroot::start(command, context, target, channels),
        }
    }

    /// Joins or starts the container `plan.name`, which is thought to exist, as `flag` says: in
    /// one go, without a list of what there is. `None` where the list has to be asked for.
    pub(crate) fn resume(
        &self,
        context: Context<'_>,
        flag: NameFlag,
        channels: Channels<'_>,
    ) -> Result<Option<Resumed>, StepError> {
        match self {
            Runtime::Builtin(command) => builtin::resume(command, context, flag, channels),
            Runtime::Enroot(_) => Ok(None),
        }
    }

    /// A remote image in the runtime's own store; `None` where there is none to have.
    pub(crate) fn pull(
        &self,
        context: Context<'_>,
        image: &Image,
        broker: Option<BorrowedFd<'_>>,
    ) -> Result<Option<Stored>, StepError> {
        match self {
            Runtime::Builtin(command) => builtin::pull(command, context, image, broker),
            Runtime::Enroot(_) => Ok(None),
        }
    }
}

fn find_in(path: &OsStr, program: &str) -> Option<PathBuf> {
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

    #[test]
    fn enroot_is_what_the_given_path_has() {
        use std::os::unix::fs::PermissionsExt;
        let directory = std::env::temp_dir().join(format!("pyxis-path-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let config = |line: &str| Config::parse([line.as_bytes()].into_iter()).unwrap();
        let chosen = |line| {
            let runtime = Runtime::choose(&config(line), directory.as_os_str());
            let command = runtime.command();
            (command.name, command.program.clone())
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
    fn only_enroot_leaves_a_file_to_be_removed() {
        use crate::options::Options;
        use crate::root::user::Credentials;
        use crate::step::job::Job;
        let job = Job {
            user: Credentials { uid: 1000, gid: 1000, groups: vec![] },
            job_id: 42,
            step_id: spank_bindings::StepId(7),
            local_tasks: 1,
            total_tasks: 1,
            cwd: None,
            pinned: None,
            privileged: false,
        };
        let plan = Plan::new(&Config::default(), &Options::default(), &job, None).unwrap();
        let command = || RuntimeCommand { name: "x", program: PathBuf::new() };
        let file = Runtime::Enroot(command()).configuration_file(&plan);
        assert_eq!(file, Some("/run/pyxis/1000/42.7.conf".into()));
        assert_eq!(Runtime::Builtin(command()).configuration_file(&plan), None);
    }
}
