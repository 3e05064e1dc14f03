//! Libraries, and the dynamic linker's cache of them.
#![no_main]

use containers::devices::check;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| check(bytes));
