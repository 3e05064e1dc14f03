//! What the node says of registries where podman and its like read it: `registries.conf`
//! (containers-registries.conf(5)). Which one an image is fetched from in truth, its mirrors, who is talked to without
//! verification, and who not at all.
//!
//! What a name without a registry stands for is not taken from there: that is Docker Hub, as with enroot. Where such a file says
//! another place for the name, or has what means nothing here, a line says so.

mod file;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use linux::bounded;

use super::RegistryError;
use super::credentials::warn_once;
use crate::uri::{self, DOCKER_HUB, Reference};

use file::{Rule, parse};

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
        // A rule may be for one tag, or one digest.
        let tag = reference.tag.as_deref().unwrap_or("latest");
        let digest = reference.digest.as_ref().map(|digest| format!("@{digest}"));
        let ends = [Some(format!(":{tag}")), digest];
        let ends = || ends.iter().flatten().map(String::as_str);
        let best = said.rules.iter().filter_map(|rule| {
            let (prefix, end) = ends()
                .find_map(|end| Some((rule.prefix.strip_suffix(end)?, end)))
                // Else it is a host's port.
                .filter(|(prefix, _)| prefix.contains('/'))
                .unwrap_or((&rule.prefix, ""));
            let length = matched(prefix, &name)?;
            (end.is_empty() || length == name.len()).then_some((length, end, rule))
        });
        // Of two that cover as much, the one that says which image, or the host.
        let best = best
            .max_by_key(|(length, end, rule)| (*length, end.len(), !rule.prefix.starts_with('*')));
        let itself = Endpoint {
            host: reference.registry.clone(),
            repository: reference.repository.clone(),
            insecure: false,
            mirror: false,
        };
        let Some((length, end, rule)) = best else { return Ok(vec![itself]) };
        if rule.blocked {
            let (name, prefix) = (name.clone(), rule.prefix.clone());
            return Err(RegistryError::Blocked { name, prefix });
        }
        let place = |location: &str, insecure, mirror| {
            let location = location.strip_suffix(end).unwrap_or(location);
            endpoint(location, &name[length..], insecure, mirror)
        };
        let by_digest = reference.digest.is_some();
        let mirrors = rule
            .mirrors
            .iter()
            .filter(|mirror| if by_digest { mirror.digests } else { mirror.tags });
        let mut endpoints: Vec<Endpoint> =
            mirrors.filter_map(|mirror| place(&mirror.location, mirror.insecure, true)).collect();
        let last = match &rule.location {
            None => Some(Endpoint { insecure: rule.insecure, ..itself }),
            Some(location) => place(location, rule.insecure, false),
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
            let text = match is_nothing(&path) {
                true => Ok(String::new()),
                false => bounded::read_text(&path, bounded::CONFIGURATION),
            };
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

/// Whether it is `/dev/null`, which stands for an empty file: so files of others are masked.
fn is_nothing(path: &Path) -> bool {
    path.canonicalize().is_ok_and(|path| path == Path::new("/dev/null"))
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
pub(super) fn endpoint(
    location: &str,
    rest: &str,
    insecure: bool,
    mirror: bool,
) -> Option<Endpoint> {
    let (host, repository) = uri::host_and_repository(&format!("{location}{rest}"))?;
    Some(Endpoint { host, repository, insecure, mirror })
}

#[cfg(test)]
mod tests;
