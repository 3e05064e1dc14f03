//! A plugin interface as a table of facts, read from the bindings that bindgen makes of a spank.h.

use crate::cargo::{self, Cargo};
use crate::error::Error;
use crate::headers;
use crate::report::Progress;
use crate::workspace;
use slurm_releases::header::release_name;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Everything a plugin can see: kind and name, and what it is.
pub(crate) type Facts = BTreeMap<(&'static str, String), String>;

/// One interface.
#[derive(Debug)]
pub(crate) struct Interface {
    /// `24.11`, or where it was found and what it is.
    pub(crate) name: String,
    /// `24.11`
    pub(crate) release: String,
    pub(crate) facts: Facts,
}

/// That of a release, or of the Slurm at a path.
pub(crate) fn of(place: &str, root: &Path, progress: &Progress) -> Result<Interface, Error> {
    match slurm_releases::release(place) {
        Some(release) => of_release(release.name, root),
        // A word without a slash is meant as a release.
        None if !place.contains('/') && !Path::new(place).exists() => {
            Err(Error::NoRelease { asked: place.into() })
        }
        None => {
            let headers = headers::resolve(Path::new(place), &root.join("target/slurm-headers"))?;
            of_header(&headers.include, headers.number, root, progress)
        }
    }
}

/// The committed one.
pub(crate) fn of_release(release: &str, root: &Path) -> Result<Interface, Error> {
    let text = workspace::bindings(root, release)?;
    let facts = facts(&String::from_utf8_lossy(&text));
    Ok(Interface { name: release.into(), release: release.into(), facts })
}

/// That of a header, whether a plugin could be built for it or not.
pub(crate) fn of_header(
    include: &Path,
    number: u32,
    root: &Path,
    progress: &Progress,
) -> Result<Interface, Error> {
    let args = ["check", "-p", "spank-bindings", "--lib", "--features", "real-header"];
    let cargo = Cargo::new(root, &args).env("SLURM_SPANK_INCLUDE", include);
    let messages = cargo.env("SLURM_SPANK_COMPARE", "1").run(progress)?;
    let release = release_name(number);
    let out = cargo::out_dir(&messages, "spank-bindings")
        .ok_or(Error::NoArtifact { what: "build script", release: release.clone() })?;
    let made = out.join("bindings.rs");
    let text = fs::read_to_string(&made).map_err(Error::io("read", &made))?;
    let name = format!("{} (Slurm {release})", include.display());
    Ok(Interface { name, release, facts: facts(&text) })
}

/// The statements of the bindings, sorted by what they declare.
fn facts(bindings: &str) -> Facts {
    let mut facts = Facts::new();
    let mut owner = String::new();
    for statement in statements(bindings) {
        let Some(rest) = statement.strip_prefix("pub ") else {
            layout(&statement, &mut facts);
            continue;
        };
        let (word, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let name_end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, value) = rest.split_at(name_end);
        let value = value.trim_start_matches([':', ' ', '=']).trim();
        match word {
            "const" => {
                // Its type, then its value.
                let value = value.rsplit("= ").next().unwrap_or(value);
                facts.insert((constant(name), name.into()), value.into());
            }
            "struct" => owner = name.to_owned(),
            "fn" if name.starts_with("slurm_spank_") && name != "slurm_spank_log" => {
                facts.insert(("hook", name.into()), value.into());
            }
            "fn" => drop(facts.insert(("function", name.into()), value.into())),
            "static" => {
                let name = rest.trim_start_matches("mut ").split(':').next().unwrap_or(rest);
                facts.insert(("data", name.into()), "int".into());
            }
            "type" => drop(facts.insert(("type", name.into()), value.into())),
            "use" => {
                if let Some((what, name)) = rest.trim_start_matches("self::").split_once(" as ") {
                    facts.insert(("type", name.into()), what.into());
                }
            }
            // A field: `pub name: type`.
            field => {
                let field = field.trim_end_matches(':');
                facts.insert(("field", format!("{owner}.{field}")), rest.into());
            }
        }
    }
    facts
}

/// `"Size of spank_option"][...size_of::<spank_option>() - 40usize]`
fn layout(statement: &str, facts: &mut Facts) {
    let Some((_, rest)) = statement.split_once('"') else { return };
    let Some((what, rest)) = rest.split_once('"') else { return };
    let Some((_, number)) = rest.rsplit_once(" - ") else { return };
    let number = number.trim_end_matches("usize]");
    facts.insert(("layout", what.replace("::", ".")), number.into());
}

fn constant(name: &str) -> &'static str {
    match name {
        name if name.starts_with("S_CTX_") => "context",
        name if name.starts_with("S_") => "item",
        name if name.starts_with("ESPANK_") => "error",
        _ => "limit",
    }
}

/// Splits at `;`, at braces, and between the fields of structures; each on one line.
fn statements(text: &str) -> Vec<String> {
    let (mut all, mut statement, mut depth) = (Vec::new(), String::new(), 0_usize);
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with("//"));
    for c in lines.flat_map(|line| line.chars().chain([' '])) {
        match c {
            '(' | '[' | '<' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            '>' if !statement.ends_with('-') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 && matches!(c, ';' | ',' | '{' | '}') {
            all.push(std::mem::take(&mut statement));
        } else if c != ' ' || !statement.ends_with([' ', '(', '[', '<']) {
            statement.push(c);
        }
    }
    let tidy = |statement: String| {
        let statement = statement.replace("::core::ffi::", "").replace("::core::option::", "");
        let statement = statement.replace(", )", ")").replace(",)", ")");
        let statement = statement.trim();
        // Attributes stand before what they are about.
        let start = statement.find("pub ").unwrap_or(0);
        statement[start..].to_owned()
    };
    all.into_iter().map(tidy).filter(|statement| !statement.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_fact_is_read() {
        let root = workspace::root().unwrap();
        let facts = of_release("26.05", &root).unwrap().facts;
        let fact = |kind, name: &str| facts.get(&(kind, name.to_owned())).map(String::as_str);
        assert_eq!(fact("context", "S_CTX_SLURMD"), Some("4"));
        assert_eq!(fact("item", "S_JOB_GID"), Some("1"));
        assert_eq!(fact("error", "ESPANK_NOSPACE"), Some("3005"));
        assert_eq!(fact("limit", "SPANK_OPTION_MAXLEN"), Some("75"));
        assert_eq!(fact("function", "spank_remote"), Some("(spank: spank_t) -> c_int"));
        assert_eq!(fact("function", "slurm_info"), Some("(format: *const c_char, ...)"));
        assert_eq!(
            fact("hook", "slurm_spank_exit"),
            Some("(spank: spank_t, ac: c_int, argv: *mut *mut c_char) -> c_int")
        );
        assert_eq!(fact("data", "slurm_spank_init_failure_mode"), Some("int"));
        assert_eq!(fact("field", "spank_option.has_arg"), Some("c_int"));
        assert_eq!(fact("layout", "Size of spank_option"), Some("40"));
        assert_eq!(fact("layout", "Offset of field: spank_option.cb"), Some("32"));
        assert_eq!(fact("type", "spank_t"), Some("*mut spank_handle"));
        assert!(fact("type", "spank_opt_cb_f").unwrap().contains("remote: c_int"));
    }
}
