//! The writer of images: what was added is what readers find, ours, the kernel, unsquashfs and
//! squashfuse; and the bytes are the same on any number of cores.

mod trees;

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use squashfs::write::{
    Attributes, Compression, NewFile, Options, Tails, Times, WriteError, Writer, XattrPrefixes,
};
use squashfs::{Image, Kind};
use trees::{Entry, Node, Tree, assert_same, by_host, by_reader, changed, noise, text};

/// That nothing is left out.
fn everything() -> Options {
    let attributes = XattrPrefixes { user: true, security: true, trusted: true };
    Options { attributes, devices: true, threads: 3, ..Options::default() }
}

/// Ways to write that differ in what is in the image.
fn ways() -> Vec<Options> {
    vec![
        everything(),
        Options { tails: Tails::OfAllFiles, packed_tables: false, ..everything() },
        Options { tails: Tails::Apart, duplicates: false, ..everything() },
        Options { compression: Compression::None, packed_tables: false, ..everything() },
        Options { compression: Compression::Gzip(6), block_size: 4096, ..everything() },
        Options { block_size: 1 << 20, compression: Compression::Zstd(3), ..everything() },
    ]
}

fn open(path: &Path) -> Image {
    Image::open(File::open(path).unwrap()).unwrap()
}

fn memory_file() -> File {
    nix::sys::memfd::memfd_create("image", nix::sys::memfd::MFdFlags::empty()).unwrap().into()
}

fn bytes_of(tree: &Tree, options: &Options) -> Vec<u8> {
    let file = memory_file();
    let written = tree.write(file.try_clone().unwrap(), options).unwrap();
    let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(bytes.len() as u64, written.bytes.next_multiple_of(4096));
    bytes
}

fn compare_with_reader(tree: &Tree, options: &Options) {
    let file = memory_file();
    tree.write(file.try_clone().unwrap(), options).unwrap();
    let image = Image::open(file).unwrap();
    let wanted = changed(&tree.describe(), |file| file.owner = (0, 0));
    assert_same(&by_reader(&image), &wanted, &format!("{options:?}"));
}

#[test]
fn our_reader_finds_what_was_added() {
    for options in ways() {
        let mut tree = trees::every_kind(options.block_size as usize);
        trees::add_large(&mut tree);
        compare_with_reader(&tree, &options);
    }
}

/// Mounts an image while something is done; the kernel's way, or a program's.
fn mounted(how: &[&str], image: &Path, at: &Path, with: impl FnOnce(&Path)) {
    fs::create_dir_all(at).unwrap();
    let done = Command::new(how[0]).args(&how[1..]).arg(image).arg(at).output();
    let done = done.unwrap_or_else(|error| panic!("{how:?}: {error}"));
    assert!(done.status.success(), "{how:?}: {done:?}");
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| with(at)));
    assert!(Command::new("umount").arg(at).status().unwrap().success());
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

const KERNEL: &[&str] = &["mount", "-t", "squashfs", "-o", "loop,ro"];

/// unsquashfs as installed, and those that `PYXIS_UNSQUASHFS` names.
fn unsquashfs() -> Vec<PathBuf> {
    #[expect(
        clippy::disallowed_methods,
        reason = "whose programs are tried is the caller's choice"
    )]
    let others = std::env::var("PYXIS_UNSQUASHFS").unwrap_or_default();
    ["unsquashfs"].into_iter().chain(others.split_whitespace()).map(PathBuf::from).collect()
}

fn compare_with_others(tree: &Tree, options: &Options, place: &Path) {
    let (image, at) = (place.join("x.sqsh"), place.join("at"));
    tree.image(&image, options);
    let wanted = tree.describe();
    mounted(KERNEL, &image, &at, |at| assert_same(&by_host(at), &wanted, "kernel"));
    // A directory's links are a matter of the file system.
    let links = |file: &mut trees::Described| {
        if file.mode & nix::libc::S_IFMT == nix::libc::S_IFDIR {
            file.links = 0;
        }
    };
    for program in ["squashfuse", "squashfuse_ll"] {
        // They do not find attributes that are empty, or show another's value for them, and take
        // `trusted` for `security`, whoever has written them; squashfuse has an inode for each name.
        let told = |description: &_| {
            changed(description, |file| {
                links(file);
                file.extended.retain(|name, (size, _)| name.starts_with("user.") && *size > 0);
                file.first.clear();
            })
        };
        mounted(&[program], &image, &at, |at| {
            let mut seen = by_host(at);
            for (path, file) in &mut seen {
                let written = wanted.get(path).map(|file| &file.extended);
                let has_value = |name: &String| {
                    written.and_then(|all| all.get(name)).is_none_or(|(size, _)| *size > 0)
                };
                file.extended.retain(|name, _| has_value(name));
            }
            assert_same(&told(&seen), &told(&wanted), program);
        });
    }
    for program in unsquashfs() {
        let within = tempfile::tempdir_in(place).unwrap();
        let to = within.path().join("unpacked");
        let mut command = Command::new(&program);
        let done = command.args(["-no-progress", "-d"]).arg(&to).arg(&image).output();
        let done = done.unwrap_or_else(|error| panic!("{program:?}: {error}"));
        assert!(done.status.success(), "{program:?}: {done:?}");
        let (mut is, mut wanted) = (changed(&by_host(&to), links), changed(&wanted, links));
        // 4.4 makes no sockets.
        let socket = |file: &trees::Described| file.mode & nix::libc::S_IFMT == nix::libc::S_IFSOCK;
        is.retain(|_, file| !socket(file));
        wanted.retain(|_, file| !socket(file));
        assert_same(&is, &wanted, &program.to_string_lossy());
    }
}

#[test]
#[ignore = "needs root: the kernel mounts what was written"]
fn others_find_what_was_added() {
    let place = tempfile::tempdir().unwrap();
    for options in ways().into_iter().step_by(2) {
        let tree = trees::every_kind(options.block_size as usize);
        compare_with_others(&tree, &options, place.path());
    }
}

#[test]
#[ignore = "needs root: the kernel mounts what was written"]
fn others_find_large_attributes_and_directories() {
    let place = tempfile::tempdir().unwrap();
    let (image, at) = (place.path().join("x.sqsh"), place.path().join("at"));
    let mut tree = Tree::default();
    tree.put("many", Node::Directory);
    for number in 0..70_000 {
        tree.file(format!("many/{}{number}", "n".repeat(number % 40)), [number as u8]);
    }
    trees::add_large(&mut tree);
    tree.image(&image, &everything());
    let wanted = tree.describe();
    mounted(KERNEL, &image, &at, |at| assert_same(&by_host(at), &wanted, "kernel"));
    compare_with_reader(&tree, &everything());
}

#[test]
fn the_bytes_are_the_same_on_any_number_of_cores() {
    for options in ways() {
        let tree = trees::every_kind(options.block_size as usize);
        let one = bytes_of(&tree, &Options { threads: 1, ..options.clone() });
        for (threads, memory) in [(2, 64 << 20), (8, 64 << 20), (64, 64 << 20), (5, 0)] {
            let other = bytes_of(&tree, &Options { threads, memory, ..options.clone() });
            assert!(one == other, "{threads} threads, {options:?}");
        }
    }
}

#[test]
fn the_same_content_is_stored_once() {
    let size = |copies: u64, options: &Options| {
        let mut tree = Tree::default();
        for copy in 0..copies {
            for length in [1000, 128 << 10, 1_000_000] {
                tree.file(format!("{copy} of {length}"), noise(length as u64, length));
            }
        }
        bytes_of(&tree, options).len()
    };
    let once = 1000 + (128 << 10) + 1_000_000;
    for tails in [Tails::OfSmallFiles, Tails::OfAllFiles, Tails::Apart] {
        let options = Options { tails, ..everything() };
        let twenty = size(20, &options);
        assert!((once..once + 12_000).contains(&twenty), "{tails:?}: {twenty}");
        let apart = size(20, &Options { duplicates: false, ..options });
        // Of those of 1000 bytes it is seen when they are packed.
        assert!(apart > 20 * (once - 1000), "{tails:?}: {apart}");
    }
}

#[test]
fn only_what_pays_is_packed() {
    let mut tree = Tree::default();
    tree.file("noise", noise(1, 10 << 20));
    let length = bytes_of(&tree, &everything()).len();
    assert!((10 << 20..(10 << 20) + 4096 + 8192).contains(&length), "{length}");
    tree.file("text", text(1, 10 << 20));
    let length = bytes_of(&tree, &everything()).len();
    assert!(length < 14 << 20, "{length}");
}

/// They are read at every start, and would be unpacked at every start.
#[test]
fn the_beginnings_of_programs_are_not_packed() {
    let elf = |seed: u64, length: usize| [b"\x7fELF".to_vec(), text(seed, length)].concat();
    let mut tree = Tree::default();
    tree.file("small", elf(1, 50_000));
    tree.file("large", elf(2, 5 << 20));
    tree.file("other", text(3, 5 << 20));
    let size = |plain_programs| {
        let options = Options { plain_programs, ..everything() };
        compare_with_reader(&tree, &options);
        bytes_of(&tree, &options).len()
    };
    let (none, some) = (size(0), size(1 << 20));
    assert!(none < 3 << 20, "{none}");
    // Text becomes a fifth, or less.
    let more = some - none;
    assert!((850_000..50_000 + (1 << 20)).contains(&more), "{more}");
    assert!(size(u64::MAX) > none + (4 << 20));
}

#[test]
fn settings_say_what_is_kept() {
    let mut tree = trees::every_kind(4096);
    let options = Options {
        block_size: 4096,
        attributes: XattrPrefixes { user: false, security: true, trusted: false },
        devices: false,
        owner: Some((0, 7)),
        times: Times::AtMost(1_700_000_000),
        ..Options::default()
    };
    // Another name of what is left out is left out as well.
    let null = tree.0.iter().position(|entry| entry.path == b"kinds/null").unwrap();
    tree.put("null", Node::Link(null));
    let file = memory_file();
    tree.write(file.try_clone().unwrap(), &options).unwrap();
    let mut wanted = tree.describe();
    wanted.retain(|_, file| file.device == (0, 0));
    let wanted = changed(&wanted, |file| {
        file.owner = (0, 0);
        file.mtime = file.mtime.min(1_700_000_000);
        file.extended.retain(|name, _| name.starts_with("security."));
    });
    assert!(wanted.values().any(|file| !file.extended.is_empty()));
    assert_same(&by_reader(&Image::open(file).unwrap()), &wanted, "reader");
    let all = bytes_of(&tree, &Options { times: Times::All(5), ..options });
    let path = tempfile::NamedTempFile::new().unwrap();
    fs::write(path.path(), all).unwrap();
    assert!(by_reader(&open(path.path())).values().all(|file| file.mtime == 5));
}

/// A file of more than 4 GiB, most of it holes, and one behind 4 GiB of the image.
#[test]
#[ignore = "needs root: the kernel mounts what was written"]
fn large_files_are_read_at_their_ends() {
    const SIZE: u64 = (4 << 30) + 12_345;
    fn pattern(at: u64) -> u8 {
        if (1 << 20..SIZE - (1 << 20)).contains(&at) { 0 } else { (at % 251) as u8 }
    }
    struct Large(u64);
    impl Read for Large {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = buffer.len().min((SIZE - self.0) as usize);
            buffer[..count].fill(0);
            if self.0 < 1 << 20 || self.0 + count as u64 > SIZE - (1 << 20) {
                for (at, byte) in (self.0..).zip(&mut buffer[..count]) {
                    *byte = pattern(at);
                }
            }
            self.0 += count as u64;
            Ok(count)
        }
    }
    let place = tempfile::tempdir().unwrap();
    let (path, at) = (place.path().join("x.sqsh"), place.path().join("at"));
    let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    let mut writer = Writer::new(file, everything()).unwrap();
    let attributes = Attributes { mode: 0o644, ..Attributes::default() };
    writer.add(b"large", &attributes, NewFile::File(&mut Large(0))).unwrap();
    let summary = writer.finish().unwrap();
    assert!(summary.bytes < 4 << 20, "{summary:?}");
    let image = open(&path);
    let inode = image.find(Path::new("/large"), true).unwrap();
    let Kind::File(contents) = &inode.kind else { panic!("{inode:?}") };
    assert_eq!(inode.size, SIZE);
    mounted(KERNEL, &path, &at, |at| {
        let file = File::open(at.join("large")).unwrap();
        assert_eq!(file.metadata().unwrap().len(), SIZE);
        for offset in [0, (1 << 20) - 99, 2 << 30, (4 << 30) - 50, SIZE - (1 << 20) - 50, SIZE - 60]
        {
            let (mut ours, mut kernel) = ([1; 100], [2; 100]);
            let count = image.read(&inode, contents, offset, &mut ours).unwrap();
            let got = file.read_at(&mut kernel, offset).unwrap();
            assert_eq!(count, got);
            assert_eq!(ours[..count], kernel[..got], "{offset}");
            assert_eq!(ours[0], pattern(offset), "{offset}");
        }
    });
}

#[test]
fn more_users_than_there_is_room_for_are_an_error() {
    let mut tree = Tree::default();
    for number in 1..=65_535 {
        tree.put(number.to_string(), Node::Fifo).owner = (number, 0);
    }
    let error = tree.write(memory_file(), &everything()).unwrap_err();
    assert_eq!(error.to_string(), "an image has room for 65535 users and groups at most");
    tree.0.pop();
    compare_with_reader(&tree, &everything());
}

#[test]
fn what_cannot_be_in_an_image_is_an_error_with_its_path() {
    let error = |path: &str, change: &dyn Fn(&mut Entry), node: Node| {
        let mut tree = Tree::default();
        change(tree.put(path, node));
        tree.write(memory_file(), &everything()).unwrap_err().to_string()
    };
    let same = |_: &mut Entry| {};
    for target in [Vec::new(), b"a\0b".to_vec(), vec![b'x'; 4096]] {
        let error = error("a/link", &same, Node::Symlink(target));
        assert_eq!(
            error,
            "\"a/link\" cannot be put into an image: no symbolic link can lead there"
        );
    }
    let long = |entry: &mut Entry| entry.extended = vec![(b"user.x".to_vec(), vec![0; 65_537])];
    let refused = error("a/\nb", &long, Node::Fifo);
    assert!(
        refused.starts_with("\"a/\\nb\" cannot be put into an image: an extended"),
        "{refused}"
    );
    for name in [&b"user."[..], b"user.a\0b", &[b"user.", &[b'n'; 251][..]].concat()] {
        let named = |entry: &mut Entry| entry.extended = vec![(name.to_vec(), vec![1])];
        assert!(error("a", &named, Node::Fifo).contains("an extended attribute"));
    }
    let twice = |entry: &mut Entry| entry.extended = vec![(b"user.a".to_vec(), vec![1]); 2];
    assert!(error("a", &twice, Node::Fifo).contains("an extended attribute twice"));
    for path in ["", "/a", "a//b", "a/../b", "./a", "a/"] {
        assert!(error(path, &same, Node::Fifo).contains("cannot be put into an image"), "{path}");
        let linked = if path.is_empty() { "/" } else { path };
        assert!(error(linked, &same, Node::Directory).contains("cannot be put"), "{path}");
    }
    let mut tree = Tree::default();
    tree.file("a/b", "1");
    tree.file("a/b", "2");
    let twice = tree.write(memory_file(), &everything()).unwrap_err();
    assert_eq!(twice.to_string(), "\"a/b\" cannot be put into an image: it is there twice");
    for (options, what) in [
        (Options { block_size: 5000, ..everything() }, "blocks of 5000 bytes"),
        (Options { compression: Compression::Zstd(23), ..everything() }, "zstd's level 23"),
        (Options { compression: Compression::Gzip(0), ..everything() }, "gzip's level 0"),
    ] {
        let error = Tree::default().write(memory_file(), &options).unwrap_err().to_string();
        assert_eq!(error, format!("an image cannot be written with {what}"));
    }
}

/// What has failed once is no image, whatever is done with it then.
#[test]
fn content_that_cannot_be_read_is_an_error() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("torn"))
        }
    }
    let file = memory_file();
    let mut writer = Writer::new(file.try_clone().unwrap(), everything()).unwrap();
    let attributes = Attributes::default();
    let mut begun = io::Cursor::new(noise(1, 300_000)).chain(Broken);
    let error = writer.add(b"a/b", &attributes, NewFile::File(&mut begun)).unwrap_err();
    assert_eq!(error.to_string(), "cannot read \"a/b\": torn");
    let error = writer.add(b"c", &attributes, NewFile::File(&mut &b"c"[..])).unwrap_err();
    assert!(matches!(error, WriteError::GivenUp), "{error}");
    assert!(matches!(writer.finish(), Err(WriteError::GivenUp)));
    let error = Image::open(file).err().unwrap().to_string();
    assert_eq!(error, "the image is damaged: no squashfs");
}

#[test]
fn an_output_that_is_full_is_an_error() {
    let full = || File::options().read(true).write(true).open("/dev/full").unwrap();
    let mut tree = Tree::default();
    let error = tree.write(full(), &everything()).unwrap_err();
    assert!(error.to_string().starts_with("cannot write the image: No space left"), "{error}");
    for number in 0..100 {
        tree.file(number.to_string(), noise(number, 500_000));
    }
    for threads in [1, 4] {
        let error = tree.write(full(), &Options { threads, ..everything() }).unwrap_err();
        assert!(error.to_string().starts_with("cannot write the image: No space left"), "{error}");
    }
}

#[test]
fn no_image_is_larger_than_it_may_be() {
    let mut tree = Tree::default();
    for number in 0..20 {
        tree.file(format!("{number} of some name"), noise(number, 500_000));
    }
    let options = Options { packed_tables: false, ..everything() };
    let file = memory_file();
    let bytes = tree.write(file, &options).unwrap().bytes;
    // Exactly so much, one byte less, only what is at the end, and less than the data.
    for (largest, fits) in
        [(bytes, true), (bytes - 1, false), (bytes - 500, false), (1 << 20, false)]
    {
        let file = memory_file();
        let written =
            tree.write(file.try_clone().unwrap(), &Options { largest, ..options.clone() });
        assert_eq!(written.is_ok(), fits, "{largest}");
        if let Err(error) = written {
            assert!(matches!(error, WriteError::TooLarge(limit) if limit == largest), "{error}");
            assert!(file.metadata().unwrap().len() <= largest, "{largest}");
        }
    }
}

#[test]
fn a_large_image_takes_little_memory() {
    let file = tempfile::tempfile().unwrap();
    let options = Options { threads: 8, block_size: 1 << 20, memory: 32 << 20, ..everything() };
    let mut writer = Writer::new(file, options).unwrap();
    for number in 0..100u64 {
        let content = [noise(number, 2 << 20), text(number, 2 << 20)].concat();
        let path = number.to_string();
        let attributes = Attributes::default();
        writer.add(path.as_bytes(), &attributes, NewFile::File(&mut content.as_slice())).unwrap();
    }
    writer.finish().unwrap();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kibibytes: u32 = most.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kibibytes < 100_000, "{most}");
}

/// Trees of random shape: each entry goes below one of the directories before it.
fn random_tree() -> impl Strategy<Value = Tree> {
    let name = prop_oneof![
        8 => "[a-z]{1,8}".prop_map(String::into_bytes),
        1 => "[a-z]{200,255}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 1..20),
    ];
    let entry = (any::<u32>(), name, random_node(), any::<u16>(), 0..5u32, any::<u32>());
    let entry = (entry, random_attributes());
    proptest::collection::vec(entry, 0..120).prop_map(|entries| {
        let mut tree = Tree::default();
        let mut directories = vec![Vec::new()];
        let mut seen = std::collections::HashSet::new();
        for ((below, name, node, mode, owner, mtime), extended) in entries {
            let bad = matches!(name.as_slice(), b"." | b"..");
            if bad || name.contains(&0) || name.contains(&b'/') {
                continue;
            }
            let parent: &Vec<u8> = &directories[below as usize % directories.len()];
            let path = if parent.is_empty() { name } else { [parent, &b"/"[..], &name].concat() };
            if !seen.insert(path.clone()) {
                continue;
            }
            let files: Vec<usize> = (0..tree.0.len())
                .filter(|at| !matches!(tree.0[*at].node, Node::Directory))
                .collect();
            let node = match node {
                Node::Link(_) if files.is_empty() => Node::Fifo,
                Node::Link(to) => Node::Link(files[to % files.len()]),
                node => node,
            };
            if matches!(node, Node::Directory) {
                directories.push(path.clone());
            }
            let common = !matches!(node, Node::Directory | Node::File(_));
            let symlink = matches!(node, Node::Symlink(_));
            let entry = tree.put(path, node);
            if !symlink {
                // No file system that something is unpacked to has others for links.
                entry.mode = u32::from(mode) & 0o7777;
            }
            entry.owner = (owner, owner * 70_000);
            entry.mtime = i64::from(mtime);
            entry.extended = extended;
            entry.extended.retain(|(name, _)| !common || !name.starts_with(b"user."));
        }
        tree
    })
}

fn random_node() -> impl Strategy<Value = Node> {
    let sizes = prop_oneof![
        3 => 0..100usize,
        3 => (0..4usize, 0..3usize).prop_map(|(blocks, beyond)| (blocks * 4096 + beyond).saturating_sub(1)),
        1 => 0..40_000usize,
    ];
    let file = (sizes, 0..4u64, 0..4u8).prop_map(|(size, seed, how)| match how {
        0 => noise(seed, size),
        1 => vec![0; size],
        2 => [text(seed, size / 2), vec![0; size / 3], noise(seed, size / 6)].concat(),
        _ => text(seed, size),
    });
    prop_oneof![
        6 => file.prop_map(Node::File),
        3 => Just(Node::Directory),
        2 => any::<usize>().prop_map(Node::Link),
        2 => "[a-z/.]{1,300}".prop_map(|target| Node::Symlink(target.into_bytes())),
        1 => (0..256u32, 0..256u32).prop_map(|(major, minor)| Node::Character(major, minor)),
        1 => (0..256u32, 0..256u32).prop_map(|(major, minor)| Node::Block(major, minor)),
        1 => Just(Node::Fifo),
    ]
}

fn random_attributes() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
    let name = ("(user|trusted|security)", "[a-c]{1,2}");
    let name = name.prop_map(|(kind, name)| format!("{kind}.{name}").into_bytes());
    let value = prop_oneof![
        Just(Vec::new()),
        (0..3u64, 0..300usize).prop_map(|(seed, size)| noise(seed, size))
    ];
    let set = proptest::collection::btree_map(name, value, 0..4);
    prop_oneof![3 => Just(Vec::new()), 1 => set.prop_map(|set| set.into_iter().collect())]
}

fn random_options() -> impl Strategy<Value = Options> {
    let compression = prop_oneof![
        Just(Compression::Zstd(1)),
        Just(Compression::Gzip(1)),
        Just(Compression::None)
    ];
    let tails = prop_oneof![Just(Tails::Apart), Just(Tails::OfSmallFiles), Just(Tails::OfAllFiles)];
    let sizes = prop_oneof![Just(4096), Just(8192), Just(128 << 10)];
    (compression, tails, sizes, any::<bool>(), any::<bool>(), 1..5usize).prop_map(
        |(compression, tails, block_size, packed_tables, duplicates, threads)| Options {
            compression,
            tails,
            block_size,
            packed_tables,
            duplicates,
            threads,
            ..everything()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn random_trees_are_read_by_our_reader(tree in random_tree(), options in random_options()) {
        compare_with_reader(&tree, &options);
        let other = Options { threads: options.threads % 4 + 1, ..options.clone() };
        prop_assert!(bytes_of(&tree, &options) == bytes_of(&tree, &other));
    }
}

#[test]
#[ignore = "needs root: the kernel mounts what was written"]
fn random_trees_are_read_by_others() {
    let place = tempfile::tempdir().unwrap();
    let config =
        ProptestConfig { cases: 25, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    runner
        .run(&(random_tree(), random_options()), |(tree, options)| {
            compare_with_others(&tree, &options, place.path());
            Ok(())
        })
        .unwrap();
}
