//! Unpacking: what was packed is what is in the directory, less what a user may not make; and an
//! image that lies costs an error.

mod trees;

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::libc::{S_IFBLK, S_IFCHR, S_IFDIR, S_IFMT};
use proptest::prelude::*;
use squashfs::write::{Compression, Options, Tails, XattrPrefixes};
use squashfs::{Image, LeftOut, Limits, UnpackError};
use trees::{Described, Node, Tree, assert_same, by_host, changed};

fn options() -> Options {
    let attributes = XattrPrefixes { user: true, security: true, trusted: true };
    Options { attributes, devices: true, threads: 2, ..Options::default() }
}

/// The least packed: bytes of its tables can be found and changed.
fn plain() -> Options {
    let compression = Compression::None;
    Options { compression, packed_tables: false, tails: Tails::Apart, ..options() }
}

fn memory_file() -> File {
    nix::sys::memfd::memfd_create("image", nix::sys::memfd::MFdFlags::empty()).unwrap().into()
}

fn image_of(tree: &Tree, options: &Options) -> Image {
    let file = memory_file();
    tree.write(file.try_clone().unwrap(), options).unwrap();
    Image::open(file).unwrap()
}

fn unpack(image: &Image, to: &Path) -> Result<LeftOut, UnpackError> {
    let directory = File::open(to).unwrap();
    image.unpack(directory.as_fd(), Limits::of(image), &|| false)
}

#[test]
fn all_that_a_user_can_make_is_there() {
    for options in [options(), plain(), Options { block_size: 4096, ..options() }] {
        let place = tempfile::tempdir().unwrap();
        let mut tree = trees::every_kind(options.block_size as usize);
        // Its content could not be compared by others than root.
        let none = tree.0.iter_mut().find(|entry| entry.path == b"kinds/none").unwrap();
        none.mode = 0o400;
        none.extended.push((b"user.overlay.opaque".to_vec(), b"y".to_vec()));
        none.extended.push((b"user.fuseoverlayfs.origin".to_vec(), b"../..".to_vec()));
        none.extended.push((b"user.containers.override_stat".to_vec(), b"0:0:0755".to_vec()));
        none.extended.push((b"user.kept".to_vec(), b"yes".to_vec()));
        let image = image_of(&tree, &options);
        let left = unpack(&image, place.path()).unwrap();
        assert_eq!(left, LeftOut { devices: 4, attributes: 0 });
        let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        let wanted = changed(&tree.describe(), |file| {
            file.owner = (uid, gid);
            file.mode &= !0o6000;
            let of_layers = ["user.overlay.", "user.fuseoverlayfs.", "user.containers."];
            file.extended.retain(|name, _| {
                name.starts_with("user.") && !of_layers.iter().any(|other| name.starts_with(other))
            });
            (file.links, file.device) = directory_or(file);
        });
        let mut wanted = wanted;
        wanted.retain(|_, file| ![S_IFCHR, S_IFBLK].contains(&(file.mode & S_IFMT)));
        let is = changed(&by_host(place.path()), |file| {
            (file.links, file.device) = directory_or(file);
        });
        assert_same(&is, &wanted, &format!("{options:?}"));
    }
}

/// A directory's links are a matter of the file system.
fn directory_or(file: &Described) -> (u64, (u32, u32)) {
    (if file.mode & S_IFMT == S_IFDIR { 0 } else { file.links }, (0, 0))
}

#[test]
fn zeros_take_no_room() {
    use std::os::unix::fs::MetadataExt;
    let place = tempfile::tempdir().unwrap();
    let mut tree = Tree::default();
    tree.put("", Node::Directory);
    tree.file("zeros", vec![0; 8 << 20]);
    tree.file("end", [vec![0; 8 << 20], b"end".to_vec()].concat());
    unpack(&image_of(&tree, &options()), place.path()).unwrap();
    for (name, length) in [("zeros", 8 << 20), ("end", (8 << 20) + 3)] {
        let stat = fs::metadata(place.path().join(name)).unwrap();
        assert_eq!(stat.len(), length);
        assert!(stat.blocks() * 512 <= 64 << 10, "{name}: {}", stat.blocks());
    }
}

#[test]
fn limits_hold_and_who_asked_can_change_their_mind() {
    let mut tree = Tree::default();
    tree.put("", Node::Directory);
    for number in 0..10 {
        tree.file(format!("{number}"), trees::noise(number, 3 << 20));
    }
    let image = image_of(&tree, &plain());
    let within = |bytes, names, interrupted: &(dyn Fn() -> bool + Sync)| {
        let place = tempfile::tempdir().unwrap();
        let directory = File::open(place.path()).unwrap();
        let done = image.unpack(directory.as_fd(), Limits { bytes, names }, interrupted);
        let files = fs::read_dir(place.path()).unwrap();
        let bytes: u64 = files.map(|file| file.unwrap().metadata().unwrap().len()).sum();
        (done.map_err(|error| error.to_string()), bytes)
    };
    let (done, all) = within(30 << 20, 10, &|| false);
    assert_eq!((done, all), (Ok(LeftOut::default()), 30 << 20));
    let (done, _) = within(30 << 20, 9, &|| false);
    assert_eq!(done, Err("the image has more names than its size is worth".to_owned()));
    let (done, bytes) = within(10 << 20, 10, &|| false);
    assert_eq!(done, Err("the image has more contents than its size is worth".to_owned()));
    // As many threads as may have been writing.
    assert!(bytes <= 20 << 20, "{bytes}");
    let (done, bytes) = within(30 << 20, 10, &|| true);
    assert_eq!((done, bytes), (Err("interrupted".to_owned()), 0));
}

#[test]
fn a_directory_in_two_places_is_refused() {
    let mut tree = Tree::default();
    tree.put("", Node::Directory);
    for name in ["first", "other"] {
        tree.put(name, Node::Directory);
        tree.file(format!("{name}/file"), name);
    }
    let file = memory_file();
    tree.write(file.try_clone().unwrap(), &plain()).unwrap();
    let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    // An entry: where its inode is (2 bytes), its number (2), its type (2), its length (2), its name.
    let entry = |name: &[u8]| {
        let wanted = [&[1, 0, name.len() as u8 - 1, 0], name].concat();
        bytes.windows(wanted.len()).position(|part| part == wanted).unwrap() - 4
    };
    let (first, other) = (entry(b"first"), entry(b"other"));
    let inode: [u8; 2] = bytes[first..first + 2].try_into().unwrap();
    file.write_all_at(&inode, other as u64).unwrap();
    let place = tempfile::tempdir().unwrap();
    let error = unpack(&Image::open(file).unwrap(), place.path()).unwrap_err();
    assert_eq!(error.to_string(), "the image is damaged: a directory in two places");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever an image says, all that comes of it is below the directory, and it comes to an end.
    #[test]
    fn a_damaged_image_stays_where_it_is_put(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)
    ) {
        let mut tree = Tree::default();
        tree.put("", Node::Directory);
        tree.put("a", Node::Directory);
        tree.put("link", Node::Symlink(b"../outside".to_vec()));
        tree.file("a/file", "contents");
        tree.put("again", Node::Link(3));
        let file = memory_file();
        tree.write(file.try_clone().unwrap(), &plain()).unwrap();
        let length = file.metadata().unwrap().len();
        for (at, byte) in changes {
            file.write_all_at(&[byte], at.index(length as usize) as u64).unwrap();
        }
        let place = tempfile::tempdir().unwrap();
        let inside = place.path().join("inside");
        fs::create_dir(&inside).unwrap();
        if let Ok(image) = Image::open(file) {
            let directory = File::open(&inside).unwrap();
            let limits = Limits { bytes: 1 << 20, names: 100 };
            let _ = image.unpack(directory.as_fd(), limits, &|| false);
        }
        let names: Vec<_> = fs::read_dir(place.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        prop_assert_eq!(names, ["inside"]);
    }
}
