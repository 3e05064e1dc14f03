//! The writer and the reader of images: a tree made of any bytes, written, is read as it was; and
//! so it is by two threads and by one.
#![no_main]

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt;

use libfuzzer_sys::fuzz_target;
use squashfs::write::{
    Attribute, Attributes, Compression, Handle, XattrPrefixes, Options, Tails, NewFile, Writer,
};
use squashfs::{Image, Kind};

/// Bytes, taken from the front; zeros when there are no more.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.byte()).collect()
    }
}

#[derive(Clone)]
enum Node {
    Directory,
    File(Vec<u8>),
    Symlink(Vec<u8>),
    Device(u32, u32),
    Fifo,
}

#[derive(Clone)]
struct Entry {
    path: Vec<u8>,
    mode: u32,
    mtime: i64,
    extended: Vec<Attribute>,
    node: Node,
    /// The first of its names.
    link: Option<usize>,
}

fn content(input: &mut Input<'_>) -> Vec<u8> {
    let length = usize::from(input.byte()) * usize::from(input.byte()) + usize::from(input.byte());
    match input.byte() % 4 {
        0 => vec![0; length],
        1 => {
            let piece = input.bytes(7);
            piece.iter().copied().cycle().take(length).collect()
        }
        2 => {
            let mut state = u64::from(input.byte()) | 1;
            let step = |_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            };
            (0..length).map(step).collect()
        }
        _ => {
            let mut content = vec![0; length];
            let at = usize::from(input.byte()) * 64;
            content.iter_mut().skip(at).step_by(4096).for_each(|byte| *byte = 1);
            content
        }
    }
}

fn tree(input: &mut Input<'_>) -> Vec<Entry> {
    let (mut entries, mut directories) = (Vec::<Entry>::new(), vec![Vec::new()]);
    let mut seen = HashSet::new();
    while !input.0.is_empty() && entries.len() < 300 {
        let below = usize::from(input.byte());
        let length = 1 + usize::from(input.byte() % 24);
        let name = input.bytes(length);
        if matches!(name.as_slice(), b"." | b"..") || name.contains(&0) || name.contains(&b'/') {
            continue;
        }
        let parent: &Vec<u8> = &directories[below % directories.len()];
        let path = if parent.is_empty() { name } else { [parent, &b"/"[..], &name].concat() };
        if !seen.insert(path.clone()) {
            continue;
        }
        let files: Vec<usize> =
            (0..entries.len()).filter(|at| !matches!(entries[*at].node, Node::Directory)).collect();
        let kind = input.byte();
        if kind >= 224 && !files.is_empty() {
            let to = files[usize::from(input.byte()) % files.len()];
            let link = Some(entries[to].link.unwrap_or(to));
            entries.push(Entry { path, link, ..entries[to].clone() });
            continue;
        }
        let node = match kind % 8 {
            0 | 1 => Node::Directory,
            2..=5 => Node::File(content(input)),
            6 => {
                let target = [b"x".as_slice(), &input.bytes(usize::from(kind))].concat();
                Node::Symlink(target.into_iter().map(|byte| byte.max(1)).collect())
            }
            _ if kind < 128 => Node::Fifo,
            _ => Node::Device(u32::from(input.byte()), u32::from(input.byte()) << 4),
        };
        if matches!(node, Node::Directory) {
            directories.push(path.clone());
        }
        let mode = u32::from(input.byte()) << 4;
        let mtime = i64::from(input.byte()) << 24;
        let mut extended = BTreeMap::new();
        for _ in 0..input.byte().saturating_sub(200) / 16 {
            let kind = ["user.", "security.", "trusted."][usize::from(input.byte() % 3)];
            let name = [kind.as_bytes(), &[input.byte() % 4 + b'a']].concat();
            let length = usize::from(input.byte());
            extended.insert(name, input.bytes(length));
        }
        let extended = extended.into_iter().collect();
        entries.push(Entry { path, mode, mtime, extended, node, link: None });
    }
    entries
}

fn options(input: &mut Input<'_>) -> Options {
    let compressions = [Compression::None, Compression::Zstd(1), Compression::Gzip(1)];
    let tails = [Tails::Apart, Tails::OfSmallFiles, Tails::OfAllFiles];
    let flags = input.byte();
    Options {
        compression: compressions[usize::from(input.byte()) % 3],
        tails: tails[usize::from(input.byte()) % 3],
        block_size: 4096 << (flags & 3),
        packed_tables: flags & 4 != 0,
        duplicates: flags & 8 != 0,
        attributes: XattrPrefixes { user: true, security: true, trusted: true },
        devices: true,
        threads: 2,
        ..Options::default()
    }
}

fn write(entries: &[Entry], options: &Options) -> File {
    let file: File =
        nix::sys::memfd::memfd_create("image", nix::sys::memfd::MFdFlags::empty()).unwrap().into();
    let mut writer = Writer::new(file.try_clone().unwrap(), options.clone()).unwrap();
    let mut handles: Vec<Handle> = Vec::new();
    for entry in entries {
        if let Some(to) = entry.link {
            writer.link(&entry.path, handles[to]).unwrap();
            handles.push(handles[to]);
            continue;
        }
        let (mode, mtime) = (entry.mode, entry.mtime);
        let attributes = Attributes { mode, owner: (0, 0), mtime, extended: &entry.extended };
        let mut content;
        let what = match &entry.node {
            Node::Directory => NewFile::Directory,
            Node::File(bytes) => {
                content = bytes.as_slice();
                NewFile::File(&mut content)
            }
            Node::Symlink(target) => NewFile::Symlink(target),
            Node::Device(major, minor) => NewFile::BlockDevice(*major, *minor),
            Node::Fifo => NewFile::Fifo,
        };
        handles.push(writer.add(&entry.path, &attributes, what).unwrap());
    }
    writer.finish().unwrap();
    file
}

fn bytes(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fuzz_target!(|bytes_in: &[u8]| {
    let mut input = Input(bytes_in);
    let options = options(&mut input);
    let entries = tree(&mut input);
    let file = write(&entries, &options);
    let alone = write(&entries, &Options { threads: 1, ..options.clone() });
    assert!(bytes(&file) == bytes(&alone), "the bytes depend on threads");
    compare(&Image::open(file).unwrap(), &entries);
});

fn compare(image: &Image, entries: &[Entry]) {
    let mut below: BTreeMap<&[u8], usize> = BTreeMap::new();
    let mut numbers = BTreeMap::new();
    for (at, entry) in entries.iter().enumerate() {
        let slash = entry.path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        *below.entry(&entry.path[..slash]).or_default() += 1;
        // Without symbolic links in the way: none is a parent.
        let mut reference = image.root();
        for name in entry.path.split(|byte| *byte == b'/') {
            let Kind::Directory(directory) = image.inode(reference).unwrap().kind else { panic!() };
            reference = image.lookup(&directory, name).unwrap().expect("it was added").reference;
        }
        let inode = image.inode(reference).unwrap();
        let first = numbers.entry(entry.link.unwrap_or(at)).or_insert(inode.number);
        assert_eq!(*first, inode.number);
        assert_eq!(inode.mode & 0o7777, entry.mode & 0o7777);
        assert_eq!(i64::from(inode.mtime), entry.mtime);
        let mut extended = Vec::new();
        for name in image.attribute_names(&inode).unwrap().split(|byte| *byte == 0) {
            if !name.is_empty() {
                extended.push((name.to_vec(), image.attribute(&inode, name).unwrap().unwrap()));
            }
        }
        extended.sort();
        assert_eq!(extended, entry.extended);
        let links = entries.iter().filter(|other| other.link == Some(entry.link.unwrap_or(at)));
        let links = links.count() as u32 + 1;
        match (&inode.kind, &entry.node) {
            (Kind::Directory(_), Node::Directory) => {}
            (Kind::File(contents), Node::File(content)) => {
                assert_eq!(inode.links, links);
                let mut bytes = vec![1; content.len() + 1];
                assert_eq!(image.read(&inode, contents, 0, &mut bytes).unwrap(), content.len());
                assert!(bytes[..content.len()] == content[..]);
            }
            (Kind::Symlink(target), Node::Symlink(wanted)) => {
                assert_eq!(image.target(&inode, target).unwrap(), *wanted);
                assert_eq!(inode.links, links);
            }
            (Kind::Device(number), Node::Device(major, minor)) => {
                assert_eq!(*number, minor & 0xff | major << 8 | (minor & !0xff) << 12);
            }
            (Kind::Pipe, Node::Fifo) => assert_eq!(inode.links, links),
            (kind, _) => panic!("{kind:?}"),
        }
    }
    for (path, count) in below {
        let mut reference = image.root();
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            let Kind::Directory(directory) = image.inode(reference).unwrap().kind else { panic!() };
            reference = image.lookup(&directory, name).unwrap().unwrap().reference;
        }
        let Kind::Directory(directory) = image.inode(reference).unwrap().kind else { panic!() };
        let names: Vec<_> = image.list(&directory, 0).unwrap().map(|e| e.unwrap().name).collect();
        assert_eq!(names.len(), count);
        assert!(names.windows(2).all(|pair| pair[0] < pair[1]));
    }
    assert_eq!(image.inode_count() as usize, numbers.len() + 1);
}
