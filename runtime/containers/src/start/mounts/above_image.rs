//! File systems in memory where an image has files of its own, which are seen as with other engines: below `/tmp`,
//! `/var/run` and `/var/lock`. They are overlays above the image's directory; where nothing is in it, which is
//! nearly always so, a tmpfs does.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use hygiene::console;
use linux::detached;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, mount as mount_file_system, umount2};
use nix::sys::stat::{FileStat, Mode, fstat, stat};

use crate::fstab::Entry;
use crate::start::error::StartError;
use crate::start::mounts::change;
use crate::start::mounts::lines;
use crate::start::roots::{Roots, StageRoot};

/// Below a directory of the stage's: the image's directory, two parts of a layer, and what is made of them.
const PARTS: [&str; 4] = ["lower", "upper", "work", "whole"];

/// Mounts what `entry`, a line of a tmpfs, says, above what the image has there. Returns whether it is done. If it
/// is not, the image's files will be hidden, and that is said. `others`: some have been mounted before.
pub(in crate::start) fn mount(
    roots: &mut Roots,
    entry: &Entry,
    overlays: bool,
    others: bool,
) -> Result<bool, StartError> {
    let target = lines::target_of(entry)?;
    let there = lines::open_target(&roots.container()?, entry, None, &target)?;
    if !change::is_directory(there.as_fd()) {
        return Ok(false);
    }
    // Below another one of these it is in memory, and shows all that there is: /var/lock is in /run often.
    let device = |stat: nix::Result<FileStat>| stat.ok().map(|stat| stat.st_dev);
    if others && device(stat("/")) != device(fstat(&there)) {
        return Ok(true);
    }
    let made = match overlays {
        true => overlay(&roots.stage()?, entry, &there),
        false => Err(Errno::ENOTSUP),
    };
    if made.is_err() {
        let place = target.display();
        console::tell(format_args!(
            "pyxis: the image has files in {place}, which is a file system in memory here: they are not seen"
        ));
    }
    Ok(made.is_ok())
}

fn overlay(_: &StageRoot<'_>, entry: &Entry, there: &OwnedFd) -> nix::Result<()> {
    let name = entry.target.to_string_lossy().replace('/', "-");
    let base = format!("/filled{name}");
    let failed = |error: std::io::Error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
    let [lower, upper, work, whole] = PARTS.map(|part| format!("{base}/{part}"));
    for part in [&lower, &upper, &work, &whole] {
        fs::create_dir_all(part).map_err(failed)?;
    }
    // What is made is as accessible as the tmpfs would be.
    let mode = entry.data.split(',').find_map(|option| option.strip_prefix("mode="));
    let mode = mode.and_then(|mode| u32::from_str_radix(mode, 8).ok()).unwrap_or(0o755);
    fs::set_permissions(&upper, fs::Permissions::from_mode(mode)).map_err(failed)?;
    change::bind_directory(there, &lower, false).map_err(|_| Errno::EINVAL)?;
    let layers = format!("lowerdir={lower},upperdir={upper},workdir={work},userxattr");
    let source = Some("tmpfs");
    mount_file_system(source, whole.as_str(), Some("overlay"), entry.flags, Some(layers.as_str()))?;
    let mount = open(Path::new(&whole), OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    detached::attach(mount.as_fd(), there.as_fd())?;
    // The overlay has a mount of its own of what is below it.
    umount2(lower.as_str(), MntFlags::MNT_DETACH)
}
