//! Small things that programs expect to find. None of them is worth a failed start: an image
//! whose root cannot be written goes without.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::start::process::identity::Identity;
use linux::environ::Environ;

const LOCALTIME: &str = "/etc/localtime";
/// Variables of locale.conf(5), and nothing else of it.
const LOCALE: [&str; 14] = [
    "LANG",
    "LANGUAGE",
    "LC_CTYPE",
    "LC_NUMERIC",
    "LC_TIME",
    "LC_COLLATE",
    "LC_MONETARY",
    "LC_MESSAGES",
    "LC_PAPER",
    "LC_NAME",
    "LC_ADDRESS",
    "LC_TELEPHONE",
    "LC_MEASUREMENT",
    "LC_IDENTIFICATION",
];

/// The host's time zone.
pub(in crate::start) struct Timezone {
    link: PathBuf,
    file: PathBuf,
    rules: Vec<u8>,
}

impl Timezone {
    /// `None` where the host has a file of its own, as containers of images do.
    pub(in crate::start) fn of_host() -> Option<Timezone> {
        let link = fs::read_link(LOCALTIME).ok()?;
        let file = linux::path::normalized(&Path::new("/etc").join(&link));
        let rules = fs::read(&file).ok()?;
        Some(Timezone { link, file, rules })
    }

    /// What `/etc/localtime` points to.
    pub(in crate::start) fn link(&self) -> &Path {
        &self.link
    }

    /// Gives the container the same; in the container's root. The image's own rules for the zone
    /// are used where it has them.
    pub(in crate::start) fn set(&self) {
        if !fs::read_link(LOCALTIME).is_ok_and(|have| have == self.link) {
            let _ = fs::remove_file(LOCALTIME);
            let _ = symlink(&self.link, LOCALTIME);
        }
        // Without rules it is UTC anyway: no need to look, which costs nine requests.
        if !self.file.ends_with("UTC") && !self.file.exists() {
            let parent = self.file.parent().unwrap_or(Path::new("/"));
            let _ = fs::create_dir_all(parent).and_then(|()| fs::write(&self.file, &self.rules));
        }
    }
}

/// apt drops its privileges to a user that a namespace of one id has not.
pub(in crate::start) fn let_apt_be_root(identity: &Identity) {
    let directory = Path::new("/etc/apt/apt.conf.d");
    if identity.inside_uid != 0 || !Path::new("/etc/debian_version").exists() {
        return;
    }
    let file = directory.join("pyxis");
    if !file.exists() {
        let text = "APT::Sandbox::User \"root\";\n";
        let _ = fs::create_dir_all(directory).and_then(|()| fs::write(file, text));
    }
}

/// The image's locale, where nothing else sets one.
pub(in crate::start) fn add_locale(environ: &mut Environ) {
    let text = match crate::start::files::read("/etc/locale.conf") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        text => text.unwrap_or_default(),
    };
    for (name, value) in linux::environ::parse(&text, &Environ::new()) {
        if LOCALE.iter().any(|known| name.as_bytes() == known.as_bytes()) && !value.is_empty() {
            environ.entry(OsStr::new(&name).into()).or_insert(value);
        }
    }
}
