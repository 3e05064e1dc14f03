//! Places that a container's start writes to, and files that say how: `runtime_path`, pyxis.toml,
//! and copies of spank.h that a build would take for the installed Slurm's.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use handover::nodes::network;
use linux::bounded::CONFIGURATION;
use linux::environ::Environ;
use nix::sys::statfs::statfs;
use nix::sys::statvfs::{FsFlags, statvfs};
use slurm_releases::header::{release_name, version_number};

use super::lines::PyxisLine;
use super::report::Report;
use super::slurm::Slurm;
use crate::owner::{self, Unread, Untrusted};
use crate::settings::{FILE, Settings, Shell, User, variables};
use crate::shell::quoted;

/// Less than this is not enough for an image that is imported.
const LITTLE: u64 = 64 << 20;

/// What root does without a `runtime_path` that is root's alone (plugin/src/root/runtime_dir.rs).
const INSTEAD: &str = "root uses a directory of its own, pyxis-root, below it where only root can move that, else in /run";

/// `runtime_path`, of the first line that is ours.
pub(super) fn runtime_path(lines: &[PyxisLine], live: bool, report: &mut Report) {
    let line = lines.iter().find(|line| line.ours());
    let path = line.and_then(|line| line.line.argument("runtime_path")).unwrap_or("/run/pyxis");
    let path = Path::new(path);
    let parent = path.parent().unwrap_or(Path::new("/"));
    // Looked at before it is asked anything: a user's server would not have to answer.
    let faults = owner::faults(path);
    if let Some(why) = faults.iter().find(|why| !matches!(why, Untrusted::Unseen { .. })) {
        report.warning("runtime-path", format!("runtime_path: {why}; {INSTEAD}"), why.mend());
        return;
    }
    match fs::symlink_metadata(path) {
        Ok(status) if !status.is_dir() => {
            report.warning(
                "runtime-path",
                format!("runtime_path {} is no directory; {INSTEAD}", path.display()),
                format!("rm {} (slurmd makes the directory)", quoted(path)),
            );
            return;
        }
        Ok(status) if status.mode() & 0o001 == 0 => {
            report.warning(
                "runtime-path",
                format!("runtime_path {}: users cannot enter it; {INSTEAD}", path.display()),
                format!("chmod a+x {}", quoted(path)),
            );
            return;
        }
        Ok(_) => {}
        // slurmd makes the last component only.
        Err(_) if live && !parent.is_dir() => {
            report.warning(
                "runtime-path",
                format!(
                    "runtime_path {}: {} does not exist; {INSTEAD}",
                    path.display(),
                    parent.display()
                ),
                format!("install -d -m 755 {}", quoted(parent)),
            );
            return;
        }
        Err(_) => {}
    }
    if live {
        let place = if path.is_dir() { path } else { parent };
        space(place, report);
    }
    report.ok("runtime-path", format!("runtime_path is {}", path.display()));
}

fn space(path: &Path, report: &mut Report) {
    let Ok(status) = statvfs(path) else { return };
    let free = status.blocks_available() * status.fragment_size();
    if status.flags().contains(FsFlags::ST_RDONLY) {
        report.error(
            "space",
            format!("{} is on a file system that is mounted read-only", path.display()),
            format!("mount -o remount,rw {}", quoted(path)),
        );
    } else if status.files() > 0 && status.files_available() == 0 {
        report.error(
            "space",
            format!("no inodes are free at {}", path.display()),
            format!("df -i {}", quoted(path)),
        );
    } else if free < LITTLE {
        report.warning(
            "space",
            format!("only {} MiB are free at {}", free >> 20, path.display()),
            format!("du -xsh {}/* (or give runtime_path=DIR in plugstack.conf)", quoted(path)),
        );
    } else {
        report.ok("space", format!("{} MiB are free at {}", free >> 20, path.display()));
    }
}

/// pyxis.toml: its errors end every command.
#[expect(clippy::disallowed_methods, reason = "the doctor looks where Slurm would")]
pub(super) fn settings(live: bool, report: &mut Report) {
    let mut environ: Environ = std::env::vars_os().collect();
    let named = environ.get(OsStr::new(variables::CONFIG)).filter(|path| !path.is_empty());
    let path = PathBuf::from(named.map_or(OsStr::new(FILE), |path| path));
    let faults = owner::faults(&path);
    if let Some(why) = faults.iter().find(|why| !matches!(why, Untrusted::Unseen { .. })) {
        report.error("settings", format!("{why}; every user's containers obey it"), why.mend());
        return;
    }
    if !live {
        environ.insert(variables::HOME.into(), "/root".into());
    }
    let mut user = User::caller(&environ);
    if !live {
        // The image's own libraries would be asked for names.
        user.name = |uid| uid.to_string();
    }
    let shell = if live { Shell::Run } else { Shell::Never };
    match Settings::load(environ, &user, shell) {
        Err(error) => {
            report.error("settings", error.to_string(), "pyxis config, until it prints no error")
        }
        Ok(Settings { file: None, .. }) => report.ok("settings", "no pyxis.toml: defaults hold"),
        Ok(Settings { file: Some(path), .. }) => {
            if fs::metadata(&path).is_ok_and(|status| status.mode() & 0o004 == 0) {
                report.error(
                    "settings",
                    format!(
                        "{} cannot be read by users: their containers do not start",
                        path.display()
                    ),
                    format!("chmod a+r {}", quoted(&path)),
                );
            } else {
                report.ok("settings", format!("{} is understood", path.display()));
            }
        }
    }
}

/// Where named containers are, or will be: of what is not there yet, the directory above.
pub(super) fn containers(path: &Path, report: &mut Report) {
    // Nothing is asked of a user's server, which would not have to answer.
    let there = path.ancestors().find_map(owner::real);
    let kind = there.and_then(|there| statfs(&there).ok()).map(|is| is.filesystem_type().0);
    match kind.and_then(network) {
        Some(kind) => report.warning(
            "containers-network",
            format!(
                "named containers are in {}, on {kind}, which keeps no changes as a layer: each is \
                 unpacked there",
                path.display()
            ),
            "install -d -m 1777 /var/lib/enroot, on a local disk, and set data in [paths] of pyxis.toml to '/var/lib/enroot/%u'",
        ),
        None => report.ok("containers", format!("named containers are in {}", path.display())),
    }
}

/// Whether the files that [`version_number`] reads can be read, and by root believed.
fn is_header(header: &Path) -> bool {
    let readable = |name: &str| match owner::read(&header.with_file_name(name), CONFIGURATION) {
        Ok(_) => true,
        Err(Unread::File(error)) => error.kind() == io::ErrorKind::NotFound,
        Err(Unread::Untrusted(_)) => false,
    };
    owner::real(header).is_some() && readable("slurm_version.h") && readable("slurm.h")
}

/// Headers that a `make` on this node would find.
pub(super) fn headers(slurms: &[Slurm], report: &mut Report) {
    let prefixes =
        slurms.iter().flat_map(Slurm::prefixes).chain(["/usr", "/usr/local"].map(PathBuf::from));
    let mut prefixes: Vec<PathBuf> = prefixes.collect();
    prefixes.sort();
    prefixes.dedup();
    for prefix in prefixes {
        let include = prefix.join("include");
        let header = include.join("slurm/spank.h");
        let Some(number) = is_header(&header).then(|| version_number(&include)).flatten() else {
            continue;
        };
        // That of the Slurm in the same prefix; else any will do.
        let own: Vec<&Slurm> =
            slurms.iter().filter(|slurm| slurm.prefixes().any(|p| p == prefix)).collect();
        let of = if own.is_empty() { slurms.iter().collect() } else { own };
        match of.first() {
            Some(slurm) if !of.iter().any(|slurm| slurm.number >> 8 == number >> 8) => report
                .warning(
                    "header-other",
                    format!(
                        "{} is Slurm {}'s, installed is {}: `make` would build for the wrong one",
                        header.display(),
                        release_name(number),
                        slurm.version()
                    ),
                    format!(
                        "make SLURM={}, or install the headers of that release",
                        slurm.release_name()
                    ),
                ),
            Some(_) => report
                .ok("header", format!("{} is Slurm {}'s", header.display(), release_name(number))),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_on_a_local_disk_are_fine_also_where_there_are_none_yet() {
        let mut report = Report::default();
        containers(Path::new("/tmp/absent/enroot"), &mut report);
        assert!(!report.has("containers-network"));
        assert_eq!(report.count(super::super::Level::Ok), 1);
    }
}
