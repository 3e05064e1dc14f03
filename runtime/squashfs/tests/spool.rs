//! Contents that are packed before it is known what becomes of them.

mod trees;

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::atomic::{AtomicU64, Ordering};

use squashfs::write::{Compression, Options, Packing, Room, Spooled, Spooler, Tails};
use trees::{Node, Tree, noise};

fn everything() -> Tree {
    let mut tree = trees::every_kind(128 << 10);
    trees::add_large(&mut tree);
    tree.file("program", [b"\x7fELF".to_vec(), b"code ".repeat(1_000_000)].concat());
    tree.file("holes", [vec![0; 300 << 10], noise(5, 1000), vec![0; 200 << 10]].concat());
    tree
}

/// As much as is wanted.
const ROOM: Room<'static> = Room { file: &|| Some(tempfile::tempfile().unwrap()), may: &|_| true };

fn bytes_of(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// The files of a tree, each in the spool that it has by its number, filled side by side.
fn spools(tree: &Tree, spooler: &Spooler, count: usize) -> Vec<Option<Spooled>> {
    let fill = |which: usize| {
        let mut spool = spooler.begin(ROOM);
        for (number, entry) in tree.0.iter().enumerate().filter(|(at, _)| at % count == which) {
            if let Node::File(content) = &entry.node {
                spool.add(number as u32, &mut content.as_slice());
            }
        }
        spool.finish()
    };
    std::thread::scope(|scope| {
        let fill = &fill;
        let threads: Vec<_> = (0..count).map(|which| scope.spawn(move || fill(which))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn an_image_is_the_same_whether_its_contents_waited_in_spools_or_not() {
    let (tree, small) = (everything(), trees::every_kind(4096));
    for options in [
        Options::for_container(Packing::Balanced),
        Options::for_container(Packing::Speed),
        Options { tails: Tails::OfAllFiles, threads: 1, ..Options::default() },
        Options { tails: Tails::Apart, duplicates: false, threads: 7, ..Options::default() },
        Options { compression: Compression::Gzip(6), block_size: 4096, ..Options::default() },
    ] {
        let tree = if options.block_size == 4096 { &small } else { &tree };
        let file = tempfile::tempfile().unwrap();
        tree.write(file.try_clone().unwrap(), &options).unwrap();
        let wanted = bytes_of(&file);
        let spooler = Spooler::new(options.clone()).unwrap();
        let mut spools = spools(tree, &spooler, 3);
        assert!(spools.iter().all(Option::is_some));
        // One of them is to be read again.
        spools[1] = None;
        let file = tempfile::tempfile().unwrap();
        tree.write_with(file.try_clone().unwrap(), &options, &spools).unwrap();
        assert!(bytes_of(&file) == wanted, "{options:?}");
    }
}

/// What an image takes on its disk is never there twice.
#[test]
fn a_spool_shrinks_as_it_is_read() {
    let mut tree = Tree::default();
    (0..20).for_each(|number| tree.file(format!("f{number}"), noise(number, 32 << 20)));
    let options = Options::for_container(Packing::Speed);
    let files = RefCell::new(Vec::new());
    let file = || {
        let file = tempfile::tempfile().unwrap();
        files.borrow_mut().push(file.try_clone().unwrap());
        Some(file)
    };
    let taken = || files.borrow().iter().map(|file| file.metadata().unwrap().blocks() >> 11).sum();
    let spooler = Spooler::new(options.clone()).unwrap();
    let mut spool = spooler.begin(Room { file: &file, ..ROOM });
    for (number, entry) in tree.0.iter().enumerate() {
        let Node::File(content) = &entry.node else { unreachable!("there are files only") };
        spool.add(number as u32, &mut content.as_slice());
    }
    let mut spooled = spool.finish().unwrap();
    let full: u64 = taken();
    assert!((630..660).contains(&full), "{full} MiB");
    assert_eq!(spooled.bytes() >> 20, 640);
    spooled.shrink_as_read();
    let output = tempfile::tempfile().unwrap();
    let spools = [Some(spooled)];
    tree.write_with(output.try_clone().unwrap(), &options, &spools).unwrap();
    let left: u64 = taken();
    assert!(left < 300, "{left} MiB");
    drop(spools);
    let left: u64 = taken();
    assert_eq!(left, 0, "nobody waits for a disk to have the rest");
    let wanted = tempfile::tempfile().unwrap();
    tree.write(wanted.try_clone().unwrap(), &options).unwrap();
    assert!(bytes_of(&output) == bytes_of(&wanted));
}

struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::InvalidData.into())
    }
}

#[test]
fn a_spool_that_fails_is_none_and_its_room_is_given_back() {
    let options = Options::for_container(Packing::Balanced);
    let content = noise(1, 10 << 20);
    let spooler = Spooler::new(options).unwrap();
    let taken = AtomicU64::new(0);
    let bounded = |bytes| taken.fetch_add(bytes, Ordering::Relaxed) + bytes < 3 << 20;
    let files: Vec<File> = (0..3).map(|_| tempfile::tempfile().unwrap()).collect();
    // No room, a content that cannot be read, and a file that cannot be written.
    let file = |at: usize| {
        let files = &files;
        move || Some(files[at].try_clone().unwrap())
    };
    let (first, second, third) = (file(0), file(1), file(2));
    let mut full = spooler.begin(Room { file: &first, may: &bounded });
    full.add(0, &mut content.as_slice());
    full.add(1, &mut content.as_slice());
    let mut broken = spooler.begin(Room { file: &second, ..ROOM });
    broken.add(0, &mut content.as_slice());
    broken.add(1, &mut Broken);
    let mut closed = spooler.begin(Room { file: &|| File::open("/dev/null").ok(), ..ROOM });
    closed.add(0, &mut content.as_slice());
    assert!(full.finish().is_none());
    assert!(broken.finish().is_none());
    assert!(closed.finish().is_none());
    let mut nowhere = spooler.begin(Room { file: &|| None, ..ROOM });
    nowhere.add(0, &mut content.as_slice());
    assert!(nowhere.finish().is_none());
    // And one that is given up for something else.
    let mut spool = spooler.begin(Room { file: &third, ..ROOM });
    spool.add(0, &mut content.as_slice());
    let spooled = spool.finish().unwrap();
    assert!(spooled.is_there());
    assert!(files[2].metadata().unwrap().blocks() > 0);
    assert!(spooler.give_up());
    assert!(!spooled.is_there());
    assert!(!spooler.give_up());
    assert_eq!(files[2].metadata().unwrap().blocks(), 0);
}

/// A process may not have any number of files open.
#[test]
fn of_very_many_spools_the_last_are_none() {
    let spooler = Spooler::new(Options::for_container(Packing::Balanced)).unwrap();
    let made = |number: usize| {
        let mut spool = spooler.begin(ROOM);
        spool.add(0, &mut number.to_le_bytes().as_slice());
        spool.finish()
    };
    let spools: Vec<Option<Spooled>> = (0..300).map(made).collect();
    assert_eq!(spools.iter().flatten().count(), 256);
}
