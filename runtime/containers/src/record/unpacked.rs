//! Images unpacked once on a node and kept, where each start would have to unpack: kernels whose overlay is not for users.
//!
//! Each is a directory of its user's own, named by what the image's file is: file system, inode, size, times and superblock. It has
//! `tree`, and `used`, which whoever reads the tree has locked, beside others. Who makes or removes one has the `lock` of them all.

use std::fs::{self, DirBuilder, File};
use std::hash::{DefaultHasher, Hasher};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::unistd::geteuid;

use super::removal::remove_tree;
use super::scratch::trusted;
use super::usage::{is_at, open};
use linux::file_error::is_full;
use linux::sys::{FlockKind, flock};

const PREFIX: &str = "image.";
/// One that is being made, by who has the lock.
const BEGUN: &str = "begun";
const LOCK: &str = "lock";
/// Bytes of an image's superblock.
const HEAD: usize = 96;
/// So many are kept, beside what is in use.
const KEPT: usize = 8;

/// An image's files. They stay while `used` is open anywhere.
pub(crate) struct Unpacked {
    pub(crate) tree: PathBuf,
    pub(crate) used: File,
}

impl Unpacked {
    /// The files of `image`, which `unpack` writes to an empty directory if they are not below `place` yet.
    pub(crate) fn of(
        image: &File,
        place: &Path,
        unpack: &dyn Fn(&File) -> io::Result<()>,
    ) -> io::Result<Unpacked> {
        let place = own_place(place)?;
        let kept = place.join(name_of(image)?);
        if let Some(found) = take(&kept)? {
            return Ok(found);
        }
        let _lock = lock(&place)?;
        // Somebody else may have made it meanwhile.
        if let Some(found) = take(&kept)? {
            return Ok(found);
        }
        remove_unused(&place, KEPT - 1);
        match make(&place, &kept, unpack) {
            // What others have left may be what fills the disk.
            Err(error) if is_full(&error) && !remove_unused(&place, 0).is_empty() => {
                make(&place, &kept, unpack)
            }
            made => made,
        }
    }
}

/// Removes what is below `place` and not in use. Returns what it was.
pub fn remove_unpacked(place: &Path) -> Vec<PathBuf> {
    let there = checked(&own_name(place)).and_then(|place| Ok((lock(&place)?, place)));
    match there {
        Ok((_lock, place)) => remove_unused(&place, 0),
        Err(_) => Vec::new(),
    }
}

/// A directory of the caller's, made if need be.
fn own_place(place: &Path) -> io::Result<PathBuf> {
    let place = own_name(place);
    DirBuilder::new().mode(0o700).recursive(true).create(&place)?;
    checked(&place)
}

/// The place, or one beside it where that is somebody else's: in the cache of a group, whoever came first has the name.
fn own_name(place: &Path) -> PathBuf {
    let me = geteuid();
    let others = |stat: fs::Metadata| ![0, me.as_raw()].contains(&stat.uid());
    match place.file_name() {
        Some(name) if place.symlink_metadata().is_ok_and(others) => {
            let mut name = name.to_owned();
            name.push(format!("-{me}"));
            place.with_file_name(name)
        }
        _ => place.to_owned(),
    }
}

/// It is the caller's, and others are kept out. They have not put a link there either, which leads to where they want
/// something to be removed.
fn checked(place: &Path) -> io::Result<PathBuf> {
    let me = geteuid().as_raw();
    let by = place.symlink_metadata()?.uid();
    let place = trusted(place)?;
    let stat = place.symlink_metadata()?;
    if ![0, me].contains(&by) || stat.uid() != me || stat.mode() & 0o077 != 0 {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is not the user's alone"));
    }
    Ok(place)
}

/// A file that is replaced or written to has another name: nobody sets the time of a change back. But of file systems that are
/// images, and have one time for all, another version may be mounted by the same number: so the superblock counts as well.
fn name_of(image: &File) -> io::Result<String> {
    let stat = image.metadata()?;
    let numbers = [stat.dev(), stat.ino(), stat.size()].map(|number| format!("{number:x}"));
    let times = [stat.mtime(), stat.mtime_nsec(), stat.ctime(), stat.ctime_nsec()];
    let times = times.map(|number| format!("{number:x}"));
    let mut head = [0; HEAD];
    let length = image.read_at(&mut head, 0)?;
    let mut hash = DefaultHasher::new();
    hash.write(&head[..length]);
    Ok(format!("{PREFIX}{}-{}-{:x}", numbers.join("-"), times.join("-"), hash.finish()))
}

/// Whether it is a name of that kind: numbers, seven and a hash.
fn is_name(name: &str) -> bool {
    let numbers = name.strip_prefix(PREFIX).map(|rest| rest.split('-'));
    let is_number = |part: &str| u64::from_str_radix(part, 16).is_ok();
    numbers.is_some_and(|mut parts| parts.clone().count() == 8 && parts.all(is_number))
}

fn lock(place: &Path) -> io::Result<File> {
    let lock = open(&place.join(LOCK))?;
    flock(&lock, FlockKind::Exclusive)?;
    Ok(lock)
}

/// One that is complete and stays.
fn take(kept: &Path) -> io::Result<Option<Unpacked>> {
    let path = kept.join("used");
    let used = match File::options().read(true).write(true).open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    if !flock(&used, FlockKind::TryShared)? || !is_at(&used, &path) {
        return Ok(None);
    }
    let _ = used.set_modified(SystemTime::now());
    Ok(Some(Unpacked { tree: kept.join("tree"), used }))
}

/// Makes one, which has its name when it is complete.
fn make(
    place: &Path,
    kept: &Path,
    unpack: &dyn Fn(&File) -> io::Result<()>,
) -> io::Result<Unpacked> {
    let begun = place.join(BEGUN);
    let done = fill(&begun, unpack).and_then(|used| {
        fs::rename(&begun, kept)?;
        Ok(Unpacked { tree: kept.join("tree"), used })
    });
    if done.is_err() {
        let _ = remove_tree(&begun);
    }
    done
}

fn fill(begun: &Path, unpack: &dyn Fn(&File) -> io::Result<()>) -> io::Result<File> {
    let tree = begun.join("tree");
    DirBuilder::new().mode(0o700).create(begun)?;
    DirBuilder::new().mode(0o755).create(&tree)?;
    let used = open(&begun.join("used"))?;
    if !flock(&used, FlockKind::TryShared)? {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    unpack(&File::open(&tree)?)?;
    Ok(used)
}

/// Removes those that nobody uses but for the `keep` that were used last, and what was not completed.
fn remove_unused(place: &Path, keep: usize) -> Vec<PathBuf> {
    let _ = remove_tree(&place.join(BEGUN));
    let mut all: Vec<_> = fs::read_dir(place).into_iter().flatten().flatten().collect();
    all.retain(|entry| entry.file_name().to_str().is_some_and(is_name));
    let last_use = |entry: &fs::DirEntry| {
        entry.path().join("used").metadata().and_then(|used| used.modified()).ok()
    };
    all.sort_by_cached_key(|entry| std::cmp::Reverse(last_use(entry)));
    all.iter().skip(keep).map(fs::DirEntry::path).filter(|kept| remove(place, kept)).collect()
}

fn remove(place: &Path, kept: &Path) -> bool {
    match open(&kept.join("used")) {
        Ok(used) if !matches!(flock(&used, FlockKind::TryExclusive), Ok(true)) => false,
        // Out of sight first: a removal that is cut short leaves nothing that looks complete.
        _ => {
            let begun = place.join(BEGUN);
            fs::rename(kept, &begun).and_then(|()| remove_tree(&begun)).is_ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    struct Images {
        base: tempfile::TempDir,
        made: Cell<usize>,
    }

    impl Images {
        fn new() -> Images {
            Images { base: tempfile::tempdir().unwrap(), made: Cell::new(0) }
        }

        fn place(&self) -> PathBuf {
            self.base.path().join("cache/unpacked")
        }

        fn image(&self, name: &str) -> File {
            let path = self.base.path().join(name);
            if !path.exists() {
                fs::write(&path, name).unwrap();
            }
            File::open(path).unwrap()
        }

        fn of(&self, name: &str) -> io::Result<Unpacked> {
            Unpacked::of(&self.image(name), &self.place(), &|tree| {
                self.made.set(self.made.get() + 1);
                let tree = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(tree));
                fs::write(Path::new(&tree).join("file"), name)
            })
        }

        fn count(&self) -> usize {
            let all = fs::read_dir(self.place()).unwrap().flatten();
            all.filter(|entry| entry.file_name() != LOCK).count()
        }
    }

    #[test]
    fn an_image_is_unpacked_once_and_stays_while_it_is_used() {
        let images = Images::new();
        let (first, second) = (images.of("a").unwrap(), images.of("a").unwrap());
        assert_eq!((images.made.get(), &first.tree), (1, &second.tree));
        assert_eq!(fs::read_to_string(first.tree.join("file")).unwrap(), "a");
        drop(first);
        assert!(remove_unpacked(&images.place()).is_empty());
        assert!(second.tree.join("file").exists());
        let kept = second.tree.parent().unwrap().to_owned();
        drop(second);
        assert_eq!(remove_unpacked(&images.place()), [kept]);
        assert_eq!(images.count(), 0);
        images.of("a").unwrap();
        assert_eq!(images.made.get(), 2);
    }

    #[test]
    fn another_file_by_the_same_name_is_another_image() {
        let images = Images::new();
        let first = images.of("a").unwrap().tree;
        fs::write(images.base.path().join("other"), "a").unwrap();
        fs::rename(images.base.path().join("other"), images.base.path().join("a")).unwrap();
        assert_ne!(images.of("a").unwrap().tree, first);
    }

    /// The numbers of a file system may be those of another one by now.
    #[test]
    fn another_superblock_is_another_image_whatever_its_file_says_of_itself() {
        let images = Images::new();
        let superblock = |name: &str| {
            let name = name_of(&images.image(name)).unwrap();
            name.rsplit_once('-').unwrap().1.to_owned()
        };
        fs::write(images.base.path().join("copy"), "a").unwrap();
        std::thread::sleep(std::time::Duration::from_millis(10));
        assert_eq!(superblock("a"), superblock("copy"));
        assert_ne!(superblock("a"), superblock("b"));
    }

    #[test]
    fn what_is_not_completed_is_not_used_and_goes() {
        let images = Images::new();
        let broken = Unpacked::of(&images.image("a"), &images.place(), &|_| {
            Err(io::Error::other("half of it"))
        });
        assert_eq!(broken.err().unwrap().to_string(), "half of it");
        assert_eq!(images.count(), 0);
        // As one that was killed leaves it.
        fs::create_dir_all(images.place().join(BEGUN).join("tree/half")).unwrap();
        images.of("a").unwrap();
        assert_eq!(images.count(), 1);
    }

    #[test]
    fn those_used_last_are_kept() {
        let images = Images::new();
        let held = images.of("held").unwrap();
        for number in 0..KEPT + 2 {
            images.of(&format!("image{number}")).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(10));
            images.of("image0").unwrap();
        }
        assert!(held.tree.exists());
        assert!((KEPT..=KEPT + 1).contains(&images.count()), "{}", images.count());
        let made = images.made.get();
        images.of("image0").unwrap();
        assert_eq!(images.made.get(), made);
        images.of("image1").unwrap();
        assert_eq!(images.made.get(), made + 1);
    }

    #[test]
    fn a_full_disk_is_cleared_of_what_others_have_left() {
        let images = Images::new();
        images.of("left").unwrap();
        let full = Cell::new(true);
        let made = Unpacked::of(&images.image("a"), &images.place(), &|_| match full.take() {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        });
        made.unwrap();
        assert_eq!(images.count(), 1);
    }

    #[test]
    fn what_was_not_made_here_stays() {
        let images = Images::new();
        let kept = images.of("a").unwrap().tree.parent().unwrap().to_owned();
        let theirs = ["image.photos", "image.1-2", "photos"].map(|name| images.place().join(name));
        theirs.iter().for_each(|path| fs::create_dir(path).unwrap());
        assert_eq!(remove_unpacked(&images.place()), [kept]);
        assert!(theirs.iter().all(|path| path.is_dir()));
    }

    #[test]
    fn a_place_that_others_see_is_not_used() {
        let images = Images::new();
        DirBuilder::new().mode(0o755).recursive(true).create(images.place()).unwrap();
        let refused = images.of("a").err().unwrap();
        assert_eq!(refused.to_string(), "it is not the user's alone");
    }

    /// Beside it there is one of the user's own, and what a link leads to stays as it is.
    #[test]
    #[ignore = "needs root, to give a link away"]
    fn what_somebody_else_has_put_there_is_not_used() {
        let images = Images::new();
        let (place, precious) = (images.place(), images.base.path().join("precious"));
        let own = place.with_file_name(format!("unpacked-{}", geteuid()));
        let mut private = DirBuilder::new();
        private.mode(0o700).recursive(true).create(precious.join("image.photos")).unwrap();
        private.create(place.parent().unwrap()).unwrap();
        for place in [&place, &own] {
            std::os::unix::fs::symlink(&precious, place).unwrap();
            std::os::unix::fs::lchown(place, Some(4242), None).unwrap();
            assert!(remove_unpacked(&images.place()).is_empty());
        }
        assert!(images.of("a").is_err());
        fs::remove_file(&own).unwrap();
        assert_eq!(images.of("a").unwrap().tree.parent().unwrap().parent(), Some(&*own));
        assert_eq!(remove_unpacked(&place).len(), 1);
        assert_eq!(fs::read_dir(&precious).unwrap().count(), 1);
    }
}
