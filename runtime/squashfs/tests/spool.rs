//! Contents that are packed before it is known what becomes of them.

mod trees;

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::atomic::{AtomicU64, Ordering};

use squashfs::write::{Compression, Options, Packing, Spooled, Spooler, Tails};
use trees::{Node, Tree, noise};

fn everything() -> Tree {
    let mut tree = trees::every_kind(128 << 10);
    trees::add_large(&mut tree);
    tree.file("program", [b"\x7fELF".to_vec(), b"code ".repeat(1_000_000)].concat());
    tree.file("holes", [vec![0; 300 << 10], noise(5, 1000), vec![0; 200 << 10]].concat());
    tree
}

fn bytes_of(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// The files of a tree, each in the spool that it has by its number, filled side by side.
fn spools(tree: &Tree, spooler: &Spooler, count: usize) -> Vec<Option<Spooled>> {
    let fill = |which: usize| {
        let mut spool = spooler.begin(tempfile::tempfile().unwrap(), &|_| true);
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
    (0..20).for_each(|number| tree.file(format!("f{number}"), noise(number, 8 << 20)));
    let options = Options::for_container(Packing::Balanced);
    let file = tempfile::tempfile().unwrap();
    let spooler = Spooler::new(options.clone()).unwrap();
    let mut spool = spooler.begin(file.try_clone().unwrap(), &|_| true);
    for (number, entry) in tree.0.iter().enumerate() {
        let Node::File(content) = &entry.node else { unreachable!("there are files only") };
        spool.add(number as u32, &mut content.as_slice());
    }
    let mut spooled = spool.finish().unwrap();
    let full = file.metadata().unwrap().blocks();
    assert!(full >= (150 << 20) / 512, "{full}");
    spooled.shrink_as_read();
    let output = tempfile::tempfile().unwrap();
    tree.write_with(output.try_clone().unwrap(), &options, &[Some(spooled)]).unwrap();
    let left = file.metadata().unwrap().blocks();
    assert!(left <= full / 4, "{left} of {full}");
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
    let mut full = spooler.begin(files[0].try_clone().unwrap(), &bounded);
    full.add(0, &mut content.as_slice());
    full.add(1, &mut content.as_slice());
    let mut broken = spooler.begin(files[1].try_clone().unwrap(), &|_| true);
    broken.add(0, &mut content.as_slice());
    broken.add(1, &mut Broken);
    let mut closed = spooler.begin(File::open("/dev/null").unwrap(), &|_| true);
    closed.add(0, &mut content.as_slice());
    assert!(full.finish().is_none());
    assert!(broken.finish().is_none());
    assert!(closed.finish().is_none());
    // And one that is given up for something else.
    let mut spool = spooler.begin(files[2].try_clone().unwrap(), &|_| true);
    spool.add(0, &mut content.as_slice());
    let spooled = spool.finish().unwrap();
    assert!(spooled.is_there());
    assert!(files[2].metadata().unwrap().blocks() > 0);
    assert!(spooler.give_up());
    assert!(!spooled.is_there());
    assert!(!spooler.give_up());
    assert_eq!(files[2].metadata().unwrap().blocks(), 0);
}
