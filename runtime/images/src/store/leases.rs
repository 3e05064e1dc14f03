//! Who uses an image on other nodes, where locks do not say so: files in `uses`.
//!
//! Everybody may write there, so a lease is worth something only as its owner's: the kernel says
//! whose a file is and when it was last touched, its name only which image it is for. Each user can
//! hold so many images and no more, each for so long after it was started.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::node::{boot_id, host};
use super::{USES, names};

const NFS: i64 = 0x6969;
/// File system types (from `linux/magic.h` and their own sources) of shared file systems, whose
/// locks may not reach other nodes.
const SHARED: [i64; 9] = [
    NFS,
    0x0bd0_0bd0, // Lustre
    0x4750_4653, // GPFS
    0x1983_0326, // BeeGFS
    0x00c3_6400, // Ceph
    0x6573_5546, // FUSE
    0xff53_4d42, // CIFS
    0xfe53_4d42, // SMB2
    0x0102_1997, // 9P
];

/// Images that one user can hold: the ones used last.
const IMAGES_OF_ONE: usize = 64;
/// Files of one user, one for each image on each node. What is beyond is removed: nobody's leases are
/// to be hidden by another's.
const FILES_OF_ONE: usize = if cfg!(test) { 1000 } else { 100_000 };
/// Names tried where somebody else has put something.
const ATTEMPTS: u32 = 8;

/// Whether leases count in a store, because its locks may not reach everybody who sees it.
pub(super) fn count(root: &Path) -> bool {
    File::open(root).is_ok_and(|root| is_shared(&root))
}

fn is_shared(file: &File) -> bool {
    kind(file).is_some_and(|kind| SHARED.contains(&kind))
}

/// Whether a lock is a danger: when the server forgets its client (an expired lease, a fail-over), what is locked cannot be
/// read any more.
pub(super) fn is_nfs(file: &File) -> bool {
    kind(file) == Some(NFS)
}

fn kind(file: &File) -> Option<i64> {
    let info = nix::sys::statfs::fstatfs(file).ok()?;
    Some(info.filesystem_type().0 & 0xffff_ffff)
}

/// Says that an image, which was opened, is in use on this node.
pub(super) fn note(path: &Path, file: &File) {
    if is_shared(file) {
        write(path);
    }
}

fn write(image: &Path) -> Option<()> {
    let hex = image.file_name()?.to_str()?.strip_suffix(".sqsh")?;
    let uses = image.parent()?.parent()?.join(USES);
    let (boot, user) = (boot_id(), nix::unistd::geteuid());
    let name = format!("{hex}.{}.{}-{user}", host(), &boot[..boot.len().min(8)]);
    (0..ATTEMPTS).find_map(|attempt| {
        // A number that nobody could have foreseen.
        let name = if attempt == 0 { name.clone() } else { format!("{name}.{}", anything()) };
        touch(&uses.join(name), user.as_raw())
    })
}

fn anything() -> u32 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(SystemTime::now()) as u32
}

/// Makes or renews a file of this user's own. In a store for all users others may have put
/// something there: nothing is followed, nothing waited for, and nothing of theirs changed. (A
/// store that cannot be written to is the administrator's.)
fn touch(path: &Path, user: u32) -> Option<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o644);
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY);
    let file = options.open(path).ok()?;
    let data = file.metadata().ok()?;
    let own = data.is_file() && data.uid() == user && data.nlink() == 1;
    if own { file.set_modified(SystemTime::now()).ok() } else { None }
}

/// The images that leases say are in use.
#[derive(Debug, Default)]
pub(super) struct Leases(HashSet<String>);

impl Leases {
    /// Reads those of a store, and removes what is none any more, or only looks like one.
    pub(super) fn of(root: &Path, longest: Duration) -> Leases {
        let uses = root.join(USES);
        // Where locks reach everybody who can see the store, they are believed and nothing else.
        Leases::read(&uses, longest, count(root), nix::unistd::geteuid().as_raw())
    }

    fn read(uses: &Path, longest: Duration, counts: bool, own: u32) -> Leases {
        let (now, host, boot) = (SystemTime::now(), host(), boot_id());
        // As we make it where others have a store; a user may have a folder of that name.
        let open_to_all = fs::symlink_metadata(uses).is_ok_and(|at| at.mode() & 0o7777 == 0o1777);
        let mut of_users: HashMap<u32, (usize, HashMap<String, SystemTime>)> = HashMap::new();
        for entry in fs::read_dir(uses).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            if !names::is_lease(name.to_str().unwrap_or_default()) {
                // What fills the store's file system there, nobody would count or remove.
                if open_to_all && entry.metadata().is_ok_and(|at| at.uid() != own) {
                    let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
                }
                continue;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                // Of somebody who has put something in there it stays.
                let _ = fs::remove_dir(path);
                continue;
            }
            // Not of what a link leads to.
            let Ok(data) = path.symlink_metadata() else { continue };
            match lease(name.to_str().unwrap_or_default(), &data, &host, &boot) {
                // One with something in it is none.
                Some((hex, since)) if counts && data.len() == 0 && age(now, since) <= longest => {
                    let (files, images) = of_users.entry(data.uid()).or_default();
                    *files += 1;
                    if *files > FILES_OF_ONE {
                        let _ = fs::remove_file(path);
                        continue;
                    }
                    let known = images.entry(hex.to_owned()).or_insert(since);
                    *known = since.max(*known);
                }
                _ => {
                    let _ = fs::remove_file(path);
                }
            }
        }
        let mut held = HashSet::new();
        for (_, images) in of_users.into_values() {
            let mut images: Vec<(String, SystemTime)> = images.into_iter().collect();
            images.sort_by_key(|(_, since)| std::cmp::Reverse(*since));
            held.extend(images.into_iter().take(IMAGES_OF_ONE).map(|(hex, _)| hex));
        }
        Leases(held)
    }

    /// Whether an image is in use.
    pub(super) fn hold(&self, hex: &str) -> bool {
        self.0.contains(hex)
    }
}

/// The image that a file is a lease on, and since when: `HEX.HOST.BOOT-USER`, and a number where
/// somebody else had the name. The moment is when the file was changed last by the kernel's
/// clock, for everybody can set the other one to a year to come.
fn lease<'a>(
    name: &'a str,
    data: &fs::Metadata,
    host: &str,
    boot: &str,
) -> Option<(&'a str, SystemTime)> {
    let mut parts = name.split('.');
    let (hex, of, who) = (parts.next()?, parts.next()?, parts.next()?);
    let number = parts.next().is_none_or(|number| number.parse::<u32>().is_ok());
    let (booted, user) = who.split_once('-')?;
    let plain = names::is_lease(name);
    let own = user.parse() == Ok(data.uid());
    let rebooted = of == host && !boot.starts_with(booted);
    if !plain || !number || !own || !data.is_file() || of.is_empty() || rebooted {
        return None;
    }
    let seconds = u64::try_from(data.ctime()).ok()?;
    Some((hex, SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)))
}

/// How long ago. A moment to come is one of a clock that is ahead, and none to wait for.
fn age(now: SystemTime, since: SystemTime) -> Duration {
    const AHEAD: Duration = Duration::from_secs(3600);
    match now.duration_since(since) {
        Ok(age) => age,
        Err(ahead) if ahead.duration() <= AHEAD => Duration::ZERO,
        Err(_) => Duration::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    const WEEK: Duration = Duration::from_secs(7 * 86400);

    fn own() -> u32 {
        nix::unistd::geteuid().as_raw()
    }

    fn name(image: u32, host: &str) -> String {
        format!("{image:064x}.{host}.abcdef01-{}", nix::unistd::geteuid())
    }

    #[test]
    fn a_lease_is_its_owners_and_not_for_ever() {
        let uses = tempfile::tempdir().unwrap();
        let put = |name: &str| {
            let file = File::create(uses.path().join(name)).unwrap();
            // A year to come counts as the moment in which that was set.
            file.set_modified(SystemTime::now() + 1000 * WEEK).unwrap();
        };
        put(&name(1, "node7"));
        put(&format!("{:064x}.node7.abcdef01-{}", 2, nix::unistd::geteuid().as_raw() + 1));
        put(&format!("{:064x}.node7.abcdef01", 3));
        put(&name(5, &host()));
        symlink("/etc/passwd", uses.path().join(name(6, "node7"))).unwrap();
        fs::create_dir(uses.path().join(name(7, "node7"))).unwrap();
        // Of a user who has named a directory for the store that has other things.
        let theirs =
            ["notes.txt", "a.b.c-0", &format!("{:064x}", 4), &format!("{:064x}.tar.gz", 4)];
        theirs.iter().for_each(|name| put(name));
        fs::create_dir(uses.path().join("empty")).unwrap();
        let leases = Leases::read(uses.path(), WEEK, true, own());
        let held: Vec<u32> = (1..8).filter(|image| leases.hold(&format!("{image:064x}"))).collect();
        assert_eq!(held, [1]);
        assert_eq!(fs::read_dir(uses.path()).unwrap().count(), 1 + theirs.len() + 1, "no lease");
        assert!(theirs.iter().all(|name| uses.path().join(name).exists()));

        std::thread::sleep(Duration::from_millis(2100));
        let leases = Leases::read(uses.path(), Duration::from_secs(1), true, own());
        assert!(!leases.hold(&format!("{:064x}", 1)), "whatever its own time says");
    }

    #[test]
    fn on_a_local_disk_locks_are_believed_and_no_lease() {
        let uses = tempfile::tempdir().unwrap();
        File::create(uses.path().join(name(1, "node7"))).unwrap();
        let leases = Leases::read(uses.path(), WEEK, false, own());
        assert!(!leases.hold(&format!("{:064x}", 1)));
    }

    #[test]
    fn one_user_holds_a_bounded_number_of_images() {
        let uses = tempfile::tempdir().unwrap();
        for image in 0..500 {
            for host in ["node7", "node8"] {
                File::create(uses.path().join(name(image, host))).unwrap();
            }
        }
        let leases = Leases::read(uses.path(), WEEK, true, own());
        let held = (0..500).filter(|image| leases.hold(&format!("{image:064x}"))).count();
        assert_eq!(held, IMAGES_OF_ONE);
    }

    /// As who may write there can, to have images collected that others use.
    #[test]
    fn no_crowd_hides_anybodys_leases() {
        let uses = tempfile::tempdir().unwrap();
        for number in 0..1100 {
            // One in fifty is an honest one.
            if number % 50 == 0 {
                File::create(uses.path().join(name(number, "node7"))).unwrap();
            }
            fs::create_dir_all(uses.path().join(format!("{number}/x"))).unwrap();
        }
        let leases = Leases::read(uses.path(), WEEK, true, own());
        let held = |number: &u32| leases.hold(&format!("{number:064x}"));
        assert_eq!((0..1100).step_by(50).filter(held).count(), 22);
        for node in 0..1100 {
            File::create(uses.path().join(name(1, &format!("node{node}")))).unwrap();
        }
        Leases::read(uses.path(), WEEK, true, own());
        let files = fs::read_dir(uses.path()).unwrap().flatten();
        let files = files.filter(|entry| entry.path().is_file()).count();
        assert_eq!(files, FILES_OF_ONE);
    }

    /// All that could be foreseen of a lease's name can be there already.
    #[test]
    fn a_lease_has_a_name_that_nobody_can_take() {
        let store = tempfile::tempdir().unwrap();
        let uses = store.path().join(USES);
        fs::create_dir_all(&uses).unwrap();
        let image = store.path().join("images").join(format!("{:064x}.sqsh", 1));
        write(&image).unwrap();
        let first = fs::read_dir(&uses).unwrap().next().unwrap().unwrap().path();
        fs::remove_file(&first).unwrap();
        fs::create_dir_all(first.join("x")).unwrap();
        for number in 0..100 {
            fs::create_dir_all(format!("{}.{number}/x", first.display())).unwrap();
        }
        write(&image).expect("a lease");
        assert!(Leases::read(&uses, WEEK, true, own()).hold(&format!("{:064x}", 1)));
    }

    #[test]
    fn what_others_put_there_is_removed_where_we_let_them() {
        let uses = tempfile::tempdir().unwrap();
        let file = |name: &str| uses.path().join(name);
        fs::write(file("theirs"), "x").unwrap();
        fs::write(file(&name(1, "node7")), "x").unwrap();
        let read = |own| drop(Leases::read(uses.path(), WEEK, true, own));
        read(own() + 1);
        assert!(file("theirs").exists() && !file(&name(1, "node7")).exists());
        fs::set_permissions(uses.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        read(own());
        assert!(file("theirs").exists());
        read(own() + 1);
        assert!(!file("theirs").exists());
    }

    #[test]
    fn what_somebody_put_in_the_way_is_neither_used_nor_changed() {
        let store = tempfile::tempdir().unwrap();
        let uses = store.path().join(USES);
        fs::create_dir_all(&uses).unwrap();
        fs::create_dir(store.path().join("images")).unwrap();
        let image = store.path().join("images").join(format!("{:064x}.sqsh", 1));
        let victim = store.path().join("victim");
        File::create(&victim).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        write(&image).unwrap();
        let lease = fs::read_dir(&uses).unwrap().next().unwrap().unwrap().path();
        fs::remove_file(&lease).unwrap();
        fs::hard_link(&victim, &lease).unwrap();
        write(&image).unwrap();
        let modified = fs::metadata(&victim).unwrap().modified().unwrap();
        assert_eq!(modified, SystemTime::UNIX_EPOCH);
        let leases = Leases::read(&uses, WEEK, true, own());
        assert!(leases.hold(&format!("{:064x}", 1)), "by another name");
    }
}
