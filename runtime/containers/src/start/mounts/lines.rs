//! Carrying out mount lines inside the container.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use hygiene::console;
use linux::file_error::FileError;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{chdir, fchdir};

use crate::fstab::{Create, Entry, FstabError};
use crate::start::error::StartError;
use crate::start::files;
use crate::start::roots::{ContainerRoot, Roots};
use linux::detached;

const NONE: Option<&str> = None;

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
    let target = Path::new("/").join(&entry.target);
    if leaves_root(&target) {
        let shown = entry.target.to_string_lossy();
        return Err(StartError::mount(entry.source.to_string_lossy(), &shown, Errno::EXDEV));
    }
    if entry.detach {
        roots.container()?;
        check_target_path(&target)?;
        return umount2(&target, MntFlags::MNT_DETACH).map_err(|errno| {
            StartError::mount("nothing (unmount)", &target.to_string_lossy(), errno)
        });
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
    prepare_target(&root, entry, source.as_ref(), &target)?;
    mount_entry(&root, entry, source.as_ref(), &target)
}

/// Makes the target, if that is asked for, and looks at the way to it.
pub(in crate::start) fn prepare_target(
    root: &ContainerRoot<'_>,
    entry: &Entry,
    source: Option<&OwnedFd>,
    target: &Path,
) -> Result<(), StartError> {
    create_target(root, entry, source, target)?;
    check_target_path(target)
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

/// Opens a target; what the entry says is made if there is nothing.
pub(in crate::start) fn open_target(
    root: &ContainerRoot<'_>,
    entry: &Entry,
    target: &Path,
) -> Result<OwnedFd, StartError> {
    let failed = |error| FileError::new("mount something at", target, error);
    match files::open_path(target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && entry.create.is_some() => {
            create_target(root, entry, None, target)?;
            Ok(files::open_path(target).map_err(failed)?)
        }
        opened => Ok(opened.map_err(failed)?),
    }
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
        Some(Create::LikeSource) => source.is_none_or(is_directory),
    };
    check_target_path(target)?;
    if fs::metadata(target).is_ok() {
        return Ok(());
    }
    if let Some(parent) = target.parent() {
        create_directory(parent)?;
    }
    if directory && fs::symlink_metadata(target).is_err() {
        return files::create_directory(target, Mode::from_bits_truncate(MOUNT_POINT))
            .map_err(|error| FileError::new("create", target, error).into());
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
            let link = fs::read_link(path).map_err(|_| error)?;
            let parent = path.parent().unwrap_or(Path::new("/"));
            create_directory_below(&parent.join(link), links - 1)
        }
        result => result,
    }
}

fn mount_entry(
    _: &ContainerRoot<'_>,
    entry: &Entry,
    source: Option<&OwnedFd>,
    target: &Path,
) -> Result<(), StartError> {
    let failed =
        |errno| StartError::mount(entry.source.to_string_lossy(), &target.to_string_lossy(), errno);
    let per_mount = entry.flags - MsFlags::MS_BIND - MsFlags::MS_REC;
    match source {
        Some(source) => {
            let flags = entry.flags & (MsFlags::MS_BIND | MsFlags::MS_REC);
            let recursive = bind(source, target, flags).map_err(failed)?;
            if !per_mount.is_empty() {
                restrict(target, per_mount, recursive).map_err(failed)?;
            }
        }
        None if entry.flags.contains(MsFlags::MS_REMOUNT) => {
            restrict(target, per_mount, false).map_err(failed)?;
        }
        None if entry.fstype == "none" => {}
        None => {
            let data = (!entry.data.is_empty()).then_some(entry.data.as_str());
            let (source, fstype) = (Some(entry.source.as_os_str()), Some(entry.fstype.as_str()));
            mount(source, target, fstype, entry.flags, data).map_err(failed)?;
        }
    }
    if !entry.propagation.is_empty() {
        mount(NONE, target, NONE, entry.propagation, NONE).map_err(failed)?;
    }
    Ok(())
}

/// Binds an opened path, whatever tree it is in, to `target` in the present root. A file is found by
/// that root's `/proc`. Returns whether what is mounted below came along: in a user namespace the kernel
/// has no directory without (`EINVAL`), since that would show what the mounts cover.
fn bind(source: &OwnedFd, target: &Path, flags: MsFlags) -> nix::Result<bool> {
    if is_directory(source) {
        fchdir(source)?;
        let bind = |flags| mount(Some("."), target, NONE, flags, NONE);
        let bound = match bind(flags) {
            Err(Errno::EINVAL) if !flags.contains(MsFlags::MS_REC) => {
                bind(flags | MsFlags::MS_REC).map(|()| true)
            }
            bound => bound.map(|()| flags.contains(MsFlags::MS_REC)),
        };
        chdir("/")?;
        return bound;
    }
    let path = format!("/proc/self/fd/{}", source.as_raw_fd());
    mount(Some(path.as_str()), target, NONE, flags, NONE).map(|()| false)
}

/// Binds an opened directory to a path of the present root.
pub(in crate::start) fn bind_directory(
    source: &OwnedFd,
    target: &str,
    recursive: bool,
) -> Result<(), StartError> {
    let mut flags = MsFlags::MS_BIND;
    flags.set(MsFlags::MS_REC, recursive);
    bind(source, Path::new(target), flags)
        .map(drop)
        .map_err(|errno| StartError::mount("a directory", target, errno))
}

/// Adds `flags` to a mount. In a user namespace the flags it has are locked and must be repeated.
fn restrict(target: &Path, flags: MsFlags, recursive: bool) -> nix::Result<()> {
    if recursive && flags.contains(MsFlags::MS_RDONLY) {
        // Without this, file systems mounted below a read-only source would stay writable.
        // Kernels before 5.12 cannot; there the top mount alone is read-only, as with enroot.
        let _ = detached::make_readonly_recursively(target);
    }
    let have = statvfs(target)?.flags();
    let mut all = flags | MsFlags::MS_REMOUNT | MsFlags::MS_BIND;
    for (has, flag) in [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_RDONLY, MsFlags::MS_RDONLY),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ] {
        all.set(flag, all.contains(flag) || have.contains(has));
    }
    mount(NONE, target, NONE, all, NONE)
}

/// Makes the mount at a path of the present root read-only, and those below, one by one.
pub(in crate::start) fn readonly_below(path: &Path) -> nix::Result<()> {
    let table = fs::read_to_string("/proc/self/mountinfo").map_err(|_| Errno::EIO)?;
    let targets = table.lines().filter_map(|line| line.split(' ').nth(4)).map(Path::new);
    // Where one cannot be reached, it is below another one.
    targets
        .filter(|target| target.starts_with(path))
        .map(|target| restrict(target, MsFlags::MS_RDONLY, false))
        .filter(|done| *done != Err(Errno::ENOENT))
        .collect()
}

/// Makes the container's root read-only.
pub(in crate::start) fn make_root_readonly(roots: &mut Roots) -> Result<(), StartError> {
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let stage = roots.stage()?;
    restrict(stage.tree(), flags, false)
        .map_err(|errno| StartError::mount("the root filesystem read-only", "/", errno))
}

fn is_directory(fd: &OwnedFd) -> bool {
    fstat(fd)
        .is_ok_and(|stat| SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR)
}

/// A path without `.` and `..`, by its text alone.
pub(in crate::start) fn normalized(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(out.pop()),
            Component::CurDir => {}
            part => out.push(part),
        }
    }
    out
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
    fn targets_above_the_root_are_found() {
        for (path, leaves) in
            [("/../home", true), ("/a/../../b", true), ("/a/../b/.", false), ("/", false)]
        {
            assert_eq!(leaves_root(Path::new(path)), leaves, "{path}");
        }
    }
}
