//! What the files in `packaging/` and `debian/` say.

use crate::error::Error;
use serde::Deserialize;
use std::path::Path;
use std::{env, fs};

/// `packaging/packages.toml`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Facts {
    pub(crate) maintainer: String,
    pub(crate) homepage: String,
    pub(crate) revision: String,
    pub(crate) rpm_group: String,
    pub(crate) pyxis: Words,
    pub(crate) build: Words,
    pub(crate) all: Words,
    pub(crate) enroot: Words,
    pub(crate) debug: Words,
    pub(crate) single: Words,
    pub(crate) slurm: SlurmPackages,
}

/// What one package says of itself.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Words {
    pub(crate) summary: String,
    pub(crate) description: String,
}

/// Names of Slurm's own packages.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct SlurmPackages {
    pub(crate) deb: Vec<String>,
    pub(crate) rpm: Vec<String>,
}

/// Everything that is the same for all packages of a run.
#[derive(Debug, Clone)]
pub(crate) struct Release {
    pub(crate) facts: Facts,
    /// `0.1.0-1`
    pub(crate) version: String,
    /// Seconds since 1970 that every file of a package has.
    pub(crate) epoch: u32,
    /// Debian's changelog.
    pub(crate) changelog: String,
    /// Debian's summary of it, and the licence itself.
    pub(crate) copyright: String,
    pub(crate) license: String,
    /// `/etc/pyxis/pyxis.toml`
    pub(crate) settings: String,
    pub(crate) after_install: String,
    pub(crate) before_remove: String,
    pub(crate) after_remove: String,
    /// AppArmor's profile for the command, which the scripts put into place.
    pub(crate) apparmor: String,
    pub(crate) udev_rules: String,
    pub(crate) of_enroot: OfEnroot,
}

/// What the package in enroot's place has: `packaging/enroot`
#[derive(Debug, Clone)]
pub(crate) struct OfEnroot {
    /// Below `usr/share/enroot`.
    pub(crate) files: Vec<(String, Vec<u8>)>,
    /// What stands for each of enroot's programs.
    pub(crate) program: String,
    /// Functions for scripts, the same that hooks have.
    pub(crate) functions: String,
    /// For rpm alone: dpkg leaves what it tells by.
    pub(crate) after_install: String,
    pub(crate) after_all: String,
    pub(crate) before_remove: String,
}

/// Reads them.
pub(crate) fn load(root: &Path) -> Result<Release, Error> {
    let read = |name: &str| {
        let path = root.join(name);
        fs::read_to_string(&path).map_err(Error::io("read", &path))
    };
    let name = "packaging/packages.toml";
    let facts: Facts =
        toml::from_str(&read(name)?).map_err(|e| Error::data(root.join(name), e.to_string()))?;
    let changelog = read("debian/changelog")?;
    let version = format!("{}-{}", env!("CARGO_PKG_VERSION"), facts.revision);
    let newest = changelog.lines().next().unwrap_or_default();
    if !newest.starts_with(&format!("pyxis ({version})")) {
        let why = format!("its newest entry is not for version {version}");
        return Err(Error::data(root.join("debian/changelog"), why));
    }
    let epoch = match env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text.parse().map_err(|_| Error::Epoch { text })?,
        Err(_) => changelog_date(&changelog).ok_or_else(|| {
            Error::data(
                root.join("debian/changelog"),
                "no date that can be read in its newest entry",
            )
        })?,
    };
    Ok(Release {
        facts,
        version,
        epoch,
        changelog,
        copyright: read("debian/copyright")?,
        license: read("LICENSE")?,
        settings: read("packaging/pyxis.toml")?,
        after_install: read("packaging/after-install")?,
        before_remove: read("packaging/before-remove")?,
        after_remove: read("packaging/after-remove")?,
        apparmor: read("packaging/apparmor")?,
        udev_rules: read("packaging/udev.rules")?,
        of_enroot: OfEnroot {
            files: tree(&root.join("packaging/enroot/share"))?,
            program: read("packaging/enroot/program")?,
            functions: read("runtime/containers/src/start/environment/common.sh")?,
            after_install: read("packaging/enroot/after-install")?,
            after_all: read("packaging/enroot/after-all")?,
            before_remove: read("packaging/enroot/before-remove")?,
        },
    })
}

/// Every file below `dir`, sorted: path from there, and contents.
pub(crate) fn tree(dir: &Path) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::io("list", dir))? {
        let path = entry.map_err(Error::io("list", dir))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(tree(&path)?.into_iter().map(|(below, b)| (format!("{name}/{below}"), b)));
        } else {
            found.push((name, fs::read(&path).map_err(Error::io("read", &path))?));
        }
    }
    found.sort();
    Ok(found)
}

/// The date of the newest entry: ` -- name <mail>  Mon, 02 Nov 2026 12:00:00 +0000`. UTC only.
fn changelog_date(changelog: &str) -> Option<u32> {
    let line = changelog.lines().find(|line| line.starts_with(" -- "))?;
    let (_, date) = line.split_once(">  ")?;
    let parts: Vec<&str> = date.split([' ', ':']).collect();
    let [_, day, month, year, hours, minutes, seconds, "+0000"] = parts[..] else { return None };
    let months =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months.iter().position(|name| *name == month)? as i64 + 1;
    let number = |text: &str| text.parse::<i64>().ok();
    let days = days_since_1970(number(year)?, month, number(day)?);
    let time = (number(hours)? * 60 + number(minutes)?) * 60 + number(seconds)?;
    u32::try_from(days * 86400 + time).ok()
}

/// Of the Gregorian calendar; a year begins in March, so that a leap day is its last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let (century, of_century) = (year / 100, year % 100);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    146097 * century / 4 + 1461 * of_century / 4 + of_year - 719468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_in_enroots_folder_is_known_when_it_is_to_go() {
        use sha2::{Digest, Sha256};
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let of_enroot = load(root).unwrap().of_enroot;
        let line = of_enroot.before_remove.lines().find_map(|line| line.strip_prefix("made=\""));
        let made: Vec<&str> =
            line.and_then(|line| line.strip_suffix('"')).unwrap().split(' ').collect();
        let is_made = |path: &str| path == "enroot.conf" || path.starts_with("devices/");
        let files: Vec<_> = of_enroot.files.iter().filter(|(path, _)| is_made(path)).collect();
        assert_eq!(files.len(), 4);
        for (path, text) in files {
            let digest = build_matrix::workspace::hex(&Sha256::digest(text));
            assert!(
                made.contains(&&*digest),
                "{path}: {digest} goes beside those of earlier versions"
            );
        }
    }

    #[test]
    fn dates_of_a_changelog() {
        let date = |date: &str| changelog_date(&format!("x\n\n -- a <b>  {date}\n"));
        assert_eq!(date("Thu, 01 Jan 1970 00:00:00 +0000"), Some(0));
        assert_eq!(date("Thu, 29 Feb 2024 23:59:59 +0000"), Some(1_709_251_199));
        assert_eq!(date("Mon, 02 Nov 2026 12:00:00 +0000"), Some(1_793_620_800));
        assert_eq!(date("Mon, 02 Nov 2026 12:00:00 +0100"), None);
    }
}
