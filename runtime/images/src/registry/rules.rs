//! What the node says of registries where podman and its like read it: `registries.conf`
//! (containers-registries.conf(5)). Which one an image is fetched from in truth, its mirrors, who is talked to without
//! verification, and who not at all.
//!
//! What a name without a registry stands for is not taken from there: that is Docker Hub, as with enroot. Where such a file says
//! another place for the name, or has what means nothing here, a line says so.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use linux::bounded;
use serde::Deserialize;

use super::RegistryError;
use super::credentials::warn_once;
use crate::uri::{self, DOCKER_HUB, Reference};

/// What users call it, and these files.
const HUB: &str = "docker.io";
/// No node has more.
const FILES: usize = 200;

/// The files, and what they say, which is read when a registry is first asked.
#[derive(Clone, Debug, Default)]
pub struct RegistriesConf {
    /// Of these the first that there is counts.
    pub files: Vec<PathBuf>,
    /// Folders of `*.conf` that add to it, the strongest last.
    pub folders: Vec<PathBuf>,
    said: OnceLock<Result<Said, Fault>>,
}

/// What the files say.
#[derive(Clone, Debug, Default)]
struct Said {
    rules: Vec<Rule>,
    /// Names without a registry, and what podman has for them.
    aliases: BTreeMap<String, String>,
}

/// A file or folder, and what is wrong with it.
type Fault = (PathBuf, String);

/// A place to ask for an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) host: String,
    pub(crate) repository: String,
    /// Neither TLS nor who is there need be what it should.
    pub(crate) insecure: bool,
    /// Others follow.
    pub(crate) mirror: bool,
}

/// A `[[registry]]`.
#[derive(Clone, Debug)]
struct Rule {
    prefix: String,
    location: Option<String>,
    insecure: bool,
    blocked: bool,
    mirrors: Vec<Mirror>,
}

#[derive(Clone, Debug)]
struct Mirror {
    location: String,
    insecure: bool,
    tags: bool,
    digests: bool,
}

impl RegistriesConf {
    /// These files and folders.
    pub fn new(files: Vec<PathBuf>, folders: Vec<PathBuf>) -> RegistriesConf {
        RegistriesConf { files, folders, said: OnceLock::new() }
    }

    /// Where to ask for an image, in order. The last is no mirror.
    pub(super) fn endpoints(&self, reference: &Reference) -> Result<Vec<Endpoint>, RegistryError> {
        let name = name_of(reference);
        let said = self.said()?;
        if let Some(remark) = said.other_place(&name) {
            warn_once(&remark);
        }
        let best = said.rules.iter().filter_map(|rule| Some((matched(&rule.prefix, &name)?, rule)));
        // Of two that cover as much, the one that says the host.
        let best = best.max_by_key(|(length, rule)| (*length, !rule.prefix.starts_with('*')));
        let itself = Endpoint {
            host: reference.registry.clone(),
            repository: reference.repository.clone(),
            insecure: false,
            mirror: false,
        };
        let Some((length, rule)) = best else { return Ok(vec![itself]) };
        if rule.blocked {
            let (name, prefix) = (name.clone(), rule.prefix.clone());
            return Err(RegistryError::Blocked { name, prefix });
        }
        let by_digest = reference.digest.is_some();
        let mirrors = rule
            .mirrors
            .iter()
            .filter(|mirror| if by_digest { mirror.digests } else { mirror.tags });
        let mut endpoints: Vec<Endpoint> = mirrors
            .filter_map(|mirror| endpoint(&mirror.location, &name[length..], mirror.insecure, true))
            .collect();
        let last = match &rule.location {
            None => Some(Endpoint { insecure: rule.insecure, ..itself }),
            Some(location) => endpoint(location, &name[length..], rule.insecure, false),
        };
        let (location, prefix) = (rule.location.clone(), rule.prefix.clone());
        let location = location.unwrap_or_default();
        endpoints.push(last.ok_or(RegistryError::Location { name, prefix, location })?);
        Ok(endpoints)
    }

    /// What all of them say together. If one of them cannot be read, that is no word at all, as for podman: it may be the
    /// one that blocks a registry.
    fn said(&self) -> Result<&Said, RegistryError> {
        let said = self.said.get_or_init(|| self.read()).as_ref();
        said.map_err(|(path, problem)| RegistryError::Rules {
            path: path.display().to_string(),
            problem: problem.clone(),
        })
    }

    fn read(&self) -> Result<Said, Fault> {
        let mut files: Vec<PathBuf> =
            self.files.iter().find(|path| path.exists()).cloned().into_iter().collect();
        for folder in &self.folders {
            files.extend(names(folder).map_err(|problem| (folder.clone(), problem))?);
        }
        let (mut rules, mut aliases) = (BTreeMap::new(), BTreeMap::new());
        for path in files {
            let text = bounded::read_text(&path, bounded::CONFIGURATION);
            let read = text.map_err(|error| error.to_string()).and_then(|text| parse(&text));
            // A later file's word on a prefix takes the place of an earlier one's.
            let read = read.map_err(|problem| (path.clone(), problem))?;
            rules.extend(read.rules.into_iter().map(|rule| (rule.prefix.clone(), rule)));
            aliases.extend(read.aliases);
            if !read.unknown.is_empty() {
                let unknown = read.unknown.join(", ");
                warn_once(&format!("{}: means nothing here: {unknown}", path.display()));
            }
        }
        Ok(Said { rules: rules.into_values().collect(), aliases })
    }
}

impl Said {
    /// What is to be said of an image of Docker Hub whose name, without a registry, is another place's for podman.
    fn other_place(&self, name: &str) -> Option<String> {
        let short = name.strip_prefix(HUB)?.strip_prefix('/')?;
        let short = short.strip_prefix("library/").unwrap_or(short);
        let place = self.aliases.get(short)?;
        let (host, repository) = uri::host_and_repository(place)?;
        (uri::host_of(&host) != DOCKER_HUB).then(|| {
            format!(
                "registries.conf has {short:?} stand for {place}; here it is Docker Hub's, as with enroot \
                 ({host}#{repository} is the other)"
            )
        })
    }
}

/// `*.conf` in a folder, by name.
fn names(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.and_then(Iterator::collect::<io::Result<Vec<_>>>),
    };
    let entries = entries.map_err(|error| error.to_string())?;
    let mut found: Vec<PathBuf> = entries
        .into_iter()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "conf"))
        .collect();
    found.sort();
    if found.len() > FILES { Err(format!("it has more than {FILES} files")) } else { Ok(found) }
}

/// An image's name as these files have it.
fn name_of(reference: &Reference) -> String {
    let host = if reference.registry == DOCKER_HUB { HUB } else { &reference.registry };
    format!("{host}/{}", reference.repository)
}

/// How much of a name a prefix covers: a host (or `*.` and a domain), or one and the beginning of a repository, by whole words.
fn matched(prefix: &str, name: &str) -> Option<usize> {
    let split = |text: &'_ str| -> (usize, usize) {
        let host = text.find('/').unwrap_or(text.len());
        (host, (host + 1).min(text.len()))
    };
    let ((prefix_host, prefix_path), (host, path)) = (split(prefix), split(name));
    let fits = match prefix[..prefix_host].strip_prefix('*') {
        Some(domain) => {
            domain.starts_with('.')
                && name[..host].len() > domain.len()
                && name[..host].ends_with(domain)
        }
        None => prefix[..prefix_host] == name[..host],
    };
    let (wanted, have) = (&prefix[prefix_path..], &name[path..]);
    match have.strip_prefix(wanted) {
        _ if !fits => None,
        Some(_) if wanted.is_empty() => Some(host),
        Some(rest) if rest.is_empty() || rest.starts_with('/') => Some(path + wanted.len()),
        _ => None,
    }
}

/// A location with what a prefix has left of a name.
fn endpoint(location: &str, rest: &str, insecure: bool, mirror: bool) -> Option<Endpoint> {
    let (host, repository) = uri::host_and_repository(&format!("{location}{rest}"))?;
    Some(Endpoint { host, repository, insecure, mirror })
}

/// A file's word.
struct Read {
    rules: Vec<Rule>,
    aliases: BTreeMap<String, String>,
    /// Keys that are not known, or known to mean nothing here.
    unknown: Vec<String>,
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

fn parse(text: &str) -> Result<Read, String> {
    let file: File = toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        format!("line {line}: {}", error.message().trim())
    })?;
    let mut rules: Vec<Rule> = file.registry.into_iter().map(Rule::of).collect::<Result<_, _>>()?;
    for (list, blocked) in [(file.registries.insecure, false), (file.registries.block, true)] {
        for registry in list.registries {
            let prefix = place("a registry", &registry)?;
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
        let prefix = match prefix.strip_prefix("*.") {
            Some(domain) => format!("*.{}", place("prefix", domain)?),
            None => place("prefix", prefix)?,
        };
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
            location => Some(place("location", location)?),
        };
        Ok(Rule { prefix, location, insecure: table.insecure, blocked: table.blocked, mirrors })
    }
}

/// A host, or one and the beginning of a repository, in one form of several.
fn place(what: &str, text: &str) -> Result<String, String> {
    let bare = text.trim_end_matches('/');
    if bare.is_empty() || bare.contains("://") {
        return Err(format!("{what}: {text:?} is no HOST[:PORT][/PATH]"));
    }
    let (host, path) = bare.split_at(bare.find('/').unwrap_or(bare.len()));
    let host = if uri::host_of(host) == DOCKER_HUB { HUB } else { host };
    Ok(format!("{host}{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uri::Uri;

    fn conf(texts: &[&str]) -> (tempfile::TempDir, RegistriesConf) {
        let directory = tempfile::tempdir().unwrap();
        let main = directory.path().join("registries.conf");
        let folder = directory.path().join("registries.conf.d");
        fs::create_dir(&folder).unwrap();
        for (at, text) in texts.iter().enumerate() {
            let path = if at == 0 { main.clone() } else { folder.join(format!("{at}.conf")) };
            fs::write(path, text).unwrap();
        }
        (directory, RegistriesConf::new(vec![main], vec![folder]))
    }

    fn ways(conf: &RegistriesConf, uri: &str) -> String {
        let Ok(Uri::Registry(reference)) = uri.parse() else { panic!("{uri}") };
        match conf.endpoints(&reference) {
            Err(error) => error.to_string(),
            Ok(endpoints) => {
                let show = endpoints.iter().map(|endpoint| {
                    let insecure = if endpoint.insecure { "!" } else { "" };
                    format!("{}{insecure} {}", endpoint.host, endpoint.repository)
                });
                show.collect::<Vec<_>>().join(", ")
            }
        }
    }

    #[test]
    fn the_longest_prefix_says_where_an_image_is() {
        let (_keep, conf) = conf(&[r#"
            unqualified-search-registries = ["example.com"]
            short-name-mode = "enforcing"
            credential-helpers = ["x"]
            [[registry]]
            location = "docker.io"
            [[registry.mirror]]
            location = "cache.site:5000/hub"
            insecure = true
            [[registry.mirror]]
            location = "second.site"
            [[registry]]
            prefix = "docker.io/bitnami"
            location = "quay.io/bitnami-here"
            insecure = true
            [[registry]]
            prefix = "*.example.com"
            [[registry.mirror]]
            location = "m.site/example"
            pull-from-mirror = "digest-only"
            [[registry]]
            prefix = "bad.example.com/team"
            blocked = true
            [[registry]]
            location = "ghcr.io"
            mirror-by-digest-only = true
            mirror = [{ location = "m.site/g" }, { location = "t.site", pull-from-mirror = "tag-only" }]
        "#]);
        let digest = format!("@sha256:{}", "a".repeat(64));
        for (uri, want) in [
            (
                "docker://ubuntu",
                "cache.site:5000! hub/library/ubuntu, second.site library/ubuntu, registry-1.docker.io library/ubuntu",
            ),
            (
                "docker://index.docker.io#a/b:1",
                "cache.site:5000! hub/a/b, second.site a/b, registry-1.docker.io a/b",
            ),
            ("docker://bitnami/redis", "quay.io! bitnami-here/redis"),
            (
                "docker://bitnamix/redis",
                "cache.site:5000! hub/bitnamix/redis, second.site bitnamix/redis, registry-1.docker.io bitnamix/redis",
            ),
            ("docker://a.example.com/x", "a.example.com x"),
            (&format!("docker://a.example.com/x{digest}"), "m.site example/x, a.example.com x"),
            ("docker://example.com/x", "example.com x"),
            ("docker://example.com:5000/x", "example.com:5000 x"),
            (
                "docker://bad.example.com/team/x",
                "bad.example.com/team/x is not to be fetched on this node: registries.conf blocks bad.example.com/team",
            ),
            ("docker://bad.example.com/teams/x", "bad.example.com teams/x"),
            ("docker://ghcr.io/a", "t.site a, ghcr.io a"),
            (&format!("docker://ghcr.io/a{digest}"), "m.site g/a, ghcr.io a"),
            ("docker://ghcr.io:8443/a", "ghcr.io:8443 a"),
            ("docker://other.org/a", "other.org a"),
        ] {
            assert_eq!(ways(&conf, uri), want, "{uri}");
        }
    }

    #[test]
    fn names_that_podman_has_elsewhere_and_keys_without_meaning_are_said() {
        let (_keep, conf) = conf(&[
            "[aliases]\nfedora = 'registry.fedoraproject.org/fedora'\ncentos = 'a.org/centos'\n'team/x' = 'b.org:5000/x'\n",
            "[aliases]\ncentos = 'quay.io/centos/centos'\nubuntu = 'docker.io/library/ubuntu'\n",
        ]);
        let said = |uri: &str| {
            let Ok(Uri::Registry(reference)) = uri.parse() else { panic!("{uri}") };
            conf.said().unwrap().other_place(&name_of(&reference)).unwrap_or_default()
        };
        assert_eq!(
            said("docker://fedora:42"),
            "registries.conf has \"fedora\" stand for registry.fedoraproject.org/fedora; here it is Docker Hub's, as \
             with enroot (registry.fedoraproject.org#fedora is the other)"
        );
        assert!(said("docker://centos").contains("(quay.io#centos/centos is the other)"));
        assert!(said("docker://team/x").contains("(b.org:5000#x is the other)"));
        for other in ["docker://ubuntu", "docker://quay.io#fedora", "docker://other"] {
            assert_eq!(said(other), "", "{other}");
        }
        let read = parse(
            "credential-helpers = ['secret-service']\nunqualified-search-registries = ['a']\nshort-name-mode = 'x'\nblock = 1\n\
             [[registry]]\nlocation = 'a'\nblock = true\n[[registry.mirror]]\nlocation = 'b'\npull = 1\n",
        );
        assert_eq!(read.ok().unwrap().unknown, ["block", "credential-helpers", "pull"]);
        let read = parse("credential-helpers = ['containers-auth.json']\n");
        assert!(read.ok().unwrap().unknown.is_empty());
    }

    #[test]
    fn files_of_the_folder_add_and_replace() {
        let (_keep, conf) = conf(&[
            "[[registry]]\nlocation = \"a.org\"\nblocked = true\n[[registry]]\nlocation = \"b.org\"\ninsecure = true\n",
            "[[registry]]\nlocation = \"a.org\"\n[[registry.mirror]]\nlocation = \"m.org\"\n",
            "[registries.block]\nregistries = ['c.org']\n[registries.insecure]\nregistries = ['d.org:5000']\n[registries.search]\nregistries = ['x']\n",
        ]);
        assert_eq!(ways(&conf, "docker://a.org/x"), "m.org x, a.org x");
        assert_eq!(ways(&conf, "docker://b.org/x"), "b.org! x");
        assert!(ways(&conf, "docker://c.org/x").contains("blocks c.org"));
        assert_eq!(ways(&conf, "docker://d.org:5000/x"), "d.org:5000! x");
        assert_eq!(ways(&RegistriesConf::default(), "docker://a.org/x"), "a.org x");
    }

    /// As podman: a rule that cannot be read may be the one that says no.
    #[test]
    fn nothing_is_fetched_where_a_file_that_may_block_it_is_damaged() {
        let sound = "[[registry]]\nlocation = \"a.org\"\nblocked = true\n";
        let cut = "\n[[registry]]\nlocation = \"b.org\"\nblocked = ";
        for (texts, file, problem) in [
            (&[cut][..], "registries.conf: line 4: ", "nothing is fetched"),
            (&[sound, cut], "registries.conf.d/1.conf: line 4: ", "nothing is fetched"),
            (&[sound, "[[registry]]\nlocation = \"https://a.org\"\n"], "1.conf: ", "is no HOST"),
            (&[sound, "[[registry]]\nblocked = yes\n"], "1.conf: line 2: ", "nothing is fetched"),
        ] {
            let (_keep, conf) = conf(texts);
            for uri in ["docker://b.org/x", "docker://other.org/x"] {
                let error = ways(&conf, uri);
                assert!(error.contains(file) && error.contains(problem), "{uri}: {error}");
            }
        }
        // What is there and cannot be read at all, and what of a folder is too much.
        let (keep, _) = conf(&[sound]);
        let main = keep.path().join("registries.conf");
        let folder = keep.path().join("registries.conf.d");
        let refused = |problem: &str| {
            let conf = RegistriesConf::new(vec![main.clone()], vec![folder.clone()]);
            let error = ways(&conf, "docker://b.org/x");
            assert!(error.contains(problem), "{error}");
        };
        std::os::unix::fs::symlink("gone", folder.join("a.conf")).unwrap();
        refused("a.conf: No such file");
        fs::remove_file(folder.join("a.conf")).unwrap();
        fs::write(folder.join("a.conf"), b"# \xff").unwrap();
        refused("a.conf: it is no UTF-8 text");
        fs::remove_file(folder.join("a.conf")).unwrap();
        (0..=FILES).for_each(|n| fs::write(folder.join(format!("{n}.conf")), "").unwrap());
        refused("registries.conf.d: it has more than 200 files");
        fs::remove_dir_all(&folder).unwrap();
        fs::write(&folder, "").unwrap();
        refused("registries.conf.d: Not a directory");
    }

    /// Most people have none of these.
    #[test]
    fn without_a_file_and_a_folder_all_is_as_it_is_named() {
        let (keep, _) = conf(&[]);
        let gone = |name: &str| vec![keep.path().join(name)];
        let conf = RegistriesConf::new(gone("a"), gone("b"));
        assert_eq!(ways(&conf, "docker://a.org/x"), "a.org x");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, problem) in [
            ("[[registry]]\n", "neither a prefix nor a location"),
            ("[[registry]]\nlocation = 'http://x'\n", "prefix: \"http://x\" is no HOST"),
            ("\n[[registry]]\nlocation = 7\n", "line 3: "),
            (
                "[[registry]]\nlocation='a'\n[[registry.mirror]]\nlocation='b'\npull-from-mirror='never'\n",
                "there are all, digest-only and tag-only",
            ),
            ("[[registry]]\nlocation='a'\n[[registry.mirror]]\n", "a mirror's location: \"\""),
        ] {
            let error = parse(text).err().unwrap();
            assert!(error.contains(problem), "{error}");
        }
        // What a prefix leaves nothing of has no place.
        let (_keep, conf) = conf(&["[[registry]]\nprefix = 'a.org/x'\nlocation = 'b.org'\n"]);
        assert!(
            ways(&conf, "docker://a.org/x").contains("no image of its own"),
            "{}",
            ways(&conf, "docker://a.org/x")
        );
        assert_eq!(ways(&conf, "docker://a.org/x/y"), "b.org y");
    }
}
