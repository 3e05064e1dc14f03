//! Any request in the descriptor that `pyxis` is given by the plugin, whatever its verb. It is refused, or read
//! as what would be written for it, and takes no more room than it has. Half of what comes has a request's first line, or
//! nearly nothing would get further.
#![no_main]

use handover::request::{MAX_REQUEST, Request};
use libfuzzer_sys::fuzz_target;
use std::fs::File;
use std::io::Read;

fuzz_target!(|data: &[u8]| {
    let with_header = |data: &[u8]| [b"pyxis-request-2\n", data].concat();
    check(data);
    check(&with_header(data));
});

fn check(data: &[u8]) {
    let Ok(request) = Request::parse(data) else { return };
    let verb = request.verb();
    assert!(!verb.is_empty() && verb.bytes().all(|byte| byte.is_ascii_lowercase()), "{verb}");
    if let Request::Start(start) = &request {
        assert!(start.mounts.len() + start.env.len() <= data.len() / 4, "more than there is");
    }
    assert!(data.len() as u64 <= MAX_REQUEST);
    let mut file = File::from(request.file().unwrap());
    let mut written = Vec::new();
    std::io::Seek::rewind(&mut file).unwrap();
    file.read_to_end(&mut written).unwrap();
    assert_eq!(written, data, "read as something else than it is");
}
