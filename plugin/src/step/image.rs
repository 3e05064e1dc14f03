//! Where the image of a container comes from, as the user wrote it.

use super::error::StepError;
use hygiene::userinfo::{path_at, without_password};
use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The image asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Image {
    /// A squashfs file on the node.
    File(PathBuf),
    /// To be had from a registry or a daemon, or of an archive on the node.
    Remote {
        /// As enroot takes it.
        uri: OsString,
        /// As the user wrote it, but for a password; for messages.
        shown: String,
    },
}

impl Image {
    /// Reads `--container-image`.
    pub(crate) fn parse(image: &OsStr) -> Image {
        if matches!(image.as_bytes(), [b'.' | b'/', ..]) {
            return Image::File(PathBuf::from(image));
        }
        // Arguments of the runtime, logs and errors are for everybody to see.
        let bytes = &*without_password(image.as_bytes());
        let image = OsStr::from_bytes(bytes);
        let shown = image.to_string_lossy().into_owned();
        let known = bytes.starts_with(b"docker://") || bytes.starts_with(b"dockerd://");
        let uri = if known || path_at(bytes).is_some() {
            image.to_owned()
        } else {
            let mut uri = OsString::from("docker://");
            uri.push(separate_registry(image));
            uri
        };
        Image::Remote { uri, shown }
    }

    /// As the user wrote it, but for a password.
    pub(crate) fn shown(&self) -> Cow<'_, str> {
        match self {
            Image::File(path) => path.to_string_lossy(),
            Image::Remote { shown, .. } => shown.into(),
        }
    }

    /// Whether a docker daemon is asked, which enroot cannot `load` from.
    pub(crate) fn is_daemon(&self) -> bool {
        matches!(self, Image::Remote { uri, .. } if uri.as_bytes().starts_with(b"dockerd://"))
    }

    /// Whether no registry is asked, nor the shared store's account, which is not to read users' files.
    pub(crate) fn is_archive(&self) -> bool {
        matches!(self, Image::Remote { uri, .. } if path_at(uri.as_bytes()).is_some())
    }

    /// The same with an absolute path, which `absolute` makes, where it is an archive.
    pub(crate) fn at(
        mut self,
        absolute: impl Fn(&OsStr) -> Result<PathBuf, StepError>,
    ) -> Result<Image, StepError> {
        if let Image::Remote { uri, .. } = &mut self {
            let split = path_at(uri.as_bytes()).map(|at| uri.as_bytes().split_at(at));
            if let Some((scheme, path)) = split {
                let path = absolute(OsStr::from_bytes(path))?;
                *uri = OsString::from_vec([scheme, path.as_os_str().as_bytes()].concat());
            }
        }
        Ok(self)
    }

    /// What the user may have meant, when a remote image cannot be had.
    pub(crate) fn hint(&self) -> Option<String> {
        let Image::Remote { shown, .. } = self else { return None };
        // What a shell would have read, and a scheme that there is none of, are said to be that.
        let bytes = shown.as_bytes();
        let other =
            matches!(bytes, [b'~' | b'$', ..]) || bytes.windows(3).any(|three| three == b"://");
        let looks_like_file =
            !other && [".sqsh", ".squashfs", ".sqfs"].iter().any(|end| shown.ends_with(end));
        if Path::new(shown).is_file() {
            Some(format!("a file of this name exists: --container-image=./{shown} would use it"))
        } else if looks_like_file {
            Some(format!("a squashfs file is given as a path: ./{shown} or /path/{shown}"))
        } else {
            None
        }
    }
}

/// `nvcr.io/nvidia/x` as `nvcr.io#nvidia/x`: users of the default registry have no dot or colon
/// in their name, so that the first part can only be a registry.
fn separate_registry(image: &OsStr) -> OsString {
    let bytes = image.as_bytes();
    let slash = bytes.iter().position(|byte| *byte == b'/');
    let Some(slash) = slash.filter(|_| !bytes.contains(&b'#')) else { return image.to_owned() };
    // A digest has its own "@", after the slash.
    let start = bytes[..slash].iter().rposition(|byte| *byte == b'@').map_or(0, |at| at + 1);
    let host = bytes.get(start..slash).unwrap_or_default();
    if host != b"localhost" && !host.contains(&b'.') && !host.contains(&b':') {
        return image.to_owned();
    }
    let mut marked = bytes.to_vec();
    marked[slash] = b'#';
    OsStr::from_bytes(&marked).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(image: &str) -> String {
        match Image::parse(OsStr::new(image)) {
            Image::Remote { uri, .. } => uri.into_string().unwrap(),
            Image::File(path) => panic!("{path:?}"),
        }
    }

    #[test]
    fn paths_and_uris() {
        for path in ["./x.sqsh", "/a/b.sqsh", "../x"] {
            assert_eq!(Image::parse(OsStr::new(path)), Image::File(path.into()));
        }
        let rows = [
            ("ubuntu:24.04", "docker://ubuntu:24.04"),
            ("nvcr.io#nvidia/x:1", "docker://nvcr.io#nvidia/x:1"),
            ("docker://ubuntu", "docker://ubuntu"),
            ("dockerd://ubuntu", "dockerd://ubuntu"),
            ("user@nvcr.io#x", "docker://user@nvcr.io#x"),
            ("user:pw@nvcr.io#x:1", "docker://user@nvcr.io#x:1"),
            ("user:p/w@nvcr.io/x", "docker://user@nvcr.io#x"),
            ("docker://user:p@w@nvcr.io#x", "docker://user@nvcr.io#x"),
        ];
        for (image, expected) in rows {
            assert_eq!(uri(image), expected);
        }
    }

    #[test]
    fn archives_are_files_of_the_job() {
        let rows = [
            ("docker-archive:x.tar", "docker-archive:/w/x.tar"),
            ("docker-archive:./a:b/c:1", "docker-archive:/w/./a:b/c:1"),
            ("oci-archive:/a/b@c.tar:1", "oci-archive:/a/b@c.tar:1"),
            ("oci:./layout", "oci:/w/./layout"),
            ("oci:/layout:x", "oci:/layout:x"),
        ];
        for (image, expected) in rows {
            let image = Image::parse(OsStr::new(image));
            assert!(image.is_archive(), "{expected}");
            let image = image.at(|path| Ok(Path::new("/w").join(path))).unwrap();
            assert!(matches!(image, Image::Remote { uri, .. } if uri == expected));
        }
        for image in ["oci:1.0", "docker-archive", "docker://oci:1", "reg:5000/x", "./oci:/x"] {
            let image = Image::parse(OsStr::new(image));
            assert!(!image.is_archive(), "{image:?}");
            assert_eq!(image.clone().at(|_| Err(StepError::Reported)).unwrap(), image);
        }
    }

    #[test]
    fn a_registry_before_a_slash_is_understood() {
        let rows = [
            ("nvcr.io/nvidia/x:1", "docker://nvcr.io#nvidia/x:1"),
            ("localhost:5000/x", "docker://localhost:5000#x"),
            ("localhost/x", "docker://localhost#x"),
            ("me@reg.example/x", "docker://me@reg.example#x"),
            ("nvidia/cuda:12.0", "docker://nvidia/cuda:12.0"),
            ("library/x@sha256:ab", "docker://library/x@sha256:ab"),
            ("nvcr.io/nvidia/x@sha256:ab", "docker://nvcr.io#nvidia/x@sha256:ab"),
            ("me@reg.example/x@sha256:ab", "docker://me@reg.example#x@sha256:ab"),
        ];
        for (image, expected) in rows {
            assert_eq!(uri(image), expected);
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let image = Image::parse(OsStr::new("user:pw@reg.example#x"));
        assert_eq!(image.shown(), "user@reg.example#x");
        assert!(!format!("{image:?}").contains("pw"));
    }

    #[test]
    fn a_file_without_a_path_gets_a_hint() {
        let hint = Image::parse(OsStr::new("ubuntu.sqsh")).hint().unwrap();
        assert!(hint.contains("./ubuntu.sqsh"), "{hint}");
        for image in ["ubuntu", "~/x.sqsh", "$HOME/x.sqsh", "file:///x.sqsh", "docker://x/y.sqsh"] {
            assert_eq!(Image::parse(OsStr::new(image)).hint(), None, "{image}");
        }
    }
}
