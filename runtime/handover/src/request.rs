//! What the plugin asks the `pyxis` command for: one request, in a sealed memory file whose number is an
//! argument (`--request=FD`). So the command's arguments, which everybody on the node can read, have
//! nothing of the user's in them.
//!
//! The plugin and the command come of one package; where they do not, the first line says so, and
//! nothing after it is looked at. So the layout is fixed: numbers of 32 bits in the order of the
//! machine's bytes, and text with its length before it.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use crate::MISMATCH;
use crate::message::{bad, sealed_file};

/// How every request begins; another line means another version of what follows.
const HEADER: &[u8] = b"pyxis-request-1\n";

/// The largest request: as much as the kernel takes as a program's arguments.
pub const MAX_REQUEST: u64 = 2 << 20;

/// What the command is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Start a container, or join it, and hand it over.
    Start(Start<'a>),
    /// Fetch an image into the store.
    Pull {
        /// Of the image, as `pyxis pull` takes it.
        uri: &'a OsStr,
        /// What its tag has been found to name.
        digest: Option<&'a OsStr>,
    },
    /// Print the digest of the image's index.
    Digest {
        /// Of the image, as `pyxis digest` takes it.
        uri: &'a OsStr,
    },
}

/// A container to be handed over.
#[derive(Debug, PartialEq, Eq)]
pub struct Start<'a> {
    /// What it is started from.
    pub target: Target<'a>,
    /// What is done if it runs already.
    pub joining: Joining,
    /// Whether the image's entrypoint is run before.
    pub entrypoint: bool,
    /// Its mounts, in order.
    pub mounts: Vec<Mount<'a>>,
    /// Names of the variables whose values on the host win.
    pub env: Vec<&'a OsStr>,
}

/// What a container is started from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// A squashfs file or a directory.
    File {
        /// Of the file.
        path: &'a OsStr,
        /// What others call the container while it runs.
        label: &'a OsStr,
    },
    /// A named container.
    Name(&'a OsStr),
}

/// What is done about a container that runs already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joining {
    /// It is started once more.
    Never,
    /// It is handed over as it is.
    IfRunning,
    /// So it is, and one that does not run is not started.
    OnlyRunning,
}

/// One mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mount<'a> {
    /// Path on the node, `tmpfs`, or `umount`.
    pub source: &'a OsStr,
    /// Path in the container.
    pub target: &'a OsStr,
    /// Options as fstab(5) has them.
    pub options: &'a OsStr,
}

const START_FILE: u32 = 1;
const START_NAME: u32 = 2;
const PULL: u32 = 3;
const DIGEST: u32 = 4;

impl Request<'_> {
    /// The request as a file that can be passed on: nobody can change it any more.
    ///
    /// # Errors
    /// From the kernel, or that there is too much of it.
    pub fn file(&self) -> io::Result<OwnedFd> {
        let bytes = self.to_bytes();
        if bytes.len() as u64 > MAX_REQUEST {
            return Err(bad("the options are too long"));
        }
        sealed_file("pyxis-request", &bytes)
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = HEADER.to_vec();
        match self {
            Request::Start(start) => start.write(&mut bytes),
            Request::Pull { uri, digest } => {
                number(&mut bytes, PULL);
                text(&mut bytes, uri);
                text(&mut bytes, digest.unwrap_or_default());
            }
            Request::Digest { uri } => {
                number(&mut bytes, DIGEST);
                text(&mut bytes, uri);
            }
        }
        bytes
    }

    /// Reads a request.
    ///
    /// # Errors
    /// [`MISMATCH`], or that it is damaged.
    pub fn parse(bytes: &[u8]) -> io::Result<Request<'_>> {
        let Some(rest) = bytes.strip_prefix(HEADER) else { return Err(bad(MISMATCH)) };
        let mut reader = Reader(rest);
        let request = reader.request().filter(|_| reader.0.is_empty());
        request.ok_or_else(|| bad("the plugin's request is damaged"))
    }
}

impl Start<'_> {
    fn write(&self, bytes: &mut Vec<u8>) {
        match self.target {
            Target::File { path, label } => {
                number(bytes, START_FILE);
                text(bytes, path);
                text(bytes, label);
            }
            Target::Name(name) => {
                number(bytes, START_NAME);
                text(bytes, name);
            }
        }
        number(bytes, self.joining as u32);
        number(bytes, self.entrypoint.into());
        number(bytes, self.mounts.len() as u32);
        for mount in &self.mounts {
            text(bytes, mount.source);
            text(bytes, mount.target);
            text(bytes, mount.options);
        }
        number(bytes, self.env.len() as u32);
        for name in &self.env {
            text(bytes, name);
        }
    }
}

fn number(bytes: &mut Vec<u8>, number: u32) {
    bytes.extend_from_slice(&number.to_ne_bytes());
}

fn text(bytes: &mut Vec<u8>, text: &OsStr) {
    number(bytes, text.len() as u32);
    bytes.extend_from_slice(text.as_bytes());
}

/// What is left to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn request(&mut self) -> Option<Request<'a>> {
        Some(match self.number()? {
            START_FILE => {
                let target = Target::File { path: self.text()?, label: self.text()? };
                Request::Start(self.start(target)?)
            }
            START_NAME => {
                let target = Target::Name(self.text()?);
                Request::Start(self.start(target)?)
            }
            PULL => {
                let (uri, digest) = (self.text()?, self.text()?);
                Request::Pull { uri, digest: (!digest.is_empty()).then_some(digest) }
            }
            DIGEST => Request::Digest { uri: self.text()? },
            _ => return None,
        })
    }

    fn start(&mut self, target: Target<'a>) -> Option<Start<'a>> {
        let joining = match self.number()? {
            0 => Joining::Never,
            1 => Joining::IfRunning,
            2 => Joining::OnlyRunning,
            _ => return None,
        };
        let entrypoint = match self.number()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let mounts = self.list(|reader| {
            let (source, target) = (reader.text()?, reader.text()?);
            Some(Mount { source, target, options: reader.text()? })
        })?;
        Some(Start { target, joining, entrypoint, mounts, env: self.list(Reader::text)? })
    }

    fn list<T>(&mut self, read: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        // Room is made for what is there, not for what is claimed: each takes bytes of the request.
        (0..self.number()?).map(|_| read(self)).collect()
    }

    fn number(&mut self) -> Option<u32> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_ne_bytes(*bytes))
    }

    /// Text without a NUL, which no path and no variable can have.
    fn text(&mut self) -> Option<&'a OsStr> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        (!text.contains(&0)).then(|| OsStr::from_bytes(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests() -> Vec<Request<'static>> {
        let text = OsStr::new;
        let mounts = vec![
            Mount { source: text("/a b"), target: text("/\\"), options: text("rbind,ro") },
            Mount { source: text("tmpfs"), target: text("/t"), options: text("x-create=dir") },
        ];
        let start = |target, joining, entrypoint| {
            let env = vec![text("A"), text("B_2")];
            Request::Start(Start { target, joining, entrypoint, mounts: mounts.clone(), env })
        };
        let file =
            Target::File { path: OsStr::from_bytes(b"/x\xff.sqsh"), label: text("pyxis_1.0") };
        let name = Target::Name(text("pyxis_c"));
        let (env, mounts) = (vec![], vec![]);
        let (target, joining) = (name, Joining::IfRunning);
        vec![
            start(file, Joining::Never, true),
            start(name, Joining::OnlyRunning, false),
            Request::Start(Start { target, joining, entrypoint: false, mounts, env }),
            Request::Pull { uri: text("docker://a"), digest: None },
            Request::Pull { uri: text("docker://a"), digest: Some(text("sha256:12")) },
            Request::Digest { uri: text("docker://b#c:1") },
        ]
    }

    #[test]
    fn what_is_written_is_read() {
        for request in requests() {
            assert_eq!(Request::parse(&request.to_bytes()).unwrap(), request);
        }
    }

    #[test]
    fn a_request_that_is_cut_or_has_more_behind_it_is_damaged() {
        for request in requests() {
            let bytes = request.to_bytes();
            for end in HEADER.len()..bytes.len() {
                let error = Request::parse(&bytes[..end]).unwrap_err().to_string();
                assert_eq!(error, "the plugin's request is damaged", "{end} of {request:?}");
            }
            let longer = [&bytes[..], b"\0"].concat();
            assert!(Request::parse(&longer).unwrap_err().to_string().contains("damaged"));
        }
    }

    #[test]
    fn what_cannot_be_is_damaged() {
        let of = |parts: &[&[u8]]| [HEADER, &parts.concat()].concat();
        let count = |number: u32| number.to_ne_bytes();
        let (one, most) = (count(1), count(u32::MAX));
        let cases = [
            of(&[&count(0)]),
            of(&[&count(5)]),
            // A NUL, and lengths that nothing has.
            of(&[&count(DIGEST), &one, b"\0"]),
            of(&[&count(DIGEST), &most, b"a"]),
            of(&[&count(START_NAME), &one, b"a", &count(3), &count(0), &count(0), &count(0)]),
            of(&[&count(START_NAME), &one, b"a", &count(0), &count(2), &count(0), &count(0)]),
            of(&[&count(START_NAME), &one, b"a", &count(0), &count(0), &most]),
            of(&[&count(START_NAME), &one, b"a", &count(0), &count(0), &count(0), &most]),
        ];
        for bytes in cases {
            let error = Request::parse(&bytes).unwrap_err().to_string();
            assert_eq!(error, "the plugin's request is damaged", "{bytes:?}");
        }
    }

    #[test]
    fn another_version_is_said_to_be_one() {
        let body = &requests()[0].to_bytes()[HEADER.len()..];
        for header in ["pyxis-request-0\n", "pyxis-request-2\n", "pyxis-request-10\n", "", "x"] {
            let error = Request::parse(&[header.as_bytes(), body].concat()).unwrap_err();
            assert_eq!(error.to_string(), MISMATCH, "{header}");
        }
        assert_eq!(Request::parse(b"").unwrap_err().to_string(), MISMATCH);
    }

    #[test]
    fn a_request_is_a_file_that_nobody_changes_and_not_too_long() {
        use std::fs::File;
        use std::io::Write;
        use std::os::unix::fs::FileExt;
        let request = &requests()[0];
        let mut file = File::from(request.file().unwrap());
        let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(Request::parse(&bytes).unwrap(), *request);
        assert!(file.write_all(b"x").is_err() && file.set_len(0).is_err());
        let long = "x".repeat(MAX_REQUEST as usize);
        let error = Request::Digest { uri: OsStr::new(&long) }.file().unwrap_err();
        assert_eq!(error.to_string(), "the options are too long");
    }
}
