//! The shared store's account, at root's own request: `pyxis pull --shared`. What runs as that account is `pyxis
//! broker`, as in a step.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hygiene::{account, unsecure};
use linux::channel;
use linux::file_error::FileError;
use linux::sys;
use nix::unistd::{geteuid, setsid};

use pyxis::owner::{self, Untrusted};
use pyxis::settings::Settings;

/// Where the packages make it.
const USUAL: &str = "/var/cache/pyxis";

/// Why there is no account to ask.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccountError {
    #[error(
        "--shared is for root, who can become the shared store's account; for others a step with the image \
         does it: srun --container-image=..."
    )]
    NotRoot,
    #[error("the shared store is not used: {0}")]
    Untrusted(#[from] Untrusted),
    #[error("the shared store {} belongs to root; make it belong to an account for it alone", .0.display())]
    OfRoot(PathBuf),
    #[error("cannot run {}: {source}", program.display())]
    Run { program: PathBuf, source: std::io::Error },
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{0}")]
    Channel(#[source] std::io::Error),
}

/// The shared store: the one that is set, or else the packages'.
pub(crate) fn store(settings: &Settings) -> PathBuf {
    settings.shared_store.clone().unwrap_or_else(|| USUAL.into())
}

/// A socket to a process of the account that owns that store.
pub(crate) fn start(store: &Path, settings: &Settings) -> Result<OwnedFd, AccountError> {
    if !geteuid().is_root() {
        return Err(AccountError::NotRoot);
    }
    if let Some(fault) = owner::of_store(store) {
        return Err(AccountError::Untrusted(fault));
    }
    let failed = |source| FileError::new("look at", store, source);
    let data = std::fs::symlink_metadata(store).map_err(failed)?;
    if data.uid() == 0 || data.gid() == 0 {
        return Err(AccountError::OfRoot(store.to_owned()));
    }
    let program =
        std::env::current_exe().map_err(|source| FileError::new("find", "pyxis", source))?;
    let (ours, theirs) = channel::pair().map_err(AccountError::Channel)?;
    let of_root = |name: &str| settings.host.get(OsStr::new(name)).cloned();
    let mut command = as_account(&program, data.uid(), data.gid());
    command
        .envs(account::environ(store.as_os_str(), of_root))
        .args(["broker", "--stdin"])
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        // What it says comes through the socket.
        .stderr(Stdio::null())
        .spawn()
        .map_err(|source| AccountError::Run { program, source })?;
    Ok(ours)
}

/// A program as that account, with nothing of root's but standard files.
fn as_account(program: &Path, uid: u32, gid: u32) -> Command {
    let mut command = unsecure::command(program);
    // SAFETY: system calls between fork and exec, by the account already.
    unsafe {
        command.pre_exec(|| {
            // Root's terminal is not that account's, which could type into it.
            setsid()?;
            sys::close_on_exec_from(3)?;
            sys::leave_session_keyring()
        });
    }
    // Becoming a user by this, root keeps none of its groups.
    command.env_clear().current_dir("/").gid(gid).uid(uid);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[ignore = "needs root, to become somebody else"]
    fn the_account_has_nothing_of_roots() {
        let (_ours, theirs) = channel::pair().unwrap();
        // As root's shell may have left it: the program is to be given it.
        sys::place(&theirs, 77).unwrap();
        sys::leave_session_keyring().unwrap();
        let mut command = as_account(Path::new("/bin/sh"), 65534, 65534);
        let script =
            "id -u; id -G; pwd; test -e /proc/self/fd/77 && echo open; grep _ses: /proc/keys";
        command.args(["-c", script]);
        let done = command.stdin(Stdio::from(theirs)).output().unwrap();
        let text = String::from_utf8(done.stdout).unwrap();
        let keyrings = text.strip_prefix("65534\n65534\n/\n").unwrap_or_else(|| panic!("{text}"));
        assert!(keyrings.lines().all(|line| line.contains(" 65534 65534 keyring ")), "{text}");
    }
}
