//! The environment of the processes that run as the shared store's account: root's plugin starts them in
//! steps, and `pyxis pull --shared` does.

use std::ffi::{OsStr, OsString};

/// What of root's environment they get: the way to registries.
const HANDED_ON: [&str; 9] = [
    "PATH",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "SSL_CERT_FILE",
];

/// Names and values, all of them; `of_root` looks up what root has.
pub fn environ(
    store: &OsStr,
    of_root: impl Fn(&str) -> Option<OsString>,
) -> impl Iterator<Item = (&'static str, OsString)> {
    let handed_on = HANDED_ON.into_iter().filter_map(move |name| Some((name, of_root(name)?)));
    let own = [("HOME", store), ("PYXIS_STORE_PATH", store), ("LANG", OsStr::new("C.UTF-8"))];
    handed_on.chain(own.map(|(name, value)| (name, value.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_roots_but_the_way_to_registries_is_handed_on() {
        let of_root = |name: &str| Some(OsString::from(format!("root's {name}")));
        let given: Vec<_> = environ(OsStr::new("/store"), of_root).collect();
        let names: Vec<&str> = given.iter().map(|(name, _)| *name).collect();
        assert!(names.contains(&"https_proxy") && !names.contains(&"LD_PRELOAD"), "{names:?}");
        assert_eq!(names.iter().filter(|name| **name == "HOME").count(), 1);
        assert!(given.contains(&("HOME", "/store".into())), "{given:?}");
        assert_eq!(environ(OsStr::new("/store"), |_| None).count(), 3);
    }
}
