//! The site's configuration, `/etc/pyxis/pyxis.toml`.
//!
//! Precedence: command line, environment, file, default. What the file says is put into the
//! environment where that is silent, as enroot does: the rest of the program and the site's hooks
//! look there.

mod error;
mod table;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use linux::bounded;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub use error::ConfigError;
pub use table::{Kind, SETTINGS, Setting};

use containers::nearest;
use images::import::PullPolicy;

/// Read unless `PYXIS_CONFIG` names another.
pub const FILE: &str = "/etc/pyxis/pyxis.toml";

/// A file's settings.
#[derive(Debug, Default)]
pub struct Config {
    /// The file; `None` if there is none.
    pub path: Option<PathBuf>,
    values: Vec<(&'static Setting, OsString)>,
}

/// Where a value comes from.
#[derive(Debug, PartialEq, Eq)]
pub enum Origin {
    /// The variable of the setting.
    Environment,
    /// The file.
    File(PathBuf),
    /// Nobody set it.
    Default,
}

/// For whom path templates are filled in.
#[derive(Clone, Debug)]
pub struct User {
    /// Number.
    pub uid: u32,
    /// Number of the primary group.
    pub gid: u32,
    /// Login name; asked for only where a template wants it.
    pub name: fn(u32) -> String,
    /// Home directory; as above.
    pub home: fn() -> Option<PathBuf>,
}

impl User {
    /// The calling user.
    pub fn caller() -> User {
        let name = |uid: u32| {
            let user = nix::unistd::User::from_uid(uid.into()).ok().flatten();
            user.map_or_else(|| uid.to_string(), |user| user.name)
        };
        User {
            uid: nix::unistd::geteuid().as_raw(),
            gid: nix::unistd::getegid().as_raw(),
            name,
            home: linux::home::home,
        }
    }
}

impl Config {
    /// Reads the file that `PYXIS_CONFIG` names, or [`FILE`], which need not exist.
    ///
    /// # Errors
    /// [`ConfigError`] with file, line and a hint.
    pub fn load(user: &User) -> Result<Config, ConfigError> {
        let named = std::env::var_os("PYXIS_CONFIG").filter(|path| !path.is_empty());
        let path = named.as_deref().map_or(Path::new(FILE), Path::new);
        match bounded::read_text(path, bounded::CONFIGURATION) {
            Ok(text) => Config::parse(&text, path, user),
            Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => {
                Ok(Config::default())
            }
            Err(source) => Err(ConfigError::Read { path: path.to_owned(), source }),
        }
    }

    /// Reads the text of a file at `path`.
    ///
    /// # Errors
    /// [`ConfigError`] with file, line and a hint.
    pub fn parse(text: &str, path: &Path, user: &User) -> Result<Config, ConfigError> {
        let fail = |at: usize, problem: String| ConfigError::Line {
            path: path.to_owned(),
            line: text[..at.min(text.len())].matches('\n').count() + 1,
            problem,
        };
        let document = DeTable::parse(text).map_err(|error| {
            fail(error.span().map_or(0, |span| span.start), error.message().trim().to_owned())
        })?;
        let mut values = Vec::new();
        for (section, table) in document.get_ref() {
            let name = section.get_ref().as_ref();
            if !SETTINGS.iter().any(|setting| setting.section == name) {
                let known = SETTINGS.iter().map(|setting| setting.section);
                let problem = unknown("table", name, nearest(name, known));
                return Err(fail(section.span().start, problem));
            }
            let DeValue::Table(keys) = table.get_ref() else {
                let problem = format!("{name} is a table: write [{name}] and its keys below");
                return Err(fail(table.span().start, problem));
            };
            for (key, value) in keys {
                let word = key.get_ref().as_ref();
                let mut known = SETTINGS.iter().filter(|setting| setting.section == name);
                let Some(setting) = known.clone().find(|setting| setting.key == word) else {
                    let hint = nearest(word, known.by_ref().map(|setting| setting.key));
                    let problem = unknown("key", word, hint);
                    return Err(fail(key.span().start, problem));
                };
                let value = read(setting, value, user)
                    .map_err(|problem| fail(value.span().start, format!("{word}: {problem}")))?;
                values.push((setting, value));
            }
        }
        Ok(Config { path: Some(path.to_owned()), values })
    }

    /// Sets the variables that the environment leaves open. To be called before anything else
    /// runs in this process.
    pub fn into_environment(self) {
        for (setting, value) in &self.values {
            if std::env::var_os(setting.variable).is_none_or(|value| value.is_empty()) {
                linux::sys::set_variable(setting.variable, value);
            }
        }
    }

    /// Every setting with its value, as a variable would have it, and where that comes from.
    pub fn effective(&self) -> impl Iterator<Item = (&'static Setting, OsString, Origin)> + '_ {
        SETTINGS.iter().map(|setting| {
            if let Some(value) = std::env::var_os(setting.variable).filter(|v| !v.is_empty()) {
                return (setting, value, Origin::Environment);
            }
            match (self.values.iter().find(|(known, _)| std::ptr::eq(*known, setting)), &self.path)
            {
                (Some((_, value)), Some(path)) => {
                    (setting, value.clone(), Origin::File(path.clone()))
                }
                _ => (setting, setting.default.into(), Origin::Default),
            }
        })
    }
}

fn unknown(what: &str, word: &str, hint: Option<&str>) -> String {
    match hint {
        Some(hint) => format!("unknown {what} `{word}`; did you mean `{hint}`?"),
        None => format!("unknown {what} `{word}`; `pyxis config` lists what there is"),
    }
}

/// A value as its environment variable has it.
fn read(setting: &Setting, value: &Spanned<DeValue<'_>>, user: &User) -> Result<OsString, String> {
    let value = value.get_ref();
    let text = |value: &DeValue<'_>| match value {
        DeValue::String(text) => Ok(text.clone().into_owned()),
        _ => Err("it takes a string in quotes".to_owned()),
    };
    let list = |value: &DeValue<'_>| match value {
        DeValue::Array(items) => items.iter().map(|item| text(item.get_ref())).collect(),
        _ => Err("it takes a list of strings in brackets".to_owned()),
    };
    let number = |value: &DeValue<'_>| match value {
        DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix())
            .map_err(|_| "it takes a whole number, zero or more".to_owned()),
        _ => Err("it takes a whole number, without quotes".to_owned()),
    };
    Ok(match setting.kind {
        Kind::Text => text(value)?,
        Kind::Policy => {
            let word = text(value)?;
            word.parse::<PullPolicy>().map(|_| word).map_err(|error| error.to_string())?
        }
        Kind::Path => expand(&text(value)?, user)?,
        Kind::Paths => {
            let paths: Vec<String> = list(value)?;
            let paths: Result<Vec<_>, _> = paths.iter().map(|path| expand(path, user)).collect();
            paths?.join(":")
        }
        Kind::Words => list(value).map(|words: Vec<String>| words.join(","))?,
        Kind::Bool => match value {
            DeValue::Boolean(true) => "yes".to_owned(),
            DeValue::Boolean(false) => "no".to_owned(),
            _ => return Err("it takes true or false, without quotes".to_owned()),
        },
        Kind::Number => number(value)?.to_string(),
        Kind::Size => match value {
            DeValue::String(text) => size(text)?.to_string(),
            value => number(value)?.to_string(),
        },
        Kind::Lists => {
            let DeValue::Table(table) = value else {
                return Err("it takes a table: { \"docker.io\" = [\"mirror\"] }".to_owned());
            };
            let mut pairs = Vec::new();
            for (name, items) in table {
                for item in list(items.get_ref())? as Vec<String> {
                    pairs.push(format!("{}={item}", name.get_ref()));
                }
            }
            pairs.join(",")
        }
    }
    .into())
}

/// Fills in `%u` (uid), `%g` (gid), `%U` (user name), `%h` (home directory) and `%%`. The result
/// must be absolute.
fn expand(template: &str, user: &User) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = template.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match rest.next() {
            Some('u') => out.push_str(&user.uid.to_string()),
            Some('g') => out.push_str(&user.gid.to_string()),
            Some('U') => out.push_str(&(user.name)(user.uid)),
            Some('h') => out.push_str(&(user.home)().unwrap_or_default().to_string_lossy()),
            Some('%') => out.push('%'),
            _ => return Err("after % comes u, g, U, h or %".to_owned()),
        }
    }
    if !out.starts_with('/') {
        return Err(format!("{out:?} is no absolute path (%h is the home directory)"));
    }
    Ok(out)
}

/// Bytes with a binary suffix.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match text[digits.len()..].trim().trim_end_matches("iB").trim_end_matches('B') {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        "P" => 50,
        _ => return Err("sizes end in K, M, G, T or P".to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_| "it takes a number of bytes".to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| "it is too large".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Vec<(&'static str, String)>, String> {
        let user =
            User { uid: 1000, gid: 100, name: |_| "alice".to_owned(), home: linux::home::home };
        let config = Config::parse(text, Path::new("/p.toml"), &user);
        let config = config.map_err(|error| error.to_string())?;
        let show = |value: &OsString| value.to_str().unwrap().to_owned();
        Ok(config.values.iter().map(|(key, value)| (key.variable, show(value))).collect())
    }

    #[test]
    fn every_kind_of_value() {
        let got = parse(
            "[paths]\ndata = '/local/%u-%g/%U/100%%'\n\
             [container]\nwritable = true\nmount_home = false\nmax_processors = 0x10\n\
             [enroot]\nhooks = ['/a', '/b/%u']\n\
             [store]\nmax_size = '200G'\n\
             [registries]\nhttp = ['localhost:5000', 'x']\n\
             mirrors = { 'docker.io' = ['m1', 'm2'] }\n",
        )
        .unwrap();
        for wanted in [
            ("ENROOT_DATA_PATH", "/local/1000-100/alice/100%"),
            ("ENROOT_ROOTFS_WRITABLE", "yes"),
            ("ENROOT_MOUNT_HOME", "no"),
            ("ENROOT_MAX_PROCESSORS", "16"),
            ("PYXIS_HOOKS_PATH", "/a:/b/1000"),
            ("PYXIS_STORE_MAX_BYTES", "214748364800"),
            ("PYXIS_HTTP_REGISTRIES", "localhost:5000,x"),
            ("PYXIS_REGISTRY_MIRRORS", "docker.io=m1,docker.io=m2"),
        ] {
            assert!(got.contains(&(wanted.0, wanted.1.to_owned())), "{wanted:?} not in {got:?}");
        }
    }

    #[test]
    fn errors_name_the_line_and_what_was_meant() {
        for (text, error) in [
            (
                "\n[container]\nwriteable = true\n",
                "/p.toml:3: unknown key `writeable`; did you mean `writable`?",
            ),
            ("[containers]\n", "/p.toml:1: unknown table `containers`; did you mean `container`?"),
            (
                "[paths]\nxyzzy = 1\n",
                "/p.toml:2: unknown key `xyzzy`; `pyxis config` lists what there is",
            ),
            (
                "[container]\n\nwritable = 'yes'\n",
                "/p.toml:3: writable: it takes true or false, without quotes",
            ),
            (
                "[paths]\ndata = 'x/%u'\n",
                "/p.toml:2: data: \"x/1000\" is no absolute path (%h is the home directory)",
            ),
            ("[paths]\ndata = '/%x'\n", "/p.toml:2: data: after % comes u, g, U, h or %"),
            (
                "[registries]\nretries = -1\n",
                "/p.toml:2: retries: it takes a whole number, zero or more",
            ),
            (
                "[registries]\npull_policy = 'sometimes'\n",
                "/p.toml:2: pull_policy: \"sometimes\" is none of always, missing, never",
            ),
            ("[store]\nmax_size = '3Q'\n", "/p.toml:2: max_size: sizes end in K, M, G, T or P"),
            ("paths = 1\n", "/p.toml:1: paths is a table: write [paths] and its keys below"),
        ] {
            assert_eq!(parse(text).unwrap_err(), error);
        }
        let broken = parse("[paths]\ndata = \n").unwrap_err();
        assert!(broken.starts_with("/p.toml:2: "), "{broken}");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,120}", key in "[a-z_]{1,10}") {
            let _ = parse(&text);
            let _ = parse(&format!("[paths]\n{key} = {text}"));
        }
    }
}
