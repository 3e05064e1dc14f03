//! Where an image comes from: `docker://`, `dockerd://`, `podman://`, `oci:`, `oci-archive:`,
//! `docker-archive:`.

mod host;
mod reference;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::digest::{Digest, NoDigest};

use hygiene::userinfo::without_password;

pub use host::{DOCKER_HUB, mirror_named, registry_named, without_userinfo};
pub(crate) use host::{HUB_NAMES, host_and_repository, host_of, place};
pub use reference::Reference;

use reference::reference;

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
