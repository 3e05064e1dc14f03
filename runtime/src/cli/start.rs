//! `pyxis start`.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use runtime::containers::{Name, hand_over};
use runtime::fstab::{Entry, FstabError};
use runtime::image::Image;
use runtime::start::{Namespaces, Plan, Root, StartError, start};

use super::{CliError, data_path, enabled};

#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// Be root inside the container (grants no privileges outside)
    #[arg(short, long)]
    root: bool,
    /// Make the container's root filesystem writable
    #[arg(short = 'w', long)]
    rw: bool,
    /// Mount the home directory
    #[arg(long)]
    mount_home: bool,
    /// A mount: an fstab line, its fields separated by spaces or colons
    #[arg(short, long = "mount", value_name = "FSTAB")]
    mounts: Vec<OsString>,
    /// Set an environment variable, or keep the host's value of it
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<OsString>,
    /// A namespace of its own for the container
    #[arg(long, value_enum)]
    unshare: Vec<Unshare>,
    /// Send the container's descriptors to this socket and exit, instead of running a command
    #[arg(long, value_name = "FD")]
    handover: Option<RawFd>,
    /// Send the descriptors of the container if it is running, instead of starting it again
    #[arg(long, requires = "handover")]
    join: bool,
    /// Start the container of this name, made from the image if there is none
    #[arg(short, long)]
    name: Option<OsString>,
    /// Container, squashfs file (or a directory, with a "/"); program to run and its arguments
    /// [default: the user's shell]
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        num_args = 1..,
        value_names = ["NAME|IMAGE", "COMMAND"],
        required_unless_present = "name"
    )]
    words: Vec<OsString>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Unshare {
    Net,
    Ipc,
    Uts,
}

impl StartArgs {
    fn plan(&self, root: Root) -> Result<Plan, FstabError> {
        let mounts = self
            .mounts
            .iter()
            .filter_map(|line| Entry::parse(&spaced(line)).transpose())
            .collect::<Result<_, _>>()?;
        let wants = |which, name| self.unshare.contains(&which) || enabled(name);
        Ok(Plan {
            remap_root: self.root || enabled("ENROOT_REMAP_ROOT"),
            writable: self.rw || enabled("ENROOT_ROOTFS_WRITABLE"),
            mount_home: self.mount_home || enabled("ENROOT_MOUNT_HOME"),
            privileged: nix::unistd::geteuid().is_root() && enabled("ENROOT_ALLOW_SUPERUSER"),
            mounts,
            env: self.env.clone(),
            unshare: Namespaces {
                net: wants(Unshare::Net, "ENROOT_UNSHARE_NET"),
                ipc: wants(Unshare::Ipc, "ENROOT_UNSHARE_IPC"),
                uts: wants(Unshare::Uts, "ENROOT_UNSHARE_UTS"),
            },
            root,
        })
    }

    /// What the words name: a container, unless it is a squashfs file or has a "/".
    fn root(&self) -> Result<Root, CliError> {
        let first = self.words.first();
        if let Some(name) = &self.name {
            let name = Name::new(name)?;
            let data = data_path()?;
            return Ok(Root::Container(match first {
                Some(image) => data.create_if_absent(&name, Path::new(image))?,
                None => data.container(&name)?,
            }));
        }
        let first = first.expect("required by clap without --name");
        let path = Path::new(first);
        if first.as_bytes().contains(&b'/') || is_squashfs(path) {
            return Ok(Root::Path(path.to_owned()));
        }
        Ok(Root::Container(data_path()?.container(&Name::new(first)?)?))
    }

    /// Starts the container and runs the command in it, or hands it over.
    pub(crate) fn run(self) -> Result<ExitCode, CliError> {
        // SAFETY: the caller passed this descriptor for us and nobody here closes it.
        let socket = self.handover.map(|fd| unsafe { BorrowedFd::borrow_raw(fd) });
        if let Some(socket) = socket {
            // No helper may hold it.
            fcntl(socket, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))
                .map_err(|errno| StartError::Handover(errno.into()))?;
        }
        let root = self.root()?;
        if let (Some(socket), Root::Container(container), true) = (socket, &root, self.join) {
            if hand_over(container, socket)? {
                return Ok(ExitCode::SUCCESS);
            }
        }
        let container = start(self.plan(root)?, self.handover)?;
        if let Some(socket) = socket {
            container.hand_over(socket)?;
            return Ok(ExitCode::SUCCESS);
        }
        let command = self.words.get(1..).unwrap_or_default();
        let shell = container.environ.get(OsStr::new("SHELL")).cloned();
        let program = command.first().cloned().or(shell).unwrap_or_else(|| "/bin/sh".into());
        let error = std::process::Command::new(&program)
            .args(command.iter().skip(1))
            .env_clear()
            .envs(&container.environ)
            .current_dir(&container.cwd)
            .exec();
        eprintln!("pyxis: cannot execute {}: {error}", program.to_string_lossy());
        Ok(ExitCode::from(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 }))
    }
}

/// Whether a word without "/" is an image in the working directory.
fn is_squashfs(path: &Path) -> bool {
    path.is_file() && Image::open(path).is_ok()
}

/// enroot's `-m SRC:DST:TYPE:OPTIONS`, unless the line has spaces already.
fn spaced(line: &OsStr) -> OsString {
    let bytes = line.as_bytes();
    if bytes.contains(&b' ') {
        return line.to_owned();
    }
    OsString::from_vec(bytes.iter().map(|&byte| if byte == b':' { b' ' } else { byte }).collect())
}
