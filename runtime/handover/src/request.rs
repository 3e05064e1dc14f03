//! What the plugin asks the `pyxis` command for: one request, in a sealed memory file. The command's arguments,
//! which everybody on the node can read, are a verb and the numbers of descriptors (`pyxis create --request=3`),
//! with nothing of the user's in them. All that the plugin has the command do for a step goes this way.
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
const HEADER: &[u8] = b"pyxis-request-2\n";

/// The largest request: as much as the kernel takes as a program's arguments.
pub const MAX_REQUEST: u64 = 2 << 20;

/// How the argument begins that says where the request is. The descriptor's number follows, and after commas those of
/// what comes with it.
pub const ARGUMENT: &str = "--request=";

/// What the command is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Start a container, or join it, and hand it over. With it come the socket to hand it over to, the keeper's end of
    /// the step socket and, where there is one, the socket to who has the kernel mount images.
    Start(Start<'a>),
    /// Fetch an image into the store, and print where it is. With it comes, where there is one, the socket to who
    /// fills the shared store.
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
    /// Make a squashfs file of an image.
    Import {
        /// Of the image, as `pyxis import` takes it.
        uri: &'a OsStr,
        /// The file.
        file: &'a OsStr,
    },
    /// Make a named container of an image.
    Load {
        /// Of the image, as `pyxis load` takes it.
        uri: &'a OsStr,
        /// Of the container.
        name: &'a OsStr,
    },
    /// Make a named container of a squashfs file.
    Create {
        /// The file.
        file: &'a OsStr,
        /// Of the container.
        name: &'a OsStr,
    },
    /// The same, or find that it has been made meanwhile: nodes may share the place for containers.
    Ensure {
        /// The file.
        file: &'a OsStr,
        /// Of the container.
        name: &'a OsStr,
    },
    /// Save a named container, in place of what may be there.
    Export {
        /// Of the container.
        name: &'a OsStr,
        /// A file, or an image of a registry.
        to: &'a OsStr,
    },
    /// Say whether something may be pushed to a registry.
    MayPush {
        /// Of what is to be pushed, as `pyxis push` takes it.
        uri: &'a OsStr,
    },
    /// Remove a named container without a question.
    Remove {
        /// Of the container.
        name: &'a OsStr,
    },
    /// Print the names of containers.
    List,
    /// Print them with their processes.
    Processes,
    /// Remove a file, if it is there.
    Discard {
        /// The file.
        file: &'a OsStr,
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
const IMPORT: u32 = 5;
const LOAD: u32 = 6;
const CREATE: u32 = 7;
const EXPORT: u32 = 8;
const MAY_PUSH: u32 = 9;
const REMOVE: u32 = 10;
const LIST: u32 = 11;
const PROCESSES: u32 = 12;
const DISCARD: u32 = 13;
const ENSURE: u32 = 14;

/// What each is as the command's first argument, in the order of their numbers.
const VERBS: &str =
    "start start pull digest import load create export push remove list list discard create";

impl<'a> Request<'a> {
    /// What the command is called with.
    pub fn verb(&self) -> &'static str {
        let number = self.parts().0 as usize;
        VERBS.split(' ').nth(number - 1).unwrap_or_default()
    }

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

    /// Its number, and its first texts.
    fn parts(&self) -> (u32, [Option<&'a OsStr>; 2]) {
        match *self {
            Request::Start(Start { target: Target::File { path, label }, .. }) => {
                (START_FILE, [Some(path), Some(label)])
            }
            Request::Start(Start { target: Target::Name(name), .. }) => {
                (START_NAME, [Some(name), None])
            }
            Request::Pull { uri, digest } => (PULL, [Some(uri), Some(digest.unwrap_or_default())]),
            Request::Digest { uri } => (DIGEST, [Some(uri), None]),
            Request::Import { uri, file } => (IMPORT, [Some(uri), Some(file)]),
            Request::Load { uri, name } => (LOAD, [Some(uri), Some(name)]),
            Request::Create { file, name } => (CREATE, [Some(file), Some(name)]),
            Request::Ensure { file, name } => (ENSURE, [Some(file), Some(name)]),
            Request::Export { name, to } => (EXPORT, [Some(name), Some(to)]),
            Request::MayPush { uri } => (MAY_PUSH, [Some(uri), None]),
            Request::Remove { name } => (REMOVE, [Some(name), None]),
            Request::List => (LIST, [None; 2]),
            Request::Processes => (PROCESSES, [None; 2]),
            Request::Discard { file } => (DISCARD, [Some(file), None]),
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = HEADER.to_vec();
        let (verb, texts) = self.parts();
        number(&mut bytes, verb);
        for part in texts.into_iter().flatten() {
            text(&mut bytes, part);
        }
        if let Request::Start(start) = self {
            start.write(&mut bytes);
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
    /// What follows its target.
    fn write(&self, bytes: &mut Vec<u8>) {
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
            IMPORT => Request::Import { uri: self.text()?, file: self.text()? },
            LOAD => Request::Load { uri: self.text()?, name: self.text()? },
            CREATE => Request::Create { file: self.text()?, name: self.text()? },
            ENSURE => Request::Ensure { file: self.text()?, name: self.text()? },
            EXPORT => Request::Export { name: self.text()?, to: self.text()? },
            MAY_PUSH => Request::MayPush { uri: self.text()? },
            REMOVE => Request::Remove { name: self.text()? },
            LIST => Request::List,
            PROCESSES => Request::Processes,
            DISCARD => Request::Discard { file: self.text()? },
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
    use proptest::prelude::*;

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
            Request::Import { uri: text("dockerd://a"), file: text("/run/1.squashfs") },
            Request::Load { uri: text("docker://a"), name: text("pyxis_c") },
            Request::Create { file: text("/a b.sqsh"), name: text("pyxis_c") },
            Request::Export { name: text("pyxis_c"), to: OsStr::from_bytes(b"/\xfe.sqsh") },
            Request::MayPush { uri: text("docker://a") },
            Request::Remove { name: text("pyxis_c") },
            Request::List,
            Request::Processes,
            Request::Discard { file: text("/run/1.squashfs") },
            Request::Ensure { file: text("/a b.sqsh"), name: text("pyxis_c") },
        ]
    }

    #[test]
    fn each_has_a_number_and_a_verb() {
        let parts = requests().iter().map(|request| request.parts().0).collect::<Vec<_>>();
        let mut numbers = parts.clone();
        numbers.dedup();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers, (START_FILE..=ENSURE).collect::<Vec<_>>(), "of {parts:?}");
        assert_eq!(VERBS.split(' ').count(), ENSURE as usize);
        for (request, verb) in [
            (Request::Create { file: OsStr::new("f"), name: OsStr::new("c") }, "create"),
            (Request::MayPush { uri: OsStr::new("x") }, "push"),
            (Request::Processes, "list"),
            (Request::Discard { file: OsStr::new("f") }, "discard"),
            (Request::Ensure { file: OsStr::new("f"), name: OsStr::new("c") }, "create"),
        ] {
            assert_eq!(request.verb(), verb);
        }
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
            of(&[&count(ENSURE + 1)]),
            of(&[&most]),
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

    /// A change of some bytes: a place, what is taken away there, and what comes in its stead.
    fn change() -> impl Strategy<Value = (prop::sample::Index, usize, Vec<u8>)> {
        let number =
            prop_oneof![0..20u32, any::<u32>()].prop_map(|count| count.to_ne_bytes().into());
        let bytes = prop_oneof![number, prop::collection::vec(any::<u8>(), 0..6)];
        (any::<prop::sample::Index>(), 0..6usize, bytes)
    }

    proptest! {
        /// Whatever comes is refused with one of two lines, or is exactly what would be written for it.
        #[test]
        fn what_is_read_is_what_would_be_written(
            which in any::<prop::sample::Index>(),
            changes in prop::collection::vec(change(), 0..4),
        ) {
            let mut bytes = requests()[which.index(requests().len())].to_bytes();
            for (at, taken, new) in changes {
                let at = at.index(bytes.len() + 1);
                let end = bytes.len().min(at + taken);
                bytes.splice(at..end, new);
            }
            match Request::parse(&bytes) {
                Ok(request) => {
                    if let Request::Start(start) = &request {
                        prop_assert!(start.mounts.len() + start.env.len() <= bytes.len() / 4);
                    }
                    prop_assert_eq!(request.to_bytes(), bytes);
                }
                Err(error) => {
                    let damaged = bytes.starts_with(HEADER);
                    let line = if damaged { "the plugin's request is damaged" } else { MISMATCH };
                    prop_assert_eq!(error.to_string(), line);
                }
            }
        }
    }

    #[test]
    fn another_version_is_said_to_be_one() {
        let body = &requests()[0].to_bytes()[HEADER.len()..];
        for header in ["pyxis-request-1\n", "pyxis-request-3\n", "pyxis-request-20\n", "", "x"] {
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
