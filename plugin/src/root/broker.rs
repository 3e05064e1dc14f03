//! The shared image store: it belongs to an account of its own, and what is missing there is
//! fetched by that account, at a step's request.
//!
//! slurmstepd forks a process that becomes the account and waits for the request. Most
//! steps have none, for the image is there: nothing is executed then. It ends with the step.
//!
//! Another such process stays root. Asked for a digest, it executes `pyxis mount-image`, which has the kernel mount
//! what that account has published. Of the user it takes nothing but that digest.
//!
//! Its memory and processors are to be those of the job that asks. So it is forked as late as
//! slurmstepd can, when Slurm has put that into the step's cgroups (`task_g_pre_setuid`), which is before
//! `user_init` and after the hooks that run before.

use super::child::{Caller, Patience};
use super::runtime::{find_in, own_path};
use super::shared::{Shared, pair};
use super::trusted_path;
use super::user::Credentials;
use crate::config::Config;
use crate::step::error::in_words;
use crate::step::image::Image;
use hygiene::account;
use nix::fcntl::{OFlag, open};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::PassCred;
use nix::sys::stat::{Mode, fstat};
use spank_bindings::log;
use std::ffi::{CStr, CString, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Where the store is, for the runtime.
pub(crate) const VARIABLE: &CStr = c"PYXIS_STORE_SHARED";

/// What a request would need.
pub(crate) struct Broker {
    store: PathBuf,
    account: Credentials,
    fetcher: Way,
    /// What root executes to mount what is there.
    mounter: Option<(Way, PathBuf)>,
}

/// A socket, ours and the process's.
type Way = (OwnedFd, OwnedFd);

impl Broker {
    /// As root: prepares for a request, if this image may lead to one. What is wrong with the store is
    /// the administrator's to know; users then fetch to stores of their own.
    pub(crate) fn prepare(
        config: &Config,
        store: &Path,
        image: Option<&OsString>,
    ) -> Option<Broker> {
        let image = Image::parse(image?);
        if !matches!(image, Image::Remote { .. })
            || image.is_daemon()
            || image.is_archive()
            || config.importer.is_some()
        {
            return None;
        }
        let account = owner(store).map_err(|problem| unused(store, &problem)).ok()?;
        // Made here, for with `contain_spank` the hook that forks has descriptors of its own.
        let fetcher = way().map_err(|errno| unused(store, &in_words(errno))).ok()?;
        let program = if config.kernel_mounts { own_program(config) } else { None };
        let mounter = program.and_then(|program| Some((way().ok()?, program)));
        Some(Broker { store: store.to_owned(), account, fetcher, mounter })
    }

    /// In `user_init`: forks the processes. The ways to them.
    pub(crate) fn start(self, program: &Path, shared: &mut Shared) {
        let Broker { store, account, fetcher, mounter } = self;
        shared.broker = wait(&store, &account, &environ(&store), (program, "broker"), fetcher);
        shared.mounter = mounter.and_then(|(way, program)| {
            wait(&store, &Credentials::ROOT, &[], (&program, "mount-image"), way)
        });
    }
}

/// Forks the process behind that way.
#[inline(never)]
fn wait(
    store: &Path,
    user: &Credentials,
    environ: &[CString],
    (program, verb): (&Path, &str),
    (ours, theirs): Way,
) -> Option<OwnedFd> {
    let caller = Caller { user, environ, patience: Patience::OfUser, cgroup: None };
    let words = [verb.as_ref(), store.as_os_str()];
    // The account's process knows from its environment where the store is.
    let words = if environ.is_empty() { &words[..] } else { &words[..1] };
    let command = caller.command(program, words, [Some(theirs.as_fd()), None, None, None]);
    let forked = command.spawn_on_demand();
    forked.map_err(|error| unused(store, &error.to_string())).ok().map(|()| ours)
}

/// The kernel notes with each message who sent it, from the first one on: the broker takes on the limits of that
/// process, and root mounts for that user.
#[inline(never)]
fn way() -> nix::Result<Way> {
    pair().and_then(|pair| setsockopt(&pair.1, PassCred, &true).map(|()| pair))
}

/// The `pyxis` command, if root can execute it: nobody else could have put anything in its place.
fn own_program(config: &Config) -> Option<PathBuf> {
    let program = find_in(&own_path(), &config.pyxis_path)?;
    (program.is_absolute() && trusted_path::check(&program, 0).is_ok()).then_some(program)
}

fn unused(store: &Path, problem: &str) {
    log::error!("pyxis: shared_store {} is not used: {problem}", store.display());
}

/// Whether it is the administrator's word what the store has: where anybody could have made that
/// directory, or have put another in its place, all users would run what is in there.
pub(crate) fn is_believed(store: &Path) -> bool {
    trusted(store).map_err(|problem| unused(store, &problem)).is_ok()
}

fn trusted(store: &Path) -> Result<(), String> {
    let owned = trusted_path::look(store);
    owned.and_then(|entry| trusted_path::check(store, entry.stat.st_uid)).map_err(|fault| {
        format!("couldn't {} {}: {}", fault.operation, fault.path.display(), fault.problem)
    })
}

fn environ(store: &Path) -> Vec<CString> {
    account::environ(store.as_os_str(), |name| std::env::var_os(name))
        .filter_map(|(name, value)| {
            CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok()
        })
        .collect()
}

/// Whose the store is, if that is an account that root can become without giving anything away and
/// nobody else can write there.
fn owner(store: &Path) -> Result<Credentials, String> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_RDONLY;
    let failed = in_words;
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

    /// It is root who executes it.
    #[test]
    #[ignore = "needs root: an ordinary user can give nothing to another"]
    fn a_command_that_others_could_have_put_there_is_not_roots_to_execute() {
        // Not below /tmp, where a file of root's would do.
        let base = PathBuf::from(format!("/run/pyxis-command-{}", std::process::id()));
        fs::create_dir(&base).unwrap();
        let program = base.join("pyxis");
        fs::write(&program, "").unwrap();
        let config = Config { pyxis_path: program.clone(), ..Config::default() };
        let believed = |mode: u32, owner: u32, of_directory: u32| {
            chown(&program, Some(owner), Some(owner)).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(mode)).unwrap();
            fs::set_permissions(&base, fs::Permissions::from_mode(of_directory)).unwrap();
            own_program(&config).is_some()
        };
        assert!(believed(0o755, 0, 0o755));
        for (mode, owner, of_directory) in
            [(0o755, 4242, 0o755), (0o775, 0, 0o755), (0o757, 0, 0o755), (0o755, 0, 0o777)]
        {
            assert!(!believed(mode, owner, of_directory), "{mode:o} {owner} {of_directory:o}");
        }
        assert!(believed(0o755, 0, 0o755));
        // By a link of somebody else's.
        let link = base.join("link");
        symlink(&program, &link).unwrap();
        let by_link = Config { pyxis_path: link.clone(), ..Config::default() };
        assert!(own_program(&by_link).is_some());
        std::os::unix::fs::lchown(&link, Some(4242), Some(4242)).unwrap();
        assert!(own_program(&by_link).is_none());
        fs::remove_dir_all(base).unwrap();
    }

    /// A directory of everybody's, in which the store has not been made yet.
    #[test]
    #[ignore = "needs root: an ordinary user can give nothing to another"]
    fn a_store_that_anybody_could_have_made_is_not_believed() {
        let temp = tempfile::tempdir().unwrap();
        let base = temp.path().join("squat");
        let store = base.join("store");
        fs::create_dir_all(&store).unwrap();
        chown(&store, Some(4242), Some(4343)).unwrap();
        for (mode, believed) in [(0o755, true), (0o1777, false), (0o777, false)] {
            fs::set_permissions(&base, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(trusted(&store).is_ok(), believed, "{mode:o}");
        }
        // On the way, too, and by way of a link of the attacker's.
        fs::set_permissions(&base, fs::Permissions::from_mode(0o1777)).unwrap();
        fs::create_dir(store.join("below")).unwrap();
        assert!(trusted(&store.join("below")).is_err());
        fs::set_permissions(&base, fs::Permissions::from_mode(0o755)).unwrap();
        let problem = trusted(&store.join("below")).unwrap_err();
        assert!(problem.contains("/store: others than root"), "{problem}");
        // What root has made there is root's word.
        fs::set_permissions(&base, fs::Permissions::from_mode(0o1777)).unwrap();
        chown(&store, Some(0), Some(0)).unwrap();
        assert_eq!(trusted(&store), Ok(()));
    }

    #[test]
    #[ignore = "needs root: an ordinary user can give nothing to another"]
    fn a_store_of_roots_or_that_others_can_write_is_not_used() {
        let temp = tempfile::tempdir().unwrap();
        let base = temp.path().join("broker");
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
    }
}
