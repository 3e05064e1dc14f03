//! A node's configuration of enroot.
#![no_main]

use libfuzzer_sys::fuzz_target;
use linux::environ::Environ;
use pyxis::settings::{EnrootConf, User};
use std::path::Path;

fuzz_target!(|text: &[u8]| {
    let name = |_| "user".to_owned();
    let user = User { uid: 1000, gid: 100, name, home: Some("/home/user".into()) };
    let environ = Environ::from([("HOME".into(), "/home/user".into())]);
    let conf = EnrootConf::parse(text, Path::new("/etc/enroot/enroot.conf"), &environ, &user);
    let lines = text.split(|byte| *byte == b'\n').count();
    for remark in &conf.remarks {
        // One line, which names the file and a line of it.
        assert!((1..=lines).contains(&remark.line.unwrap()), "{remark}");
        assert!(!remark.to_string().contains('\n'), "{remark}");
    }
    for (name, said) in &conf.variables {
        assert!(linux::environ::is_name(name.as_encoded_bytes()), "{name:?}");
        assert!(!said.value.is_empty() && (1..=lines).contains(&said.line), "{said:?}");
        assert!(!said.value.as_encoded_bytes().contains(&0), "{said:?}");
    }
});
