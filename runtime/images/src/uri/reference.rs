//! An image in a registry: its name in all parts, and how that is written.

use std::fmt;

use super::host::{DOCKER_HUB, host_of, is_host, is_repository};
use crate::digest::{Digest, NoDigest};

/// An image in a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Whose credentials to use.
    pub user: Option<String>,
    /// Host and perhaps port.
    pub registry: String,
    /// Repository, such as `library/ubuntu`.
    pub repository: String,
    /// The tag; `latest` if neither tag nor digest is given.
    pub tag: Option<String>,
    /// The digest; the tag is then only a comment.
    pub digest: Option<Digest>,
    /// The digest is not in the name: the tag has been found to name it.
    pub looked_up: bool,
}

impl Reference {
    /// What stands for the image in a manifest request: its digest or its tag.
    pub fn selector(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or("latest")
    }

    /// The tag, where that says which image is meant, or has said so.
    pub(crate) fn tagged(&self) -> Option<Reference> {
        let is_meant = self.digest.is_none() || self.looked_up;
        is_meant.then(|| Reference { digest: None, looked_up: false, ..self.clone() })
    }

    /// The name of an image by its digest, with its tag, and without its user.
    pub(crate) fn with_tag(&self, digest: &Digest) -> String {
        let tag = self.tag.iter().map(|tag| format!(":{tag}")).collect::<String>();
        format!("docker://{}#{}{tag}@{digest}", self.registry, self.repository)
    }

    /// The file name that enroot gives the imported image.
    pub fn file_name(&self) -> String {
        let image = match self.repository.strip_prefix("library/") {
            Some(short) if self.registry == DOCKER_HUB => short,
            _ => &self.repository,
        };
        format!("{}+{}.sqsh", image.replace('/', "+"), self.selector())
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.digest.is_some() { '@' } else { ':' };
        write!(f, "docker://{}#{}{separator}{}", self.registry, self.repository, self.selector())
    }
}

/// What is meant by a name that no registry can have.
fn misunderstood(text: &str) -> Option<&'static str> {
    let begins = |words: &[&str]| words.iter().any(|word| text.starts_with(word));
    let unread = text.starts_with('~') || text.starts_with('$') && !text.contains('@');
    if begins(&["http://", "https://", "http:#", "https:#"]) {
        Some("a registry is named without http:// or https://: REGISTRY#IMAGE[:TAG]")
    } else if begins(&["file:", "\\"]) {
        Some("a file is named by its path, which begins with / or ./")
    } else if text.contains("://") || text.contains(":#") {
        Some("this scheme is none of ours: docker://IMAGE, dockerd://IMAGE, or the path of a file")
    } else if unread {
        Some("only a shell reads ~ and $X, and not everywhere: write the path")
    } else if text.contains([' ', '\'', '"']) {
        Some("it has blanks or quotes, which no image's name has")
    } else {
        None
    }
}

pub(super) fn reference(rest: &str) -> Result<Reference, &'static str> {
    if let Some(problem) = misunderstood(rest) {
        return Err(problem);
    }
    let (rest, digest) = match rest.rsplit_once('@') {
        Some((before, digest)) if is_like_digest(digest) => (before, Some(digest)),
        _ => (rest, None),
    };
    let digest = match digest {
        Some(digest) => {
            Some(Digest::try_from(digest.to_ascii_lowercase()).map_err(|_| NoDigest::WORDS)?)
        }
        None => None,
    };
    let (user, rest) = match rest.rsplit_once('@') {
        Some(("", _)) => return Err("the user before the @ is empty"),
        Some((user, rest)) => (Some(user.to_owned()), rest),
        None => (None, rest),
    };
    let (registry, image) = split_registry(rest);
    let (repository, tag) = match image.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (image, None),
    };
    let registry = match registry {
        None => DOCKER_HUB,
        Some(host) => host_of(host),
    };
    // enroot takes a slash for the word that none is to be put before it; registries have none.
    let repository = repository.strip_prefix('/').unwrap_or(repository);
    if !is_host(registry) {
        return Err("this is no host name of a registry");
    }
    let library = if registry == DOCKER_HUB && !repository.contains('/') { "library/" } else { "" };
    let repository = format!("{library}{repository}");
    if !is_repository(&repository) {
        return Err(
            "an image's name has lower-case letters, digits, and single . _ - / between them",
        );
    }
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return Err("a tag has at most 128 letters, digits, . _ - and does not start with . or -");
    }
    let tag = match (tag, &digest) {
        (None, None) => Some("latest"),
        (tag, _) => tag,
    };
    Ok(Reference {
        user,
        registry: registry.to_owned(),
        repository,
        tag: tag.map(str::to_owned),
        digest,
        looked_up: false,
    })
}

/// Whether what stands behind an `@` is meant as a digest, and not as a registry behind a user: an
/// algorithm, a colon and hexadecimal digits without end.
fn is_like_digest(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else { return false };
    let digits = hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    Digest::ALGORITHMS.contains(&algorithm)
        || algorithm.starts_with("sha") && hex.len() >= 32 && digits
}

/// The registry that is named, and what is asked of it. Where no `#` says which part is the registry, a host is known by its
/// dot, its colon or its name.
fn split_registry(rest: &str) -> (Option<&str>, &str) {
    if let Some((registry, image)) = rest.split_once('#') {
        return (Some(registry), image);
    }
    match rest.split_once('/') {
        Some((host, image)) if host == "localhost" || host.contains(['.', ':']) => {
            (Some(host), image)
        }
        _ => (None, rest),
    }
}

fn is_tag(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && !text.starts_with(['.', '-'])
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}
