//! An image's `/etc/environment`, and the block of variables that the tasks get.
#![no_main]

use libfuzzer_sys::fuzz_target;
use linux::environ::{Environ, can_be_noted, parse, substitute, to_block};
use std::os::unix::ffi::OsStrExt;

fuzz_target!(|text: &[u8]| {
    let host = Environ::from([("A".into(), "1".into()), ("B".into(), "${A}".into())]);
    let environ = parse(text, &host);
    for name in environ.keys() {
        assert!(can_be_noted(name.as_bytes()) && !name.as_bytes().starts_with(b"ENROOT_"));
    }
    let nul = |value: &std::ffi::OsString| value.as_bytes().contains(&0);
    if !environ.values().any(nul) {
        let block = to_block(&environ);
        let read: Environ = block
            .split(|byte| *byte == 0)
            .filter_map(|line| {
                let equals = line.iter().position(|byte| *byte == b'=')?;
                let os = |bytes: &[u8]| std::ffi::OsStr::from_bytes(bytes).to_owned();
                Some((os(&line[..equals]), os(&line[equals + 1..])))
            })
            .collect();
        assert_eq!(read, environ);
    }
    // Nothing is substituted in what was substituted.
    let once = substitute(text, &host);
    assert!(once.len() <= text.len() + 4 * text.windows(2).filter(|two| two == b"${").count());
});
