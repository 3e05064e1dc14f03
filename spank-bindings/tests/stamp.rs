//! The stamp of this very program, which exports a plugin.

#![expect(clippy::disallowed_methods, reason = "the files are the test's own")]

use proptest::prelude::*;
use slurm_releases::stamp::Stamp;
use spank_bindings::{Args, BINDINGS_HASH, FailureMode, RELEASE, Spank, TARGET};

fn nothing(_: &Spank<'_>, _: Args<'_>) -> Result<(), String> {
    Ok(())
}

spank_bindings::export_plugin! {
    name: "example",
    version: "1.2.3-rc1",
    failure_mode: FailureMode::Job,
    hooks: { init => nothing, exit => nothing }
}

unsafe extern "C" {
    safe static pyxis_stamp: u8;
}

#[test]
fn a_stamp_is_read_from_the_file() {
    // A program, unlike a library, keeps only what it uses.
    std::hint::black_box(&pyxis_stamp);
    let stamp = Stamp::from_elf(&std::fs::read("/proc/self/exe").unwrap()).unwrap();
    assert_eq!(stamp.plugin, "example");
    assert_eq!(stamp.version, "1.2.3-rc1");
    assert_eq!(stamp.slurm, RELEASE);
    assert_eq!(stamp.number, spank_bindings::SLURM_VERSION_NUMBER);
    assert_eq!(stamp.api, slurm_releases::release(RELEASE).unwrap().api);
    assert_eq!(stamp.bindings, BINDINGS_HASH);
    assert_eq!(stamp.target, TARGET);
}

#[test]
fn the_version_as_a_number() {
    let number = spank_bindings::export::version_number;
    assert_eq!(number("1.2.3-rc1"), 0x01_0203);
    assert_eq!(number("0.24.0"), 0x00_1800);
    assert_eq!(number(""), 0);
}

/// A damaged copy of this program: some bytes of its headers changed, or its end missing.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let whole = std::fs::read("/proc/self/exe").unwrap();
    let length = whole.len();
    // Where the section headers are: the end of the file, mostly.
    let places = prop_oneof![0..64_usize, length.saturating_sub(4096)..length];
    let changes = prop::collection::vec((places, any::<u8>()), 1..8);
    (changes, prop_oneof![Just(length), 0..length]).prop_map(move |(changes, end)| {
        let mut bytes = whole.clone();
        for (place, value) in changes {
            bytes[place] = value;
        }
        bytes.truncate(end);
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn damaged_files_are_no_panic(bytes in damaged()) {
        let _ = Stamp::from_elf(&bytes);
    }
}
