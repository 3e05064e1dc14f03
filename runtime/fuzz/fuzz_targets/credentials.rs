//! Credentials: enroot's file, docker's, and what a registry asks for.
#![no_main]

use images::registry::Credential;
use images::registry::parsers::{challenge, docker_config, netrc};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for (machine, user) in netrc(text) {
        assert!(!machine.is_empty() && !user.is_empty());
        assert!(!machine.contains(char::is_whitespace) && !user.contains(char::is_whitespace));
    }
    for (host, repository) in
        [("a.io", "b/c"), ("registry-1.docker.io", "library/x"), ("a:5000", "b")]
    {
        if let Some(Credential::Password { user, .. }) =
            docker_config(text.as_bytes(), host, repository)
        {
            assert!(user.len() <= text.len());
        }
    }
    if let Some(host) = challenge(text) {
        assert!(text.contains(&host));
    }
});
