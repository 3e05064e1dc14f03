//! Registries by their hosts, and what stands there, as names of images and configurations have them.

use std::borrow::Cow;

/// The registry meant where none is named.
pub const DOCKER_HUB: &str = "registry-1.docker.io";

/// What else it is called: by users, in credentials and in the configuration of mirrors.
pub(crate) const HUB_NAMES: [&str; 6] = [
    "docker.io",
    "index.docker.io",
    DOCKER_HUB,
    "registry.hub.docker.com",
    "hub.docker.com",
    "www.docker.io",
];

/// The host to talk to for a registry that has several names.
pub(crate) fn host_of(registry: &str) -> &str {
    if HUB_NAMES.contains(&registry) { DOCKER_HUB } else { registry }
}

/// Host and repository of `HOST/REPOSITORY`, in which nothing else is.
pub(crate) fn host_and_repository(text: &str) -> Option<(String, String)> {
    let (host, repository) = text.split_once('/')?;
    let host = host_of(host);
    (is_host(host) && is_repository(repository)).then(|| (host.to_owned(), repository.to_owned()))
}

/// Host and path of a place that a configuration names, `HOST[:PORT][/PATH]`; slashes at its end do not count.
pub(crate) fn place(text: &str) -> Result<(&str, &str), String> {
    let bare = text.trim_end_matches('/');
    let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
    if is_host(host) { Ok((host, path)) } else { Err(odd(text, PLACE)) }
}

/// A registry that a configuration names, as `HOST[:PORT]`.
///
/// # Errors
/// What is wrong, without what may be secret.
pub fn registry_named(text: &str) -> Result<String, String> {
    match place(text) {
        Ok((host, "")) => Ok(host.to_owned()),
        _ => Err(odd(text, "HOST[:PORT]")),
    }
}

/// A mirror that a configuration names: a host, or one and what stands there before the names of images.
///
/// # Errors
/// What is wrong, without what may be secret.
pub fn mirror_named(text: &str) -> Result<String, String> {
    match place(text)? {
        (host, "") => Ok(host.to_owned()),
        (host, path) if is_repository(path) => Ok(format!("{host}/{path}")),
        _ => Err(odd(text, PLACE)),
    }
}

const PLACE: &str = "HOST[:PORT][/PATH]";

fn odd(text: &str, form: &str) -> String {
    let hint = if text.contains('@') { ": a password's place is .credentials" } else { "" };
    format!("{:?} is no {form}{hint}", without_userinfo(text))
}

/// Text without what stands before a host in it, and may be a password.
pub fn without_userinfo(text: &str) -> Cow<'_, str> {
    match text.rsplit_once('@') {
        Some((_, rest)) => format!("***@{rest}").into(),
        None => text.into(),
    }
}

pub(super) fn is_host(text: &str) -> bool {
    // [2001:db8::1]:5000 is a host as well.
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let good_host = match inner {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let bytes = host.as_bytes();
            let ends = [bytes.first(), bytes.last()];
            ends.iter().all(|end| end.is_some_and(u8::is_ascii_alphanumeric))
                && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(byte))
        }
    };
    good_host && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

pub(super) fn is_repository(text: &str) -> bool {
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.split('/').all(|name| {
        let bytes = name.as_bytes();
        bytes.first().is_some_and(plain)
            && bytes.last().is_some_and(plain)
            && !name.contains("..")
            && bytes.iter().all(|byte| plain(byte) || b"._-".contains(byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_configurations_are_hosts_and_say_no_secrets() {
        for (text, registry, mirror) in [
            ("h", true, "h"),
            ("h:9100/", true, "h:9100"),
            ("[::1]:5000", true, "[::1]:5000"),
            ("h:9100/proxy/hub//", false, "h:9100/proxy/hub"),
            ("h_1.site/a", false, "h_1.site/a"),
        ] {
            assert_eq!(registry_named(text).is_ok(), registry, "{text}");
            assert_eq!(mirror_named(text).as_deref(), Ok(mirror));
        }
        for text in [
            "",
            "/",
            "/a",
            "http://h",
            "https://h/",
            "bad host",
            "h ",
            " h",
            "h:910000",
            "h:",
            "h:x/a",
            "h//a",
            "h/A",
            "h/a b",
            "h/a:1",
            "h?x=y",
            "[::1",
            "user:SECRET@h",
            "http://user:SECRET@h/",
            "h/a@SECRET@b",
            "SECRET@",
        ] {
            for error in [registry_named(text).unwrap_err(), mirror_named(text).unwrap_err()] {
                assert!(error.contains(" is no HOST[:PORT]"), "{error}");
                assert!(!error.contains("SECRET"), "{error}");
            }
        }
        let error = mirror_named("user:SECRET@h:5000").unwrap_err();
        let words = "\"***@h:5000\" is no HOST[:PORT][/PATH]: a password's place is .credentials";
        assert_eq!(error, words);
    }
}
