//! Why a step has no container: one line for the user.

use crate::config::ConfigError;
use crate::options::OptionError;
use spank_bindings::SpankError;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Errors of a containerized step.
#[derive(Debug)]
pub(crate) enum StepError {
    /// Slurm did not answer.
    Spank(SpankError),
    /// An option is no good.
    Option(OptionError),
    /// An argument in the node's plugstack.conf is no good.
    Config(ConfigError),
    /// A runtime directory.
    RuntimeDir(Fault),
    /// The tasks' lock, state or socket.
    Shared(io::Error),
    /// What was sent is no container.
    Odd(io::Error),
    /// The task that was starting the container is gone.
    StarterDied,
    /// The task that was to start the container has said why it could not.
    OtherTaskFailed,
    /// The runtime reported success and sent nothing.
    NoContainer,
    /// A component of a heterogeneous step whose options have not come.
    NoComponent,
    /// A batch step without a script.
    NoBatchScript,
    /// A relative path to save to, in a directory that is gone.
    NoWorkingDirectory,
    /// A place where nothing can be saved.
    SaveTo { path: PathBuf, problem: nix::Error },
    /// A place to which several nodes would save.
    SaveShared(PathBuf),
    /// `--container-name=NAME:create`.
    Exists(String),
    /// `--container-name=NAME:exec`.
    NotRunning(String),
    /// A name without an image.
    NoSuchContainer(String),
    /// A named container that was there when it was looked for.
    Vanished(String),
    /// The runtime's words have been logged.
    Reported,
    /// `--container-save`; the runtime's words have been logged.
    NotSaved,
    /// A child process, a pipe, a descriptor.
    Process(io::Error),
    /// A file of the runtime directory.
    Write { path: PathBuf, source: io::Error },
    /// The container's process ended before it was used.
    ExitedTooSoon,
    /// enroot ended.
    ErrorCode(i32),
    /// The process that was to tell.
    MonitorDied,
    /// A file of the container's process in /proc.
    ContainerProcess { file: String, source: nix::Error },
    /// `--container-unshare` without effect.
    NotUnshared { option: &'static str, namespace: &'static str },
    /// A container of a finished job.
    NotRemoved(String),
    /// A squashfs file given as image.
    ImageFile { path: PathBuf, source: io::Error },
    /// An image that the store loses as often as it gets it.
    ImageVanished(String),
    /// The source of a mount.
    MountSource(PathBuf),
    /// The runtime's program does not start.
    Execute { program: PathBuf },
    /// The runtime said no.
    Start(String),
    /// A namespace of the container.
    Join { namespace: &'static str, source: nix::Error },
    /// A directory of the container.
    Chdir { directory: PathBuf, source: nix::Error },
    /// The container's environment.
    Environ(io::Error),
    /// A task prolog that would run in the container.
    TaskProlog,
    /// The system call filter.
    Seccomp(io::Error),
}

/// What is wrong with a place, and where.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) operation: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) problem: String,
}

impl Fault {
    pub(crate) fn new(operation: &'static str, path: &Path, problem: &str) -> Fault {
        Fault { operation, path: path.to_owned(), problem: problem.to_owned() }
    }

    pub(crate) fn of(operation: &'static str, path: &Path, errno: nix::Error) -> Fault {
        Fault::new(operation, path, &in_words(errno))
    }
}

impl From<Fault> for StepError {
    fn from(fault: Fault) -> Self {
        StepError::RuntimeDir(fault)
    }
}

/// What the system calls it. (nix has a table of its own, which is 15 KiB.)
pub(crate) fn in_words(errno: nix::Error) -> String {
    let mut text = io::Error::from(errno).to_string();
    if let Some(number) = text.bytes().rposition(|byte| byte == b'(') {
        text.truncate(number.saturating_sub(1));
    }
    text
}

impl fmt::Display for StepError {
    #[expect(clippy::too_many_lines, reason = "a table of texts")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spank(error) => write!(f, "Slurm refused a request: {error}"),
            Self::Option(error) => error.fmt(f),
            Self::Config(error) => error.fmt(f),
            Self::RuntimeDir(Fault { operation, path, problem }) => write!(
                f,
                "couldn't {operation} the runtime directory {}: {problem}",
                path.display()
            ),
            Self::Shared(error) => write!(f, "couldn't coordinate the tasks of the step: {error}"),
            Self::Odd(error) => write!(
                f,
                "the container was refused: {error} (start it again; if that is not enough, see what else \
                 of yours runs on this node)"
            ),
            Self::StarterDied => {
                f.write_str("a previous task terminated unexpectedly during container setup")
            }
            Self::OtherTaskFailed => {
                f.write_str("container was not started successfully by another task")
            }
            Self::NoContainer => f.write_str("the runtime did not hand over the container"),
            Self::NoComponent => f.write_str(
                "srun has not said which container this component of the step is to have",
            ),
            Self::NoBatchScript => f.write_str("couldn't get the batch script: argc == 0"),
            Self::NoWorkingDirectory => f.write_str(
                "--container-save: relative path used, but the job's working directory is gone",
            ),
            Self::SaveTo { path, problem } => {
                write!(
                    f,
                    "--container-save: cannot save to {}: {}",
                    path.display(),
                    in_words(*problem)
                )
            }
            Self::SaveShared(path) => write!(
                f,
                "--container-save: all nodes of the step would save to {}: put %N, a node's name, into it",
                path.display()
            ),
            Self::Exists(name) => write!(
                f,
                "\"create\" flag was passed to --container-name but the container already \
                 exists: {name}"
            ),
            Self::NotRunning(name) => write!(
                f,
                "\"exec\" flag was passed to --container-name but the container is not \
                 running: {name}"
            ),
            Self::NoSuchContainer(name) => write!(
                f,
                "a container with name \"{name}\" does not exist, and --container-image is not set"
            ),
            Self::Vanished(name) => {
                write!(f, "container {name} has just ended or been removed, again and again")
            }
            Self::Reported => f.write_str("the container could not be started"),
            Self::NotSaved => f.write_str("the container could not be saved"),
            Self::Process(error) => write!(f, "couldn't run the container runtime: {error}"),
            Self::Write { path, source } => {
                write!(f, "couldn't write {}: {source}", path.display())?;
                if source.kind() == io::ErrorKind::NotFound {
                    f.write_str(
                        " (the node has lost its runtime directory; the next step makes it again)",
                    )?;
                }
                Ok(())
            }
            Self::ExitedTooSoon => f.write_str("container exited too soon"),
            Self::ErrorCode(code) => write!(f, "container start failed with error code: {code}"),
            Self::MonitorDied => f.write_str("container start failed: its monitor died"),
            Self::ContainerProcess { file, source } => {
                write!(f, "couldn't open {file} of the container's process: {}", in_words(*source))
            }
            Self::NotUnshared { option, namespace } => write!(
                f,
                "--container-unshare={option} requested but the container is not in a separate \
                 {namespace} namespace"
            ),
            Self::NotRemoved(name) => write!(f, "epilog: container {name} was not removed"),
            Self::ImageFile { path, source } => {
                write!(f, "cannot open image {}: {source}", path.display())
            }
            Self::ImageVanished(image) => write!(
                f,
                "image {image} was removed from the image store as soon as it was there: its limit \
                 is too small, or something else removes images"
            ),
            Self::MountSource(path) => {
                write!(f, "--container-mounts: source path does not exist: {}", path.display())
            }
            Self::Execute { program } => {
                write!(
                    f,
                    "couldn't execute {} (is it installed on this node? plugstack.conf can name \
                     it with pyxis_path=)",
                    program.display()
                )
            }
            Self::Start(log) => write!(f, "container start failed: {log}"),
            Self::Join { namespace, source } => {
                write!(f, "couldn't join {namespace} namespace: {}", in_words(*source))
            }
            Self::Chdir { directory, source } => {
                let hint = if directory.is_absolute() { "" } else { " (write it from / on)" };
                let directory = directory.display();
                write!(f, "couldn't chdir to {directory}: {}{hint}", in_words(*source))
            }
            Self::Environ(error) => {
                write!(f, "couldn't read container environment: {error}")
            }
            Self::TaskProlog => {
                f.write_str("this slurmstepd cannot run a task prolog outside of the container")
            }
            Self::Seccomp(error) => write!(f, "seccomp filter failed: {error}"),
        }
    }
}

impl std::error::Error for StepError {}

impl From<SpankError> for StepError {
    fn from(error: SpankError) -> Self {
        StepError::Spank(error)
    }
}

impl From<ConfigError> for StepError {
    fn from(error: ConfigError) -> Self {
        StepError::Config(error)
    }
}

impl From<OptionError> for StepError {
    fn from(error: OptionError) -> Self {
        StepError::Option(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every line that a user may see, as a snapshot: where a change is meant,
    /// `INSTA_UPDATE=always cargo test -p plugin` writes it anew.
    #[test]
    #[expect(clippy::too_many_lines, reason = "a table of errors")]
    fn lines() {
        let path = || PathBuf::from("/a/x");
        let name = || "NAME".to_owned();
        let io = || io::Error::from_raw_os_error(nix::libc::ENOSPC);
        let no_right = nix::Error::EACCES;
        let namespace = "network";
        let of_options = [
            OptionError::Empty("container-image"),
            OptionError::Repeated("container-image"),
            OptionError::Both("container-mount-home", "no-container-mount-home"),
            OptionError::TooMany("container-mounts"),
            OptionError::MountFormat("a:".to_owned()),
            OptionError::MountSource("a:/b".to_owned()),
            OptionError::MountTarget("/a:b".to_owned()),
            OptionError::MountFlags("/a:/b:r o".to_owned()),
            OptionError::EmptyName,
            OptionError::BadName("a/b".to_owned()),
            OptionError::NameFlag("flag".to_owned()),
            OptionError::SaveDirectory("/a/".to_owned()),
            OptionError::EnvFormat("A,,B".to_owned()),
            OptionError::EmptyNamespace,
            OptionError::UnknownNamespace("user".to_owned()),
        ];
        let of_the_node = [
            ConfigError::Unknown("colour=red".to_owned()),
            ConfigError::Value("runtime".to_owned(), "docker".to_owned()),
        ];
        let of_steps = vec![
            StepError::RuntimeDir(Fault::of("create", &path(), nix::Error::ENOSPC)),
            StepError::RuntimeDir(Fault::new("trust", &path(), "others can write to it")),
            StepError::Shared(io()),
            StepError::Odd(io::Error::other("the container's message has no mount")),
            StepError::StarterDied,
            StepError::OtherTaskFailed,
            StepError::NoContainer,
            StepError::NoBatchScript,
            StepError::NoWorkingDirectory,
            StepError::SaveTo { path: path(), problem: no_right },
            StepError::SaveShared(path()),
            StepError::Exists(name()),
            StepError::NotRunning(name()),
            StepError::NoSuchContainer(name()),
            StepError::Vanished(name()),
            StepError::Reported,
            StepError::NotSaved,
            StepError::Process(io()),
            StepError::Write { path: path(), source: io() },
            StepError::Write { path: path(), source: io::ErrorKind::NotFound.into() },
            StepError::ExitedTooSoon,
            StepError::ErrorCode(2),
            StepError::MonitorDied,
            StepError::ContainerProcess { file: "ns/mnt".to_owned(), source: no_right },
            StepError::NotUnshared { option: "net", namespace },
            StepError::NotRemoved(name()),
            StepError::ImageFile { path: path(), source: io::ErrorKind::NotFound.into() },
            StepError::ImageVanished("ubuntu:24.04".to_owned()),
            StepError::MountSource(path()),
            StepError::Execute { program: "/usr/bin/pyxis".into() },
            StepError::Start("what the runtime said".to_owned()),
            StepError::Join { namespace, source: no_right },
            StepError::Chdir { directory: path(), source: no_right },
            StepError::Environ(io()),
            StepError::Seccomp(io()),
        ];
        let errors = of_options.into_iter().map(StepError::Option);
        let errors = errors.chain(of_the_node.into_iter().map(StepError::Config)).chain(of_steps);
        let lines: Vec<String> = errors.map(|error| error.to_string()).collect();
        assert!(lines.iter().all(|line| !line.contains('\n')), "{lines:#?}");
        insta::assert_snapshot!(lines.join("\n"));
    }
}
