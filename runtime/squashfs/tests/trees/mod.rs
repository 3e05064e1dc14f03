//! Trees of files: as they are meant to be, as an image of ours has them, and as others read it.

#![allow(dead_code, reason = "each test crate uses its part")]

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CStr, CString, OsStr};
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::libc;
use squashfs::write::{
    Attribute, Attributes, Handle, NewFile, Options, Spooled, Summary, WriteError, Writer,
};
use squashfs::{Image, Kind};

/// What an entry is.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Directory,
    File(Vec<u8>),
    /// Another name of the entry with this number.
    Link(usize),
    Symlink(Vec<u8>),
    Character(u32, u32),
    Block(u32, u32),
    Fifo,
    Socket,
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) path: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) mtime: i64,
    pub(crate) extended: Vec<Attribute>,
    pub(crate) node: Node,
}

/// What is added to an image, in this order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree(pub(crate) Vec<Entry>);

/// All that can be said of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) mtime: i64,
    pub(crate) links: u64,
    /// Of a regular file or a symbolic link.
    pub(crate) size: u64,
    /// Hashed.
    pub(crate) content: u64,
    pub(crate) target: String,
    pub(crate) device: (u32, u32),
    /// Of each value, its length and hash.
    pub(crate) extended: BTreeMap<String, (usize, u64)>,
    /// The first of its names.
    pub(crate) first: String,
}

pub(crate) type Description = BTreeMap<Vec<u8>, Described>;

fn text_of(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

fn extended_attribute(name: &[u8], value: &[u8]) -> (String, (usize, u64)) {
    (text_of(name), (value.len(), hash(value)))
}

pub(crate) fn hash(content: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}

impl Tree {
    /// Adds an entry with attributes of no interest.
    pub(crate) fn put(&mut self, path: impl AsRef<[u8]>, node: Node) -> &mut Entry {
        let mode = match node {
            Node::Directory => 0o755,
            Node::Symlink(_) => 0o777,
            _ => 0o644,
        };
        let path = path.as_ref().to_vec();
        let extended = Vec::new();
        self.0.push(Entry { path, mode, owner: (0, 0), mtime: 1, extended, node });
        self.0.last_mut().unwrap()
    }

    pub(crate) fn file(&mut self, path: impl AsRef<[u8]>, content: impl Into<Vec<u8>>) {
        self.put(path, Node::File(content.into()));
    }

    pub(crate) fn write(&self, file: File, options: &Options) -> Result<Summary, WriteError> {
        self.write_with(file, options, &[])
    }

    /// Of all files' contents those that are in one of these spools come from there: of each entry the one
    /// that it has by its number.
    pub(crate) fn write_with(
        &self,
        file: File,
        options: &Options,
        spools: &[Option<Spooled>],
    ) -> Result<Summary, WriteError> {
        let mut writer = Writer::new(file, options.clone())?;
        let mut handles: Vec<Handle> = Vec::new();
        for (number, entry) in self.0.iter().enumerate() {
            let attributes = Attributes {
                mode: entry.mode,
                owner: entry.owner,
                mtime: entry.mtime,
                extended: &entry.extended,
            };
            let mut content;
            let what = match &entry.node {
                Node::Directory => NewFile::Directory,
                Node::File(bytes) => match spools.get(number % spools.len().max(1)) {
                    Some(Some(spool)) => NewFile::Spooled(spool, number as u32),
                    _ => {
                        content = bytes.as_slice();
                        NewFile::File(&mut content)
                    }
                },
                Node::Link(to) => {
                    let to = handles[*to];
                    writer.link(&entry.path, to)?;
                    handles.push(to);
                    continue;
                }
                Node::Symlink(target) => NewFile::Symlink(target),
                Node::Character(major, minor) => NewFile::CharacterDevice(*major, *minor),
                Node::Block(major, minor) => NewFile::BlockDevice(*major, *minor),
                Node::Fifo => NewFile::Fifo,
                Node::Socket => NewFile::Socket,
            };
            handles.push(writer.add(&entry.path, &attributes, what)?);
        }
        writer.finish()
    }

    /// The image as a file that was read and written.
    pub(crate) fn image(&self, path: &Path, options: &Options) -> Summary {
        let mut how = File::options();
        let file = how.read(true).write(true).create(true).truncate(true).open(path).unwrap();
        self.write(file, options).unwrap()
    }

    /// How it should look. All directories have to be there.
    pub(crate) fn describe(&self) -> Description {
        let root = Described { mode: libc::S_IFDIR | 0o755, links: 2, ..Described::default() };
        let mut all = Description::from([(Vec::new(), root)]);
        let mut names: HashMap<usize, Vec<&[u8]>> = HashMap::new();
        let mut origin: Vec<usize> = Vec::new();
        for (at, entry) in self.0.iter().enumerate() {
            origin.push(if let Node::Link(to) = entry.node { origin[to] } else { at });
            names.entry(origin[at]).or_default().push(&entry.path);
        }
        for (at, entry) in self.0.iter().enumerate() {
            let names = &names[&origin[at]];
            let mut described = self.0[origin[at]].describe();
            if !matches!(entry.node, Node::Directory) {
                described.links = names.len() as u64;
            }
            described.first = text_of(names.iter().min().unwrap());
            all.insert(entry.path.clone(), described);
        }
        for entry in self.0.iter().filter(|entry| matches!(entry.node, Node::Directory)) {
            let parent = entry.path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
            if !entry.path.is_empty() {
                all.get_mut(&entry.path[..parent]).expect("a parent").links += 1;
            }
        }
        all
    }
}

impl Entry {
    fn describe(&self) -> Described {
        let mut described = Described {
            mode: self.mode & 0o7777,
            owner: self.owner,
            mtime: self.mtime,
            links: 2,
            extended: self.extended.iter().map(|(n, v)| extended_attribute(n, v)).collect(),
            ..Described::default()
        };
        described.mode |= match &self.node {
            Node::Directory => libc::S_IFDIR,
            Node::File(content) => {
                described.size = content.len() as u64;
                described.content = hash(content);
                libc::S_IFREG
            }
            Node::Symlink(target) => {
                described.size = target.len() as u64;
                described.target = text_of(target);
                libc::S_IFLNK
            }
            Node::Character(major, minor) => {
                described.device = (*major, *minor);
                libc::S_IFCHR
            }
            Node::Block(major, minor) => {
                described.device = (*major, *minor);
                libc::S_IFBLK
            }
            Node::Fifo => libc::S_IFIFO,
            Node::Socket => libc::S_IFSOCK,
            Node::Link(_) => unreachable!("described as what it leads to"),
        };
        described
    }
}

/// What our reader makes of an image, which knows no owners.
pub(crate) fn by_reader(image: &Image) -> Description {
    let mut all = Description::new();
    let mut firsts: HashMap<u32, Vec<u8>> = HashMap::new();
    let mut numbers: HashMap<Vec<u8>, u32> = HashMap::new();
    let mut waiting = vec![(Vec::new(), image.root())];
    while let Some((path, reference)) = waiting.pop() {
        let inode = image.inode(reference).unwrap();
        let mut described = Described {
            mode: inode.mode,
            mtime: i64::from(inode.mtime),
            links: u64::from(inode.links),
            ..Described::default()
        };
        for name in image.attribute_names(&inode).unwrap().split(|byte| *byte == 0) {
            if !name.is_empty() {
                let value = image.attribute(&inode, name).unwrap().expect("it is listed");
                described.extended.extend([extended_attribute(name, &value)]);
            }
        }
        match &inode.kind {
            Kind::Directory(directory) => {
                for (at, entry) in image.list(directory, 0).unwrap().enumerate() {
                    let entry = entry.unwrap();
                    if at < 1000 || at % 101 == 0 {
                        let found = image.lookup(directory, &entry.name).unwrap();
                        assert_eq!(found.as_ref(), Some(&entry));
                    }
                    waiting.push((joined(&path, &entry.name), entry.reference));
                }
            }
            Kind::File(contents) => {
                described.size = inode.size;
                let mut bytes = vec![0; inode.size as usize];
                let count = image.read(&inode, contents, 0, &mut bytes).unwrap();
                assert_eq!(count, bytes.len());
                described.content = hash(&bytes);
            }
            Kind::Symlink(target) => {
                described.size = inode.size;
                described.target = text_of(&image.target(&inode, target).unwrap());
            }
            Kind::Device(number) => {
                let minor = number & 0xff | number >> 12 & !0xff;
                described.device = (number >> 8 & 0xfff, minor);
            }
            Kind::Pipe => {}
        }
        note_first(&mut firsts, inode.number, &path);
        numbers.insert(path.clone(), inode.number);
        all.insert(path, described);
    }
    assert_eq!(firsts.len() as u32, image.inode_count());
    for (path, described) in &mut all {
        described.first = text_of(&firsts[&numbers[path]]);
    }
    all
}

fn note_first<K: Hash + Eq>(firsts: &mut HashMap<K, Vec<u8>>, key: K, path: &[u8]) {
    let first = firsts.entry(key).or_insert_with(|| path.to_vec());
    if path < first.as_slice() {
        *first = path.to_vec();
    }
}

fn joined(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() }
}

/// What is below a directory of the host, which may be somebody's mount of an image.
pub(crate) fn by_host(root: &Path) -> Description {
    let mut all = Description::new();
    let mut firsts: HashMap<u64, Vec<u8>> = HashMap::new();
    let mut numbers: HashMap<Vec<u8>, u64> = HashMap::new();
    let mut waiting = vec![Vec::new()];
    while let Some(path) = waiting.pop() {
        let place = root.join(OsStr::from_bytes(&path));
        let metadata = place.symlink_metadata().unwrap_or_else(|e| panic!("{place:?}: {e}"));
        let rdev = metadata.rdev();
        let mut described = Described {
            mode: metadata.mode(),
            owner: (metadata.uid(), metadata.gid()),
            mtime: metadata.mtime(),
            links: metadata.nlink(),
            device: (nix::sys::stat::major(rdev) as u32, nix::sys::stat::minor(rdev) as u32),
            extended: extended(&place),
            ..Described::default()
        };
        if metadata.is_dir() {
            for entry in fs::read_dir(&place).unwrap() {
                waiting.push(joined(&path, entry.unwrap().file_name().as_bytes()));
            }
        } else if metadata.is_file() {
            let content = fs::read(&place).unwrap_or_else(|e| panic!("{place:?}: {e}"));
            assert_eq!(content.len() as u64, metadata.len());
            (described.size, described.content) = (metadata.len(), hash(&content));
        } else if metadata.is_symlink() {
            described.target = text_of(fs::read_link(&place).unwrap().as_os_str().as_bytes());
            described.size = metadata.len();
        }
        note_first(&mut firsts, metadata.ino(), &path);
        numbers.insert(path.clone(), metadata.ino());
        all.insert(path, described);
    }
    for (path, described) in &mut all {
        described.first = text_of(&firsts[&numbers[path]]);
    }
    all
}

fn extended(path: &Path) -> BTreeMap<String, (usize, u64)> {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    let mut names = vec![0; 1 << 16];
    // SAFETY: the path ends with a zero, and the list's length is given.
    let length = unsafe { libc::llistxattr(path.as_ptr(), names.as_mut_ptr().cast(), names.len()) };
    names.truncate(usize::try_from(length).unwrap_or(0));
    let mut all = BTreeMap::new();
    for name in names.split_inclusive(|byte| *byte == 0) {
        let name = CStr::from_bytes_with_nul(name).unwrap();
        let mut value = vec![0; 1 << 16];
        // SAFETY: both strings end with zeros, and the value's length is given.
        let length = unsafe {
            libc::lgetxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len())
        };
        // squashfuse lists what is empty, and does not find it then.
        if let Ok(length) = usize::try_from(length) {
            value.truncate(length);
            all.extend([extended_attribute(name.to_bytes(), &value)]);
        }
    }
    all
}

/// That two descriptions are the same; says where they are not.
pub(crate) fn assert_same(is: &Description, wanted: &Description, who: &str) {
    for path in is.keys().chain(wanted.keys()) {
        let shown = text_of(&path[..path.len().min(200)]);
        assert_eq!(is.get(path), wanted.get(path), "{who}: {shown}");
    }
}

/// Without what a reader does not tell.
pub(crate) fn changed(description: &Description, change: impl Fn(&mut Described)) -> Description {
    let mut description = description.clone();
    description.values_mut().for_each(change);
    description
}

/// Bytes that cannot be packed, the same for the same seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed ^ 0x9e37_79b9_7f4a_7c15;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Bytes that can.
pub(crate) fn text(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 32);
    let mut number = seed;
    while bytes.len() < length {
        bytes.extend(format!("line {number} of many\n").into_bytes());
        number += 1;
    }
    bytes.truncate(length);
    bytes
}

/// Every kind of file, contents around the ends of blocks and every number of entries around the
/// ends of runs, all kinds of attributes.
pub(crate) fn every_kind(block: usize) -> Tree {
    let mut tree = Tree::default();
    tree.put("", Node::Directory).mode = 0o1755;
    contents(&mut tree, block);
    tree.put("kinds", Node::Directory).owner = (1000, 100);
    tree.put("kinds/fifo", Node::Fifo).mode = 0o640;
    tree.put("kinds/socket", Node::Socket).mtime = 2_000_000_000;
    tree.put("kinds/null", Node::Character(1, 3)).mode = 0o666;
    tree.put("kinds/disk", Node::Block(8, 255));
    tree.put("kinds/link", Node::Symlink(b"../sizes".to_vec()));
    tree.put("kinds/long", Node::Symlink(b"x/".repeat(2047)));
    tree.put("kinds/suid", Node::File(b"#!".to_vec())).mode = 0o6755;
    tree.put("kinds/none", Node::File(b"hidden".to_vec())).mode = 0;
    tree.put("kinds/old", Node::File(Vec::new())).mtime = 0;
    tree.put("kinds/late", Node::File(Vec::new())).mtime = i64::from(u32::MAX);
    tree.put("kinds/nobody", Node::File(b"x".to_vec())).owner = (65_534, u32::MAX - 1);
    for (name, size) in [("small", 10), ("large", 3 * block)] {
        let first = tree.0.len();
        tree.file(format!("kinds/{name}"), noise(77, size));
        tree.put(format!("sizes/other {name}"), Node::Link(first));
        tree.put(format!("{name} third"), Node::Link(first + 1));
    }
    let fifo = tree.0.iter().position(|entry| matches!(entry.node, Node::Fifo)).unwrap();
    tree.put("fifo", Node::Link(fifo));
    attributes(&mut tree);
    for count in [0, 1, 2, 255, 256, 257, 3000] {
        let directory = format!("of {count}");
        tree.put(&directory, Node::Directory);
        for number in 0..count {
            tree.file(format!("{directory}/a name of some length, {number}"), number.to_string());
        }
    }
    deep(&mut tree, 40);
    tree.put("names", Node::Directory);
    for byte in (1..=255).filter(|byte| *byte != b'/' && *byte != b'.') {
        tree.file([b"names/", &[byte][..]].concat(), [byte]);
        tree.file([b"names/".to_vec(), vec![byte; 255]].concat(), [byte; 2]);
    }
    tree
}

fn deep(tree: &mut Tree, levels: u32) {
    let mut path = format!("deep {levels}");
    for level in 0..levels {
        tree.put(&path, Node::Directory).mode = 0o700 | (level % 8);
        path += "/down";
    }
    tree.file(path, "bottom");
}

fn contents(tree: &mut Tree, block: usize) {
    tree.put("sizes", Node::Directory).mtime = 1_700_000_000;
    for size in [0, 1, block - 1, block, block + 1, 2 * block, 5 * block + 17] {
        tree.file(format!("sizes/noise {size}"), noise(size as u64, size));
        tree.file(format!("sizes/text {size}"), text(size as u64, size));
        tree.file(format!("sizes/zeros {size}"), vec![0; size]);
        // The same again, and the same but for the last byte.
        tree.file(format!("sizes/again {size}"), noise(size as u64, size));
        let mut other = noise(size as u64, size);
        other.iter_mut().last().into_iter().for_each(|byte| *byte ^= 1);
        tree.file(format!("sizes/other {size}"), other);
    }
    let mut holes = vec![0; 9 * block + 5];
    holes[2 * block..3 * block].copy_from_slice(&noise(5, block));
    holes[6 * block + 1] = 1;
    tree.file("sizes/holes", holes.clone());
    *holes.last_mut().unwrap() = 1;
    tree.file("sizes/holes and an end", holes);
}

/// What every file system can hold: of values not more than ext4 has room for.
fn attributes(tree: &mut Tree) {
    tree.put("xattrs", Node::Directory).extended = vec![
        (b"user.empty".to_vec(), Vec::new()),
        (b"security.test".to_vec(), b"of a directory".to_vec()),
    ];
    for number in 0..300 {
        let set = vec![
            (b"trusted.t".to_vec(), vec![0, 255, number as u8 % 7]),
            (b"user.a".to_vec(), noise(number % 7, 200)),
            (b"user.b".to_vec(), noise(number % 3, 100)),
        ];
        tree.put(format!("xattrs/{number}"), Node::File(text(number, 40))).extended = set;
    }
    for (name, node) in [
        ("link", Node::Symlink(b"x".to_vec())),
        ("fifo", Node::Fifo),
        ("socket", Node::Socket),
        ("null", Node::Character(1, 3)),
        ("disk", Node::Block(7, 0)),
    ] {
        let set = vec![(b"trusted.t".to_vec(), name.as_bytes().to_vec())];
        tree.put(format!("xattrs/{name}"), node).extended = set;
    }
}

/// More than some file systems can hold, and numbers that unsquashfs 4.4 does not know, but
/// squashfs can.
pub(crate) fn add_large(tree: &mut Tree) {
    deep(tree, 700);
    tree.put("character", Node::Character(4000, 1_000_000));
    tree.put("block", Node::Block(4095, 1_048_575));
    for number in 0..6u64 {
        let set = (0..8)
            .map(|name| (format!("user.{name}").into_bytes(), noise(name + number % 2, 7000)))
            .chain([(b"user.most".to_vec(), noise(9, 65_536))])
            .chain([(
                format!("user.{}", "n".repeat(250)).into_bytes(),
                number.to_le_bytes().into(),
            )])
            .collect();
        tree.put(format!("large {number}"), Node::File(Vec::new())).extended = set;
    }
}
