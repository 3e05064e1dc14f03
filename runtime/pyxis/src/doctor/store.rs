//! What the store, and named containers, want of a file system: `pyxis doctor --store PATH`. Each line
//! of docs/filesystems.md is tried here, in a directory of its own that is removed.

use std::fs::{self, DirBuilder, File, FileTimes, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use linux::sys::{FlockKind, flock};
use linux::xattr;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, RenameFlags, renameat2};
use nix::unistd::{geteuid, linkat};

use super::report::Report;
use crate::owner;
use crate::shell::quoted;

/// A server's clock that is further away makes what is fresh look abandoned.
const CLOCK: Duration = Duration::from_secs(30);
/// Where to put what this file system is not fit for.
const ELSEWHERE: &str =
    "set data in [paths] of pyxis.toml, and the store, to a directory on another file system";

/// Tries what is written down of file systems, in a directory.
pub fn examine_store(path: &Path) -> Report {
    let mut report = Report::default();
    // Root neither waits for a user's server nor makes files where a user could exchange them.
    let faults = if geteuid().is_root() { owner::faults(path) } else { Vec::new() };
    if let Some(why) = faults.first() {
        let mend = format!("runuser -u OWNER -- pyxis doctor --store {}", quoted(path));
        let text = format!("root does not try what others could change: {why}");
        report.error("store-owner", text, mend);
        return report;
    }
    match Place::new(path) {
        Ok(place) => {
            report.ok("store-write", format!("{} takes directories", path.display()));
            place.try_all(&mut report);
        }
        Err(error) => report.error(
            "store-write",
            format!("{}: no directory can be made in it: {error}", path.display()),
            format!("ls -ld {}", quoted(path)),
        ),
    }
    report
}

/// A directory that is gone when this is dropped.
struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Place {
    fn new(parent: &Path) -> io::Result<Place> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let name = format!(".pyxis-doctor-{}-{}", std::process::id(), now.as_nanos());
        let path = parent.join(name);
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Place(path))
    }

    /// A file with some content.
    fn file(&self, name: &str, content: &str) -> io::Result<File> {
        let path = self.0.join(name);
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(content.as_bytes())?;
        Ok(file)
    }

    fn try_all(&self, report: &mut Report) {
        for check in CHECKS {
            match (check.attempt)(self) {
                Ok(()) => report.ok(check.name, check.fine),
                Err(error) if check.has_substitute => {
                    report.warning(check.name, format!("{} ({error})", check.instead), check.mend);
                }
                Err(error) => {
                    report.error(check.name, format!("{} ({error})", check.instead), check.mend);
                }
            }
        }
    }

    /// A lock of one description keeps another out, and goes with it.
    fn locks(&self) -> io::Result<()> {
        let held = self.file("lock", "")?;
        // NFS gives an exclusive lock to who may write.
        let other = File::options().read(true).write(true).open(self.0.join("lock"))?;
        if !flock(&held, FlockKind::TryExclusive)? {
            return Err(io::Error::other("a lock that nobody holds is not given"));
        }
        if flock(&other, FlockKind::TryExclusive)? {
            return Err(io::Error::other("two have the same lock"));
        }
        drop(held);
        match flock(&other, FlockKind::TryExclusive)? {
            true => Ok(()),
            false => Err(io::Error::other("a lock outlives who held it")),
        }
    }

    /// A second name, and none where there is one.
    fn links(&self) -> io::Result<()> {
        self.file("linked", "x")?;
        let (from, to) = (self.0.join("linked"), self.0.join("link"));
        fs::hard_link(&from, &to)?;
        if fs::metadata(&to)?.nlink() != 2 {
            return Err(io::Error::other("a second name is not counted"));
        }
        match fs::hard_link(&from, &to) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
            Ok(()) => Err(io::Error::other("a name that is taken is given again")),
        }
    }

    /// What has the name is replaced, and whoever has it open reads on.
    fn renames(&self) -> io::Result<()> {
        self.file("old", "old")?;
        self.file("new", "new")?;
        let mut old = File::open(self.0.join("old"))?;
        fs::rename(self.0.join("new"), self.0.join("old"))?;
        let mut text = String::new();
        old.read_to_string(&mut text)?;
        let now = fs::read_to_string(self.0.join("old"))?;
        match (text.as_str(), now.as_str()) {
            ("old", "new") => Ok(()),
            _ => Err(io::Error::other("a file that is replaced cannot be read on")),
        }
    }

    /// A directory gets a name only if nobody has it.
    fn exclusive_renames(&self) -> io::Result<()> {
        let (from, to) = (self.0.join("from"), self.0.join("to"));
        fs::create_dir(&from)?;
        fs::create_dir(&to)?;
        let flags = RenameFlags::RENAME_NOREPLACE;
        match renameat2(AT_FDCWD, &from, AT_FDCWD, &to, flags) {
            Err(Errno::EEXIST) => Ok(()),
            Err(error) => Err(error.into()),
            Ok(()) => Err(io::Error::other("a name that is taken is given again")),
        }
    }

    /// A file without a name gets one.
    fn unnamed(&self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let options = options.write(true).custom_flags(nix::libc::O_TMPFILE).mode(0o600);
        let file = options.open(&self.0)?;
        let own = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        let name = self.0.join("named");
        Ok(linkat(AT_FDCWD, &own, AT_FDCWD, &name, AtFlags::AT_SYMLINK_FOLLOW)?)
    }

    /// A time that was set is read back, to the second.
    fn times(&self) -> io::Result<()> {
        let file = self.file("time", "x")?;
        let long_ago = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        file.set_times(FileTimes::new().set_modified(long_ago))?;
        drop(file);
        match fs::metadata(self.0.join("time"))?.mtime() {
            1_000_000_000 => Ok(()),
            other => Err(io::Error::other(format!("1000000000 was set, {other} is read"))),
        }
    }

    /// What is written now is of now.
    fn clock(&self) -> io::Result<()> {
        let before = SystemTime::now();
        let written = self.file("clock", "x")?.metadata()?.modified()?;
        let after = SystemTime::now();
        let (early, late) = (before.duration_since(written), written.duration_since(after));
        let away = early.or(late).unwrap_or_default();
        if away <= CLOCK {
            return Ok(());
        }
        Err(io::Error::other(format!("its clock is {} s from this node's", away.as_secs())))
    }

    /// Attributes of users, in which overlays note what is gone.
    fn attributes(&self) -> io::Result<()> {
        let file = self.file("attribute", "x")?;
        xattr::set(file.as_fd(), c"user.pyxis.doctor", b"y")
    }

    /// Permissions are kept, and others than the owner have none.
    fn modes(&self) -> io::Result<()> {
        let file = self.file("mode", "x")?;
        file.set_permissions(Permissions::from_mode(0o640))?;
        let data = fs::metadata(self.0.join("mode"))?;
        match (data.mode() & 0o7777, data.uid() == geteuid().as_raw()) {
            (0o640, true) => Ok(()),
            (mode, true) => Err(io::Error::other(format!("mode 640 was set, {mode:o} is read"))),
            (_, false) => {
                Err(io::Error::other(format!("what is made belongs to uid {}", data.uid())))
            }
        }
    }

    /// Names are bytes: long ones, and two that differ by case.
    fn names(&self) -> io::Result<()> {
        self.file(&"n".repeat(255), "x")?;
        self.file("case", "lower")?;
        self.file("CASE", "upper").map(drop)
    }
}

/// One thing that is assumed.
struct Check {
    name: &'static str,
    attempt: fn(&Place) -> io::Result<()>,
    fine: &'static str,
    /// What happens without.
    instead: &'static str,
    has_substitute: bool,
    mend: &'static str,
}

/// In the order of docs/filesystems.md.
const CHECKS: [Check; 10] = [
    Check {
        name: "store-rename",
        attempt: Place::renames,
        fine: "a file is replaced at once, and read on by who has it open",
        instead: "files cannot be replaced at once: two nodes that want one image disturb each other",
        has_substitute: false,
        mend: ELSEWHERE,
    },
    Check {
        name: "store-link",
        attempt: Place::links,
        fine: "hard links",
        instead: "no hard links: of two nodes that want one image neither knows of the other, so nothing is fetched",
        has_substitute: false,
        mend: ELSEWHERE,
    },
    Check {
        name: "store-mode",
        attempt: Place::modes,
        fine: "owners and permissions are kept",
        instead: "owners or permissions are not kept: private images could be read by others",
        has_substitute: false,
        mend: ELSEWHERE,
    },
    Check {
        name: "store-name",
        attempt: Place::names,
        fine: "names are bytes, up to 255 of them",
        instead: "not all names of files can be had: containers kept here lack files",
        has_substitute: false,
        mend: ELSEWHERE,
    },
    Check {
        name: "store-time",
        attempt: Place::times,
        fine: "times that are set are read back",
        instead: "times cannot be set: an image that has not changed is taken for another one",
        has_substitute: false,
        mend: ELSEWHERE,
    },
    Check {
        name: "store-clock",
        attempt: Place::clock,
        fine: "its clock is this node's",
        instead: "clocks differ: what another node is fetching may look abandoned, and is fetched twice",
        has_substitute: true,
        mend: "have the same time on both: timedatectl set-ntp true",
    },
    Check {
        name: "store-lock",
        attempt: Place::locks,
        fine: "locks of whole files (flock)",
        instead: "no locks: `pyxis gc` knows what is in use by notes alone, which are minutes old, and two starts may make one named container twice",
        has_substitute: true,
        mend: "mount it with locks: flock for Lustre, local_lock=none for NFS",
    },
    Check {
        name: "store-exclusive-rename",
        attempt: Place::exclusive_renames,
        fine: "a name is given once (RENAME_NOREPLACE)",
        instead: "a name cannot be given once: it is looked at before instead",
        has_substitute: true,
        mend: "nothing, if one node at a time makes containers here; else another file system for data in [paths]",
    },
    Check {
        name: "store-unnamed",
        attempt: Place::unnamed,
        fine: "files without a name (O_TMPFILE)",
        instead: "no files without a name: what a killed fetch leaves is removed by `pyxis gc` only",
        has_substitute: true,
        mend: "nothing, if `pyxis gc` runs now and then",
    },
    Check {
        name: "store-attribute",
        attempt: Place::attributes,
        fine: "attributes of users (user.*)",
        instead: "no attributes of users: fine for a store; named containers kept here are whole copies of their image, and layers cannot be here",
        has_substitute: true,
        mend: "nothing, for a store; else set data, and layers, in [paths] of pyxis.toml to a directory on a local disk",
    },
];
