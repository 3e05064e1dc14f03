//! Mount lines in enroot's dialect of fstab(5): `SOURCE TARGET TYPE OPTIONS`, where the type and
//! options may be left out, white space and backslashes are written as octal escapes, and the
//! options `x-create=dir|file|auto`, `x-detach`, `nofail` and `silent` are understood, and `sqsh`, which mounts
//! the squashfs file that is the source. A mount cannot
//! be moved (`x-move`): what is mounted on the host stays there.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use nix::mount::MsFlags;

/// What to make at the target before mounting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Create {
    /// A directory.
    Directory,
    /// An empty file.
    File,
    /// What the source is: a directory for a directory, else a file.
    LikeSource,
}

/// One mount (or, with [`Entry::detach`], unmount) to carry out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Path of a bind mount's source, or the file system's own notion of a source.
    pub source: OsString,
    /// The source is a path of the container, not of the host.
    pub inside: bool,
    /// Where, inside the container.
    pub target: OsString,
    /// File system type; `none` for binds.
    pub fstype: String,
    /// Flags of mount(2), without propagation.
    pub flags: MsFlags,
    /// Propagation to set afterwards.
    pub propagation: MsFlags,
    /// Options handed to the file system.
    pub data: String,
    /// Options of a bind mount that mean nothing to the kernel, which is handed none (enroot hands it all, and it looks at
    /// none).
    pub ignored: Vec<String>,
    /// What to make at the target.
    pub create: Option<Create>,
    /// The source is a squashfs file of the host, and what is in it is mounted.
    pub squashfs: bool,
    /// Unmount the target instead (`x-detach`).
    pub detach: bool,
    /// A failure is no error.
    pub nofail: bool,
    /// And not even a warning.
    pub silent: bool,
    /// The last number of the line, by which fstab(5) orders checks: -1 is mounted before hooks
    /// run, 0 afterwards, anything else never.
    pub pass: i32,
}

/// Why a line is no mount.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("mount \"{line}\": {problem}")]
pub struct FstabError {
    /// The line, as given.
    pub line: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

const PROPAGATION: [(&str, MsFlags); 8] = [
    ("private", MsFlags::MS_PRIVATE),
    ("rprivate", MsFlags::MS_PRIVATE.union(MsFlags::MS_REC)),
    ("slave", MsFlags::MS_SLAVE),
    ("rslave", MsFlags::MS_SLAVE.union(MsFlags::MS_REC)),
    ("shared", MsFlags::MS_SHARED),
    ("rshared", MsFlags::MS_SHARED.union(MsFlags::MS_REC)),
    ("unbindable", MsFlags::MS_UNBINDABLE),
    ("runbindable", MsFlags::MS_UNBINDABLE.union(MsFlags::MS_REC)),
];

/// Option, flag, and whether the option clears the flag.
const FLAGS: [(&str, MsFlags, bool); 25] = [
    ("async", MsFlags::MS_SYNCHRONOUS, true),
    ("atime", MsFlags::MS_NOATIME, true),
    ("bind", MsFlags::MS_BIND, false),
    ("dev", MsFlags::MS_NODEV, true),
    ("diratime", MsFlags::MS_NODIRATIME, true),
    ("dirsync", MsFlags::MS_DIRSYNC, false),
    ("exec", MsFlags::MS_NOEXEC, true),
    ("noatime", MsFlags::MS_NOATIME, false),
    ("nodev", MsFlags::MS_NODEV, false),
    ("nodiratime", MsFlags::MS_NODIRATIME, false),
    ("noexec", MsFlags::MS_NOEXEC, false),
    ("norelatime", MsFlags::MS_RELATIME, true),
    ("nostrictatime", MsFlags::MS_STRICTATIME, true),
    ("nosuid", MsFlags::MS_NOSUID, false),
    ("rbind", MsFlags::MS_BIND.union(MsFlags::MS_REC), false),
    // As docker has it.
    ("readonly", MsFlags::MS_RDONLY, false),
    ("relatime", MsFlags::MS_RELATIME, false),
    ("remount", MsFlags::MS_REMOUNT, false),
    ("ro", MsFlags::MS_RDONLY, false),
    ("rw", MsFlags::MS_RDONLY, true),
    ("strictatime", MsFlags::MS_STRICTATIME, false),
    ("suid", MsFlags::MS_NOSUID, true),
    ("sync", MsFlags::MS_SYNCHRONOUS, false),
    ("lazytime", MsFlags::MS_LAZYTIME, false),
    ("nolazytime", MsFlags::MS_LAZYTIME, true),
];

/// Options of fstab(5) that mean nothing here.
const IGNORED: [&str; 11] = [
    "auto", "defaults", "group", "noauto", "nogroup", "noowner", "nouser", "nousers", "owner",
    "user", "users",
];

/// Options of file systems, and of who mounts them, that lines for a bind mount often have. They say nothing of a bind.
const OF_FILE_SYSTEMS: [&str; 24] = [
    "_netdev",
    "acl",
    "noacl",
    "bg",
    "fg",
    "hard",
    "soft",
    "intr",
    "nointr",
    "nolock",
    "discard",
    "nodiscard",
    "flock",
    "noflock",
    "iversion",
    "noiversion",
    "mand",
    "nomand",
    "quota",
    "noquota",
    "usrquota",
    "grpquota",
    "user_xattr",
    "inode64",
];

/// The fields of a line, with what enroot puts in the place of those that are absent.
struct Fields {
    source: OsString,
    target: Option<OsString>,
    fstype: Option<String>,
    options: String,
    pass: i32,
}

impl Fields {
    /// `None` for a blank line or a comment.
    fn of(line: &OsStr) -> Option<Fields> {
        let fields: Vec<OsString> = line
            .as_bytes()
            .split(|byte| byte.is_ascii_whitespace())
            .filter(|field| !field.is_empty())
            .map(unescape)
            .collect();
        let source = fields.first().filter(|first| !first.as_bytes().starts_with(b"#"))?.clone();
        let field = |at: usize| fields.get(at).filter(|field| *field != "none");
        let is_options = |field: &OsString| field.to_str().is_some_and(looks_like_options);

        let mut target = field(1).cloned();
        let mut fstype = field(2).and_then(|field| field.to_str()).map(str::to_owned);
        let mut options = fields.get(3).and_then(|field| field.to_str()).map(str::to_owned);
        if fields.len() == 2 && target.as_ref().is_some_and(is_options) {
            options = target.take().and_then(|field| field.into_string().ok());
        } else if fields.len() == 3 && field(2).is_some_and(is_options) {
            options = fstype.take();
        }
        if source == "tmpfs" {
            fstype = fstype.or(Some("tmpfs".to_owned()));
        } else if fstype.is_none() && options.is_none() {
            options = Some("rbind,x-create=auto".to_owned());
        }
        if target.is_none() && source.as_bytes().starts_with(b"/") {
            target = Some(source.clone());
        }
        let options = options.unwrap_or_default();
        Some(Fields { source, target, fstype, options, pass: pass(&fields) })
    }
}

impl Entry {
    /// Reads one line. `Ok(None)` for a blank line or a comment.
    ///
    /// # Errors
    /// [`FstabError`] with the line and what it lacks.
    pub fn parse(line: &OsStr) -> Result<Option<Entry>, FstabError> {
        Entry::read(line, true)
    }

    /// Reads one line of a site's. What the kernel passes over is passed over: options that a bind mount
    /// has not, such as `_netdev`.
    ///
    /// # Errors
    /// As [`Entry::parse`].
    pub(crate) fn parse_of_site(line: &OsStr) -> Result<Option<Entry>, FstabError> {
        Entry::read(line, false)
    }

    fn read(line: &OsStr, strictly: bool) -> Result<Option<Entry>, FstabError> {
        let Some(fields) = Fields::of(line) else { return Ok(None) };
        Entry::new(fields, &line.to_string_lossy(), strictly).map(Some)
    }

    /// Reads what was given apart: two paths as they are, and options.
    ///
    /// # Errors
    /// As [`Entry::parse`].
    pub fn of_parts(source: &OsStr, target: &OsStr, options: &OsStr) -> Result<Entry, FstabError> {
        let shown = [source, target, options].map(OsStr::to_string_lossy).join(" ");
        let bad = |problem| FstabError { line: shown.clone(), problem };
        let options = options.to_str().ok_or_else(|| bad("its options are no text"))?.to_owned();
        let fstype = (source == "tmpfs").then(|| "tmpfs".to_owned());
        let (source, target) = (source.to_owned(), Some(target.to_owned()));
        Entry::new(Fields { source, target, fstype, options, pass: 0 }, &shown, true)
    }

    fn new(fields: Fields, line: &str, strictly: bool) -> Result<Entry, FstabError> {
        let bad = |problem| FstabError { line: line.trim().to_owned(), problem };
        let mut entry = Entry {
            source: fields.source,
            inside: false,
            target: fields.target.ok_or_else(|| bad("it has no target"))?,
            fstype: fields.fstype.unwrap_or_else(|| "none".to_owned()),
            flags: MsFlags::empty(),
            propagation: MsFlags::empty(),
            data: String::new(),
            ignored: Vec::new(),
            create: None,
            squashfs: false,
            detach: false,
            nofail: false,
            silent: false,
            pass: fields.pass,
        };
        for option in fields.options.split(',').filter(|option| !option.is_empty()) {
            entry.apply(option).map_err(bad)?;
        }
        entry.look_for_squashfs().map_err(bad)?;
        if entry.is_bind() && !strictly {
            entry.data.clear();
        }
        entry.ignore_what_a_bind_has_not().map_err(bad)?;
        entry.check().map_err(bad)?;
        Ok(entry)
    }

    /// A line of /etc/fstab is good for a container, too. What is nearly a flag is a mistake: a mount that was to be read-only
    /// is not to be writable for a letter.
    fn ignore_what_a_bind_has_not(&mut self) -> Result<(), &'static str> {
        if !self.is_bind() || self.data.is_empty() {
            return Ok(());
        }
        let data = std::mem::take(&mut self.data);
        self.ignored = data.split(',').map(str::to_owned).collect();
        let flags =
            || FLAGS.iter().map(|(name, ..)| *name).chain(PROPAGATION.map(|(name, _)| name));
        let near = |word: &str| {
            let most = if word.len() < 5 { 1 } else { 2 };
            flags().any(|flag| strsim::damerau_levenshtein(word, flag) <= most)
        };
        // So is one in capitals, and one that something is joined to as it is elsewhere.
        let mistaken = |word: &String| {
            let name = word.split('=').next().unwrap_or_default().to_ascii_lowercase();
            // Or it is what stands elsewhere in a line.
            name.split([':', ';', '|']).any(near) || name.starts_with('/')
        };
        self.ignored.retain(|word| !OF_FILE_SYSTEMS.contains(&word.as_str()));
        match self.ignored.iter().any(mistaken) {
            true => Err("a bind mount has no such option"),
            false => Ok(()),
        }
    }

    /// The word for it may stand among those of a bind mount, or be the type.
    fn look_for_squashfs(&mut self) -> Result<(), &'static str> {
        self.squashfs |= ["squashfs", "sqsh"].contains(&self.fstype.as_str());
        if !self.squashfs {
            return Ok(());
        }
        self.flags -= MsFlags::MS_BIND | MsFlags::MS_REC;
        self.create = self.create.map(|_| Create::Directory);
        match (self.data.is_empty(), self.flags.contains(MsFlags::MS_REMOUNT) || self.detach) {
            (true, false) => Ok(()),
            (false, _) => Err("a squashfs file is mounted without such an option"),
            (_, true) => Err("it cannot be mounted and unmounted at once"),
        }
    }

    /// What the options want of each other.
    fn check(&self) -> Result<(), &'static str> {
        let does_something = self.fstype != "none"
            || self.squashfs
            || self.detach
            || self.create.is_some()
            || !self.propagation.is_empty()
            || self.flags.intersects(MsFlags::MS_BIND | MsFlags::MS_REMOUNT);
        match does_something {
            true => Ok(()),
            false => Err("it is neither a bind mount nor names a file system type"),
        }
    }

    fn apply(&mut self, option: &str) -> Result<(), &'static str> {
        if let Some((_, flag)) = PROPAGATION.iter().find(|(name, _)| *name == option) {
            self.propagation = *flag;
        } else if let Some((_, flag, clears)) = FLAGS.iter().find(|(name, ..)| *name == option) {
            self.flags.set(*flag, !clears);
        } else if let Some(propagation) = option.strip_prefix("bind-propagation=") {
            // docker's word for it.
            let known = PROPAGATION.iter().find(|(name, _)| *name == propagation);
            self.propagation =
                known.ok_or("bind-propagation= takes rprivate, rslave and the like")?.1;
        } else if let Some(what) = option.strip_prefix("x-create=") {
            self.create = Some(match what {
                "dir" => Create::Directory,
                "file" => Create::File,
                "auto" => Create::LikeSource,
                _ => return Err("x-create= takes dir, file or auto"),
            });
        } else {
            match option {
                "sqsh" => self.squashfs = true,
                "x-detach" => self.detach = true,
                "x-move" => return Err("a mount cannot be moved; use bind or rbind"),
                "nofail" => self.nofail = true,
                "silent" => self.silent = true,
                "loud" => self.silent = false,
                _ if IGNORED.contains(&option) || option.starts_with("x-") => {}
                _ => {
                    if !self.data.is_empty() {
                        self.data.push(',');
                    }
                    self.data.push_str(option);
                }
            }
        }
        Ok(())
    }

    /// Whether this mounts a file system that is new.
    pub fn is_new(&self) -> bool {
        let changes = self.flags.intersects(MsFlags::MS_BIND | MsFlags::MS_REMOUNT);
        self.fstype != "none" && !changes && !self.detach
    }

    /// Whether this is a bind mount of a host path.
    pub fn is_bind(&self) -> bool {
        self.flags.contains(MsFlags::MS_BIND) && !self.flags.contains(MsFlags::MS_REMOUNT)
    }
}

/// The sixth field, or the fifth where the line ends with it.
fn pass(fields: &[OsString]) -> i32 {
    let number = |at: usize| fields.get(at)?.to_str()?.parse().ok();
    match (number(5), number(4)) {
        (Some(pass), _) if pass != 0 => pass,
        (_, Some(frequency)) => frequency,
        _ => 0,
    }
}

fn looks_like_options(field: &str) -> bool {
    field.contains(',')
        || field.starts_with("x-")
        || matches!(field, "nofail" | "silent" | "loud")
        || IGNORED.contains(&field)
        || FLAGS.iter().any(|(name, ..)| *name == field)
        || PROPAGATION.iter().any(|(name, _)| *name == field)
}

fn unescape(field: &[u8]) -> OsString {
    OsString::from_vec(hygiene::fstab::unescape(field))
}

/// A path as a field of a line.
pub fn escape(field: &OsStr) -> OsString {
    OsString::from_vec(hygiene::fstab::escape(field.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(line: &str) -> Entry {
        Entry::parse(OsStr::new(line)).unwrap().unwrap()
    }

    #[test]
    fn guesses_what_a_short_line_leaves_out() {
        for line in ["/src", "/src /src", "/src /src none rbind,x-create=auto"] {
            let got = entry(line);
            assert_eq!((got.source.to_str(), got.target.to_str()), (Some("/src"), Some("/src")));
            assert!(got.is_bind() && got.create == Some(Create::LikeSource), "{line}");
        }
        let short = entry("/src bind");
        assert!(short.is_bind() && short.target == "/src" && short.create.is_none());
        assert_eq!(entry("/src /dst bind").target, "/dst");
        let tmpfs = entry("tmpfs /dst x-create=dir,size=1g");
        assert_eq!((tmpfs.fstype.as_str(), tmpfs.data.as_str()), ("tmpfs", "size=1g"));
        assert_eq!(tmpfs.create, Some(Create::Directory));
        assert_eq!(entry("none /dst devpts").fstype, "devpts");
        assert!(entry("umount /dst x-detach").detach);
    }

    #[test]
    fn what_is_given_apart_is_not_read_as_a_line() {
        let parts = |source: &str, target: &str, options: &str| {
            let [source, target, options] = [source, target, options].map(OsStr::new);
            Entry::of_parts(source, target, options)
        };
        let line = entry("/a\\040\\134b /c\\040d x-create=auto,rbind,ro");
        assert_eq!(parts("/a \\b", "/c d", "x-create=auto,rbind,ro").unwrap(), line);
        assert_eq!(parts("tmpfs", "/t", "x-create=dir").unwrap(), entry("tmpfs /t x-create=dir"));
        assert_eq!(parts("umount", "/t", "x-detach").unwrap(), entry("umount /t x-detach"));
        assert_eq!(parts("/a\\040", "/#", "bind").unwrap().source, "/a\\040");
        let error = parts("/a b", "/c", "x-create=auto,rbind,r0").unwrap_err().to_string();
        assert_eq!(
            error,
            "mount \"/a b /c x-create=auto,rbind,r0\": a bind mount has no such option"
        );
    }

    #[test]
    fn what_means_nothing_to_a_bind_is_ignored() {
        let line = "/scratch /scratch none x-create=dir,rw,nosuid,bind,relatime,fs_passno=1 0 0";
        assert_eq!(entry(line).ignored, ["fs_passno=1"]);
        assert!(entry(line).data.is_empty() && entry(line).is_bind());
        let got = entry("/a /b none bind,_netdev,iversion,comment=x,mode=0755,nosymfollow,hard,ro");
        assert_eq!(got.ignored, ["comment=x", "mode=0755", "nosymfollow"]);
        assert!(got.flags.contains(MsFlags::MS_RDONLY));
        assert!(entry("/a /b none rbind,readonly").flags.contains(MsFlags::MS_RDONLY));
        // A file system has its own.
        assert_eq!(entry("tmpfs /b tmpfs mode=0755,size=1m").data, "mode=0755,size=1m");
    }

    #[test]
    fn what_was_to_be_read_only_is_not_writable_for_how_it_is_written() {
        for words in [
            "/x",
            "RO",
            "Ro",
            "ReadOnly",
            "ro:Z",
            "Z:ro",
            "ro;rslave",
            "ro|nosuid",
            "RBIND,x",
            "ro=1",
        ] {
            let line = format!("/a /b none x-create=auto,rbind,{words}");
            let error = Entry::parse(OsStr::new(&line)).unwrap_err();
            assert_eq!(error.problem, "a bind mount has no such option", "{words}");
        }
        assert_eq!(entry("/a /b none rbind,z,Z,cached,nocopy").ignored.len(), 4);
        assert_eq!(entry("/a /b none rbind,comment=a:ro").ignored, ["comment=a:ro"]);
    }

    #[test]
    fn later_options_win() {
        let got = entry("/a /b none x-create=auto,rbind,ro,rw,nosuid,rslave,private");
        assert!(!got.flags.contains(MsFlags::MS_RDONLY));
        assert_eq!(got.propagation, MsFlags::MS_PRIVATE);
        let of_docker = entry("/a /b none rbind,bind-propagation=rslave");
        assert_eq!(of_docker.propagation, MsFlags::MS_SLAVE | MsFlags::MS_REC);
        assert!(of_docker.ignored.is_empty());
    }

    #[test]
    fn reads_when_to_mount() {
        assert_eq!(entry("/a /b none bind").pass, 0);
        assert_eq!(entry("/a /b none bind 0 -1").pass, -1);
        assert_eq!(entry("/a /b none bind -1").pass, -1);
        assert_eq!(entry("/a /b none bind 0 2").pass, 2);
    }

    #[test]
    fn says_what_a_line_lacks() {
        let error = Entry::parse(OsStr::new("/a /b none ro")).unwrap_err();
        assert!(error.to_string().starts_with("mount \"/a /b none ro\": it is neither"));
        assert!(Entry::parse(OsStr::new("none")).is_err());
        assert!(Entry::parse(OsStr::new("/a /b none bind,x-create=pipe")).is_err());
        let typo = Entry::parse(OsStr::new("/a /b none x-create=auto,rbind,r0")).unwrap_err();
        assert!(typo.to_string().ends_with("a bind mount has no such option"), "{typo}");
        for typo in ["rO", "redonly", "nosuidd", "noexe", "rprvate", "r"] {
            let line = format!("/a /b none bind,{typo}");
            assert!(Entry::parse(OsStr::new(&line)).is_err(), "{typo}");
        }
        assert!(Entry::parse(OsStr::new("/a /b none bind,x-systemd.automount")).is_ok());
        let of_site = "/a /b none bind,_netdev,nomand,ro";
        let read = Entry::parse_of_site(OsStr::new(of_site)).unwrap().unwrap();
        assert!(read.data.is_empty() && read.flags.contains(MsFlags::MS_RDONLY));
        let own = Entry::parse_of_site(OsStr::new("tmpfs /b tmpfs size=1g")).unwrap().unwrap();
        assert_eq!(own.data, "size=1g");
        for line in ["/a /b none x-move", "/a x-move", "/a /b none rbind,x-move"] {
            let error = Entry::parse(OsStr::new(line)).unwrap_err().to_string();
            assert!(error.ends_with(": a mount cannot be moved; use bind or rbind"), "{error}");
        }
        assert_eq!(Entry::parse(OsStr::new("  ")), Ok(None));
        assert_eq!(Entry::parse(OsStr::new("# /a /b")), Ok(None));
    }

    proptest! {
        #[test]
        fn escaped_paths_come_back(bytes in prop::collection::vec(1u8..=255, 1..40)) {
            let path = OsString::from_vec([b"/".as_slice(), &bytes].concat());
            let mut line = escape(&path);
            line.push(" ");
            line.push(escape(&path));
            line.push(" none bind");
            let got = Entry::parse(&line).unwrap().unwrap();
            prop_assert_eq!(&got.source, &path);
            prop_assert_eq!(&got.target, &path);
        }

        #[test]
        fn no_line_panics(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Entry::parse(&OsString::from_vec(bytes));
        }
    }
}
