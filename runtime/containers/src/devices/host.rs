//! The node's tree, in which drivers are looked up: `/`, or a directory that tests have filled.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

/// Links that may follow one another.
const LINKS: u32 = 40;
/// More than any of the small files has.
const LARGEST: u64 = 1 << 20;

/// A tree. Its paths are absolute and lead, by whatever links, to nothing outside of it.
#[derive(Clone, Debug)]
pub struct Host {
    root: PathBuf,
}

impl Default for Host {
    fn default() -> Host {
        Host { root: "/".into() }
    }
}

impl Host {
    /// The tree below a directory.
    pub fn below(root: impl Into<PathBuf>) -> Host {
        Host { root: root.into() }
    }

    /// A file of the tree, if it is regular and has no more than `most` bytes.
    pub fn contents(&self, path: &str, most: u64) -> Option<Vec<u8>> {
        let bytes = self.bytes(path, most + 1)?;
        (bytes.len() as u64 <= most).then_some(bytes)
    }

    /// Names in a directory of the tree, in order; none if there is none.
    pub fn list(&self, directory: &str) -> Vec<String> {
        self.names(directory)
    }

    /// Where a path of the tree is for this process.
    pub(crate) fn outside(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The path without links, if there is something.
    pub(crate) fn resolve(&self, path: &str) -> Option<String> {
        let mut left: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut done = String::new();
        let mut links = LINKS;
        while let Some(part) = left.pop() {
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    done.truncate(done.rfind('/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            let whole = done.len();
            done.push('/');
            done.push_str(&part);
            // What is no link is what it is.
            if let Ok(target) = fs::read_link(self.outside(&done)) {
                links = links.checked_sub(1)?;
                let target = target.to_str()?;
                done.truncate(if target.starts_with('/') { 0 } else { whole });
                left.extend(target.split('/').rev().map(str::to_owned));
            }
        }
        let found = if done.is_empty() { "/".to_owned() } else { done };
        fs::symlink_metadata(self.outside(&found)).ok().map(|_| found)
    }

    /// Whether there is something, by whatever links.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.resolve(path).is_some()
    }

    /// Whether there is a symbolic link.
    pub(crate) fn is_link(&self, path: &str) -> bool {
        fs::symlink_metadata(self.outside(path)).is_ok_and(|found| found.is_symlink())
    }

    /// What a symbolic link says.
    pub(crate) fn link(&self, path: &str) -> Option<String> {
        fs::read_link(self.outside(path)).ok()?.into_os_string().into_string().ok()
    }

    /// Whether this process may use a device node, by its mode and by its device cgroup: access(2) asks
    /// both, and does not open it, which can wake a GPU up.
    pub(crate) fn may_use(&self, path: &str) -> bool {
        access(&self.outside(path), AccessFlags::R_OK | AccessFlags::W_OK).is_ok()
    }

    /// As [`Host::may_use`], for a node that is only read.
    pub(crate) fn may_read(&self, path: &str) -> bool {
        access(&self.outside(path), AccessFlags::R_OK).is_ok()
    }

    /// A regular file: nothing that one would have to wait for.
    pub(crate) fn open(&self, path: &str) -> Option<File> {
        let path = self.outside(&self.resolve(path)?);
        let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path).ok()?;
        file.metadata().is_ok_and(|found| found.is_file()).then_some(file)
    }

    pub(crate) fn metadata(&self, path: &str) -> Option<fs::Metadata> {
        fs::metadata(self.outside(&self.resolve(path)?)).ok()
    }

    /// A small text, such as those of `/proc` and `/sys`.
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        let mut text = String::new();
        self.open(path)?.take(LARGEST).read_to_string(&mut text).ok()?;
        Some(text)
    }

    pub(crate) fn bytes(&self, path: &str, most: u64) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open(path)?.take(most).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    /// Names in a directory, in order.
    pub(crate) fn names(&self, directory: &str) -> Vec<String> {
        self.names_where(directory, |_| true)
    }

    /// Some of the names in a directory, in order.
    pub(crate) fn names_where(
        &self,
        directory: &str,
        wanted: impl Fn(&str) -> bool,
    ) -> Vec<String> {
        let Some(directory) = self.resolve(directory) else { return Vec::new() };
        let Ok(entries) = fs::read_dir(self.outside(&directory)) else { return Vec::new() };
        let names = entries.filter_map(|entry| {
            let name = entry.ok()?.file_name();
            name.to_str().filter(|name| wanted(name)).map(str::to_owned)
        });
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    /// What is called so in a directory whose path has no links, without links.
    pub(crate) fn resolve_in(&self, directory: &str, name: &str) -> Option<String> {
        let path = format!("{directory}/{name}");
        match fs::symlink_metadata(self.outside(&path)) {
            Ok(found) if !found.is_symlink() => Some(path),
            Ok(_) => self.resolve(&path),
            Err(_) => None,
        }
    }
}

/// The last part of a path.
pub(crate) fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// All but the last part of an absolute path.
pub(crate) fn folder(path: &str) -> &str {
    Path::new(path).parent().and_then(Path::to_str).unwrap_or("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_stay_in_the_tree() {
        let top = tempfile::tempdir().unwrap();
        let at = |below: &str| top.path().join(below);
        fs::create_dir_all(at("usr/lib/driver")).unwrap();
        fs::create_dir_all(at("etc/alternatives")).unwrap();
        fs::write(at("usr/lib/driver/libx.so.1"), "x").unwrap();
        symlink("usr/lib", at("lib")).unwrap();
        symlink("/etc/alternatives/libx", at("usr/lib/libx.so.1")).unwrap();
        symlink("../../lib/driver/libx.so.1", at("etc/alternatives/libx")).unwrap();
        symlink("../../../../../../../../etc/passwd", at("up")).unwrap();
        symlink("again", at("again")).unwrap();
        let host = Host::below(top.path());
        let found = host.resolve("/lib/libx.so.1");
        assert_eq!(found.as_deref(), Some("/usr/lib/driver/libx.so.1"));
        assert_eq!(host.text("/lib/libx.so.1").as_deref(), Some("x"));
        assert_eq!(host.names("/lib"), ["driver", "libx.so.1"]);
        let fifo = nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU);
        assert!(fifo.is_ok() && host.text("/fifo").is_none());
        for absent in ["/up", "/again", "/lib/none", "/none/x"] {
            assert!(!host.has(absent), "{absent}");
        }
        assert_eq!(Host::default().resolve("/"), Some("/".into()));
        assert!(Host::default().has("/proc/self/exe"));
    }
}
