//! `pyxis start`.

use std::ffi::OsString;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use runtime::fstab::{Entry, FstabError};
use runtime::start::{Namespaces, Plan, StartError, start};

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
    #[arg(long, value_name = "FD", conflicts_with = "command")]
    handover: Option<RawFd>,
    /// Squashfs file or directory
    image: PathBuf,
    /// Program to run and its arguments [default: the user's shell]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Unshare {
    Net,
    Ipc,
    Uts,
}

/// Settings that enroot takes from the environment: anything but a "no" turns them on.
fn enabled(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| {
        let value = value.to_string_lossy().to_ascii_lowercase();
        !matches!(value.as_str(), "" | "n" | "no" | "f" | "false")
    })
}

impl TryFrom<StartArgs> for Plan {
    type Error = FstabError;

    fn try_from(args: StartArgs) -> Result<Plan, FstabError> {
        let mounts = args
            .mounts
            .iter()
            .filter_map(|line| Entry::parse(&spaced(line)).transpose())
            .collect::<Result<_, _>>()?;
        let wants = |which, name| args.unshare.contains(&which) || enabled(name);
        Ok(Plan {
            remap_root: args.root || enabled("ENROOT_REMAP_ROOT"),
            writable: args.rw || enabled("ENROOT_ROOTFS_WRITABLE"),
            mount_home: args.mount_home || enabled("ENROOT_MOUNT_HOME"),
            privileged: nix::unistd::geteuid().is_root() && enabled("ENROOT_ALLOW_SUPERUSER"),
            mounts,
            env: args.env,
            unshare: Namespaces {
                net: wants(Unshare::Net, "ENROOT_UNSHARE_NET"),
                ipc: wants(Unshare::Ipc, "ENROOT_UNSHARE_IPC"),
                uts: wants(Unshare::Uts, "ENROOT_UNSHARE_UTS"),
            },
            image: args.image,
        })
    }
}

/// enroot's `-m SRC:DST:TYPE:OPTIONS`, unless the line has spaces already.
fn spaced(line: &std::ffi::OsStr) -> OsString {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let bytes = line.as_bytes();
    if bytes.contains(&b' ') {
        return line.to_owned();
    }
    OsString::from_vec(bytes.iter().map(|&byte| if byte == b':' { b' ' } else { byte }).collect())
}

/// Sets close-on-exec on a descriptor that was inherited: no helper may hold it.
fn keep_from_children(fd: RawFd) -> io::Result<()> {
    // SAFETY: only used for the one call; a descriptor that is not open is an error of it.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(())
}

/// Starts the container and runs the command in it, or hands it over.
pub(crate) fn run(args: StartArgs) -> Result<ExitCode, StartError> {
    let handover = args.handover;
    let command = args.command.clone();
    if let Some(fd) = handover {
        keep_from_children(fd).map_err(StartError::Handover)?;
    }
    let container = start(Plan::try_from(args)?, handover)?;
    if let Some(fd) = handover {
        // SAFETY: the caller passed this descriptor for us and nobody here closes it.
        container.hand_over(unsafe { BorrowedFd::borrow_raw(fd) })?;
        return Ok(ExitCode::SUCCESS);
    }
    let shell = container.environ.get(std::ffi::OsStr::new("SHELL")).cloned();
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
