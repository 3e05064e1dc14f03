//! What every container gets in its root filesystem, put into the layer above the image before the
//! overlay is mounted. Through the overlay the same takes three times as many requests to the
//! image's server.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, SFlag};
use nix::unistd::mkdir;

use crate::HostSide;

use crate::start::environment::account;
use crate::start::environment::host_facts::HostFacts;
use crate::start::environment::site::Standard;
use crate::start::error::StartError;
use crate::start::mounts::system;
use crate::start::plan::Plan;
use crate::start::process::identity::Identity;
use crate::start::rootfs::image_files::ImageFiles;
use crate::start::rootfs::tree::Tree;
use crate::start::roots::{Roots, StageRoot};
use linux::xattr;

/// What has been read of the image and written above it.
pub(in crate::start) struct PrefilledUpper {
    pub(in crate::start) image: ImageFiles,
    /// Whether the user's account is in the container's files.
    pub(in crate::start) has_account: bool,
    /// As [`ImageProbe`] has it.
    pub(in crate::start) filled: Vec<&'static str>,
}

/// In which every start makes something: the overlay would copy them from the image.
const DIRECTORIES: [&str; 2] = ["etc", "var"];
/// Covered by a mount in every container, whatever an image has there.
const COVERED: [&str; 3] = ["proc", "sys", "dev"];
/// Covered where it is a directory, or nothing yet.
const COVERED_DIRECTORIES: [&str; 3] = ["tmp", "var/run", "var/lock"];
/// Links on the way to nearly every library. FUSE asks for their contents each time.
const LINKS: [&str; 2] = ["lib", "lib64"];

/// What an image has in the places where something is made above it.
pub(in crate::start) struct ImageProbe {
    directories: Vec<(&'static str, u32)>,
    covered: Vec<&'static str>,
    /// Where the image has files that are to be seen below mounts.
    filled: Vec<&'static str>,
    links: Vec<(&'static str, PathBuf)>,
    image: ImageFiles,
    accounts: account::AccountFiles,
}

impl ImageProbe {
    pub(in crate::start) fn of(tree: Tree<'_>, host: &HostSide, is_sif: bool) -> ImageProbe {
        let directories = directories(tree);
        let filled = system::filled(tree);
        let is_filled = |path: &str| filled.iter().any(|filled| filled[1..] == *path);
        // Where nothing hinders.
        let free = |path: &&str| {
            let parent = Path::new(path).parent().unwrap_or(Path::new(""));
            let ours = parent.as_os_str().is_empty()
                || directories.iter().any(|(have, _)| parent == Path::new(have));
            ours && !is_filled(path)
                && match tree.mode(&Path::new("/").join(path)) {
                    Ok(mode) => is_directory(mode),
                    Err(error) => error.kind() == io::ErrorKind::NotFound,
                }
        };
        let covered = COVERED.into_iter().chain(COVERED_DIRECTORIES.into_iter().filter(free));
        let covered = covered.collect();
        let links = LINKS.into_iter();
        ImageProbe {
            covered,
            links: links
                .filter_map(|link| Some((link, tree.link(&Path::new("/").join(link)).ok()?)))
                .collect(),
            image: ImageFiles::read(tree, is_sif),
            accounts: account::AccountFiles::of(tree, host),
            directories,
            filled,
        }
    }
}

/// Those of [`DIRECTORIES`] that are directories of the image, and their modes.
fn directories(tree: Tree<'_>) -> Vec<(&'static str, u32)> {
    let found = DIRECTORIES.into_iter().filter_map(|directory| {
        let mode = tree.mode(&Path::new("/").join(directory)).ok()?;
        is_directory(mode).then_some((directory, mode))
    });
    found.collect()
}

/// Makes the directories of an image in which every start makes something. What cannot be made
/// here the overlay makes then.
pub(in crate::start) fn begin_directories(
    roots: &mut Roots,
    upper: &Path,
) -> Result<(), StartError> {
    roots.image()?;
    let directories = directories(Tree::Root);
    make_directories(&roots.stage()?, upper, &directories);
    Ok(())
}

fn make_directories(_: &StageRoot<'_>, upper: &Path, directories: &[(&str, u32)]) {
    for (directory, mode) in directories {
        let made = upper.join(directory);
        if mkdir(&made, Mode::S_IRWXU).is_ok() {
            let _ = fs::set_permissions(&made, fs::Permissions::from_mode(mode & 0o7777));
        }
    }
}

fn is_directory(mode: u32) -> bool {
    SFlag::from_bits_truncate(mode) & SFlag::S_IFMT == SFlag::S_IFDIR
}

/// What goes into a new layer.
pub(in crate::start) struct Filling<'a> {
    /// Whether the image is that of a SIF file.
    pub(in crate::start) is_sif: bool,
    /// If the image has been looked at already.
    pub(in crate::start) probe: Option<ImageProbe>,
    pub(in crate::start) identity: &'a Identity,
    pub(in crate::start) plan: &'a Plan,
    pub(in crate::start) facts: &'a HostFacts,
}

impl Filling<'_> {
    /// Fills an empty layer, which nobody else sees, at `upper` of the stage.
    pub(in crate::start) fn fill(
        self,
        roots: &mut Roots,
        upper: &Path,
    ) -> Result<PrefilledUpper, StartError> {
        let probe = match self.probe {
            Some(probe) => probe,
            None => {
                roots.image()?;
                ImageProbe::of(Tree::Root, &self.plan.host, self.is_sif)
            }
        };
        let executable =
            |shell: &Path| roots.image().is_ok_and(|_| Tree::Root.is_executable(shell));
        let site = &self.plan.site;
        let accounts = match site.replaces(Standard::Shadow) {
            true => Vec::new(),
            false => account::files(probe.accounts, self.identity, &self.facts.account, executable),
        };
        let has_account = probe.directories.iter().any(|(directory, _)| *directory == "etc");
        let stage = roots.stage()?;
        make_directories(&stage, upper, &probe.directories);
        // What the image has in some of them shows where a site has said what is mounted.
        let ours =
            |directory: &&&str| COVERED.contains(*directory) || !site.replaces(Standard::System);
        probe.covered.iter().filter(ours).for_each(|directory| cover(upper, directory));
        for (link, target) in &probe.links {
            let _ = symlink(target, upper.join(link));
        }
        if has_account {
            fill_etc(&upper.join("etc"), accounts, self.facts);
        }
        Ok(PrefilledUpper { image: probe.image, has_account, filled: probe.filled })
    }
}

/// Makes a directory that hides what the image has there.
fn cover(upper: &Path, directory: &str) {
    let path = upper.join(directory);
    if mkdir(&path, Mode::from_bits_truncate(0o755)).is_ok() {
        // tmpfs has no such attributes before Linux 6.6; the image is then asked.
        let _ = xattr::mark_opaque(&path);
    }
}

fn fill_etc(etc: &Path, files: account::ChangedFiles, facts: &HostFacts) {
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
    for name in system::host_files().filter(|name| facts.files.contains(name)) {
        let path = etc.join(name);
        if fs::write(&path, "").is_ok() {
            let _ = fs::set_permissions(&path, fs::Permissions::from_mode(0o000));
        }
    }
    if let Some(timezone) = &facts.timezone {
        let _ = symlink(timezone.link(), etc.join("localtime"));
    }
}
