//! What `--container-mounts` accepts goes to the runtime as a line of fstab: it must read there
//! what was written here.
#![no_main]

use libfuzzer_sys::fuzz_target;
use containers::fstab::Entry;
use spank_pyxis::options::{Options, Valued};

fuzz_target!(|list: &[u8]| {
    if list.contains(&0) {
        return; // Slurm gives C strings
    }
    let mut options = Options::default();
    if options.set(Valued::Mounts, list).is_err() {
        return;
    }
    for mount in &options.mounts {
        // White space in flags starts another field, and flags that are not UTF-8 are none: nothing
        // but the absence of a panic is asked for then.
        let plain = mount.flags.to_str().is_some_and(|flags| !flags.contains(char::is_whitespace));
        let line = mount.fstab_line();
        match Entry::parse(&line) {
            Ok(Some(entry)) if plain => {
                assert_eq!(entry.source, mount.source, "{line:?}");
                assert_eq!(entry.target, mount.target, "{line:?}");
                assert_eq!(entry.detach, has(&mount.flags, "x-detach"), "{line:?}");
            }
            Ok(Some(_)) => {}
            Ok(None) => panic!("{line:?} is no mount"),
            Err(error) => assert!(!error.problem.is_empty()),
        }
    }
});

fn has(flags: &std::ffi::OsStr, flag: &str) -> bool {
    flags.to_string_lossy().split(',').any(|have| have == flag)
}
