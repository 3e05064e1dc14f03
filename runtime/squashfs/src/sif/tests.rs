use proptest::prelude::*;

use super::*;

/// A SIF file of these rows: kind, used, place, length, file system, kind of partition.
type Row = (u32, bool, u64, u64, u32, u32);

fn sif(rows: &[Row], length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length.max(4096 + rows.len() * ROW as usize)];
    bytes[..31].copy_from_slice(b"#!/usr/bin/env run-singularity\n");
    bytes[32..45].copy_from_slice(b"SIF_MAGIC\x0001\0");
    bytes[88..96].copy_from_slice(&(rows.len() as u64).to_le_bytes());
    bytes[96..104].copy_from_slice(&4096u64.to_le_bytes());
    for (number, (kind, used, start, length, system, part)) in rows.iter().enumerate() {
        let row = &mut bytes[4096 + number * ROW as usize..][..ROW as usize];
        row[..4].copy_from_slice(&kind.to_le_bytes());
        row[4] = u8::from(*used);
        row[17..25].copy_from_slice(&start.to_le_bytes());
        row[25..33].copy_from_slice(&length.to_le_bytes());
        row[201..205].copy_from_slice(&system.to_le_bytes());
        row[205..209].copy_from_slice(&part.to_le_bytes());
        if let Some(magic) = bytes.get_mut(*start as usize..).and_then(|rest| rest.get_mut(..4)) {
            if *start >= 32768 {
                magic.copy_from_slice(b"hsqs");
            }
        }
    }
    bytes
}

fn of(bytes: &[u8]) -> Result<Extent, SifError> {
    use std::io::Write;
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Extent::of(&file)
}

const DEFINITION: Row = (0x4001, true, 32768, 100, 0, 0);
const ROOT: Row = (PARTITION, true, 36864, 4096, 1, PRIMARY);

#[test]
fn the_root_is_found() {
    let want = Extent { start: 36864, length: 4096 };
    let overlay = (PARTITION, true, 45056, 4096, 2, 4);
    let deleted = (PARTITION, false, 36864, 8192, 1, PRIMARY);
    let signature = (0x4005, true, 49152, 10, 0, 0);
    for rows in [&[ROOT][..], &[DEFINITION, deleted, ROOT, overlay, signature]] {
        assert_eq!(of(&sif(rows, 65536)).unwrap(), want);
    }
    let mut other = sif(&[ROOT], 65536);
    other[43] = b'2';
    assert!(of(&other).unwrap_err().to_string().contains("another version"));
    for plain in [&b"hsqs"[..], b"", b"text"] {
        assert_eq!(of(plain).unwrap(), Extent::WHOLE);
    }
}

#[test]
fn what_is_not_served_is_named() {
    let with = |system| of(&sif(&[(PARTITION, true, 36864, 4096, system, PRIMARY)], 65536));
    for (system, word) in [(2, "ext3"), (5, "encrypted"), (3, "no squashfs"), (4, "no squashfs")] {
        let error = with(system).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    let oci = of(&sif(&[(OCI_INDEX, true, 32768, 9, 0, 0)], 65536)).unwrap_err().to_string();
    assert!(oci.contains("OCI image in layers"), "{oci}");
    let none = of(&sif(&[DEFINITION], 65536)).unwrap_err().to_string();
    assert!(none.contains("without a primary system partition"), "{none}");
}

#[test]
fn places_that_cannot_be_are_refused() {
    let at = |start, length| (PARTITION, true, start, length, 1, PRIMARY);
    for (row, word) in [
        (at(65537, 1), "within the file"),
        (at(36864, 65536), "within the file"),
        (at(u64::MAX, 2), "within the file"),
        (at(u64::MAX - 1, u64::MAX), "within the file"),
        (at(0, 65536), "overlaps"),
        (at(100, 4096), "overlaps"),
        (at(4096, 4096), "overlaps"),
        (at(32800, 4096), "overlaps"),
        (at(32768, 4), "overlaps"),
        (at(40960, 3), "as a squashfs"),
        (at(65536, 0), "as a squashfs"),
    ] {
        let error = of(&sif(&[row, DEFINITION], 65536)).unwrap_err().to_string();
        assert!(error.contains(word), "{row:?}: {error}");
    }
    let two = of(&sif(&[ROOT, ROOT], 65536)).unwrap_err().to_string();
    assert!(two.contains("two partitions"), "{two}");
    for (at, value) in
        [(88, u64::MAX), (88, 4097), (88, 4000), (96, 0), (96, u64::MAX), (96, 65500)]
    {
        let mut bytes = sif(&[ROOT], 65536);
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        let error = of(&bytes).unwrap_err().to_string();
        assert!(error.contains("place of its table"), "{at} {value}: {error}");
    }
}

proptest! {
    /// Whatever the header and the table say, a root that is found is in the file, behind the header.
    #[test]
    fn a_root_is_within_the_file(
        changes in proptest::collection::vec((0usize..6000, any::<u8>()), 0..40),
        rows in proptest::collection::vec(
            (0x4003u32..0x4006, any::<bool>(), 0u64..70000, 0u64..70000, 0u32..3, 1u32..4), 0..4),
    ) {
        let mut bytes = sif(&[&rows[..], &[ROOT]].concat(), 65536);
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        if let Ok(extent) = of(&bytes) {
            let whole = extent == Extent::WHOLE;
            prop_assert!(whole || extent.start >= HEADER as u64 && extent.end() <= 65536, "{extent:?}");
            prop_assert!(whole || bytes[extent.start as usize..].starts_with(b"hsqs"));
        }
    }
}
