//! The runtime directories, made by root: `RUNTIME_PATH` for all users and `RUNTIME_PATH/UID` for
//! each. No symbolic link is followed below `RUNTIME_PATH`, and what is there already is checked
//! before it is trusted.

use super::trusted_path::{self, Fault};
use crate::step::error::{StepError, in_words};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat, openat2};
use nix::sys::stat::{Mode, fchmod, fstat, mkdirat};
use nix::unistd::{Gid, Uid, fchown, geteuid, mkdir};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

const DIRECTORY: OFlag =
    OFlag::O_DIRECTORY.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC).union(OFlag::O_RDONLY);

fn failed(operation: &'static str, path: &Path) -> impl Fn(Errno) -> StepError {
    let path = path.to_owned();
    move |errno| StepError::RuntimeDir { operation, path: path.clone(), problem: in_words(errno) }
}

fn mode(bits: u32) -> Mode {
    Mode::from_bits_truncate(bits)
}

/// Makes `path` (its last component only), mode 0755.
pub(crate) fn create(path: &Path) -> Result<(), StepError> {
    let parent = path.parent().unwrap_or(path);
    trusted_path::check(parent, geteuid().as_raw()).map_err(|fault| {
        let Fault { operation, path, problem } = fault;
        let problem = format!("it leads to the runtime directory, and {problem}");
        StepError::RuntimeDir { operation, path, problem }
    })?;
    match mkdir(path, mode(0o755)) {
        // slurmd's umask may have closed it to the users.
        Ok(()) => fchmod(open_trusted(path)?, mode(0o755)).map_err(failed("chmod", path)),
        Err(Errno::EEXIST) => open_trusted(path).map(drop),
        Err(errno) => Err(failed("create", path)(errno)),
    }
}

/// Opens `path` if only root can change what is in it.
fn open_trusted(path: &Path) -> Result<OwnedFd, StepError> {
    let directory = open(path, DIRECTORY, Mode::empty()).map_err(failed("open", path))?;
    let stat = fstat(&directory).map_err(failed("stat", path))?;
    let ours = stat.st_uid == geteuid().as_raw();
    if !ours || stat.st_mode & 0o022 != 0 {
        let problem = "it must belong to root and be writable by root alone".to_owned();
        return Err(StepError::RuntimeDir { operation: "trust", path: path.to_owned(), problem });
    }
    Ok(directory)
}

/// Opens an entry that is no mount: a user can mount a file system over what is his, and its server
/// need not answer.
fn open_below(parent: &OwnedFd, name: &str) -> nix::Result<OwnedFd> {
    let how = OpenHow::new().flags(DIRECTORY).resolve(ResolveFlag::RESOLVE_NO_XDEV);
    match openat2(parent, name, how) {
        // Before Linux 5.6.
        Err(Errno::ENOSYS) => openat(parent, name, DIRECTORY, Mode::empty()),
        opened => opened,
    }
}

/// Makes `path/UID`, mode 0700, owned by the user; makes `path` too where it is gone.
pub(crate) fn create_for_user(path: &Path, uid: u32, gid: u32) -> Result<PathBuf, StepError> {
    create(path)?;
    let parent = open_trusted(path)?;
    let name = uid.to_string();
    let full = path.join(&name);
    match mkdirat(&parent, name.as_str(), mode(0o700)) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(failed("create", &full)(errno)),
    }
    let directory = open_below(&parent, &name).map_err(|errno| match errno {
        Errno::EXDEV => {
            let problem = "another file system is mounted there; unmount it".to_owned();
            StepError::RuntimeDir { operation: "use", path: full.clone(), problem }
        }
        errno => failed("open", &full)(errno),
    })?;
    let stat = fstat(&directory).map_err(failed("stat", &full))?;
    if stat.st_uid == uid {
        return Ok(full);
    }
    if stat.st_uid != geteuid().as_raw() {
        let problem = "it belongs to another user".to_owned();
        return Err(StepError::RuntimeDir { operation: "use", path: full, problem });
    }
    // Just made by us, or by a step that died between the calls.
    fchmod(&directory, mode(0o700)).map_err(failed("chmod", &full))?;
    fchown(&directory, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
        .map_err(failed("chown", &full))?;
    Ok(full)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("pyxis-rd-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn makes_both_directories_and_accepts_them_again() {
        let base = scratch("make");
        let uid = geteuid().as_raw();
        let runtime = base.join("pyxis");
        for _ in 0..2 {
            let user = create_for_user(&runtime, uid, uid).unwrap();
            assert_eq!(fs::metadata(user).unwrap().permissions().mode() & 0o7777, 0o700);
        }
        fs::remove_dir_all(base).unwrap();
    }

    #[test]
    #[ignore = "needs root: the second directory is another user's"]
    fn the_umask_of_slurmd_closes_neither() {
        let base = scratch("umask");
        let runtime = base.join("pyxis");
        let made = runtime.clone();
        let modes = std::thread::spawn(move || {
            // A umask of this thread's own, for no other test shall have it.
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS).unwrap();
            nix::sys::stat::umask(Mode::from_bits_truncate(0o177));
            let user = create_for_user(&made, 4242, 4242);
            [Ok(made), user].map(|path| fs::metadata(path.unwrap()).unwrap().permissions().mode())
        });
        assert_eq!(modes.join().unwrap().map(|mode| mode & 0o7777), [0o755, 0o700]);
        fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn a_symlink_in_place_of_either_is_refused() {
        let base = scratch("link");
        let uid = geteuid().as_raw();
        let elsewhere = base.join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        let runtime = base.join("pyxis");
        symlink(&elsewhere, &runtime).unwrap();
        assert!(create_for_user(&runtime, uid, uid).is_err());
        fs::remove_file(&runtime).unwrap();
        create(&runtime).unwrap();
        symlink(&elsewhere, runtime.join(uid.to_string())).unwrap();
        let error = create_for_user(&runtime, uid, uid).unwrap_err().to_string();
        assert!(error.contains(&format!("pyxis/{uid}")), "{error}");
        fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn a_way_that_others_can_change_is_not_trusted() {
        let base = scratch("way");
        for directory in ["open", "sticky", "closed"] {
            fs::create_dir(base.join(directory)).unwrap();
        }
        fs::set_permissions(base.join("open"), fs::Permissions::from_mode(0o777)).unwrap();
        fs::set_permissions(base.join("sticky"), fs::Permissions::from_mode(0o1777)).unwrap();
        let error = create(&base.join("open/pyxis")).unwrap_err().to_string();
        assert!(error.contains("way/open") && error.contains("others than root"), "{error}");
        assert!(!base.join("open/pyxis").exists());
        create(&base.join("sticky/pyxis")).unwrap();
        // Links are fine where only root can make them; where they lead is looked at as well.
        symlink("closed", base.join("good")).unwrap();
        symlink(base.join("open"), base.join("bad")).unwrap();
        symlink("loop", base.join("loop")).unwrap();
        create(&base.join("good/pyxis")).unwrap();
        assert!(base.join("closed/pyxis").is_dir());
        assert!(create(&base.join("bad/pyxis")).is_err());
        assert!(create(&base.join("loop/pyxis")).is_err());
        fs::remove_dir_all(base).unwrap();
    }

    #[test]
    #[ignore = "needs root, who alone can give a link away"]
    fn a_link_of_somebody_elses_in_a_directory_like_tmp_is_not_followed() {
        let base = scratch("theirs");
        for directory in ["sticky", "closed"] {
            fs::create_dir(base.join(directory)).unwrap();
        }
        fs::set_permissions(base.join("sticky"), fs::Permissions::from_mode(0o1777)).unwrap();
        symlink(base.join("closed"), base.join("sticky/theirs")).unwrap();
        create(&base.join("sticky/theirs/pyxis")).unwrap();
        fs::remove_dir(base.join("closed/pyxis")).unwrap();
        std::os::unix::fs::lchown(base.join("sticky/theirs"), Some(4242), None).unwrap();
        assert!(create(&base.join("sticky/theirs/pyxis")).is_err());
        assert!(!base.join("closed/pyxis").exists());
        fs::remove_dir_all(base).unwrap();
    }

    /// Nobody answers for a file system of a user's: it is not even opened.
    #[test]
    fn what_is_mounted_over_a_users_directory_is_not_opened() {
        let base = scratch("mount");
        let runtime = base.join("pyxis");
        let uid = geteuid().as_raw();
        let user = create_for_user(&runtime, uid, uid).unwrap();
        // In namespaces of its own, where this process can look.
        let mut mounting = std::process::Command::new("unshare")
            .args(["-rm", "sh", "-c", "mount -t tmpfs x \"$1\" && echo done && read _", "sh"])
            .arg(&user)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut done = [0; 4];
        std::io::Read::read_exact(mounting.stdout.as_mut().unwrap(), &mut done).unwrap();
        let there = PathBuf::from(format!("/proc/{}/root", mounting.id()));
        let parent = open(&there.join(runtime.strip_prefix("/").unwrap()), DIRECTORY, mode(0));
        assert_eq!(open_below(&parent.unwrap(), &uid.to_string()).unwrap_err(), Errno::EXDEV);
        assert!(create_for_user(&runtime, uid, uid).is_ok());
        drop(mounting.stdin.take());
        mounting.wait().unwrap();
        fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn a_directory_others_can_write_is_not_trusted() {
        let base = scratch("world");
        let runtime = base.join("pyxis");
        fs::create_dir(&runtime).unwrap();
        fs::set_permissions(&runtime, fs::Permissions::from_mode(0o777)).unwrap();
        let error = create(&runtime).unwrap_err().to_string();
        assert!(error.contains("writable by root alone"), "{error}");
        fs::remove_dir_all(base).unwrap();
    }
}
