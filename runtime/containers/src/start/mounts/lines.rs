//! Carrying out mount lines inside the container.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use hygiene::console;
use linux::file_error::FileError;
use linux::path::normalized;
use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use nix::sys::stat::Mode;
use nix::unistd::{chdir, fchdir};

use crate::fstab::{Create, Entry, FstabError};
use crate::start::error::StartError;
use crate::start::files;
use crate::start::mounts::change::{self, is_directory};
use crate::start::roots::{ContainerRoot, Roots};

/// Carries out one mount line; a failure that the line calls unimportant is passed over.
pub(in crate::start) fn apply(roots: &mut Roots, entry: &Entry) -> Result<(), StartError> {
    unless_nofail(entry, apply_strictly(roots, entry))
}

/// The result of a mount line, unless it is unimportant.
pub(in crate::start) fn unless_nofail(
    entry: &Entry,
    result: Result<(), StartError>,
) -> Result<(), StartError> {
    if !entry.ignored.is_empty() && !entry.silent {
        let (source, words) = (entry.source.to_string_lossy(), entry.ignored.join(","));
        console::tell(format_args!(
            "pyxis: mount of {source}: ignored, for it means nothing to a bind mount: {words}"
        ));
    }
    match result {
        Err(error) if entry.nofail => {
            if !entry.silent {
                console::tell(format_args!("pyxis: {error}"));
            }
            Ok(())
        }
        result => result,
    }
}

/// Carries out one mount line.
pub(in crate::start) fn apply_strictly(roots: &mut Roots, entry: &Entry) -> Result<(), StartError> {
    let target = target_of(entry)?;
    if entry.detach {
        return detach(roots, &target);
    }
    if entry.squashfs {
        // Whoever serves it was forked before there was a container.
        return Err(FstabError {
            line: entry.source.to_string_lossy().into_owned(),
            problem: "squashfs files are mounted by --container-mounts and --mount alone",
        }
        .into());
    }
    let source = open_source(roots, entry)?;
    let root = roots.container()?;
    let there = open_target(&root, entry, source.as_ref(), &target)?;
    let failed = |errno| failed(entry, &target, errno);
    if source.is_none() && !entry.is_new() {
        let kept = roots.kept_mount(&target);
        return change::change(entry, kept.unwrap_or(there.as_fd()), &target).map_err(failed);
    }
    let mount = change::mount(entry, source.as_ref(), &there, &target).map_err(failed)?;
    if let Some(mount) = mount {
        roots.keep_mount(target, mount);
    }
    Ok(())
}

/// Takes off what is mounted at `target`.
fn detach(roots: &mut Roots, target: &Path) -> Result<(), StartError> {
    roots.container()?;
    let failed = |errno| StartError::mount("nothing (unmount)", &target.to_string_lossy(), errno);
    let there = files::open_path(target)
        .map_err(|error| FileError::new("unmount what is at", target, error))?;
    let mount = roots.kept_mount(target).unwrap_or(there.as_fd());
    let detached = match is_directory(mount) {
        true => fchdir(mount).and_then(|()| umount2(".", MntFlags::MNT_DETACH)),
        false => umount2(target, MntFlags::MNT_DETACH),
    };
    detached.and_then(|()| chdir("/")).map_err(failed)?;
    roots.forget_mount(target);
    Ok(())
}

/// What is to be bound, if anything is.
fn open_source(roots: &mut Roots, entry: &Entry) -> Result<Option<OwnedFd>, StartError> {
    if !entry.is_bind() {
        return Ok(None);
    }
    let path = PathBuf::from(&entry.source);
    let opened = match entry.inside {
        true => {
            roots.container()?;
            files::open_path(&path)
        }
        false => roots.open_on_host(&path),
    };
    opened.map(Some).map_err(|source| StartError::Source(FileError::new("mount", path, source)))
}

/// Of a target.
fn check_target_path(path: &Path) -> Result<(), StartError> {
    files::refuse_magic_links(path)
        .map_err(|error| FileError::new("mount something at", path, error).into())
}

/// Opens a target; what the entry says is made if there is nothing. From then on it does not matter where its path leads.
pub(in crate::start) fn open_target(
    root: &ContainerRoot<'_>,
    entry: &Entry,
    source: Option<&OwnedFd>,
    target: &Path,
) -> Result<OwnedFd, StartError> {
    let opened = match files::open_path(target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && entry.create.is_some() => {
            create_target(root, entry, source, target)?;
            files::open_path(target)
        }
        opened => opened,
    };
    opened.map_err(|error| match error.raw_os_error().map(Errno::from_raw) {
        // What cannot be read is the image's fault, not the mount's.
        None | Some(Errno::EIO) => FileError::new("mount something at", target, error).into(),
        Some(errno) => failed(entry, target, errno),
    })
}

fn failed(entry: &Entry, target: &Path, errno: Errno) -> StartError {
    StartError::mount(entry.source.to_string_lossy(), &target.to_string_lossy(), errno)
}

/// Where something is to be mounted. By its text alone, as container engines have it: what is before a `..` need not
/// be there.
pub(in crate::start) fn target_of(entry: &Entry) -> Result<PathBuf, StartError> {
    let target = Path::new("/").join(&entry.target);
    if leaves_root(&target) {
        let shown = entry.target.to_string_lossy();
        return Err(StartError::mount(entry.source.to_string_lossy(), &shown, Errno::EXDEV));
    }
    let climbs = target.components().any(|part| part == Component::ParentDir);
    // A "/" at the end is no part of it: a file may be mounted there, too.
    let target = if climbs { normalized(&target) } else { target.components().collect() };
    if target.parent().is_none() && (entry.is_bind() || entry.is_new() || entry.squashfs) {
        return Err(FstabError {
            line: entry.source.to_string_lossy().into_owned(),
            problem: "it would cover the container's root: mount it at a directory below",
        }
        .into());
    }
    Ok(target)
}

/// Whether a path has more `..` than parts for them: a mistake, though nothing could come of it.
pub(in crate::start) fn leaves_root(path: &Path) -> bool {
    let mut depth = 0;
    path.components().any(|part| {
        depth += match part {
            Component::ParentDir => -1,
            Component::Normal(_) => 1,
            _ => 0,
        };
        depth < 0
    })
}

/// Mode of what is made for a mount only: `export` leaves it out again, as enroot's does.
const MOUNT_POINT: u32 = 0o000;

fn create_target(
    _: &ContainerRoot<'_>,
    entry: &Entry,
    source: Option<&OwnedFd>,
    target: &Path,
) -> Result<(), StartError> {
    let directory = match entry.create {
        None => return Ok(()),
        Some(Create::Directory) => true,
        Some(Create::File) => false,
        Some(Create::LikeSource) => source.is_none_or(|source| is_directory(source.as_fd())),
    };
    check_target_path(target)?;
    if fs::metadata(target).is_ok() {
        return Ok(());
    }
    if let Some(parent) = target.parent() {
        create_directory(parent)?;
    }
    if directory && fs::symlink_metadata(target).is_err() {
        match files::create_directory(target, Mode::from_bits_truncate(MOUNT_POINT)) {
            // By another start in the same directory, on another node perhaps.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map_err(|error| FileError::new("create", target, error).into()),
        }
    }
    if directory {
        return create_directory(target);
    }
    files::create(target, Mode::from_bits_truncate(MOUNT_POINT))
        .map_err(|error| FileError::new("create", target, error).into())
}

/// `mkdir -p` that also makes what a dangling symbolic link points to (as `/var/run` does in
/// images whose `/run` is empty).
fn create_directory(path: &Path) -> Result<(), StartError> {
    create_directory_below(path, 16).map_err(|error| FileError::new("create", path, error).into())
}

fn create_directory_below(path: &Path, links: u32) -> io::Result<()> {
    files::refuse_magic_links(path)?;
    if fs::metadata(path).is_ok_and(|metadata| metadata.is_dir()) {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        create_directory_below(parent, links)?;
    }
    match files::create_directory(path, Mode::from_bits_truncate(0o777)) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && links > 0 => {
            // Another start has made it meanwhile, or it is a link.
            if fs::metadata(path).is_ok_and(|metadata| metadata.is_dir()) {
                return Ok(());
            }
            let link = fs::read_link(path).map_err(|_| error)?;
            let parent = path.parent().unwrap_or(Path::new("/"));
            create_directory_below(&parent.join(link), links - 1)
        }
        result => result,
    }
}

/// The mount line of the user's home directory.
pub(in crate::start) fn home_entry(home: &Path, inside: &Path) -> Result<Entry, StartError> {
    let mut line = crate::fstab::escape(home.as_os_str());
    line.push(" ");
    line.push(crate::fstab::escape(inside.as_os_str()));
    line.push(" none x-create=dir,bind,rw,nosuid");
    Ok(Entry::parse(&line)?.expect("a line with fields"))
}

/// Reads mount lines, one a line.
pub(in crate::start) fn parse_lines(text: &OsStr) -> Result<Vec<Entry>, StartError> {
    read_lines(text, Entry::parse)
}

/// As [`parse_lines`], of hooks of a site's.
pub(in crate::start) fn parse_lines_of_hooks(text: &OsStr) -> Result<Vec<Entry>, StartError> {
    read_lines(text, Entry::parse_of_site)
}

fn read_lines(
    text: &OsStr,
    read: impl Fn(&OsStr) -> Result<Option<Entry>, FstabError>,
) -> Result<Vec<Entry>, StartError> {
    use std::os::unix::ffi::OsStrExt;
    text.as_bytes()
        .split(|byte| *byte == b'\n')
        .filter_map(|line| read(OsStr::from_bytes(line)).transpose())
        .map(|entry| entry.map_err(StartError::from))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_where_its_text_leads() {
        let target = |line: &str| {
            let entry = Entry::parse(OsStr::new(line)).unwrap().unwrap();
            target_of(&entry).map_err(|error| error.to_string())
        };
        for (line, want) in [
            ("/a /x/../y bind", "/y"),
            ("/a x/y/../../z/ bind", "/z"),
            ("/a /x/./y bind", "/x/./y"),
            ("none / none bind,remount,ro", "/"),
            ("none / none rprivate,remount", "/"),
        ] {
            assert_eq!(target(line).as_deref(), Ok(Path::new(want)), "{line}");
        }
        for line in ["/a / bind", "/a /x/.. rbind", "tmpfs / tmpfs", "/a . bind", "/a.sqsh / sqsh"]
        {
            let error = target(line).unwrap_err();
            assert!(error.contains("it would cover the container's root"), "{line}: {error}");
        }
        assert!(target("/a /x/../../y bind").is_err());
    }

    #[test]
    fn targets_above_the_root_are_found() {
        for (path, leaves) in
            [("/../home", true), ("/a/../../b", true), ("/a/../b/.", false), ("/", false)]
        {
            assert_eq!(leaves_root(Path::new(path)), leaves, "{path}");
        }
    }
}
