//! What every container gets in its root filesystem, put into the layer above the image before the
//! overlay is mounted. Through the overlay the same takes three times as many requests to the
//! image's server, each as long as a dozen system calls.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use nix::sys::stat::{FileStat, Mode, SFlag, lstat};
use nix::unistd::mkdir;

use super::configure::{Host, ImageFiles};
use super::identity::Identity;
use super::roots::Roots;
use super::{StartError, account, sys, system};

/// What has been read of the image and written above it.
pub(super) struct Early {
    pub(super) image: ImageFiles,
    /// Whether the user's account is in the container's files.
    pub(super) account: bool,
}

/// In which every start makes something: the overlay would copy them from the image.
const DIRECTORIES: [&str; 2] = ["etc", "var"];
/// Covered by a mount in every container, whatever an image has there.
const COVERED: [&str; 3] = ["proc", "sys", "dev"];
/// Covered where it is a directory, or nothing yet.
const COVERED_DIRECTORIES: [&str; 3] = ["tmp", "var/run", "var/lock"];
/// Links on the way to nearly every library. FUSE asks for their contents each time.
const LINKS: [&str; 2] = ["lib", "lib64"];

/// Makes the directories of an image in which every start makes something. What cannot be made
/// here the overlay makes then. Returns those that are directories of the image.
pub(super) fn begin_directories(upper: &Path) -> Vec<&'static str> {
    let begun = DIRECTORIES.into_iter().filter(|directory| {
        let Ok(found) = lstat(&Path::new("/lower").join(directory)) else { return false };
        let made = upper.join(directory);
        if is_directory(&found) && mkdir(&made, Mode::S_IRWXU).is_ok() {
            let _ = fs::set_permissions(&made, fs::Permissions::from_mode(found.st_mode & 0o7777));
        }
        is_directory(&found)
    });
    begun.collect()
}

fn is_directory(stat: &FileStat) -> bool {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR
}

/// Fills an empty layer, which nobody else sees, at `upper` of the stage.
pub(super) fn fill(
    roots: &Roots,
    upper: &Path,
    identity: &Identity,
    host: &Host,
) -> Result<Early, StartError> {
    let begun = roots.stage(|| {
        let begun = begin_directories(upper);
        COVERED.iter().for_each(|directory| cover(upper, directory));
        for directory in COVERED_DIRECTORIES {
            let parent = Path::new(directory).parent().unwrap_or(Path::new(""));
            let ours =
                parent.as_os_str().is_empty() || begun.iter().any(|have| parent == Path::new(have));
            let found = lstat(&Path::new("/lower").join(directory));
            let free = found.map_or_else(|errno| errno == nix::Error::ENOENT, |s| is_directory(&s));
            if ours && free {
                cover(upper, directory);
            }
        }
        for link in LINKS {
            if let Ok(target) = fs::read_link(Path::new("/lower").join(link)) {
                let _ = symlink(target, upper.join(link));
            }
        }
        begun
    })?;
    let (image, files) =
        roots.lower(|| (ImageFiles::read(), account::files(identity, &host.account)))?;
    let account = begun.contains(&"etc");
    if account {
        roots.stage(|| fill_etc(&upper.join("etc"), files, host))?;
    }
    Ok(Early { image, account })
}

/// Makes a directory that hides what the image has there.
fn cover(upper: &Path, directory: &str) {
    let path = upper.join(directory);
    if mkdir(&path, Mode::from_bits_truncate(0o755)).is_ok() {
        // tmpfs has no such attributes before Linux 6.6; the image is then asked.
        let _ = sys::mark_opaque(&path);
    }
}

fn fill_etc(etc: &Path, files: account::Files, host: &Host) {
    for (name, text) in files {
        let path = etc.join(name);
        let made = || -> io::Result<()> {
            fs::write(&path, text)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644))
        };
        if made().is_err() {
            let _ = fs::remove_file(&path);
        }
    }
    // To be bound onto.
    for name in system::host_files().filter(|name| host.files.contains(name)) {
        let path = etc.join(name);
        if fs::write(&path, "").is_ok() {
            let _ = fs::set_permissions(&path, fs::Permissions::from_mode(0o000));
        }
    }
    if let Some(timezone) = &host.timezone {
        let _ = symlink(timezone.link(), etc.join("localtime"));
    }
}
