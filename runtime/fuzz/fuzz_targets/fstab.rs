//! Lines of an image's `/etc/fstab` and of `pyxis start --mount`.
#![no_main]

use containers::fstab::{Entry, escape};
use libfuzzer_sys::fuzz_target;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

fuzz_target!(|line: &[u8]| {
    let line = OsStr::from_bytes(line);
    match Entry::parse(line) {
        Ok(Some(entry)) => {
            assert!(!entry.source.is_empty() && !entry.target.is_empty());
            // Its paths, escaped, are read again as they are.
            let mut again = OsString::from(escape(&entry.source));
            again.push(" ");
            again.push(escape(&entry.target));
            again.push(" none rbind");
            if !entry.source.as_bytes().starts_with(b"#") && entry.target != "none" {
                let read = Entry::parse(&again).unwrap().unwrap();
                assert_eq!((&read.source, &read.target), (&entry.source, &entry.target));
            }
        }
        Ok(None) => {}
        Err(error) => assert!(!error.problem.is_empty()),
    }
});
