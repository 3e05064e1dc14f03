//! What a setting's value can be, as a file has it and as an environment variable has it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

use images::import::PullPolicy;
use images::uri;
use squashfs::write::Packing;
use toml::de::DeValue;

/// What kind of value a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A path or a template of one.
    Path,
    /// Several of them; joined with `:` in the environment.
    Paths,
    /// `true` or `false`. In the environment whatever is neither empty nor a "no" is a yes, as for
    /// enroot ([`is_yes`]).
    Bool,
    /// A whole number, zero or more.
    Number,
    /// Seconds, zero or more, which may have a fraction, as curl's have.
    Seconds,
    /// Bytes, or a string such as `"200G"`.
    Size,
    /// Any string.
    Text,
    /// `"always"`, `"missing"` or `"never"`.
    Policy,
    /// `"speed"`, `"balanced"` or `"size"`.
    Packing,
    /// Several strings; joined with `,` in the environment.
    Words,
    /// Several hosts of registries, as [`Kind::Words`] otherwise.
    Hosts,
    /// A table of lists: hosts, and the places that are asked first for each; `host=place` joined with `,` in the environment.
    Mirrors,
}

/// The value of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Of [`Kind::Path`].
    Path(PathBuf),
    /// Of [`Kind::Paths`].
    Paths(Vec<PathBuf>),
    /// Of [`Kind::Bool`].
    Bool(bool),
    /// Of [`Kind::Number`] and [`Kind::Size`].
    Number(u64),
    /// Of [`Kind::Seconds`].
    Seconds(Duration),
    /// Of [`Kind::Text`].
    Text(String),
    /// Of [`Kind::Policy`].
    Policy(PullPolicy),
    /// Of [`Kind::Packing`].
    Packing(Packing),
    /// Of [`Kind::Words`] and [`Kind::Hosts`].
    Words(Vec<String>),
    /// Of [`Kind::Mirrors`]: names and an item of each, in order; a name may come again.
    Lists(Vec<(String, String)>),
}

/// [`hygiene::text::is_yes`] of a variable's value.
pub fn is_yes(value: &OsStr) -> bool {
    hygiene::text::is_yes(value.as_bytes())
}

impl Kind {
    /// The value that an environment variable's text means; the error says what it takes.
    pub(super) fn read_text(self, text: &OsStr) -> Result<Value, String> {
        let utf8 = || text.to_str().ok_or_else(|| "it is not UTF-8".to_owned());
        let items = |text: &str, separator| -> Vec<String> {
            let items = text.split(separator).map(str::trim).filter(|item| !item.is_empty());
            items.map(str::to_owned).collect()
        };
        Ok(match self {
            Kind::Path => Value::Path(text.into()),
            Kind::Paths => Value::Paths(
                std::env::split_paths(text).filter(|path| !path.as_os_str().is_empty()).collect(),
            ),
            Kind::Bool => Value::Bool(is_yes(text)),
            Kind::Number => Value::Number(
                utf8()?.trim().parse().map_err(|_| "it takes a whole number, zero or more")?,
            ),
            Kind::Seconds => Value::Seconds(seconds(utf8()?.trim())?),
            Kind::Size => Value::Number(size(utf8()?.trim())?),
            Kind::Text => Value::Text(utf8()?.to_owned()),
            Kind::Policy => Value::Policy(policy(utf8()?)?),
            Kind::Packing => Value::Packing(packing(utf8()?)?),
            Kind::Words => Value::Words(items(utf8()?, ',')),
            Kind::Hosts => Value::Words(hosts(&items(utf8()?, ','))?),
            Kind::Mirrors => {
                let pairs = items(utf8()?, ',').into_iter().map(|pair| {
                    let pair = pair.split_once('=').ok_or("it takes HOST=PLACE[,HOST=PLACE...]")?;
                    mirror_of(pair.0.trim(), pair.1.trim())
                });
                Value::Lists(pairs.collect::<Result<_, String>>()?)
            }
        })
    }

    /// The value in a file; `path` fills in what a template of a path asks for.
    pub(super) fn read_toml(
        self,
        value: &DeValue<'_>,
        path: impl Fn(&str) -> Result<PathBuf, String>,
    ) -> Result<Value, String> {
        Ok(match self {
            Kind::Path => Value::Path(path(&text(value)?)?),
            Kind::Paths => {
                Value::Paths(list(value)?.iter().map(|item| path(item)).collect::<Result<_, _>>()?)
            }
            Kind::Bool => match value {
                DeValue::Boolean(value) => Value::Bool(*value),
                _ => return Err("it takes true or false, without quotes".to_owned()),
            },
            Kind::Number => Value::Number(number(value)?),
            Kind::Seconds => match value {
                DeValue::Float(number) => Value::Seconds(seconds(number.as_str())?),
                value => Value::Seconds(Duration::from_secs(number(value)?)),
            },
            Kind::Size => match value {
                DeValue::String(text) => Value::Number(size(text)?),
                value => Value::Number(number(value)?),
            },
            Kind::Text => Value::Text(text(value)?),
            Kind::Policy => Value::Policy(policy(&text(value)?)?),
            Kind::Packing => Value::Packing(packing(&text(value)?)?),
            Kind::Words => Value::Words(list(value)?),
            Kind::Hosts => Value::Words(hosts(&list(value)?)?),
            Kind::Mirrors => {
                let DeValue::Table(table) = value else {
                    return Err("it takes a table: { \"docker.io\" = [\"mirror\"] }".to_owned());
                };
                let mut pairs = Vec::new();
                for (name, items) in table {
                    uri::registry_named(name.get_ref())?;
                    for item in list(items.get_ref())? {
                        pairs.push(mirror_of(name.get_ref(), &item)?);
                    }
                }
                Value::Lists(pairs)
            }
        })
    }
}

impl Value {
    /// As an environment variable has it: what [`Kind::read_text`] reads.
    pub fn to_text(&self) -> OsString {
        let text = match self {
            Value::Path(path) => return path.into(),
            Value::Paths(paths) => {
                let paths: Vec<_> = paths.iter().map(|path| path.as_os_str().as_bytes()).collect();
                return OsString::from_vec(paths.join(&b':'));
            }
            Value::Bool(true) => "yes".to_owned(),
            Value::Bool(false) => "no".to_owned(),
            Value::Number(number) => number.to_string(),
            Value::Seconds(seconds) => seconds.as_secs_f64().to_string(),
            Value::Text(text) => text.clone(),
            Value::Policy(policy) => policy.to_string(),
            Value::Packing(packing) => packing.to_string(),
            Value::Words(words) => words.join(","),
            Value::Lists(pairs) => {
                let pairs: Vec<_> =
                    pairs.iter().map(|(name, item)| format!("{name}={item}")).collect();
                pairs.join(",")
            }
        };
        text.into()
    }

    /// As a file has it.
    pub fn to_toml(&self) -> String {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let array = |items: Vec<String>| format!("[{}]", items.join(", "));
        match self {
            Value::Path(path) => quoted(&path.to_string_lossy()),
            Value::Paths(paths) => {
                array(paths.iter().map(|path| quoted(&path.to_string_lossy())).collect())
            }
            Value::Bool(value) => value.to_string(),
            Value::Number(number) => number.to_string(),
            Value::Seconds(seconds) => seconds.as_secs_f64().to_string(),
            Value::Text(text) => quoted(text),
            Value::Policy(policy) => quoted(&policy.to_string()),
            Value::Packing(packing) => quoted(&packing.to_string()),
            Value::Words(words) => array(words.iter().map(|word| quoted(word)).collect()),
            Value::Lists(pairs) => {
                let mut names: Vec<&str> = Vec::new();
                for (name, _) in pairs {
                    if !names.contains(&name.as_str()) {
                        names.push(name);
                    }
                }
                let tables = names.into_iter().map(|name| {
                    let items = pairs.iter().filter(|(of, _)| of == name);
                    format!(
                        "{} = {}",
                        quoted(name),
                        array(items.map(|(_, item)| quoted(item)).collect())
                    )
                });
                format!("{{ {} }}", tables.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

fn hosts(items: &[String]) -> Result<Vec<String>, String> {
    items.iter().map(|item| uri::registry_named(item)).collect()
}

fn mirror_of(registry: &str, mirror: &str) -> Result<(String, String), String> {
    Ok((uri::registry_named(registry)?, uri::mirror_named(mirror)?))
}

fn text(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        _ => Err("it takes a string in quotes".to_owned()),
    }
}

fn list(value: &DeValue<'_>) -> Result<Vec<String>, String> {
    match value {
        DeValue::Array(items) => items.iter().map(|item| text(item.get_ref())).collect(),
        _ => Err("it takes a list of strings in brackets".to_owned()),
    }
}

fn number(value: &DeValue<'_>) -> Result<u64, String> {
    match value {
        DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix())
            .map_err(|_| "it takes a whole number, zero or more".to_owned()),
        _ => Err("it takes a whole number, without quotes".to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.parse().ok();
    number
        .and_then(|number| Duration::try_from_secs_f64(number).ok())
        .ok_or_else(|| "it takes a number of seconds, zero or more".to_owned())
}

fn policy(word: &str) -> Result<PullPolicy, String> {
    word.parse::<PullPolicy>().map_err(|error| error.to_string())
}

fn packing(word: &str) -> Result<Packing, String> {
    word.trim().parse::<Packing>().map_err(|error| error.to_string())
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
