//! Any request in the descriptor that `pyxis start`, `pull` and `digest` are given. It is refused, or read
//! as what would be written for it, and takes no more room than it has.
#![no_main]

use handover::request::{MAX_REQUEST, Request};
use libfuzzer_sys::fuzz_target;
use std::fs::File;
use std::io::Read;

fuzz_target!(|data: &[u8]| {
    let Ok(request) = Request::parse(data) else { return };
    if let Request::Start(start) = &request {
        assert!(start.mounts.len() + start.env.len() <= data.len() / 4, "more than there is");
    }
    assert!(data.len() as u64 <= MAX_REQUEST);
    let mut file = File::from(request.file().unwrap());
    let mut written = Vec::new();
    std::io::Seek::rewind(&mut file).unwrap();
    file.read_to_end(&mut written).unwrap();
    assert_eq!(written, data, "read as something else than it is");
});
