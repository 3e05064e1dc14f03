//! The shared image store: it belongs to an account of its own, and what is missing there is
//! fetched by that account, at a step's request.
//!
//! slurmstepd, as root, forks a process that becomes the account and waits for the request. Most
//! steps have none, for the image is there: nothing is executed then. It ends with the step.

use super::child::Command;
use crate::config::Config;
use crate::step::image::Image;
use crate::step::job::Credentials;
use nix::fcntl::{OFlag, open};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::stat::{Mode, fstat};
use spank_bindings::log;
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Where the store is, for the runtime.
pub(crate) const VARIABLE: &str = "PYXIS_STORE_SHARED";

/// What of slurmd's own environment the account's process gets: the way to registries.
const HANDED_ON: [&str; 9] = [
    "PATH",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "SSL_CERT_FILE",
];

/// As root: prepares for a request, if this image may lead to one. What is wrong with the store is
/// the administrator's to know; users then fetch to stores of their own.
pub(crate) fn start(config: &Config, image: Option<&OsString>, program: &Path) -> Option<OwnedFd> {
    let store = config.shared_store.as_ref()?;
    let image = Image::parse(image?);
    if !matches!(image, Image::Remote { .. }) || image.is_daemon() || config.importer.is_some() {
        return None;
    }
    match prepare(store, program) {
        Ok(socket) => Some(socket),
        Err(problem) => {
            log::error!("pyxis: shared_store {} is not used: {problem}", store.display());
            None
        }
    }
}

fn prepare(store: &Path, program: &Path) -> Result<OwnedFd, String> {
    let account = owner(store)?;
    let failed = |errno: nix::Error| errno.desc().to_owned();
    let (ours, theirs) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
            .map_err(failed)?;
    let mut environ: Vec<CString> = HANDED_ON
        .iter()
        .filter_map(|name| Some((OsStr::new(*name).to_owned(), std::env::var_os(name)?)))
        .chain([
            ("HOME".into(), store.as_os_str().to_owned()),
            ("PYXIS_STORE_PATH".into(), store.as_os_str().to_owned()),
        ])
        .filter_map(|(name, value)| {
            CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok()
        })
        .collect();
    environ.push(c"LANG=C.UTF-8".to_owned());
    let arguments = vec!["broker".into()];
    let socket = Some(theirs.as_fd());
    let command = Command { program, arguments, environ: &environ, user: &account, socket };
    command.spawn_on_demand().map_err(|error| error.to_string())?;
    Ok(ours)
}

/// Whose the store is, if that is an account that root can become without giving anything away and
/// nobody else can write there.
fn owner(store: &Path) -> Result<Credentials, String> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_RDONLY;
    let failed = |errno: nix::Error| errno.desc().to_owned();
    let directory = open(store, flags, Mode::empty()).map_err(failed)?;
    let stat = fstat(&directory).map_err(failed)?;
    if stat.st_uid == 0 || stat.st_gid == 0 {
        return Err("it belongs to root; make it belong to an account for it alone".to_owned());
    }
    if stat.st_mode & 0o022 != 0 {
        return Err("others can write there: chmod go-w it".to_owned());
    }
    Ok(Credentials { uid: stat.st_uid, gid: stat.st_gid, groups: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    #[test]
    fn a_store_of_roots_or_that_others_can_write_is_not_used() {
        if !nix::unistd::geteuid().is_root() {
            return; // an ordinary user can give nothing to another
        }
        let base = std::env::temp_dir().join(format!("pyxis-broker-{}", std::process::id()));
        fs::create_dir(&base).unwrap();
        assert!(owner(&base).unwrap_err().contains("belongs to root"));
        chown(&base, Some(4242), Some(4343)).unwrap();
        fs::set_permissions(&base, fs::Permissions::from_mode(0o775)).unwrap();
        assert!(owner(&base).unwrap_err().contains("others can write"));
        fs::set_permissions(&base, fs::Permissions::from_mode(0o755)).unwrap();
        let account = owner(&base).unwrap();
        assert_eq!((account.uid, account.gid, account.groups.len()), (4242, 4343, 0));
        let link = base.with_extension("link");
        symlink(&base, &link).unwrap();
        assert!(owner(&link).is_err());
        fs::remove_file(link).unwrap();
        fs::remove_dir(base).unwrap();
    }
}
