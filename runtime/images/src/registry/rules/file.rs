//! What one `registries.conf` says, by containers-registries.conf(5), in its present form and the one before.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::HUB;
use crate::uri::{self, DOCKER_HUB};

/// A `[[registry]]`.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) prefix: String,
    pub(super) location: Option<String>,
    pub(super) insecure: bool,
    pub(super) blocked: bool,
    pub(super) mirrors: Vec<Mirror>,
}

#[derive(Clone, Debug)]
pub(super) struct Mirror {
    pub(super) location: String,
    pub(super) insecure: bool,
    pub(super) tags: bool,
    pub(super) digests: bool,
}

/// A file's word.
pub(super) struct Read {
    pub(super) rules: Vec<Rule>,
    pub(super) aliases: BTreeMap<String, String>,
    /// Keys that are not known, or known to mean nothing here.
    pub(super) unknown: Vec<String>,
}

/// What each table may have. What names without a registry stand for is not heeded, and the documents say so.
const KEYS: [&[&str]; 3] = [
    &[
        "registry",
        "registries",
        "aliases",
        "unqualified-search-registries",
        "short-name-mode",
        "additional-layer-store-auth-helper",
    ],
    &["prefix", "location", "insecure", "blocked", "mirror", "mirror-by-digest-only"],
    &["location", "insecure", "pull-from-mirror"],
];

/// podman's own file of credentials, which is read here in any case.
const AUTH_FILE: &str = "containers-auth.json";

/// The keys of a file that mean nothing here.
fn unknown(table: &toml::Table) -> Vec<String> {
    fn add(unknown: &mut Vec<String>, table: &toml::Table, depth: usize) {
        const BELOW: [&str; 2] = ["registry", "mirror"];
        for (key, value) in table {
            let below = BELOW.get(depth).filter(|below| *below == key);
            if let (Some(_), Some(tables)) = (below, value.as_array()) {
                tables
                    .iter()
                    .filter_map(toml::Value::as_table)
                    .for_each(|table| add(unknown, table, depth + 1));
            }
            let helpers = depth == 0 && key == "credential-helpers";
            let only_file = || {
                let list = value.as_array().into_iter().flatten();
                list.into_iter().all(|helper| helper.as_str() == Some(AUTH_FILE))
            };
            let is_known = KEYS[depth].contains(&key.as_str()) || helpers && only_file();
            if !is_known && !unknown.contains(key) {
                unknown.push(key.clone());
            }
        }
    }
    let mut found = Vec::new();
    add(&mut found, table, 0);
    found
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    aliases: BTreeMap<String, String>,
    #[serde(default)]
    registry: Vec<Table>,
    #[serde(default)]
    registries: Old,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Table {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default)]
    mirror: Vec<MirrorTable>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct MirrorTable {
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    pull_from_mirror: String,
}

/// The form before `[[registry]]`.
#[derive(Default, Deserialize)]
struct Old {
    #[serde(default)]
    insecure: OldList,
    #[serde(default)]
    block: OldList,
}

#[derive(Default, Deserialize)]
struct OldList {
    #[serde(default)]
    registries: Vec<String>,
}

pub(super) fn parse(text: &str) -> Result<Read, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let file: File = toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        format!("line {line}: {}", error.message().trim())
    })?;
    let mut rules: Vec<Rule> = file.registry.into_iter().map(Rule::of).collect::<Result<_, _>>()?;
    for (list, blocked) in [(file.registries.insecure, false), (file.registries.block, true)] {
        for registry in list.registries {
            let prefix = prefix_of("a registry", &registry)?;
            let rule =
                Rule { prefix, location: None, insecure: !blocked, blocked, mirrors: Vec::new() };
            match rules.iter_mut().find(|known| known.prefix == rule.prefix) {
                Some(known) => {
                    known.insecure |= rule.insecure;
                    known.blocked |= rule.blocked;
                }
                None => rules.push(rule),
            }
        }
    }
    let unknown = text.parse().map(|table| unknown(&table)).unwrap_or_default();
    Ok(Read { rules, aliases: file.aliases, unknown })
}

impl Rule {
    fn of(table: Table) -> Result<Rule, String> {
        let prefix = if table.prefix.is_empty() { &table.location } else { &table.prefix };
        if prefix.is_empty() {
            return Err("a [[registry]] has neither a prefix nor a location".to_owned());
        }
        let prefix = prefix_of("prefix", prefix)?;
        let mut mirrors = Vec::new();
        for mirror in table.mirror {
            let both = match mirror.pull_from_mirror.as_str() {
                "" if table.mirror_by_digest_only => (false, true),
                "" | "all" => (true, true),
                "digest-only" => (false, true),
                "tag-only" => (true, false),
                other => {
                    return Err(format!(
                        "pull-from-mirror: {other:?}: there are all, digest-only and tag-only"
                    ));
                }
            };
            let (location, insecure) =
                (place("a mirror's location", &mirror.location)?, mirror.insecure);
            mirrors.push(Mirror { location, insecure, tags: both.0, digests: both.1 });
        }
        let location = match table.location.as_str() {
            "" => None,
            location => Some(prefix_of("location", location)?),
        };
        Ok(Rule { prefix, location, insecure: table.insecure, blocked: table.blocked, mirrors })
    }
}

/// A place, or with `*.` before it all below one.
fn prefix_of(what: &str, text: &str) -> Result<String, String> {
    match text.strip_prefix("*.") {
        Some(domain) => Ok(format!("*.{}", place(what, domain)?)),
        None => place(what, text),
    }
}

/// A host, or one and the beginning of a repository, in one form of several.
fn place(what: &str, text: &str) -> Result<String, String> {
    let (host, path) = uri::place(text).map_err(|problem| format!("{what}: {problem}"))?;
    let host = if uri::host_of(host) == DOCKER_HUB { HUB } else { host };
    Ok(if path.is_empty() { host.to_owned() } else { format!("{host}/{path}") })
}
