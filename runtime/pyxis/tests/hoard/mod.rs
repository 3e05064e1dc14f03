//! Layers that cost their reader more than their size, entry by entry.

#![allow(dead_code, reason = "each test crate uses its part")]

use std::io::Write;

/// An archive of raw blocks: what no sound writer would write.
pub(crate) struct Archive(Vec<u8>);

impl Archive {
    pub(crate) fn new() -> Archive {
        Archive(Vec::new())
    }

    pub(crate) fn entry(&mut self, kind: u8, name: &[u8], link: &[u8], content: &[u8]) {
        let mut block = [0u8; 512];
        let most = |text: &[u8]| text.len().min(100);
        block[..most(name)].copy_from_slice(&name[..most(name)]);
        block[100..107].copy_from_slice(b"0000755");
        block[108..115].copy_from_slice(b"0000000");
        block[116..123].copy_from_slice(b"0000000");
        block[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        block[136..147].copy_from_slice(b"00000000000");
        block[148..156].fill(b' ');
        block[156] = kind;
        block[157..157 + most(link)].copy_from_slice(&link[..most(link)]);
        block[257..265].copy_from_slice(b"ustar  \0");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        self.0.extend_from_slice(&block);
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
    }

    /// With GNU's records for names that do not fit.
    pub(crate) fn long(&mut self, kind: u8, name: &[u8], link: &[u8]) {
        if link.len() > 100 {
            self.entry(b'K', b"././@LongLink", b"", &[link, b"\0"].concat());
        }
        if name.len() > 100 {
            self.entry(b'L', b"././@LongLink", b"", &[name, b"\0"].concat());
        }
        self.entry(kind, name, link, b"");
    }

    pub(crate) fn pax(&mut self, records: &[(String, Vec<u8>)]) {
        let mut content = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while length != rest + length.to_string().len() {
                length = rest + length.to_string().len();
            }
            content.extend(format!("{length} {key}=").bytes());
            content.extend(value);
            content.push(b'\n');
        }
        self.entry(b'x', b"PaxHeaders/x", b"", &content);
    }

    pub(crate) fn tar(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }
}

pub(crate) fn gzip(tar: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(tar).unwrap();
    encoder.finish().unwrap()
}

fn xattr(number: usize, size: usize) -> (String, Vec<u8>) {
    (format!("SCHILY.xattr.user.a{number}"), vec![b'v'; size])
}

/// Directories, each with attributes of many bytes.
pub(crate) fn large_attributes(count: usize) -> Vec<u8> {
    let mut archive = Archive::new();
    for at in 0..count {
        archive.pax(&(0..15).map(|number| xattr(number, 60_000)).collect::<Vec<_>>());
        archive.entry(b'5', format!("d{at}").as_bytes(), b"", b"");
    }
    archive.tar()
}

/// One entry with extended headers without an end, all of which say something new.
pub(crate) fn repeated_headers(count: usize) -> Vec<u8> {
    let mut archive = Archive::new();
    for at in 0..count {
        archive.pax(&(0..15).map(|number| xattr(15 * at + number, 60_000)).collect::<Vec<_>>());
    }
    archive.entry(b'0', b"file", b"", b"");
    archive.tar()
}

/// Headers that say nothing, as many as one likes.
pub(crate) fn global_headers(count: usize) -> Vec<u8> {
    let mut archive = Archive::new();
    for _ in 0..count {
        archive.entry(b'g', b"pax_global_header", b"", &[0; 1 << 20]);
    }
    archive.tar()
}

/// Entries, and as many times the wish to remove all that is there.
pub(crate) fn opaque(count: usize) -> Vec<u8> {
    let mut archive = Archive::new();
    for at in 0..count {
        archive.entry(b'0', format!("d/{}/f{at}", at % 100).as_bytes(), b"", b"");
    }
    for _ in 0..count {
        archive.entry(b'0', b"d/.wh..wh..opq", b"", b"");
    }
    archive.tar()
}

/// Names through links whose targets say much and lead nowhere.
pub(crate) fn long_targets(count: usize) -> Vec<u8> {
    let mut archive = Archive::new();
    archive.entry(b'5', b"d", b"", b"");
    for link in 0..38 {
        let target = match link {
            0 => b"./".repeat(2000),
            _ => [b"./".repeat(2000), format!("l{}", link - 1).into_bytes()].concat(),
        };
        archive.long(b'2', format!("l{link}").as_bytes(), &target);
    }
    for at in 0..count {
        archive.entry(b'0', format!("l37/d{}/f{at}", at % 2).as_bytes(), b"", b"");
    }
    archive.tar()
}

/// Names through links whose targets go down and up again.
pub(crate) fn winding_targets(count: usize) -> Vec<u8> {
    let mut archive = Archive::new();
    for link in 0..38 {
        let mut target = b"e/../".repeat(800);
        if link > 0 {
            target.extend(format!("l{}", link - 1).bytes());
        }
        archive.long(b'2', format!("l{link}").as_bytes(), &target);
    }
    archive.entry(b'5', b"e", b"", b"");
    for at in 0..count {
        archive.entry(b'0', format!("l37/d{}/f{at}", at % 2).as_bytes(), b"", b"");
    }
    archive.tar()
}

/// Names, each of directories that are nowhere else.
pub(crate) fn deep(count: usize) -> Vec<u8> {
    let mut archive = Archive::new();
    for at in 0..count {
        let name = [format!("{at}").into_bytes(), b"/a".repeat(240)].concat();
        archive.long(b'0', &name, b"");
    }
    archive.tar()
}

/// Names of the longest kind.
pub(crate) fn long_names(count: usize) -> Vec<u8> {
    let mut archive = Archive::new();
    let parent = [vec![b'n'; 250], b"/".to_vec()].concat().repeat(15);
    for at in 0..count {
        let name = [parent.clone(), format!("{at}").into_bytes()].concat();
        archive.long(b'0', &name, b"");
    }
    archive.tar()
}

/// Short names below a link to a directory of the longest kind.
pub(crate) fn long_by_link(count: usize) -> Vec<u8> {
    let mut archive = Archive::new();
    let parent = [vec![b'n'; 250], b"/".to_vec()].concat().repeat(15);
    archive.long(b'5', &parent, b"");
    archive.long(b'2', b"s", &parent);
    for at in 0..count {
        archive.entry(b'0', format!("s/{at}").as_bytes(), b"", b"");
    }
    archive.tar()
}

/// One file with attributes, and more and more names of it.
pub(crate) fn many_links(count: usize) -> Vec<u8> {
    let mut archive = Archive::new();
    archive.pax(&(0..15).map(|number| xattr(number, 60_000)).collect::<Vec<_>>());
    archive.entry(b'0', b"file", b"", b"");
    for at in 0..count {
        archive.entry(b'1', format!("l{at}").as_bytes(), b"file", b"");
    }
    archive.tar()
}

/// A link with the longest target, and more and more names of it.
pub(crate) fn many_links_to_a_link(count: usize) -> Vec<u8> {
    let mut archive = Archive::new();
    archive.long(b'2', b"link", &vec![b't'; 4000]);
    for at in 0..count {
        archive.entry(b'1', format!("l{at}").as_bytes(), b"link", b"");
    }
    archive.tar()
}

/// Sparse files of many pieces, none of which has a byte.
pub(crate) fn sparse(count: usize) -> Vec<u8> {
    let mut archive = Archive::new();
    for at in 0..count {
        let mut map = b"1,0,".repeat(200_000);
        map.pop();
        let records =
            [("GNU.sparse.size".to_owned(), b"10".to_vec()), ("GNU.sparse.map".to_owned(), map)];
        archive.pax(&records);
        archive.entry(b'0', format!("s{at}").as_bytes(), b"", b"");
    }
    archive.tar()
}

/// Sparse files of holes only.
pub(crate) fn holes(count: usize) -> Vec<u8> {
    let mut archive = Archive::new();
    for at in 0..count {
        let size = (4u64 << 30).to_string().into_bytes();
        let records =
            [("GNU.sparse.size".to_owned(), size), ("GNU.sparse.map".to_owned(), b"0,0".to_vec())];
        archive.pax(&records);
        archive.entry(b'0', format!("s{at}").as_bytes(), b"", b"");
    }
    archive.tar()
}

/// One name of very many attributes, over and over the same.
pub(crate) fn repeated_attributes(count: usize) -> Vec<u8> {
    let mut archive = Archive::new();
    for at in 0..count {
        archive.pax(&(0..30_000).map(|number| xattr(number % 200, 0)).collect::<Vec<_>>());
        archive.entry(b'5', format!("d{at}").as_bytes(), b"", b"");
    }
    archive.tar()
}

/// Plain files, as many as one likes.
pub(crate) fn entries(count: usize) -> Vec<u8> {
    let mut archive = Archive::new();
    for at in 0..count {
        archive.entry(b'0', format!("f{at}").as_bytes(), b"", b"");
    }
    archive.tar()
}

/// Directories, each with one file, as many as one likes.
pub(crate) fn directories(count: usize) -> Vec<u8> {
    let mut archive = Archive::new();
    for at in 0..count {
        archive.entry(b'0', format!("d{at}/f").as_bytes(), b"", b"");
    }
    archive.tar()
}

/// What looks like programs: no two are the same, and each is stored by itself.
pub(crate) fn programs(count: usize) -> Vec<u8> {
    let mut archive = Archive::new();
    for at in 0..count {
        let content = [&b"\x7fELF"[..], &(at as u32).to_le_bytes()].concat();
        archive.entry(b'0', format!("p{at}").as_bytes(), b"", &content);
    }
    archive.tar()
}

/// All kinds, by name, each made of so many of its parts.
pub(crate) type Kind = (&'static str, fn(usize) -> Vec<u8>, usize);

/// With a number of parts that makes an archive of tens of megabytes.
pub(crate) const KINDS: &[Kind] = &[
    ("large attributes", large_attributes, 60),
    ("repeated headers", repeated_headers, 60),
    ("global headers", global_headers, 60),
    ("opaque whiteouts", opaque, 12_000),
    ("long targets", long_targets, 20_000),
    ("winding targets", winding_targets, 20_000),
    ("deep names", deep, 4_000),
    ("long names", long_names, 8_000),
    ("long names by a link", long_by_link, 40_000),
    ("many links", many_links, 20_000),
    ("many links to a link", many_links_to_a_link, 40_000),
    ("sparse maps", sparse, 60),
    ("holes", holes, 1_000),
    ("repeated attributes", repeated_attributes, 60),
    ("entries", entries, 60_000),
    ("directories", directories, 60_000),
    // As many as are not refused: they are written, too.
    ("written entries", entries, 50_000),
    ("written directories", directories, 19_000),
    ("written programs", programs, 55_000),
];
