//! An image: any bytes are files or errors, in bounded time and memory.
#![no_main]

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use squashfs::{Image, Kind};

/// Files that are looked at, of an image that may have any number.
const MOST: usize = 64;

fuzz_target!(|bytes: &[u8]| {
    let mut file: File =
        nix::sys::memfd::memfd_create("image", nix::sys::memfd::MFdFlags::empty()).unwrap().into();
    file.write_all(bytes).unwrap();
    let Ok(image) = Image::open(file) else { return };
    let mut waiting = vec![image.root()];
    for _ in 0..MOST {
        let Some(reference) = waiting.pop() else { return };
        let Ok(inode) = image.inode(reference) else { continue };
        if let Ok(names) = image.attribute_names(&inode) {
            for name in names.split(|byte| *byte == 0) {
                let _ = image.attribute(&inode, name);
            }
        }
        match &inode.kind {
            Kind::Directory(directory) => {
                let Ok(listing) = image.list(directory, 0) else { continue };
                for entry in listing.take(MOST).map_while(Result::ok) {
                    assert!(!entry.name.is_empty() && !entry.name.contains(&b'/'));
                    let _ = image.lookup(directory, &entry.name);
                    let _ = image.list(directory, entry.next).map(|mut rest| rest.next());
                    waiting.push(entry.reference);
                }
            }
            Kind::File(contents) => {
                let mut piece = [0; 5000];
                for offset in [0, 4096, inode.size / 2] {
                    if let Ok(count) = image.read(&inode, contents, offset, &mut piece) {
                        assert!(offset.saturating_add(count as u64) <= inode.size.max(offset));
                    }
                }
            }
            Kind::Symlink(target) => {
                let Ok(target) = image.target(&inode, target) else { continue };
                let path = Path::new(OsStr::from_bytes(&target));
                let read = image.contents(path, 1 << 20);
                assert!(read.is_err() || image.find(path, true).is_ok());
            }
            Kind::Device(_) | Kind::Pipe => {}
        }
    }
});
