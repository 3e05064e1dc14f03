//! The site's configuration.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pyxis::settings::{User, parse};
use std::path::Path;

fuzz_target!(|text: &str| {
    let name = |_| "user".to_owned();
    let user = User { uid: 1000, gid: 100, name, home: Some("/home/user".into()) };
    if let Err(error) = parse(text, Path::new("/etc/pyxis/pyxis.toml"), &user) {
        // One line, which names the file and a line of it.
        let said = error.to_string();
        let rest = said.strip_prefix("/etc/pyxis/pyxis.toml:").unwrap();
        let number = rest.split(':').next().unwrap().parse::<usize>().unwrap();
        assert!((1..=text.matches('\n').count() + 1).contains(&number), "{said}");
        assert!(!said.contains('\n'), "{said}");
    }
});
