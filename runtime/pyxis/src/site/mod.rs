//! What a site and a user have in enroot's folders: mounts.d, environ.d and hooks.d.
//!
//! Nothing is taken from there that somebody else could have written: a file counts if it, and every
//! directory and link on the way to it, are root's or the caller's ([`configured`]). What enroot comes with is known by
//! its text ([`known`]) and is done without it.

mod known;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use containers::start::{Site, SiteFile, Standard};
use hygiene::console;
use hygiene::text::plain_lines;
use linux::bounded;
use linux::file_error::FileError;
use nix::unistd::{AccessFlags, Gid, Group, Uid, User, access, getegid, geteuid};

use crate::as_enroot;
use crate::owner::{Untrusted, configured};
use crate::settings::Settings;
use known::Kind;

/// The first of enroot's hooks for devices.
const DEVICES: &str = NVIDIA;
const NVIDIA: &str = "98-nvidia.sh";
const MELLANOX: &str = "99-mellanox.sh";
/// What `pyxis-enroot` puts beside hooks for devices of its own.
const NOTE: &str = "README";

/// Finds what is added to every container.
///
/// # Errors
/// [`FileError`] of a file that cannot be read.
pub fn find(settings: &Settings) -> Result<Site, FileError> {
    let folders = &settings.folders;
    let (runtime, is_said) = &settings.paths.runtime;
    let mut found = SiteFolders::new(known::FILES, folders.user.as_deref());
    found.needed = needed(settings);
    let mounts = found.lists(&folders.mounts, Kind::Mounts)?;
    let environ = found.lists(&folders.environ, Kind::Environ)?;
    let hooks = found.hooks(&folders.hooks);
    found.own.retain(|own| !found.known.contains(own));
    Ok(Site {
        mounts,
        environ,
        before_devices: found.before_devices(&hooks),
        hooks,
        replaced: found.own,
        taken_away: found.taken_away,
        variables: as_enroot::for_hooks(settings),
        library: folders.library.clone(),
        runtime: runtime.clone(),
        runtime_is_wanted: *is_said,
        runtime_is_closed: false,
    })
}

/// Makes the directory where hooks see containers, if they are known to run, and notes whether others can move it away. In the
/// container's user namespace nobody can tell whose a directory is.
pub fn look_at_runtime(site: &mut Site, is_needed: bool) {
    if is_needed {
        // What fails is said by who needs it.
        let _ = fs::DirBuilder::new().recursive(true).mode(0o700).create(&site.runtime);
    }
    let Ok(real) = fs::canonicalize(&site.runtime) else { return };
    // It is covered, whoever may write to it; what counts is the way there.
    let is_harmless = |fault: &Untrusted| match fault {
        Untrusted::Writable { path, .. } if *path == real => true,
        fault => is_of_own_group(fault),
    };
    site.runtime_is_closed = configured(&site.runtime).iter().all(is_harmless);
}

/// Hooks of enroot's that would do something for this step: what they do is not done otherwise.
fn needed(settings: &Settings) -> Vec<&'static str> {
    let value = |name: &str| settings.host.get(OsStr::new(name));
    let mut needed = Vec::new();
    if value("SLURM_NETWORK").is_some_and(|network| network == "sharp") {
        needed.push("50-sharp.sh");
    }
    let hidden =
        value("NVIDIA_VISIBLE_DEVICES").is_some_and(|gpus| gpus == "void" || gpus == "none");
    if !hidden && settings.devices.root.join("proc/driver/nvidia/version").exists() {
        needed.push("50-mig-config.sh");
    }
    needed
}

/// What a site has in enroot's folders, sorted into what is run and what is known.
struct SiteFolders<'a> {
    /// What enroot comes with.
    table: &'a str,
    /// Those of its hooks that are run all the same.
    needed: Vec<&'static str>,
    /// The user's folder, whose files replace nothing of the site's.
    user: Option<&'a Path>,
    /// Files that enroot comes with.
    known: Vec<Standard>,
    /// Other files under the names of such.
    own: Vec<Standard>,
    /// The site's folders have hooks that enroot or `pyxis-enroot` has put there.
    has_enroots_hooks: bool,
    /// Such as were there and are no more.
    taken_away: Vec<Standard>,
}

impl<'a> SiteFolders<'a> {
    fn new(table: &'a str, user: Option<&'a Path>) -> SiteFolders<'a> {
        SiteFolders {
            table,
            needed: Vec::new(),
            user,
            known: Vec::new(),
            own: Vec::new(),
            has_enroots_hooks: false,
            taken_away: Vec::new(),
        }
    }

    /// Mount lists or lists of variables, without those that say what is done anyway.
    fn lists(&mut self, folders: &[PathBuf], kind: Kind) -> Result<Vec<SiteFile>, FileError> {
        let suffix: &[u8] = if kind == Kind::Mounts { b".fstab" } else { b".env" };
        let mut lists = Vec::new();
        let is_list = |name: &[u8]| name.ends_with(suffix);
        for path in folders.iter().flat_map(|folder| files(folder, is_list)) {
            let text = bounded::read(&path, bounded::CONFIGURATION);
            let text = text.map_err(|source| FileError::new("read", &path, source))?;
            if self.known_name(kind, &path, Some(&text)).is_none() {
                let text = plain_lines(&text).into_owned();
                lists.push(SiteFile { path, text });
            }
        }
        Ok(lists)
    }

    /// Hooks that are to be run.
    fn hooks(&mut self, folders: &[PathBuf]) -> Vec<PathBuf> {
        let all = folders.iter().flat_map(|folder| files(folder, is_of_hooks));
        let (mut hooks, others): (Vec<PathBuf>, Vec<PathBuf>) = all.partition(|path| {
            path.extension().is_some_and(|extension| extension == "sh") && is_executable(path)
        });
        hooks.retain(|path| {
            // One that is not to be read is none of enroot's.
            let text = bounded::read(path, bounded::CONFIGURATION).ok();
            let known = self.known_name(Kind::Hooks, path, text.as_deref());
            known.is_none_or(|name| self.needed.contains(&name))
        });
        self.find_taken_away(folders, &others);
        hooks
    }

    /// Finds which of enroot's hooks for devices the site has switched off: what else there is in the folders says that there was one.
    fn find_taken_away(&mut self, folders: &[PathBuf], others: &[PathBuf]) {
        for note in others.iter().filter(|path| path.ends_with(NOTE)) {
            let text = bounded::read(note, bounded::CONFIGURATION).ok();
            self.known_name(Kind::Hooks, note, text.as_deref());
        }
        for (name, standard) in [(NVIDIA, Standard::Nvidia), (MELLANOX, Standard::Mellanox)] {
            let mut of_site = folders.iter().filter(|folder| !self.is_of_user(folder));
            let is_there = of_site.any(|folder| is_executable(&folder.join(name)));
            let is_aside = others.iter().any(|path| !self.is_of_user(path) && is_aside(path, name));
            if (self.has_enroots_hooks || is_aside) && !is_there && !self.known.contains(&standard)
            {
                self.taken_away.push(standard);
            }
        }
    }

    fn is_of_user(&self, path: &Path) -> bool {
        self.user.is_some_and(|user| path.starts_with(user))
    }

    /// How many come before enroot's own hooks for devices: the user's come after all of the site's.
    fn before_devices(&self, hooks: &[PathBuf]) -> usize {
        let is_before = |path: &&PathBuf| {
            !self.is_of_user(path)
                && path.file_name().is_some_and(|name| name < OsStr::new(DEVICES))
        };
        hooks.iter().take_while(is_before).count()
    }

    /// The name of a file that enroot comes with.
    fn known_name(&mut self, kind: Kind, path: &Path, text: Option<&[u8]>) -> Option<&'a str> {
        let known = text.and_then(|text| known::name(self.table, kind, text));
        if let Some(name) = known {
            self.known.extend(Standard::named(name.as_ref()));
            // Those are copied, wherever they come from.
            let is_extra = kind != Kind::Hooks || name.starts_with("50-");
            self.has_enroots_hooks |= !is_extra && !self.is_of_user(path);
        } else if !self.is_of_user(path) {
            self.own.extend(path.file_name().and_then(Standard::named));
        }
        known
    }
}

/// Whether a file of this name is a hook, or says something of one.
fn is_of_hooks(name: &[u8]) -> bool {
    let begins = [NVIDIA, MELLANOX].iter().any(|hook| name.starts_with(hook.as_bytes()));
    name.ends_with(b".sh") || name == NOTE.as_bytes() || begins
}

/// Whether the hook of this name has been moved to `path`, or made no hook where it is: not by rpm, which does the first as well.
fn is_aside(path: &Path, hook: &str) -> bool {
    let name = path.file_name().unwrap_or_default();
    let by_rpm = path.extension().is_some_and(|extension| extension == "rpmsave");
    name.as_bytes().starts_with(hook.as_bytes()) && !by_rpm
}

fn is_executable(path: &Path) -> bool {
    access(path, AccessFlags::X_OK).is_ok()
}

/// The files of a folder that count, of names that are `wanted`, sorted by name, without hidden ones, as a shell lists them.
fn files(folder: &Path, wanted: impl Fn(&[u8]) -> bool) -> Vec<PathBuf> {
    // Most nodes have no such folder.
    if fs::metadata(folder).is_err() || !is_believed(folder) {
        return Vec::new();
    }
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name()).filter(|name| {
        let name = name.as_bytes();
        !name.starts_with(b".") && wanted(name)
    });
    let mut files: Vec<PathBuf> = names.map(|name| folder.join(name)).collect();
    files.sort();
    files.retain(|path| {
        let plain = fs::symlink_metadata(path).is_ok_and(|found| {
            let ours = [0, geteuid().as_raw()].contains(&found.uid());
            found.is_file() && ours && found.mode() & 0o022 == 0
        });
        (plain || is_believed(path)) && path.is_file()
    });
    files
}

/// Whether nobody but root and the caller can change what is there. If others can, a line says so.
fn is_believed(path: &Path) -> bool {
    let faults = configured(path);
    if let Some(Untrusted::Unseen { .. }) = faults.last() {
        return false;
    }
    let fault = faults.into_iter().find(|fault| !is_of_own_group(fault));
    if let Some(fault) = &fault {
        console::tell(format_args!("pyxis: {} is left out: {fault}", path.display()));
    }
    fault.is_none()
}

/// A user's own directory that the user's own group may write to, as distributions make them that give
/// each user a group.
fn is_of_own_group(fault: &Untrusted) -> bool {
    let Untrusted::Writable { path, mode } = fault else { return false };
    let (uid, gid) = (geteuid(), getegid());
    let ours = |found: fs::Metadata| (found.uid(), found.gid()) == (uid.as_raw(), gid.as_raw());
    mode & 0o002 == 0 && !uid.is_root() && fs::metadata(path).is_ok_and(ours) && is_alone(uid, gid)
}

/// Whether a group is this user's alone, by number or by name: a project's is not, though it may be the
/// first group of all its members.
fn is_alone(uid: Uid, gid: Gid) -> bool {
    let same_name = || {
        let user = User::from_uid(uid).ok().flatten()?;
        let group = Group::from_gid(gid).ok().flatten()?;
        Some(user.name == group.name && group.mem.iter().all(|member| *member == user.name))
    };
    uid.as_raw() == gid.as_raw() || same_name().unwrap_or(false)
}

#[cfg(test)]
mod tests;
