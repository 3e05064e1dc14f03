//! The site's file, `/etc/pyxis/pyxis.toml`.

use std::io;
use std::path::{Path, PathBuf};

use containers::devices::Recipes;
use containers::nearest;
use linux::bounded;
use linux::environ::Environ;
use linux::file_error::FileError;
use toml::de::{DeTable, DeValue};

use super::error::SettingsError;
use super::layers::{Layer, Origin};
use super::places::place;
use super::table::SETTINGS;
use super::user::User;
use super::variables;

/// Read unless `PYXIS_CONFIG` names another.
pub const FILE: &str = "/etc/pyxis/pyxis.toml";
/// The table of recipes, whose names are the site's.
const INJECT: &str = "inject";

/// Reads the file that `PYXIS_CONFIG` names, or [`FILE`], which need not exist.
///
/// # Errors
/// [`SettingsError`] with file, line and a hint.
pub(super) fn load(environ: &Environ, user: &User) -> Result<Option<Layer>, SettingsError> {
    let named = place(environ, variables::CONFIG);
    let path = named.as_deref().unwrap_or(Path::new(FILE));
    match bounded::read_text(path, bounded::CONFIGURATION) {
        Ok(text) => parse(&text, path, user).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => Ok(None),
        Err(source) => Err(FileError::new("read", path, source).into()),
    }
}

/// Reads the text of a file at `path`.
///
/// # Errors
/// [`SettingsError`] with file, line and a hint.
pub fn parse(text: &str, path: &Path, user: &User) -> Result<Layer, SettingsError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let line_of = |at: usize| text[..at.min(text.len())].matches('\n').count() + 1;
    let fail = |at: usize, problem: String| SettingsError::Line {
        path: path.to_owned(),
        line: line_of(at),
        problem,
    };
    let document = DeTable::parse(text).map_err(|error| {
        fail(error.span().map_or(0, |span| span.start), error.message().trim().to_owned())
    })?;
    let mut layer = Layer::of_file(path);
    for (section, table) in document.get_ref() {
        let name = section.get_ref().as_ref();
        if name == INJECT {
            layer.set_recipes(recipes(text).map_err(|(at, problem)| fail(at, problem))?);
            continue;
        }
        if !SETTINGS.iter().any(|setting| setting.section == name) {
            let known = SETTINGS.iter().map(|setting| setting.section).chain([INJECT]);
            return Err(fail(section.span().start, unknown("table", name, nearest(name, known))));
        }
        let DeValue::Table(keys) = table.get_ref() else {
            let problem = format!("{name} is a table: write [{name}] and its keys below");
            return Err(fail(table.span().start, problem));
        };
        for (key, value) in keys {
            let word = key.get_ref().as_ref();
            let is = |at: &usize| SETTINGS[*at].section == name && SETTINGS[*at].key == word;
            let Some(at) = (0..SETTINGS.len()).find(is) else {
                let known = SETTINGS.iter().filter(|setting| setting.section == name);
                let hint = nearest(word, known.map(|setting| setting.key));
                return Err(fail(key.span().start, unknown("key", word, hint)));
            };
            let kind = SETTINGS[at].kind;
            let read = kind.read_toml(value.get_ref(), |template| expand(template, user));
            let read =
                read.map_err(|problem| fail(value.span().start, format!("{word}: {problem}")))?;
            let line = line_of(value.span().start);
            layer.set(at, read, Origin::File { path: path.to_owned(), line });
        }
    }
    Ok(layer)
}

/// The recipes in the text of a file; the error is with its place.
fn recipes(text: &str) -> Result<Recipes, (usize, String)> {
    /// The rest of the file is read elsewhere.
    #[derive(serde::Deserialize)]
    struct Rest {
        inject: Recipes,
    }
    let read: Result<Rest, toml::de::Error> = toml::from_str(text);
    let fail = |error: toml::de::Error| {
        (error.span().map_or(0, |span| span.start), error.message().trim().to_owned())
    };
    read.map(|rest| rest.inject).map_err(fail)
}

fn unknown(what: &str, word: &str, hint: Option<&str>) -> String {
    match hint {
        Some(hint) => format!("unknown {what} `{word}`; did you mean `{hint}`?"),
        None => format!("unknown {what} `{word}`; `pyxis config` lists what there is"),
    }
}

/// Fills in `%u` (uid), `%g` (gid), `%U` (user name), `%h` (home directory) and `%%`. The result
/// must be absolute.
fn expand(template: &str, user: &User) -> Result<PathBuf, String> {
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
            Some('h') => {
                let home = user.home.as_deref().unwrap_or(Path::new(""));
                out.push_str(home.to_str().ok_or("the home directory is not UTF-8")?);
            }
            Some('%') => out.push('%'),
            _ => return Err("after % comes u, g, U, h or %".to_owned()),
        }
    }
    if !out.starts_with('/') {
        return Err(format!("{out:?} is no absolute path (%h is the home directory)"));
    }
    Ok(out.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_systems_editor_is_read() {
        let user = User { uid: 1000, gid: 100, name: |_| "alice".to_owned(), home: None };
        let text = "\u{feff}[container]\r\nwritable = true\r\n\r\n[cdi]\r\nnvidia = 3\r\n";
        let error = parse(text, Path::new("/p.toml"), &user).unwrap_err().to_string();
        assert!(error.starts_with("/p.toml:5: nvidia"), "{error}");
        let text = text.replace("3\r\n", "true");
        parse(&text, Path::new("/p.toml"), &user).unwrap();
    }

    #[test]
    fn recipes_are_tables_of_their_own() {
        let user = User { uid: 1000, gid: 100, name: |_| "alice".to_owned(), home: None };
        let of = |text: &str| {
            let layer = parse(text, Path::new("/p.toml"), &user);
            layer.map(|layer| layer.recipes()).map_err(|error| error.to_string())
        };
        let text = "[inject.cxi]\n[inject.own]\ndevices = ['/dev/own*']\n[cdi]\nnvidia = false\n";
        let recipes = of(text).unwrap();
        assert_eq!(recipes.keys().collect::<Vec<_>>(), ["cxi", "own"]);
        assert_eq!(recipes["own"].devices, Some(vec!["/dev/own*".to_owned()]));
        let error = of("[inject.own]\n\nlibrary = ['x']\n").unwrap_err();
        assert!(
            error.starts_with("/p.toml:3: unknown field `library`, expected one of"),
            "{error}"
        );
        let error = of("[inject.own]\nwhen = 'x'\n").unwrap_err();
        assert!(error.starts_with("/p.toml:2: invalid type: string"), "{error}");
        assert!(of("[injcet.own]\n").unwrap_err().contains("did you mean `inject`?"));
    }
}
