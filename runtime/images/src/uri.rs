//! Where an image comes from: `docker://`, `dockerd://`, `podman://`, `oci:`, `oci-archive:`,
//! `docker-archive:`.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::digest::{Digest, NoDigest};

use hygiene::userinfo::without_password;

/// The registry meant where none is named.
pub const DOCKER_HUB: &str = "registry-1.docker.io";

/// What else it is called: by users, in credentials and in the configuration of mirrors.
pub(crate) const HUB_NAMES: [&str; 6] = [
    "docker.io",
    "index.docker.io",
    DOCKER_HUB,
    "registry.hub.docker.com",
    "hub.docker.com",
    "www.docker.io",
];

/// The source of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Uri {
    /// `docker://[USER@][REGISTRY#]IMAGE[:TAG|@DIGEST]`; `/` does for `#` where the first part
    /// can only be a host (it has a dot or a colon, or is `localhost`).
    Registry(Reference),
    /// `dockerd://IMAGE[:TAG]` or `podman://IMAGE[:TAG]`: an image that a local engine has.
    Engine {
        /// Which one.
        engine: Engine,
        /// As the engine's command takes it.
        image: String,
    },
    /// `oci:DIRECTORY[:TAG]` or `oci-archive:FILE[:TAG]`, as skopeo, podman and umoci write them;
    /// `docker-archive:FILE[:NAME:TAG]`, as docker saves images. A file is what it is, whatever it is
    /// called, a packed root file system too.
    Layout {
        /// Directory or archive.
        path: PathBuf,
        /// Which image of it, where it has several.
        tag: Option<String>,
    },
}

/// A local container engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// `docker`
    Docker,
    /// `podman`
    Podman,
}

impl Engine {
    /// The name of its command.
    pub fn program(self) -> &'static str {
        match self {
            Engine::Docker => "docker",
            Engine::Podman => "podman",
        }
    }
}

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

/// What is wrong with a URI.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// No scheme we know.
    #[error(
        "invalid image reference: {0}: expected docker://[USER@][REGISTRY#]IMAGE[:TAG], \
         dockerd://IMAGE[:TAG], podman://IMAGE[:TAG], oci:DIRECTORY[:TAG], oci-archive:FILE[:TAG] or \
         docker-archive:FILE[:NAME:TAG]"
    )]
    Scheme(String),
    /// A part is malformed.
    #[error("invalid image reference: {uri}: {problem}")]
    Part {
        /// As given.
        uri: String,
        /// What is wrong.
        problem: &'static str,
    },
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

impl Uri {
    /// Makes it name what its tag was found to name; of what has no digests, nothing changes.
    ///
    /// # Errors
    /// [`UriError::Part`] if this is no digest.
    pub fn resolve_to(&mut self, digest: &str) -> Result<(), UriError> {
        let Some(digest) = Digest::parse(digest) else {
            let problem = NoDigest::WORDS;
            return Err(UriError::Part { uri: digest.escape_debug().to_string(), problem });
        };
        if let Uri::Registry(reference) = self {
            reference.looked_up = reference.digest.is_none();
            reference.digest.get_or_insert(digest);
        }
        Ok(())
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.digest.is_some() { '@' } else { ':' };
        write!(f, "docker://{}#{}{separator}{}", self.registry, self.repository, self.selector())
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Uri::Registry(reference) => reference.fmt(f),
            Uri::Engine { engine: Engine::Docker, image } => write!(f, "dockerd://{image}"),
            Uri::Engine { engine: Engine::Podman, image } => write!(f, "podman://{image}"),
            Uri::Layout { path, tag } => {
                let scheme = if path.is_dir() { "oci" } else { "oci-archive" };
                write!(f, "{scheme}:{}", path.display())?;
                tag.iter().try_for_each(|tag| write!(f, ":{tag}"))
            }
        }
    }
}

impl FromStr for Uri {
    type Err = UriError;

    fn from_str(uri: &str) -> Result<Uri, UriError> {
        // Neither used nor shown.
        let uri = without_password(uri.as_bytes());
        let uri = &*String::from_utf8_lossy(&uri);
        let part = |problem| UriError::Part { uri: uri.to_owned(), problem };
        if uri.chars().any(char::is_control) {
            return Err(UriError::Part {
                uri: uri.escape_debug().to_string(),
                problem: "it has control characters",
            });
        }
        if let Some(rest) = uri.strip_prefix("docker://") {
            return reference(rest).map(Uri::Registry).map_err(part);
        }
        for (scheme, engine) in [("dockerd://", Engine::Docker), ("podman://", Engine::Podman)] {
            if let Some(image) = uri.strip_prefix(scheme) {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._:-@".contains(&byte);
                // A leading dash would be an option of the engine's command.
                if image.is_empty() || image.starts_with('-') || !image.bytes().all(plain) {
                    return Err(part("this is no name of an image"));
                }
                return Ok(Uri::Engine { engine, image: image.to_owned() });
            }
        }
        if let Some(rest) = uri.strip_prefix("docker-archive:") {
            // As skopeo has it, the name is a whole reference.
            let (path, tag) = match rest.split_once(':') {
                Some((path, tag)) => (path, Some(tag.to_owned())),
                None => (rest, None),
            };
            if path.is_empty() || tag.as_deref() == Some("") {
                return Err(part("expected PATH[:NAME:TAG]"));
            }
            return Ok(Uri::Layout { path: path.into(), tag });
        }
        for scheme in ["oci-archive:", "oci:"] {
            if let Some(rest) = uri.strip_prefix(scheme) {
                let (path, tag) = match rest.rsplit_once(':') {
                    Some((path, tag)) if !tag.contains('/') => (path, Some(tag.to_owned())),
                    _ => (rest, None),
                };
                if path.is_empty() || tag.as_deref() == Some("") {
                    return Err(part("expected PATH[:TAG]"));
                }
                return Ok(Uri::Layout { path: path.into(), tag });
            }
        }
        Err(UriError::Scheme(uri.to_owned()))
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

fn reference(rest: &str) -> Result<Reference, &'static str> {
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

/// The host to talk to for a registry that has several names.
pub(crate) fn host_of(registry: &str) -> &str {
    if HUB_NAMES.contains(&registry) { DOCKER_HUB } else { registry }
}

/// Host and repository of `HOST/REPOSITORY`, in which nothing else is.
pub(crate) fn host_and_repository(text: &str) -> Option<(String, String)> {
    let (host, repository) = text.split_once('/')?;
    let host = host_of(host);
    (is_host(host) && is_repository(repository)).then(|| (host.to_owned(), repository.to_owned()))
}

/// Host and path of a place that a configuration names, `HOST[:PORT][/PATH]`; slashes at its end do not count.
pub(crate) fn place(text: &str) -> Result<(&str, &str), String> {
    let bare = text.trim_end_matches('/');
    let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
    if is_host(host) { Ok((host, path)) } else { Err(odd(text, PLACE)) }
}

/// A registry that a configuration names, as `HOST[:PORT]`.
///
/// # Errors
/// What is wrong, without what may be secret.
pub fn registry_named(text: &str) -> Result<String, String> {
    match place(text) {
        Ok((host, "")) => Ok(host.to_owned()),
        _ => Err(odd(text, "HOST[:PORT]")),
    }
}

/// A mirror that a configuration names: a host, or one and what stands there before the names of images.
///
/// # Errors
/// What is wrong, without what may be secret.
pub fn mirror_named(text: &str) -> Result<String, String> {
    match place(text)? {
        (host, "") => Ok(host.to_owned()),
        (host, path) if is_repository(path) => Ok(format!("{host}/{path}")),
        _ => Err(odd(text, PLACE)),
    }
}

const PLACE: &str = "HOST[:PORT][/PATH]";

fn odd(text: &str, form: &str) -> String {
    let hint = if text.contains('@') { ": a password's place is .credentials" } else { "" };
    format!("{:?} is no {form}{hint}", without_userinfo(text))
}

/// Text without what stands before a host in it, and may be a password.
pub fn without_userinfo(text: &str) -> Cow<'_, str> {
    match text.rsplit_once('@') {
        Some((_, rest)) => format!("***@{rest}").into(),
        None => text.into(),
    }
}

fn is_host(text: &str) -> bool {
    // [2001:db8::1]:5000 is a host as well.
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let good_host = match inner {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let bytes = host.as_bytes();
            let ends = [bytes.first(), bytes.last()];
            ends.iter().all(|end| end.is_some_and(u8::is_ascii_alphanumeric))
                && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(byte))
        }
    };
    good_host && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

fn is_repository(text: &str) -> bool {
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.split('/').all(|name| {
        let bytes = name.as_bytes();
        bytes.first().is_some_and(plain)
            && bytes.last().is_some_and(plain)
            && !name.contains("..")
            && bytes.iter().all(|byte| plain(byte) || b"._-".contains(byte))
    })
}

fn is_tag(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && !text.starts_with(['.', '-'])
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(uri: &str) -> String {
        match uri.parse() {
            Ok(Uri::Registry(r)) => {
                let user = r.user.as_deref().unwrap_or("-");
                format!("{user} {} {} {}", r.registry, r.repository, r.selector())
            }
            Ok(other) => format!("{other:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn places_of_configurations_are_hosts_and_say_no_secrets() {
        for (text, registry, mirror) in [
            ("h", true, "h"),
            ("h:9100/", true, "h:9100"),
            ("[::1]:5000", true, "[::1]:5000"),
            ("h:9100/proxy/hub//", false, "h:9100/proxy/hub"),
            ("h_1.site/a", false, "h_1.site/a"),
        ] {
            assert_eq!(registry_named(text).is_ok(), registry, "{text}");
            assert_eq!(mirror_named(text).as_deref(), Ok(mirror));
        }
        for text in [
            "",
            "/",
            "/a",
            "http://h",
            "https://h/",
            "bad host",
            "h ",
            " h",
            "h:910000",
            "h:",
            "h:x/a",
            "h//a",
            "h/A",
            "h/a b",
            "h/a:1",
            "h?x=y",
            "[::1",
            "user:SECRET@h",
            "http://user:SECRET@h/",
            "h/a@SECRET@b",
            "SECRET@",
        ] {
            for error in [registry_named(text).unwrap_err(), mirror_named(text).unwrap_err()] {
                assert!(error.contains(" is no HOST[:PORT]"), "{error}");
                assert!(!error.contains("SECRET"), "{error}");
            }
        }
        let error = mirror_named("user:SECRET@h:5000").unwrap_err();
        let words = "\"***@h:5000\" is no HOST[:PORT][/PATH]: a password's place is .credentials";
        assert_eq!(error, words);
    }

    #[test]
    fn reads_what_enroot_reads() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let cases = [
            ("ubuntu", "- registry-1.docker.io library/ubuntu latest"),
            ("ubuntu:24.04", "- registry-1.docker.io library/ubuntu 24.04"),
            ("docker.io#ubuntu", "- registry-1.docker.io library/ubuntu latest"),
            ("nvidia/cuda:12", "- registry-1.docker.io nvidia/cuda 12"),
            ("nvcr.io#nvidia/pytorch:25.06-py3", "- nvcr.io nvidia/pytorch 25.06-py3"),
            ("nvcr.io/nvidia/pytorch:25.06-py3", "- nvcr.io nvidia/pytorch 25.06-py3"),
            ("$oauthtoken@nvcr.io#nvidia/pytorch", "$oauthtoken nvcr.io nvidia/pytorch latest"),
            ("me@example.org@host:5000/a/b:c", "me@example.org host:5000 a/b c"),
            ("localhost:5000/a", "- localhost:5000 a latest"),
            ("localhost/a", "- localhost a latest"),
            ("[::1]:5000#a", "- [::1]:5000 a latest"),
            ("localhost:5000#/x:1", "- localhost:5000 x 1"),
            ("localhost:5000#/a/b", "- localhost:5000 a/b latest"),
            ("me@reg.example#/x", "me reg.example x latest"),
            ("docker.io#/ubuntu", "- registry-1.docker.io library/ubuntu latest"),
            ("/nvidia/cuda:12", "- registry-1.docker.io nvidia/cuda 12"),
            ("registry.hub.docker.com/nvidia/cuda", "- registry-1.docker.io nvidia/cuda latest"),
            ("me:pass:word@host:5000#a", "me host:5000 a latest"),
        ];
        for (uri, want) in cases {
            assert_eq!(shown(&format!("docker://{uri}")), want, "{uri}");
        }
        for digest in [digest, format!("sha512:{}", "b".repeat(128))] {
            for uri in ["ubuntu", "ubuntu:24.04"] {
                let want = format!("- registry-1.docker.io library/ubuntu {digest}");
                assert_eq!(shown(&format!("docker://{uri}@{digest}")), want);
            }
            let want = format!("me sha.example:5000 x {digest}");
            assert_eq!(shown(&format!("docker://me@sha.example:5000/x@{digest}")), want);
        }
    }

    #[test]
    fn says_which_part_is_wrong() {
        for (uri, want) in [
            ("ubuntu", "expected docker://"),
            ("docker://", "name has lower-case"),
            ("docker://Ubuntu", "name has lower-case"),
            ("docker://a//b", "name has lower-case"),
            ("docker://../x", "no host name"),
            ("docker://host:x#a", "no host name"),
            ("docker://ho_st!#a", "no host name"),
            ("docker://ho st#a", "blanks or quotes"),
            ("docker://'/a/b.sqsh'", "blanks or quotes"),
            ("docker://https://docker.io/x", "without http://"),
            ("docker://https:#/docker.io/x", "without http://"),
            ("docker://shub://x/y", "none of ours"),
            ("docker://library:#/alpine", "none of ours"),
            ("docker://docker:#x", "none of ours"),
            ("docker://file:///a/b.sqsh", "by its path"),
            ("docker://~/b.sqsh", "only a shell reads"),
            ("docker://$HOME/b.sqsh", "only a shell reads"),
            ("docker://a:", "a tag has"),
            ("docker://a@sha256:12", "64 hexadecimal"),
            ("docker://a@sha512:12", "64 hexadecimal"),
            ("docker://a@sha384:0123456789abcdef0123456789abcdef", "64 hexadecimal"),
            ("docker://host:5000#//x", "name has lower-case"),
            ("docker://host:5000#/", "name has lower-case"),
            ("docker://@a", "the user"),
            ("dockerd://-v", "no name"),
            ("podman://a b", "no name"),
            ("oci:", "PATH[:TAG]"),
            ("docker://a\nb", "control"),
            ("me:secret@host#a", "me@host#a: expected docker://"),
            ("docker://me:secret@ho!st#a", "reference: docker://me@ho!st#a: this is no host"),
        ] {
            let error = uri.parse::<Uri>().unwrap_err().to_string();
            assert!(error.contains(want), "{uri}: {error}");
        }
    }

    #[test]
    fn layouts_are_named_as_skopeo_names_them() {
        let layout = |path: &str, tag: Option<&str>| Uri::Layout {
            path: path.into(),
            tag: tag.map(Into::into),
        };
        assert_eq!("oci:/a/b:v1".parse(), Ok(layout("/a/b", Some("v1"))));
        assert_eq!("oci:a/b".parse(), Ok(layout("a/b", None)));
        assert_eq!("oci-archive:/a:b/c".parse(), Ok(layout("/a:b/c", None)));
        assert_eq!("docker-archive:a.tar".parse(), Ok(layout("a.tar", None)));
        assert_eq!("docker-archive:/a.tar:r/x:1".parse(), Ok(layout("/a.tar", Some("r/x:1"))));
        assert!("docker-archive::x".parse::<Uri>().is_err());
    }

    #[test]
    fn files_are_named_as_enroot_names_them() {
        let name = |uri: &str| match uri.parse().unwrap() {
            Uri::Registry(reference) => reference.file_name(),
            _ => unreachable!(),
        };
        assert_eq!(name("docker://ubuntu:24.04"), "ubuntu+24.04.sqsh");
        assert_eq!(name("docker://nvcr.io#nvidia/cuda"), "nvidia+cuda+latest.sqsh");
    }

    proptest! {
        #[test]
        fn any_text_parses_or_is_an_error(text in "\\PC{0,60}") {
            let _ = text.parse::<Uri>();
            let _ = format!("docker://{text}").parse::<Uri>();
        }

        #[test]
        fn a_reference_reads_as_it_is_shown(
            host in "[a-z]{1,8}\\.[a-z]{2}(:[1-9][0-9]{0,3})?",
            repository in "[a-z0-9]{1,5}([._-]?[a-z0-9]{1,5}){0,2}(/[a-z0-9]{1,5}){0,2}",
            tag in "[A-Za-z0-9_][A-Za-z0-9._-]{0,20}",
        ) {
            let text = format!("docker://{host}#{repository}:{tag}");
            prop_assert_eq!(text.parse::<Uri>().unwrap().to_string(), text);
        }
    }
}
