//! The user's entries in the container's `/etc/passwd` and `/etc/group`, and what a login would
//! have set in the environment.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use crate::HostSide;

use crate::start::files;
use crate::start::process::identity::{Account, Identity};
use crate::start::rootfs::tree::Tree;
use linux::environ::Environ;
use nix::unistd::{AccessFlags, access};

/// Ids that stand for everyone without a mapping.
const OVERFLOW_ID: u32 = 65534;
const ROOT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const USER_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Names and contents of files in `/etc` that are to be changed.
pub(in crate::start) type ChangedFiles = Vec<(&'static str, String)>;

/// What an image's files say of accounts.
pub(in crate::start) struct AccountFiles {
    passwd: io::Result<Vec<u8>>,
    group: io::Result<Vec<u8>>,
    /// The host's `SHELL`, if the image has such a program.
    shell: Option<PathBuf>,
}

impl AccountFiles {
    pub(in crate::start) fn of(tree: Tree<'_>, host: &HostSide) -> AccountFiles {
        let shell = host.variable("SHELL").map(PathBuf::from);
        AccountFiles {
            passwd: tree.read("/etc/passwd"),
            group: tree.read("/etc/group"),
            shell: shell.filter(|shell| tree.is_executable(shell)),
        }
    }
}

/// What is to be in the files of accounts, so that the user is known inside. One that cannot be read
/// stays as it is. `executable` says whether the image has another shell.
pub(in crate::start) fn files(
    image: AccountFiles,
    identity: &Identity,
    account: &Account,
    executable: impl FnOnce(&Path) -> bool,
) -> ChangedFiles {
    let fallback = Path::new("/bin/sh");
    let shell = Some(&account.shell);
    let usable =
        account.shell == fallback || image.shell.as_ref() == shell || executable(&account.shell);
    let shell = if usable { &*account.shell } else { fallback };
    let shell = shell.display();
    let mut users = vec![
        format!("root:x:0:0:root:/root:{shell}"),
        format!("nobody:x:{OVERFLOW_ID}:{OVERFLOW_ID}:nobody:/:/sbin/nologin"),
    ];
    let mut groups = vec!["root:x:0:".to_owned(), format!("nogroup:x:{OVERFLOW_ID}:")];
    let (uid, gid) = (identity.inside_uid, identity.inside_gid);
    if uid != 0 {
        let Account { name, gecos, home, .. } = account;
        users.push(format!("{name}:*:{uid}:{gid}:{gecos}:{}:{shell}", home.display()));
    }
    if gid != 0 {
        groups.push(format!("{}:x:{gid}:", account.group));
    }
    for other in &account.others {
        users.push(other.passwd.clone());
        groups.push(other.group.clone());
    }
    let files = [("passwd", image.passwd, users), ("group", image.group, groups)].into_iter();
    files.filter_map(|(name, old, entries)| Some((name, with_entries(old, &entries)?))).collect()
}

/// Makes the user known inside. A root filesystem that cannot be written (a read-only directory)
/// is left as it is: programs then see a number for a name.
pub(in crate::start) fn write(identity: &Identity, account: &Account, host: &HostSide) {
    let image = AccountFiles::of(Tree::Root, host);
    let executable = |shell: &Path| Tree::Root.is_executable(shell);
    for (name, text) in files(image, identity, account, executable) {
        let _ = replace(&Path::new("/etc").join(name), &text);
    }
}

/// A file with those entries whose name and id it does not have. `None` if it has all, or is none to
/// read. The user's own come first: the first entry with an id is the one that gives it a name.
fn with_entries(old: io::Result<Vec<u8>>, entries: &[String]) -> Option<String> {
    let old = match old {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        result => result.ok()?,
    };
    added(&String::from_utf8_lossy(&old), entries)
}

fn added(old: &str, entries: &[String]) -> Option<String> {
    let missing: Vec<&String> = entries.iter().filter(|entry| !contains(old, entry)).collect();
    if missing.is_empty() {
        return None;
    }
    let mut text = String::new();
    for entry in missing.into_iter().rev() {
        text.push_str(entry);
        text.push('\n');
    }
    text.push_str(old);
    Some(text)
}

/// Not made first and looked at afterwards: the image's server would be asked once more.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    match fs::write(path, text) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::write(path, text)
        }
        result => result,
    }
}

/// Whether `file` names the same account with the same id.
fn contains(file: &str, entry: &str) -> bool {
    let key = |line: &str| {
        let mut fields = line.split(':');
        Some((fields.next()?.to_owned(), fields.nth(1)?.to_owned()))
    };
    let wanted = key(entry);
    file.lines().any(|line| key(line) == wanted)
}

/// Variables that a login sets, where nothing else has; without one, those alone that programs are found by.
pub(in crate::start) fn add_login_defaults(
    environ: &mut Environ,
    identity: &Identity,
    account: &Account,
    login: bool,
) {
    let root = identity.inside_uid == 0;
    let passwd = crate::start::files::read("/etc/passwd").unwrap_or_default();
    let passwd = String::from_utf8_lossy(&passwd);
    let id = identity.inside_uid.to_string();
    let entry: Option<Vec<&str>> = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.len() >= 7 && fields[2] == id);
    let mut set = |name: &str, value: &str| {
        if !value.is_empty() {
            environ.entry(OsStr::new(name).into()).or_insert_with(|| value.into());
        }
    };
    set("TERM", "dumb");
    if login {
        if let Some(fields) = entry {
            set("USER", fields[0]);
            set("HOME", fields[5]);
            set("SHELL", fields[6]);
        }
        set("LOGNAME", &account.name);
    }
    set("PATH", if root { ROOT_PATH } else { USER_PATH });
}

/// Makes the home directory that the environment names, if nothing is there. In a container that
/// can be written to, it gets what the image has for new users. `/proc` is there by now, and programs
/// of a container that runs may change what a path leads to at any time: all is made below what has been opened.
pub(in crate::start) fn create_home(environ: &Environ, writable: bool) {
    let Some(home) = environ.get(OsStr::new("HOME")).map(Path::new) else { return };
    if !home.is_absolute() || home.exists() {
        return;
    }
    let Ok(made) = files::new_directory(home, Mode::S_IRWXU) else { return };
    if writable {
        fill_home(&made, Path::new("/etc/skel"));
    }
}

fn fill_home(home: &OwnedFd, skeleton: &Path) {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    for entry in fs::read_dir(skeleton).into_iter().flatten().flatten() {
        let Ok(stat) = entry.metadata() else { continue };
        let Some(text) = stat.is_file().then(|| files::read(entry.path()).ok()).flatten() else {
            continue;
        };
        let made = openat(home, entry.file_name().as_os_str(), flags, Mode::S_IRUSR);
        let Ok(mut file) = made.map(fs::File::from) else { continue };
        let mode = fs::Permissions::from_mode(stat.permissions().mode() & 0o777);
        let _ = file.write_all(&text).and_then(|()| file.set_permissions(mode));
    }
}

/// The home directory, if it can be entered by the user's own rights: one that was mounted in a named
/// container leaves a directory behind that nobody may enter.
pub(in crate::start) fn home_to_enter(environ: &Environ) -> Option<PathBuf> {
    let home = environ.get(OsStr::new("HOME")).map(PathBuf::from)?;
    let can_enter = access(&home, AccessFlags::X_OK).is_ok();
    (home.is_absolute() && home.is_dir() && can_enter).then_some(home)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program of a container that runs puts a link in its place meanwhile.
    #[test]
    fn a_new_home_is_filled_wherever_its_path_leads_by_then() {
        let top = tempfile::tempdir().unwrap();
        let at = |name: &str| top.path().join(name);
        for directory in ["skel", "skel/below", "precious"] {
            fs::create_dir(at(directory)).unwrap();
        }
        fs::write(at("skel/keys"), "of the image").unwrap();
        fs::set_permissions(at("skel/keys"), fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", at("skel/link")).unwrap();
        fs::write(at("precious/keys"), "of the host").unwrap();
        let made = files::new_directory(&at("a/home"), Mode::S_IRWXU).unwrap();
        assert!(files::new_directory(&at("a/home"), Mode::S_IRWXU).is_err(), "it is there");
        fs::rename(at("a/home"), at("a/moved")).unwrap();
        std::os::unix::fs::symlink(at("precious"), at("a/home")).unwrap();
        fill_home(&made, &at("skel"));
        assert_eq!(fs::read_to_string(at("precious/keys")).unwrap(), "of the host");
        assert_eq!(fs::read_dir(at("a/moved")).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(at("a/moved/keys")).unwrap(), "of the image");
        let mode = fs::metadata(at("a/moved/keys")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
    }

    #[test]
    fn a_shell_that_the_image_lacks_is_none() {
        let identity = Identity::of_caller(false);
        let shown = |shell: Option<&str>, has: bool| {
            let account = Account { shell: "/bin/zsh".into(), ..identity.account() };
            let none = || Err(io::ErrorKind::NotFound.into());
            let image =
                AccountFiles { passwd: none(), group: none(), shell: shell.map(PathBuf::from) };
            let asked = std::cell::Cell::new(false);
            let files = files(image, &identity, &account, |_| {
                asked.set(true);
                has
            });
            (files[0].1.contains(":/bin/zsh\n"), asked.get())
        };
        assert_eq!(shown(None, false), (false, true));
        assert_eq!(shown(Some("/bin/bash"), true), (true, true));
        assert_eq!(shown(Some("/bin/zsh"), false), (true, false));
    }

    #[test]
    fn the_users_entry_comes_first_and_only_once() {
        let old = "root:x:0:0:root:/root:/bin/sh\nother:x:7:7::/:/bin/sh\n";
        let entries = [
            "root:x:0:0:root:/root:/bin/bash".to_owned(),
            "me:x:1000:1000::/home/me:/bin/sh".into(),
        ];
        let text = added(old, &entries).unwrap();
        assert!(text.starts_with("me:x:1000:1000:"), "{text}");
        assert_eq!(text.lines().count(), 3, "{text}");
        assert_eq!(added(&text, &entries), None);
    }
}
