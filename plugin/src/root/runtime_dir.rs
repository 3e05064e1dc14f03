//! The runtime directories, made by root: `RUNTIME_PATH` for all users and `RUNTIME_PATH/UID` for
//! each. No symbolic link is followed below `RUNTIME_PATH`, and what is there already is checked
//! before it is trusted.
//!
//! What others than root can change is no place for them, whoever has made it (recipes do, with mode 1777 or
//! 0777): root then has a directory of its own.

use super::trusted_path::{Entry, check, look};
use crate::step::error::Fault;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat, openat2};
use nix::sys::stat::{Mode, SFlag, fchmod, fstat, mkdirat};
use nix::unistd::{Gid, Uid, fchown, geteuid, mkdir};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Root's own, in a directory that all can write to and in which nobody can move it.
const BELOW: &str = "pyxis-root";
/// Root's own, where there is none such: nobody else can write to /run.
const ELSEWHERE: &str = "/run/pyxis-root";

const DIRECTORY: OFlag =
    OFlag::O_DIRECTORY.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC).union(OFlag::O_RDONLY);

fn mode(bits: u32) -> Mode {
    Mode::from_bits_truncate(bits)
}

/// The directory of the users' directories, made where it is not there: `path`, or one of root's own with the reason
/// why it is not `path`.
pub(crate) fn settle(path: &Path) -> Result<(PathBuf, Option<Fault>), Fault> {
    settle_or(path, Path::new(ELSEWHERE))
}

fn settle_or(path: &Path, other: &Path) -> Result<(PathBuf, Option<Fault>), Fault> {
    let Err(why) = create(path) else { return Ok((path.to_owned(), None)) };
    // A user may have been there first. Once that was so, it stays elsewhere: steps that run have their locks there.
    let below = path.join(BELOW);
    let entered = look(path).is_ok_and(|entry| entry.stat.st_mode & 0o001 != 0);
    if open_trusted(other).is_err() && entered && create(&below).is_ok() {
        return Ok((below, Some(why)));
    }
    create(other)?;
    Ok((other.to_owned(), Some(why)))
}

/// Makes `path` (its last component only), mode 0755.
fn create(path: &Path) -> Result<(), Fault> {
    let parent = path.parent().unwrap_or(path);
    check(parent, geteuid().as_raw()).map_err(|mut fault| {
        fault.problem.insert_str(0, "it leads to the runtime directory, and ");
        fault
    })?;
    match mkdir(path, mode(0o755)) {
        // slurmd's umask may have closed it to the users.
        Ok(()) => open(path, DIRECTORY, Mode::empty())
            .and_then(|made| fchmod(made, mode(0o755)))
            .map_err(|errno| Fault::of("chmod", path, errno)),
        Err(Errno::EEXIST) => open_trusted(path).map(drop),
        Err(errno) => Err(Fault::of("create", path, errno)),
    }
}

/// Opens `path`, to make something in it, if only root can change what is in it.
fn open_trusted(path: &Path) -> Result<OwnedFd, Fault> {
    let Entry { file, stat, .. } = look(path)?;
    let ours = stat.st_uid == geteuid().as_raw();
    let (operation, problem) = if stat.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFDIR.bits() {
        ("use", "it is no directory")
    } else if !ours || stat.st_mode & 0o022 != 0 {
        ("trust", "it must belong to root and be writable by root alone")
    } else if stat.st_mode & 0o001 == 0 {
        ("use", "users cannot enter it")
    } else {
        return Ok(file);
    };
    Err(Fault::new(operation, path, problem))
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

/// Makes `path/UID`, mode 0700, owned by the user, in a directory that is settled.
pub(crate) fn create_for_user(path: &Path, uid: u32, gid: u32) -> Result<(), Fault> {
    let parent = open_trusted(path)?;
    let name = uid.to_string();
    let full = path.join(&name);
    let failed = |operation| {
        let full = &full;
        move |errno| Fault::of(operation, full, errno)
    };
    match mkdirat(&parent, name.as_str(), mode(0o700)) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(Fault::of("create", &full, errno)),
    }
    let directory = open_below(&parent, &name).map_err(|errno| match errno {
        Errno::EXDEV => {
            Fault::new("use", &full, "another file system is mounted there; unmount it")
        }
        errno => Fault::of("open", &full, errno),
    })?;
    let stat = fstat(&directory).map_err(failed("stat"))?;
    if stat.st_uid == uid {
        return Ok(());
    }
    if stat.st_uid != geteuid().as_raw() {
        return Err(Fault::new("use", &full, "it belongs to another user"));
    }
    // Just made by us, or by a step that died between the calls.
    fchmod(&directory, mode(0o700))
        .and_then(|()| fchown(&directory, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))))
        .map_err(failed("chown"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn scratch() -> tempfile::TempDir {
        let temp = tempfile::tempdir().unwrap();
        fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o755)).unwrap();
        temp
    }

    fn said(result: Result<(), Fault>) -> String {
        crate::step::error::StepError::RuntimeDir(result.unwrap_err()).to_string()
    }

    fn make(runtime: &Path, uid: u32) -> Result<(), Fault> {
        create(runtime).and_then(|()| create_for_user(runtime, uid, uid))
    }

    #[test]
    fn makes_both_directories_and_accepts_them_again() {
        let temp = scratch();
        let base = temp.path();
        let uid = geteuid().as_raw();
        let runtime = base.join("pyxis");
        for _ in 0..2 {
            make(&runtime, uid).unwrap();
            let user = runtime.join(uid.to_string());
            assert_eq!(fs::metadata(user).unwrap().permissions().mode() & 0o7777, 0o700);
        }
    }

    #[test]
    #[ignore = "needs root: the second directory is another user's"]
    fn the_umask_of_slurmd_closes_neither() {
        let temp = scratch();
        let base = temp.path();
        let runtime = base.join("pyxis");
        let made = runtime.clone();
        let modes = std::thread::spawn(move || {
            // A umask of this thread's own, for no other test shall have it.
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS).unwrap();
            nix::sys::stat::umask(Mode::from_bits_truncate(0o177));
            make(&made, 4242).unwrap();
            let user = made.join("4242");
            [made, user].map(|path| fs::metadata(path).unwrap().permissions().mode())
        });
        assert_eq!(modes.join().unwrap().map(|mode| mode & 0o7777), [0o755, 0o700]);
    }

    #[test]
    fn a_symlink_in_place_of_either_is_refused() {
        let temp = scratch();
        let base = temp.path();
        let uid = geteuid().as_raw();
        let elsewhere = base.join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        let runtime = base.join("pyxis");
        symlink(&elsewhere, &runtime).unwrap();
        assert!(make(&runtime, uid).is_err());
        fs::remove_file(&runtime).unwrap();
        create(&runtime).unwrap();
        symlink(&elsewhere, runtime.join(uid.to_string())).unwrap();
        let error = said(make(&runtime, uid));
        assert!(error.contains(&format!("pyxis/{uid}")), "{error}");
    }

    #[test]
    fn a_way_that_others_can_change_is_not_trusted() {
        let temp = scratch();
        let base = temp.path();
        for directory in ["open", "sticky", "closed"] {
            fs::create_dir(base.join(directory)).unwrap();
        }
        fs::set_permissions(base.join("open"), fs::Permissions::from_mode(0o777)).unwrap();
        fs::set_permissions(base.join("sticky"), fs::Permissions::from_mode(0o1777)).unwrap();
        let error = said(create(&base.join("open/pyxis")));
        assert!(
            error.contains(&format!("{}/open", base.display()))
                && error.contains("others than root"),
            "{error}"
        );
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
    }

    #[test]
    #[ignore = "needs root, who alone can give a link away"]
    fn a_link_of_somebody_elses_in_a_directory_like_tmp_is_not_followed() {
        let temp = scratch();
        let base = temp.path();
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
    }

    /// Nobody answers for a file system of a user's: it is not even opened.
    #[test]
    fn what_is_mounted_over_a_users_directory_is_not_opened() {
        let temp = scratch();
        let base = temp.path();
        let runtime = base.join("pyxis");
        let uid = geteuid().as_raw();
        make(&runtime, uid).unwrap();
        let user = runtime.join(uid.to_string());
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
        assert!(make(&runtime, uid).is_ok());
        drop(mounting.stdin.take());
        mounting.wait().unwrap();
    }

    #[test]
    fn a_directory_others_can_write_is_not_trusted() {
        let temp = scratch();
        let base = temp.path();
        let runtime = base.join("pyxis");
        fs::create_dir(&runtime).unwrap();
        fs::set_permissions(&runtime, fs::Permissions::from_mode(0o777)).unwrap();
        let error = said(create(&runtime));
        assert!(error.contains("writable by root alone"), "{error}");
    }

    fn chmod(path: &Path, bits: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(bits)).unwrap();
    }

    /// Where it settles, and whether it says why.
    fn settled(path: &Path, other: &Path) -> (PathBuf, bool) {
        let (place, why) = settle_or(path, other).unwrap();
        let stat = fs::symlink_metadata(&place).unwrap();
        assert!(stat.is_dir() && stat.permissions().mode() & 0o7777 == 0o755, "{place:?}");
        (place, why.is_some())
    }

    #[test]
    fn a_runtime_path_of_any_mode_and_place_has_a_directory_of_roots_own() {
        let temp = scratch();
        let base = temp.path();
        let (path, other) = (base.join("pyxis"), base.join("other"));
        assert_eq!(settled(&path, &other), (path.clone(), false));
        chmod(&path, 0o1777);
        for _ in 0..2 {
            assert_eq!(settled(&path, &other), (path.join(BELOW), true));
        }
        chmod(&path, 0o755);
        assert_eq!(settled(&path, &other), (path.clone(), false));
        for bits in [0o777, 0o775, 0o700, 0o750] {
            chmod(&path, bits);
            assert_eq!(settled(&path, &other), (other.clone(), true), "{bits:o}");
            fs::remove_dir(&other).unwrap();
        }
        // Where a part of the way is nobody's, a file, or a link.
        chmod(&path, 0o755);
        fs::write(base.join("file"), "").unwrap();
        symlink("nowhere", base.join("dangling")).unwrap();
        for place in ["none/pyxis", "file", "file/pyxis", "dangling", "/proc/pyxis"] {
            assert_eq!(settled(&base.join(place), &other), (other.clone(), true), "{place}");
            fs::remove_dir(&other).unwrap();
        }
        // Steps that run have their locks there.
        chmod(&path, 0o777);
        settled(&path, &other);
        chmod(&path, 0o1777);
        assert_eq!(settled(&path, &other), (other.clone(), true));
    }

    #[test]
    #[ignore = "needs root: the other one is another user"]
    fn what_somebody_else_has_made_or_owns_is_not_roots_own() {
        let temp = scratch();
        let base = temp.path();
        let (path, other) = (base.join("pyxis"), base.join("other"));
        let own = path.join(BELOW);
        let squats: [(&str, &dyn Fn()); 3] = [
            ("directory", &|| fs::create_dir(&own).unwrap()),
            ("link", &|| symlink(base, &own).unwrap()),
            ("fifo", &|| nix::unistd::mkfifo(&own, mode(0o666)).unwrap()),
        ];
        for (what, squat) in squats {
            fs::create_dir(&path).unwrap();
            chmod(&path, 0o1777);
            squat();
            std::os::unix::fs::lchown(&own, Some(4242), None).unwrap();
            assert_eq!(settled(&path, &other), (other.clone(), true), "{what}");
            fs::remove_dir_all(&path).unwrap();
            fs::remove_dir(&other).unwrap();
        }
        // A sticky directory's owner can move what others have there.
        fs::create_dir(&path).unwrap();
        chmod(&path, 0o1777);
        std::os::unix::fs::chown(&path, Some(4242), None).unwrap();
        assert_eq!(settled(&path, &other), (other.clone(), true));
        assert!(!own.exists());
    }
}
