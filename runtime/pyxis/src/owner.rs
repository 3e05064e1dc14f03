//! Who could change what is at a path: the file, every directory and symbolic link on the way, and
//! who serves the file system they are on.
//!
//! A user's file system can say of its files that they are root's, and need not answer: it is known
//! by its mount, before it is asked anything.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use glob::{MatchOptions, Pattern};
use linux::bounded;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, readlinkat};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::geteuid;

use crate::shell::quoted;
use crate::unmapped;

/// More links than this the kernel does not follow either.
const LINKS: usize = 40;
/// Opens what is there as a place only: nobody is asked.
const PLACE: OFlag = OFlag::O_PATH.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
/// More files than any folder of configuration has.
const ENTRIES: usize = 10_000;
/// More than the mounts of any node.
const MOUNTS: u64 = 64 << 20;

/// Why a file is not opened by programs that run as root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// Somebody else than root owns it.
    #[error("{} belongs to uid {uid}, not to root", path.display())]
    Owner {
        /// File or directory.
        path: PathBuf,
        /// Its owner.
        uid: u32,
    },
    /// Its mode lets others write.
    #[error("{} can be written by others than its owner (mode {mode:o})", path.display())]
    Writable {
        /// File or directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It says of itself what a user wants it to say.
    #[error("{} is on a file system that uid {uid} serves", path.display())]
    Served {
        /// File or directory.
        path: PathBuf,
        /// Whose process answers for it.
        uid: u32,
    },
    /// Nothing is known about it.
    #[error("{} cannot be looked at: {problem}", path.display())]
    Unseen {
        /// File or directory.
        path: PathBuf,
        /// What the kernel said.
        problem: String,
    },
}

impl Untrusted {
    /// The command that mends it.
    pub fn mend(&self) -> String {
        match self {
            Untrusted::Owner { path, .. } => format!("chown root:root {}", quoted(path)),
            Untrusted::Writable { path, .. } => format!("chmod go-w {}", quoted(path)),
            Untrusted::Served { path, .. } => format!("umount {}", quoted(path)),
            Untrusted::Unseen { path, .. } => format!("ls -ld {}", quoted(path)),
        }
    }
}

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unread {
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
    #[error("{0}")]
    File(#[from] io::Error),
}

/// The contents of a file that, where root asks, nobody else can change.
pub(super) fn read(path: &Path, most: u64) -> Result<Vec<u8>, Unread> {
    if geteuid().is_root() {
        match fault(path) {
            None => {}
            // What is not there is said as ever.
            Some(fault @ Untrusted::Unseen { .. }) => {
                return Err(bounded::open(path).map_or_else(Unread::File, |_| fault.into()));
            }
            Some(fault) => return Err(fault.into()),
        }
    }
    Ok(bounded::read(path, most)?)
}

/// Why what is at `path` is not to be believed or executed, if root asks; a user believes himself, too.
pub(crate) fn fault(path: &Path) -> Option<Untrusted> {
    faults(path).into_iter().next()
}

/// Why a file of the node's configuration for enroot is not root's alone, whoever asks. In a user namespace in
/// which root is nobody it may be the caller's as well, who decides there what is at which path.
pub(crate) fn roots(path: &Path) -> Option<Untrusted> {
    match unmapped::root() {
        None => walk(path, &[0], None).faults.into_iter().next(),
        Some(_) => configured(path).into_iter().next(),
    }
}

/// As [`faults`], of what configures enroot: the node's, or what is at a place that the caller has named.
///
/// In a user namespace that has no id for the node's root, his files are owned as those of all others without
/// an id are ([`unmapped::root`]). They count here, for a node's configuration holds in a container and below
/// `unshare --user` as well, unless anybody but their owner may write to them or, by a sticky bit, beside them.
///
/// Root is as strict as ever: where slurmd runs, and whoever types `sudo pyxis`, root has an id. Elsewhere a
/// process has no right over anybody without an id, and nobody with one can own such a file: the caller is all
/// that there is to lose. To the caller, somebody else's file can be such a one only by root's doing, who gave
/// a part of `/etc/enroot` away, or by the caller's own, who named the place. That is why programs and other
/// files that anybody can put anywhere, which [`faults`] looks at, are not believed so.
pub(crate) fn configured(path: &Path) -> Vec<Untrusted> {
    walk(path, &believed(), unmapped::root()).faults
}

/// Why what the store at `store` has is not its account's word. Its owner is believed, as are root and the
/// caller; but not for what he has put into a directory in which everybody can make something.
pub fn of_store(store: &Path) -> Option<Untrusted> {
    let [root, caller] = believed();
    let account = real(store).and_then(|real| fs::metadata(real).ok());
    let account = account.map_or(root, |stat| stat.uid());
    walk(store, &[root, caller, account], None).faults.into_iter().next()
}

/// Everything on the way to `path` that others than root and the caller could change, `path` itself
/// last. What cannot be looked at ends it.
pub(crate) fn faults(path: &Path) -> Vec<Untrusted> {
    walk(path, &believed(), None).faults
}

/// Where a path leads to, if there is something, and nothing on a user's file system: that need not
/// answer. What asks for the path itself, or for its status, comes after this.
pub(super) fn real(path: &Path) -> Option<PathBuf> {
    let Walk { at, faults, .. } = walk(path, &believed(), None);
    let ended =
        |fault: &Untrusted| matches!(fault, Untrusted::Unseen { .. } | Untrusted::Served { .. });
    (!faults.iter().any(ended)).then_some(at)
}

/// The files that a pattern with `*`, `?` and `[]` in any of its parts matches, as [`real`] sees them.
pub(super) fn glob(pattern: &Path) -> Vec<PathBuf> {
    let options = MatchOptions { require_literal_leading_dot: true, ..MatchOptions::new() };
    let mut found = vec![PathBuf::new()];
    for part in pattern.components().map(Component::as_os_str) {
        let text = part.to_string_lossy();
        if !text.contains(['*', '?', '[']) {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        let Ok(wanted) = Pattern::new(&text) else { return Vec::new() };
        let names = |directory: PathBuf| {
            let entries = real(&directory).and_then(|real| fs::read_dir(real).ok());
            let names =
                entries.into_iter().flatten().take(ENTRIES).flatten().map(|e| e.file_name());
            let fitting =
                names.filter(|name| wanted.matches_with(&name.to_string_lossy(), options));
            fitting.map(|name| directory.join(name)).collect::<Vec<_>>()
        };
        found = found.into_iter().flat_map(names).take(ENTRIES).collect();
        found.sort();
    }
    found.retain(|path| is_there(path));
    found
}

/// Whether there is something, a link that leads nowhere perhaps.
fn is_there(path: &Path) -> bool {
    let (Some(directory), Some(name)) = (path.parent().and_then(real), path.file_name()) else {
        return false;
    };
    open(&directory.join(name), PLACE, Mode::empty()).is_ok()
}

/// Who is believed: root, and the caller by himself.
fn believed() -> [u32; 2] {
    [0, geteuid().as_raw()]
}

fn walk<'a>(path: &Path, believed: &'a [u32], unmapped: Option<u32>) -> Walk<'a> {
    let (at, in_sticky) = ("/".into(), false);
    let mut walk = Walk { believed, unmapped, at, in_sticky, mount: None, faults: Vec::new() };
    let mut left: Vec<OsString> = Vec::new();
    push(&mut left, &std::path::absolute(path).unwrap_or_default());
    left.push("/".into());
    let mut links = 0;
    while let Some(part) = left.pop() {
        if part == ".." {
            walk.at.pop();
            walk.in_sticky = true; // not looked at once more
            continue;
        }
        match walk.enter(&walk.at.join(part)) {
            Err(fault) => {
                walk.faults.push(fault);
                break;
            }
            Ok(None) => {}
            Ok(Some(_)) if links == LINKS => {
                let problem = Errno::ELOOP.desc().to_owned();
                walk.faults.push(Untrusted::Unseen { path: walk.at.clone(), problem });
                break;
            }
            Ok(Some(target)) => {
                links += 1;
                push(&mut left, &target);
            }
        }
    }
    walk
}

fn push(left: &mut Vec<OsString>, path: &Path) {
    left.extend(path.components().rev().map(|part| part.as_os_str().to_owned()));
}

struct Walk<'a> {
    /// Whose files are fine.
    believed: &'a [u32],
    /// That of root and of all others who have no id here, if it is fine, too.
    unmapped: Option<u32>,
    /// Where it is; no part of it is a link.
    at: PathBuf,
    /// Whether it is a directory in which everybody can make, but not replace something.
    in_sticky: bool,
    /// The mount of the last part, which is fine; held open, as the number of one that is gone is given to another.
    mount: Option<(u64, OwnedFd)>,
    faults: Vec<Untrusted>,
}

impl Walk<'_> {
    /// Looks at one more part: goes there, or returns where the link leads to.
    fn enter(&mut self, entry: &Path) -> Result<Option<PathBuf>, Untrusted> {
        let unseen = |errno: Errno| {
            let problem = errno.desc().to_owned();
            Untrusted::Unseen { path: entry.into(), problem }
        };
        let place = open(entry, PLACE, Mode::empty()).map_err(unseen)?;
        // Where all the way is root's, nobody else has mounted anything on it.
        if self.believed != [0] {
            self.check_mount(&place, entry)?;
        }
        let stat = fstat(&place).map_err(unseen)?;
        let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
        // Of a directory with the sticky bit the entries are looked at, like all.
        let sticky = kind == SFlag::S_IFDIR && stat.st_mode & 0o1000 != 0;
        let unmapped = self.unmapped == Some(stat.st_uid);
        let known = self.believed.contains(&stat.st_uid);
        let own = match self.in_sticky {
            true => known && believed().contains(&stat.st_uid),
            false => known || unmapped,
        };
        let (path, mode) = (entry.to_path_buf(), stat.st_mode & 0o7777);
        let closed = mode & 0o022 == 0 || sticky && !unmapped;
        if !own {
            self.faults.push(Untrusted::Owner { path, uid: stat.st_uid });
        } else if matches!(kind, SFlag::S_IFDIR | SFlag::S_IFREG) && !closed {
            self.faults.push(Untrusted::Writable { path, mode });
        }
        if kind == SFlag::S_IFLNK {
            return readlinkat(&place, "").map(|target| Some(target.into())).map_err(unseen);
        }
        self.at = entry.into();
        self.in_sticky = sticky && mode & 0o022 != 0;
        Ok(None)
    }

    fn check_mount(&mut self, place: &OwnedFd, path: &Path) -> Result<(), Untrusted> {
        let info = format!("/proc/self/fdinfo/{}", place.as_raw_fd());
        let Ok(info) = fs::read_to_string(info) else {
            // The image of a node, in which nobody runs.
            return Ok(());
        };
        let mount = info.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
        let Some(mount) = mount else { return Ok(()) };
        if self.mount.as_ref().is_some_and(|(known, _)| *known == mount) {
            return Ok(());
        }
        let table = bounded::read(Path::new("/proc/self/mountinfo"), MOUNTS);
        let table = table.map_err(|error| Untrusted::Unseen {
            path: "/proc/self/mountinfo".into(),
            problem: error.to_string(),
        })?;
        let server = server(&String::from_utf8_lossy(&table), mount);
        if let Some(uid) = server.filter(|uid| !self.believed.contains(uid)) {
            return Err(Untrusted::Served { path: path.into(), uid });
        }
        self.mount = place.try_clone().ok().map(|place| (mount, place));
        Ok(())
    }
}

/// Whose process serves a mount, if a process does.
fn server(table: &str, mount: u64) -> Option<u32> {
    let mount = mount.to_string();
    let line = table.lines().find(|line| line.split(' ').next() == Some(&mount))?;
    let mut fields = line.split_once(" - ")?.1.split(' ');
    let kind = fields.next()?;
    let options = fields.nth(1)?;
    let user = options.split(',').find_map(|option| option.strip_prefix("user_id="));
    kind.starts_with("fuse").then(|| user.and_then(|user| user.parse().ok()).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn every_part_of_the_way_counts() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("a/b")).unwrap();
        let file = root.join("a/b/file");
        fs::write(&file, "").unwrap();
        mode(&file, 0o644);
        symlink("a/../a/b", root.join("link")).unwrap();
        let linked = root.join("link/file");
        assert_eq!(faults(&linked), []);
        mode(&root.join("a"), 0o775);
        mode(&file, 0o666);
        let writable = |path: &str, mode| Untrusted::Writable { path: root.join(path), mode };
        assert_eq!(faults(&file), [writable("a", 0o775), writable("a/b/file", 0o666)]);
        // By a link, too, and where it goes up again.
        assert_eq!(fault(&linked), Some(writable("a", 0o775)));
        assert_eq!(fault(&root.join("a/../link")), Some(writable("a", 0o775)));
        mode(&root.join("a"), 0o1777);
        mode(&file, 0o644);
        assert_eq!(faults(&linked), []);
        symlink("loop", root.join("loop")).unwrap();
        for path in ["loop", "absent", "a/b/file/x"] {
            let fault = fault(&root.join(path));
            assert!(matches!(fault, Some(Untrusted::Unseen { .. })), "{fault:?}");
        }
        assert!(matches!(read(&root.join("absent"), 9), Err(Unread::File(_))));
        assert_eq!(real(&linked), Some(file));
        assert_eq!(real(&root.join("absent")), None);
    }

    #[test]
    #[ignore = "needs root, to give directories away"]
    fn a_store_is_its_accounts_word_unless_everybody_could_have_made_it() {
        let temp = tempfile::tempdir().unwrap();
        let base = temp.path().canonicalize().unwrap().join("base");
        let (store, others) = (base.join("store"), base.join("others"));
        for path in [&store, &others] {
            fs::create_dir_all(path).unwrap();
            mode(path, 0o755);
            chown(path, Some(4242), None).unwrap();
        }
        symlink("others", base.join("link")).unwrap();
        let fault = |name: &str, bits| {
            mode(&base, bits);
            of_store(&base.join(name))
        };
        assert_eq!(fault("store", 0o755), None);
        for name in ["store", "others/../store", "link", "link/../store"] {
            let squatted = fault(name, 0o1777);
            assert!(matches!(squatted, Some(Untrusted::Owner { uid: 4242, .. })), "{squatted:?}");
        }
        assert!(matches!(fault("store", 0o777), Some(Untrusted::Writable { .. })));
        // What root has made there is root's word.
        chown(&store, Some(0), None).unwrap();
        assert_eq!(fault("store", 0o1777), None);
        chown(&base, Some(4343), None).unwrap();
        assert!(matches!(fault("store", 0o755), Some(Untrusted::Owner { uid: 4343, .. })));
        assert!(fault("absent", 0o755).is_some());
    }

    #[test]
    fn patterns_in_any_part() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().canonicalize().unwrap();
        for path in ["a/one.conf", "b/two.conf", "b/.hidden.conf", "b/other", "c.conf"] {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), "").unwrap();
        }
        symlink("gone", root.join("b/dangling.conf")).unwrap();
        let found = |pattern: &str| {
            let found = glob(&root.join(pattern));
            let name = |path: &PathBuf| path.strip_prefix(&root).unwrap().display().to_string();
            found.iter().map(name).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(found("*/*.conf"), "a/one.conf b/dangling.conf b/two.conf");
        assert_eq!(found("[ac]*"), "a c.conf");
        assert_eq!(found("*/other"), "b/other");
        assert_eq!(found("c.conf"), "c.conf");
        assert_eq!(found("x*/y"), "");
        assert_eq!(found("absent"), "");
    }

    #[test]
    fn other_owners_count_and_those_of_links() {
        assert!(geteuid().is_root(), "to give files away, this test must run as root");
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().canonicalize().unwrap();
        fs::create_dir(root.join("theirs")).unwrap();
        fs::write(root.join("theirs/file"), "x").unwrap();
        chown(root.join("theirs"), Some(1234), None).unwrap();
        let owner = |path: &str| Untrusted::Owner { path: root.join(path), uid: 1234 };
        assert_eq!(faults(&root.join("theirs/file")), [owner("theirs")]);
        assert!(matches!(read(&root.join("theirs/file"), 9), Err(Unread::Untrusted(_))));
        // Theirs, to a file of root's.
        symlink("/etc/passwd", root.join("link")).unwrap();
        std::os::unix::fs::lchown(root.join("link"), Some(1234), None).unwrap();
        assert_eq!(faults(&root.join("link")), [owner("link")]);
    }

    #[test]
    fn what_stands_for_root_in_a_user_namespace_counts_where_nobody_else_can_write() {
        assert!(geteuid().is_root(), "to give files away, this test must run as root");
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().canonicalize().unwrap();
        let (directory, file) = (root.join("etc"), root.join("etc/enroot.conf"));
        fs::create_dir(&directory).unwrap();
        fs::write(&file, "").unwrap();
        mode(&root, 0o755);
        mode(&file, 0o644);
        let nobody = 65534;
        for path in [&directory, &file] {
            chown(path, Some(nobody), None).unwrap();
        }
        let faults = |unmapped| walk(&file, &[0], unmapped).faults;
        let owner = |path: &PathBuf| Untrusted::Owner { path: path.clone(), uid: nobody };
        assert_eq!(faults(None), [owner(&directory), owner(&file)]);
        assert_eq!(faults(Some(nobody)), []);
        assert_eq!(faults(Some(1234)), [owner(&directory), owner(&file)]);
        // As root is looked at, wherever root has an id.
        assert_eq!(configured(&file), [owner(&directory), owner(&file)]);
        assert_eq!(roots(&file), Some(owner(&directory)));
        mode(&file, 0o664);
        let writable = |path: &PathBuf, mode| Untrusted::Writable { path: path.clone(), mode };
        assert_eq!(faults(Some(nobody)), [writable(&file, 0o664)]);
        mode(&file, 0o644);
        // Whose the sticky bit is, nobody knows.
        mode(&directory, 0o1777);
        assert_eq!(faults(Some(nobody)), [writable(&directory, 0o1777), owner(&file)]);
        chown(&directory, Some(0), None).unwrap();
        assert_eq!(faults(Some(nobody)), [owner(&file)]);
    }

    #[test]
    fn whose_process_serves_a_mount() {
        let table = "21 1 0:19 / /proc rw - proc proc rw\n\
            40 1 0:50 / /home/u/mnt rw,nosuid - fuse.sshfs x rw,user_id=1000,group_id=1,allow_other\n\
            41 1 0:51 / /cvmfs rw - fuse cvmfs rw,user_id=0\n";
        assert_eq!(server(table, 21), None);
        assert_eq!(server(table, 40), Some(1000));
        assert_eq!(server(table, 41), Some(0));
        assert_eq!(server(table, 4), None);
    }
}
