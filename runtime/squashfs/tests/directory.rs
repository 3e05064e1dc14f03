//! Images made of directories: all that is there, nothing that is not, and nothing from elsewhere.

mod trees;

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{OFlag, RenameFlags, openat, renameat2};
use nix::sys::stat::{Mode, mkdirat};
use squashfs::Image;
use squashfs::write::{Found, Options, WriteError, Writer};
use trees::{assert_same, by_host, by_reader, changed, noise, text};

fn pack(root: &Path, leave_out: &mut dyn FnMut(Found<'_>) -> bool) -> Result<Image, WriteError> {
    let file: File =
        nix::sys::memfd::memfd_create("image", nix::sys::memfd::MFdFlags::empty()).unwrap().into();
    let mut writer = Writer::new(file.try_clone().unwrap(), Options::default())?;
    writer.add_directory(File::open(root).unwrap().as_fd(), leave_out)?;
    writer.finish()?;
    Ok(Image::open(file).unwrap())
}

fn tree(root: &Path) {
    fs::create_dir_all(root.join("a/b/c")).unwrap();
    fs::create_dir(root.join("many")).unwrap();
    for number in 0..1000 {
        fs::write(root.join("many").join(number.to_string()), text(number, 100)).unwrap();
    }
    fs::write(root.join("a/large"), noise(1, 1 << 20)).unwrap();
    fs::hard_link(root.join("a/large"), root.join("a/b/other name")).unwrap();
    symlink("large", root.join("a/link")).unwrap();
    fs::hard_link(root.join("a/link"), root.join("link")).unwrap();
    nix::unistd::mkfifo(&root.join("fifo"), Mode::from_bits_truncate(0o600)).unwrap();
    drop(std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap());
    fs::set_permissions(root.join("many/7"), fs::Permissions::from_mode(0o6711)).unwrap();
    fs::set_permissions(root.join("a/b"), fs::Permissions::from_mode(0o3750)).unwrap();
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_234_567);
    File::open(root.join("a")).unwrap().set_modified(old).unwrap();
    for path in ["a", "a/large", "many/5"] {
        let path = std::ffi::CString::new(root.join(path).to_str().unwrap()).unwrap();
        // SAFETY: all strings end with zeros, and the value's length is given.
        let result = unsafe {
            nix::libc::setxattr(path.as_ptr(), c"user.x".as_ptr(), b"value".as_ptr().cast(), 5, 0)
        };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    }
}

/// Without what a file system tells of directories, and our reader does not tell.
fn told(description: &trees::Description) -> trees::Description {
    changed(description, |file| {
        file.owner = (0, 0);
        if file.mode & nix::libc::S_IFMT == nix::libc::S_IFDIR {
            file.links = 0;
        }
    })
}

#[test]
fn all_that_is_there_is_in_the_image() {
    let place = tempfile::tempdir().unwrap();
    tree(place.path());
    let image = pack(place.path(), &mut |_| false).unwrap();
    let (is, wanted) = (by_reader(&image), by_host(place.path()));
    assert_same(&told(&is), &told(&wanted), "reader");
    assert_eq!(is.len(), 1011);
    assert_eq!(is[&b"a"[..]].extended.len(), 1);
}

#[test]
fn what_is_left_out_is_not() {
    let place = tempfile::tempdir().unwrap();
    tree(place.path());
    let mut leave_out = |found: Found<'_>| {
        let fifo = found.stat.st_mode & nix::libc::S_IFMT == nix::libc::S_IFIFO;
        fifo || found.path == b"a/b" || found.path.starts_with(b"many/9")
    };
    let is = by_reader(&pack(place.path(), &mut leave_out).unwrap());
    assert_eq!(is.len(), 1011 - 1 - 3 - 111);
    // Its other name is outside.
    assert_eq!(is[&b"a/large"[..]].links, 1);
}

/// A path may be longer than the kernel takes one, and a process has only so many descriptors.
#[test]
fn a_tree_may_be_deeper_than_a_path_is_long() {
    let place = tempfile::tempdir().unwrap();
    let name = "a directory with a long name";
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    let mut here = openat(nix::fcntl::AT_FDCWD, place.path(), flags, Mode::empty()).unwrap();
    for _ in 0..1100 {
        mkdirat(&here, name, Mode::S_IRWXU).unwrap();
        here = openat(&here, name, flags, Mode::empty()).unwrap();
    }
    let image = pack(place.path(), &mut |_| false).unwrap();
    assert_eq!(image.inode_count(), 1101);
    assert!(Command::new("rm").arg("-rf").arg(place.path()).status().unwrap().success());
}

#[test]
fn what_cannot_be_read_is_an_error_with_its_path() {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("a")).unwrap();
    fs::write(place.path().join("a/b"), "x").unwrap();
    // It goes when it was seen.
    let path = place.path().join("a/b");
    let mut remove = |found: Found<'_>| {
        if found.path == b"a/b" {
            fs::remove_file(&path).unwrap();
        }
        false
    };
    let error = pack(place.path(), &mut remove).err().unwrap().to_string();
    assert_eq!(error, "cannot read \"a/b\": No such file or directory (os error 2)");
}

/// Whoever changes the tree meanwhile gets no file of elsewhere into the image.
#[test]
fn no_link_leads_out_of_the_directory() {
    let place = tempfile::tempdir().unwrap();
    let (root, outside) = (place.path().join("root"), place.path().join("outside"));
    fs::create_dir_all(root.join("in")).unwrap();
    fs::create_dir(&outside).unwrap();
    for file in ["one", "two"] {
        fs::write(outside.join(file), "secret").unwrap();
        fs::write(root.join("in").join(file), "open").unwrap();
    }
    symlink(&outside, root.join("link")).unwrap();
    symlink(outside.join("one"), root.join("in/three")).unwrap();
    let exchange = |one: &str, other: &str| {
        let here = nix::fcntl::AT_FDCWD;
        let (one, other) = (root.join(one), root.join(other));
        renameat2(here, &one, here, &other, RenameFlags::RENAME_EXCHANGE).unwrap();
    };
    // Just after each was seen, it and a link change places: the kernel's answer is an error.
    for (seen, one, other) in [(&b"in"[..], "in", "link"), (b"in/one", "in/one", "in/three")] {
        let mut swap = |found: Found<'_>| {
            if found.path == seen {
                exchange(one, other);
            }
            false
        };
        let error = pack(&root, &mut swap).err().unwrap().to_string();
        exchange(one, other);
        let shown = String::from_utf8_lossy(seen);
        assert!(error.starts_with(&format!("cannot read {shown:?}: ")), "{error}");
    }
    // And at any moment.
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                exchange("in", "link");
            }
        });
        for _ in 0..300 {
            if let Ok(image) = pack(&root, &mut |_| false) {
                let secret = trees::hash(b"secret");
                assert!(by_reader(&image).values().all(|file| file.content != secret));
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}
