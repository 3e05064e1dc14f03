//! A layer of an image: any bytes are an archive or an error, in bounded time and memory.
#![no_main]

use images::tarball::{Header, Kind, Reader, Writer};
use libfuzzer_sys::fuzz_target;
use std::io::Read;

/// Sparse files may claim any size; nobody reads them to their end here.
const MOST: u64 = 64 << 10;

fuzz_target!(|bytes: &[u8]| {
    let (entries, whole) = read(bytes);
    assert!(entries.len() <= bytes.len() / 512);
    // What was read can be written and is read again.
    let mut writer = Writer::new(Vec::new());
    for (header, data) in &entries {
        if writer.append(header, data.as_slice()).is_err() {
            return; // such as a file whose data was cut off above
        }
    }
    if !whole {
        return;
    }
    let copy = writer.finish().unwrap();
    let (again, _) = read(&copy);
    assert_eq!(again.len(), entries.len());
    for ((one, _), (other, _)) in entries.iter().zip(&again) {
        assert_eq!(kind(&one.kind), kind(&other.kind));
        assert_eq!(one.size, other.size);
    }
});

fn kind(kind: &Kind) -> std::mem::Discriminant<Kind> {
    std::mem::discriminant(kind)
}

/// The entries, and whether the archive was read to its end.
fn read(bytes: &[u8]) -> (Vec<(Header, Vec<u8>)>, bool) {
    let mut reader = Reader::new(bytes);
    let mut entries = Vec::new();
    loop {
        match reader.next() {
            Ok(Some(header)) => {
                let mut data = Vec::new();
                let complete = (&mut reader).take(MOST).read_to_end(&mut data).is_ok();
                if !complete {
                    return (entries, false);
                }
                entries.push((header, data));
            }
            Ok(None) => return (entries, true),
            Err(error) => {
                assert!(!error.to_string().is_empty());
                return (entries, false);
            }
        }
    }
}
