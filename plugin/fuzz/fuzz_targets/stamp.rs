//! Any file given to `build-matrix verify`: ELF or not, stamped or not, damaged anywhere.
#![no_main]

use libfuzzer_sys::fuzz_target;
use slurm_releases::stamp::Stamp;

fuzz_target!(|bytes: &[u8]| {
    for outcome in [Stamp::parse(bytes), Stamp::from_elf(bytes)] {
        match outcome {
            // No NUL reaches a terminal from here.
            Ok(stamp) => assert!(!format!("{stamp:?}").contains('\0')),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
});
