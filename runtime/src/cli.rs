//! Arguments of the `pyxis` command. Its container verbs take enroot's.

use std::ffi::OsString;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use runtime::fstab::{Entry, FstabError};
use runtime::start::{Namespaces, Plan};

/// An unprivileged container runtime for HPC nodes.
#[derive(Debug, Parser)]
#[command(name = "pyxis", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Start a container from a squashfs image or a directory
    Start(StartArgs),
    /// Print the version
    Version,
}

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
    pub(crate) handover: Option<RawFd>,
    /// Squashfs file or directory
    image: PathBuf,
    /// Program to run and its arguments [default: the user's shell]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<OsString>,
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
pub(crate) fn keep_from_children(fd: RawFd) -> io::Result<()> {
    // SAFETY: only used for the one call; a descriptor that is not open is an error of it.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(())
}
