//! The reader of images, on what mksquashfs makes of one tree: with every compression, block size
//! and way of packing, each file is as it was; and of an image that is damaged nothing worse comes
//! than an error.

mod common;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::Place;
use handover::inside::open_in_root;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use squashfs::{Image, Inode, Kind, SquashfsError};

/// Every kind of file there is, contents around the ends of blocks, and directories large enough
/// to have an index.
fn tree(root: &Path) {
    fs::create_dir(root).unwrap();
    let noise = |seed: u64, length: usize| -> Vec<u8> {
        let mut state = seed | 1;
        (0..length)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect()
    };
    for size in [0, 1, 4095, 4096, 4097, 131_071, 131_072, 131_073, 400_000, 1 << 20, 3_000_001] {
        fs::write(root.join(format!("noise.{size}")), noise(size as u64, size)).unwrap();
        let text = b"all work and no play ".repeat(size / 21 + 1);
        fs::write(root.join(format!("text.{size}")), &text[..size]).unwrap();
    }
    let sparse = File::create(root.join("sparse")).unwrap();
    sparse.write_all_at(b"middle", 1 << 20).unwrap();
    sparse.set_len(5 << 20).unwrap();
    fs::hard_link(root.join("noise.4097"), root.join("other name")).unwrap();
    symlink("noise.1", root.join("link")).unwrap();
    symlink("x/".repeat(2000), root.join("long link")).unwrap();
    nix::unistd::mkfifo(&root.join("fifo"), Mode::from_bits_truncate(0o640)).unwrap();
    drop(std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap());
    let odd = OsStr::from_bytes(b"\xff \n\xfe");
    fs::write(root.join(odd), "odd").unwrap();
    fs::write(root.join("n".repeat(255)), "long").unwrap();
    fs::create_dir_all(root.join("deep/er/still")).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    fs::create_dir(root.join("many")).unwrap();
    for number in 0..3000 {
        let name = format!("many/file with a name of some length, number {number:05}");
        fs::write(root.join(name), number.to_string()).unwrap();
    }
    fs::set_permissions(root.join("text.1"), fs::Permissions::from_mode(0o4751)).unwrap();
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_234_567);
    File::open(root.join("deep")).unwrap().set_modified(old).unwrap();
}

fn pack(root: &Path, image: &Path, options: &str) {
    let mut command = Command::new("mksquashfs");
    command.args([root, image]).args(["-all-root", "-noappend", "-quiet", "-no-progress"]);
    let made = command.args(options.split_whitespace()).output().expect("no mksquashfs");
    assert!(made.status.success(), "{options}: {made:?}");
}

/// Compares what is below a directory with the directory it was made of.
struct Comparison<'a> {
    image: &'a Image,
    /// Of inodes with several names.
    numbers: BTreeMap<u64, u32>,
    files: usize,
}

impl Comparison<'_> {
    fn directory(&mut self, reference: u64, path: &Path) {
        let inode = self.image.inode(reference).unwrap();
        let Kind::Directory(directory) = &inode.kind else { panic!("{path:?}: {inode:?}") };
        let listing = self.image.list(directory, 0).unwrap();
        let entries: Vec<_> = listing.map(Result::unwrap).collect();
        let mut names: Vec<_> = fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_vec())
            .collect();
        names.sort();
        assert_eq!(entries.iter().map(|entry| entry.name.clone()).collect::<Vec<_>>(), names);
        for (at, entry) in entries.iter().enumerate() {
            // Found by its name, and from where the one before it ended.
            let found = self.image.lookup(directory, &entry.name).unwrap();
            assert_eq!(found.as_ref(), Some(entry));
            if at % 97 == 0 {
                let rest = self.image.list(directory, entry.next).unwrap().map(Result::unwrap);
                assert!(rest.eq(entries[at + 1..].iter().cloned()), "after {entry:?}");
            }
            self.file(entry.reference, &path.join(OsStr::from_bytes(&entry.name)));
        }
        for absent in [&b"!"[..], b"many0", b"zzzz", &[0xff; 200]] {
            assert_eq!(self.image.lookup(directory, absent).unwrap(), None);
        }
    }

    fn file(&mut self, reference: u64, path: &Path) {
        self.files += 1;
        let (inode, metadata) =
            (self.image.inode(reference).unwrap(), path.symlink_metadata().unwrap());
        assert_eq!(inode.mode, metadata.mode(), "{path:?}");
        assert_eq!(i64::from(inode.mtime), metadata.mtime(), "{path:?}");
        let number = *self.numbers.entry(metadata.ino()).or_insert(inode.number);
        assert_eq!(number, inode.number, "{path:?}");
        match &inode.kind {
            Kind::Directory(_) => self.directory(reference, path),
            Kind::File(_) => {
                assert_eq!(u64::from(inode.links), metadata.nlink(), "{path:?}");
                assert!(
                    contents(self.image, &inode).unwrap() == fs::read(path).unwrap(),
                    "{path:?}"
                );
            }
            Kind::Symlink(target) => {
                let target = PathBuf::from(std::ffi::OsString::from_vec(
                    self.image.target(&inode, target).unwrap(),
                ));
                assert_eq!(target, fs::read_link(path).unwrap());
            }
            Kind::Pipe => {
                assert!(metadata.file_type().is_fifo() || metadata.file_type().is_socket())
            }
            Kind::Device(_) => panic!("{path:?}"),
        }
    }
}

/// Read in pieces that meet the ends of blocks and do not.
fn contents(image: &Image, inode: &Inode) -> Result<Vec<u8>, SquashfsError> {
    let Kind::File(file) = &inode.kind else { panic!("{inode:?}") };
    let (mut bytes, mut piece) = (Vec::new(), vec![0; 100_000]);
    loop {
        match image.read(inode, file, bytes.len() as u64, &mut piece)? {
            0 => return Ok(bytes),
            count => bytes.extend(&piece[..count]),
        }
    }
}

#[test]
fn every_file_is_as_it_was() {
    let place = tempfile::tempdir().unwrap();
    let (root, file) = (place.path().join("root"), place.path().join("x.sqsh"));
    tree(&root);
    for options in [
        "-comp gzip",
        "-comp lzo",
        "-comp lzo -noD",
        "-comp lz4",
        "-comp lz4 -Xhc",
        "-comp zstd",
        "-comp gzip -b 4K",
        "-comp zstd -b 1M",
        "-comp lzo -b 64K -no-fragments",
        "-comp gzip -always-use-fragments",
        "-noI -noD -noF -noX",
        "-comp gzip -noI -nopad -no-exports -no-duplicates",
    ] {
        pack(&root, &file, options);
        let image = Image::open(File::open(&file).unwrap()).unwrap();
        let mut comparison = Comparison { image: &image, numbers: BTreeMap::new(), files: 0 };
        comparison.directory(image.root(), &root);
        assert_eq!(comparison.files, 3035, "{options}");
    }
}

/// Small blocks were kept in the room of large ones.
#[test]
fn reading_many_small_files_takes_little_memory() {
    let place = tempfile::tempdir().unwrap();
    let (root, file) = (place.path().join("root"), place.path().join("x.sqsh"));
    fs::create_dir(&root).unwrap();
    for number in 0..5000 {
        fs::write(root.join(number.to_string()), format!("{number} ").repeat(200)).unwrap();
    }
    pack(&root, &file, "-comp zstd -no-fragments");
    let image = Image::open(File::open(&file).unwrap()).unwrap();
    let Kind::Directory(directory) = image.inode(image.root()).unwrap().kind else { panic!() };
    for entry in image.list(&directory, 0).unwrap() {
        let inode = image.inode(entry.unwrap().reference).unwrap();
        assert!(contents(&image, &inode).unwrap().len() >= 400);
    }
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kibibytes: u32 = most.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kibibytes < 150_000, "{most}");
}

#[test]
fn what_is_left_to_squashfuse_is_said() {
    let place = tempfile::tempdir().unwrap();
    let (root, file) = (place.path().join("root"), place.path().join("x.sqsh"));
    fs::create_dir(&root).unwrap();
    for (options, why) in [("-comp xz", "squashfs with xz"), ("-comp lzma", "squashfs with lzma")] {
        pack(&root, &file, options);
        let error = Image::open(File::open(&file).unwrap()).err().unwrap();
        assert!(matches!(error, SquashfsError::Unsupported(_)), "{error}");
        assert!(error.to_string().starts_with(why), "{error}");
    }
}

/// Reads all that can be reached, as far as it can be read; at most so many files.
fn read_all(image: &Image, reference: u64, budget: &mut usize) {
    let Ok(inode) = image.inode(reference) else { return };
    *budget = budget.saturating_sub(1);
    let _ = image.attribute_names(&inode);
    let _ = image.attribute(&inode, b"user.x");
    match &inode.kind {
        Kind::Directory(directory) => {
            let _ = image.lookup(directory, b"many");
            for entry in image.list(directory, 0).into_iter().flatten().take(300) {
                let Ok(entry) = entry else { return };
                if *budget > 0 {
                    read_all(image, entry.reference, budget);
                }
            }
        }
        Kind::File(file) => {
            let mut piece = vec![0; 300_000];
            for offset in [0, 70_000, inode.size / 2, inode.size.saturating_sub(10)] {
                let _ = image.read(&inode, file, offset, &mut piece);
            }
        }
        Kind::Symlink(target) => drop(image.target(&inode, target)),
        Kind::Device(_) | Kind::Pipe => {}
    }
}

#[test]
fn a_damaged_image_is_an_error_at_worst() {
    let place = tempfile::tempdir().unwrap();
    let (root, file) = (place.path().join("root"), place.path().join("x.sqsh"));
    tree(&root);
    for name in ["noise.3000001", "noise.1048576", "noise.400000"] {
        fs::remove_file(root.join(name)).unwrap();
    }
    for options in ["-comp gzip", "-comp lzo", "-comp lz4", "-comp zstd", "-noI -noD -noF"] {
        pack(&root, &file, options);
        let whole = fs::read(&file).unwrap();
        let word = |at: usize| u64::from_le_bytes(whole[at..at + 8].try_into().unwrap()) as usize;
        let inodes = word(64);
        let mut state = 88_172_645_463_325_252u64;
        let mut next = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        };
        for round in 0..150 {
            let mut bytes = whole.clone();
            for _ in 0..1 + round % 3 {
                // The superblock, the tables, or anywhere.
                let at = match round % 4 {
                    0 => 8 + next(88),
                    1 | 2 => inodes + next(whole.len() - inodes),
                    _ => next(whole.len()),
                };
                bytes[at] = match round % 5 {
                    0 => 0xff,
                    1 => 0,
                    _ => next(256) as u8,
                };
            }
            if round % 10 == 9 {
                bytes.truncate(next(whole.len()));
            }
            fs::write(&file, bytes).unwrap();
            if let Ok(image) = Image::open(File::open(&file).unwrap()) {
                read_all(&image, image.root(), &mut 400);
            }
        }
    }
}

/// Through the kernel, and by several processes at once: more is asked than one thread answers.
#[test]
fn programs_find_in_a_container_what_was_packed() {
    let place = Place::new();
    place.image("image", |root| tree(&root.join("tree")));
    let look = "cd tree; busybox() { /bin/busybox \"$@\"; }; \
        sums() { busybox find . -type f -exec /bin/busybox md5sum {} + | busybox sort; }; \
        for n in 1 2 3 4; do sums > $OUT/sums.$n & done; \
        busybox find . ! -type d -exec /bin/busybox stat -c '%n %f %s %Y %h' {} + | busybox sort; \
        busybox find . -type d -exec /bin/busybox stat -c '%n %f %Y' {} + | busybox sort; \
        busybox find . -type l -exec /bin/busybox readlink {} ';' | busybox sort; \
        wait; cat $OUT/sums.[1-4]";
    let on_host = Command::new("/bin/busybox")
        .args(["sh", "-c", look])
        .current_dir(place.path("image"))
        .env("OUT", place.path("home"))
        .output()
        .unwrap();
    assert!(on_host.status.success(), "{on_host:?}");
    let inside = place.pyxis(["start", "-e", "OUT=/tmp", "./image.sqsh", "sh", "-c", look]);
    let inside = { inside }.output().unwrap();
    assert!(inside.stderr.is_empty(), "{}", String::from_utf8_lossy(&inside.stderr));
    assert!(inside.stdout.len() > 4 * 3000 * 33);
    let lines = |output: &[u8]| -> Vec<String> {
        output
            .split(|byte| *byte == b'\n')
            .map(|line| String::from_utf8_lossy(line).into())
            .collect()
    };
    for (inside, on_host) in lines(&inside.stdout).iter().zip(lines(&on_host.stdout)) {
        assert_eq!(*inside, on_host);
    }
    assert_eq!(inside.stdout.len(), on_host.stdout.len());
}

/// Against the kernel's own way with the directory that was packed as its root.
#[test]
fn paths_lead_where_the_kernel_goes() {
    let place = Place::new();
    let root = place.path("tree");
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::write(root.join("a/f"), "file").unwrap();
    for (target, link) in [
        ("a/b", "l"),
        ("/a", "abs"),
        ("../../..", "a/up"),
        ("loop", "loop"),
        ("/none", "a/b/to"),
        ("f", "a/s"),
    ] {
        symlink(target, root.join(link)).unwrap();
    }
    let image = place.path("walk.sqsh");
    pack(&root, &image, "-comp gzip");
    let image = Image::open(File::open(image).unwrap()).unwrap();
    let directory = File::open(&root).unwrap();
    let kernel = |path: &Path, follow: bool| {
        let mut flags = OFlag::O_PATH;
        flags.set(OFlag::O_NOFOLLOW, !follow);
        nix::sys::stat::fstat(open_in_root(&directory, path, flags)?)
    };
    let names = ["a", "b", "f", "s", "l", "abs", "up", "loop", "to", "..", ".", "none", ""];
    let (mut paths, mut found) = (vec![String::new()], 0);
    for _ in 0..4 {
        paths = paths.iter().flat_map(|path| names.map(|name| format!("{path}/{name}"))).collect();
        for path in paths.iter().map(Path::new) {
            for follow in [true, false] {
                let told = (path, follow);
                match (kernel(path, follow), image.find(path, follow)) {
                    (Ok(kernel), Ok(inode)) => {
                        assert_eq!(kernel.st_mode, inode.mode, "{told:?}");
                        assert_eq!(kernel.st_nlink as u32, inode.links, "{told:?}");
                        found += 1;
                    }
                    (Err(errno), Err(error)) => {
                        assert_eq!(error.raw_os_error(), Some(errno as i32), "{told:?}");
                    }
                    (kernel, image) => panic!("{told:?}: {kernel:?}, {image:?}"),
                }
            }
        }
    }
    assert!(found > 1000, "{found}");
    // Not the root; and of one that has a name for each step of a long way, nothing.
    let error = |path: &str| image.find(Path::new(path), true).unwrap_err().raw_os_error();
    assert_eq!(error(""), Some(nix::libc::ENOENT));
    assert_eq!(error(&"a/../".repeat(300)), Some(nix::libc::ELOOP));
    assert_eq!(image.contents(Path::new("/abs/s"), 4).unwrap(), b"file");
    assert!(image.contents(Path::new("/abs/s"), 3).is_err());
    assert!(image.contents(Path::new("/a"), 9).is_err());
    assert_eq!(image.link(Path::new("/abs/up")).unwrap(), Path::new("../../.."));
    assert!(image.link(Path::new("/a")).is_err());
}
