//! Nodes for tests: trees with the files of drivers, and what their kernel parts would say.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::elf::sample;
use super::host::{Host, base, folder};
use super::ldcache::{Cache, Entry};
use super::{ContainerVariables, DeviceError, Wanted, choose};
use crate::cdi::Edits;
use linux::environ::Environ;

/// A driver: its list's name and version, the names of its files, and what each capability gets of them.
pub(super) const DRIVERS: [(&str, &str, &str); 3] = [
    (
        "535.261.03",
        include_str!("../../tests/driver/debian-535.files"),
        include_str!("../../tests/driver/debian-535.expected"),
    ),
    (
        "550.163.01",
        include_str!("../../tests/driver/debian-550.files"),
        include_str!("../../tests/driver/debian-550.expected"),
    ),
    (
        "470.256.02",
        include_str!("../../tests/driver/debian-tesla-470.files"),
        include_str!("../../tests/driver/debian-tesla-470.expected"),
    ),
];

pub(super) struct Tree {
    directory: tempfile::TempDir,
}

impl Tree {
    pub(super) fn empty() -> Tree {
        Tree { directory: tempfile::tempdir().unwrap() }
    }

    /// With the files of a driver, the cache that ldconfig would make of them, and no GPU.
    pub(super) fn of_driver(version: &str, files: &str) -> Tree {
        let tree = Tree::empty();
        let lines = files.lines().filter(|line| !line.starts_with('#'));
        let all: Vec<(&str, Option<&str>)> = lines
            .map(|line| match line.split_once(" -> ") {
                Some((path, target)) => (path, Some(target)),
                None => (line, None),
            })
            .collect();
        for (path, target) in &all {
            match target {
                Some(target) => tree.link(path, target),
                None if path.contains(".so") => {
                    // The name that a link beside it has.
                    let soname = all.iter().find_map(|(link, target)| {
                        let beside = folder(link) == folder(path) && *target == Some(base(path));
                        (beside && !link.ends_with(".so")).then(|| base(link))
                    });
                    let library = sample::library(soname.unwrap_or(base(path)), None);
                    tree.put(path, &library);
                }
                None => tree.put(path, b""),
            }
        }
        tree.kernel(version);
        tree.cache(all.iter().map(|(path, _)| *path));
        tree
    }

    /// With the files that a driver's packages have, as far as they are unpacked at `from`, the links that
    /// their installation makes, and what they depend on.
    pub(super) fn of_packages(from: &Path, listed: &str, files: &str) -> (Tree, String) {
        let tree = Tree::empty();
        let copied = Command::new("cp").arg("-a").arg(from.join(".")).arg(tree.at("/")).status();
        assert!(copied.unwrap().success());
        let merged =
            ["lib", "bin", "sbin"].map(|name| (format!("/{name}"), format!("/usr/{name}")));
        for (old, new) in merged.iter().filter(|(old, _)| tree.at(old).is_dir()) {
            let moved = Command::new("cp").arg("-aT").arg(tree.at(old)).arg(tree.at(new)).status();
            assert!(moved.unwrap().success());
            fs::remove_dir_all(tree.at(old)).unwrap();
        }
        let version = find_version(&tree.at("/usr/lib/x86_64-linux-gnu/nvidia"));
        let files = files.replace(listed, &version);
        let lines: Vec<&str> = files.lines().filter(|line| !line.starts_with('#')).collect();
        for line in &lines {
            match line.split_once(" -> ") {
                Some((path, target)) if tree.at(path).symlink_metadata().is_err() => {
                    tree.link(path, target);
                }
                // Of packages of others.
                None if line.contains("libnvidia-egl-gbm.so.") || line.ends_with("_gbm.json") => {
                    tree.put(line, &sample::library("libnvidia-egl-gbm.so.1", None));
                }
                _ => {}
            }
        }
        tree.kernel(&version);
        tree.cache(lines.iter().map(|line| line.split(" -> ").next().unwrap()));
        (tree, version)
    }

    /// What the kernel part says and makes.
    fn kernel(&self, version: &str) {
        let text = format!(
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  {version}  Thu Jan  1\nGCC version:  12\n"
        );
        self.put("/proc/driver/nvidia/version", text.as_bytes());
        for node in ["nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset"] {
            self.put(&format!("/dev/{node}"), b"");
        }
    }

    /// What ldconfig finds in the usual folder.
    fn cache<'a>(&self, paths: impl Iterator<Item = &'a str>) {
        let mut cache = Cache::default();
        let usual = paths.filter(|path| {
            matches!(folder(path), "/usr/lib/x86_64-linux-gnu" | "/usr/lib64" | "/usr/lib")
        });
        let mut entries = Vec::new();
        for path in usual.filter(|path| base(path).contains(".so.")) {
            let flags = if folder(path) == "/usr/lib" { 0x3 } else { 0x303 };
            entries.push(Entry::new(base(path), path, flags));
        }
        cache.put_first(entries);
        self.put("/etc/ld.so.cache", &cache.to_bytes());
    }

    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path.trim_start_matches('/'))
    }

    /// Writes a file; programs can be executed.
    pub(super) fn put(&self, path: &str, contents: &[u8]) {
        let at = self.at(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(&at, contents).unwrap();
        let is_program = ["/bin/", "/sbin/", "/current/nvidia-", "/tesla-470/nvidia-"];
        let is_program = is_program.iter().any(|part| path.contains(part));
        let mode = if is_program { 0o755 } else { 0o644 };
        fs::set_permissions(&at, fs::Permissions::from_mode(mode)).unwrap();
    }

    pub(super) fn link(&self, path: &str, target: &str) {
        let at = self.at(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        symlink(target, at).unwrap();
    }

    /// A GPU at `bus`, with its DRM nodes.
    pub(super) fn gpu(&self, bus: &str, minor: u32, model: &str) {
        let text = format!(
            "Model: \t\t {model}\nIRQ:   \t\t 42\nGPU UUID: \t GPU-{minor:08x}-1111-2222-3333-444444444444\n\
             Video BIOS: \t 94.02\nBus Type: \t PCIe\nBus Location: \t {bus}\nDevice Minor: \t {minor}\nGPU Excluded:\t No\n"
        );
        self.put(&format!("/proc/driver/nvidia/gpus/{bus}/information"), text.as_bytes());
        self.put(&format!("/dev/nvidia{minor}"), b"");
        self.drm(bus, minor + 1, minor + 128);
    }

    /// DRM nodes of a device, and the links to them.
    pub(super) fn drm(&self, bus: &str, card: u32, render: u32) {
        let device = format!("/sys/bus/pci/devices/{bus}");
        for (name, kind) in
            [(format!("card{card}"), "card"), (format!("renderD{render}"), "render")]
        {
            self.put(&format!("{device}/drm/{name}/dev"), b"");
            self.put(&format!("/dev/dri/{name}"), b"");
            self.link(&format!("/dev/dri/by-path/pci-{bus}-{kind}"), &format!("../{name}"));
            self.link(
                &format!("/sys/class/drm/{name}"),
                &format!("../../bus/pci/devices/{bus}/drm/{name}"),
            );
            self.link(&format!("{device}/drm/{name}/device"), "../..");
        }
    }

    /// A MIG device of the GPU with this minor number.
    pub(super) fn part(&self, minor: u32, (gi, ci): (u32, u32), caps: [u32; 2]) {
        let mig = format!("/proc/driver/nvidia/capabilities/gpu{minor}/mig/gi{gi}");
        for (entry, cap) in [(mig.clone(), caps[0]), (format!("{mig}/ci{ci}"), caps[1])] {
            let text =
                format!("DeviceFileMinor: {cap}\nDeviceFileMode: 292\nDeviceFileModify: 1\n");
            self.put(&format!("{entry}/access"), text.as_bytes());
            self.put(&format!("/dev/nvidia-caps/nvidia-cap{cap}"), b"");
        }
    }

    pub(super) fn wanted(&self) -> Wanted {
        Wanted {
            nvidia: true,
            directories: vec![self.at("/etc/cdi")],
            host: Host::below(self.directory.path()),
            ..Wanted::default()
        }
    }

    /// What a container gets, given the step's variables and the container's.
    pub(super) fn choose(&self, host: &[(&str, &str)], lines: &str) -> Result<Edits, DeviceError> {
        self.choose_for(&self.wanted(), host, lines)
    }

    /// The same, where something else is wanted of the node than is usual.
    pub(super) fn choose_for(
        &self,
        wanted: &Wanted,
        host: &[(&str, &str)],
        lines: &str,
    ) -> Result<Edits, DeviceError> {
        let host: Environ =
            host.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        choose(wanted, &host, ContainerVariables { image: lines.as_bytes(), others: b"" })
    }

    /// Its nodes in order, or the error.
    pub(super) fn nodes(&self, host: &[(&str, &str)], lines: &str) -> Result<Vec<String>, String> {
        let edits = self.choose(host, lines).map_err(|error| error.to_string())?;
        let mut nodes: Vec<String> = edits
            .nodes
            .into_iter()
            .map(|node| node.path.trim_start_matches("/dev/").to_owned())
            .collect();
        nodes.sort();
        Ok(nodes)
    }

    /// Paths that processes of this tree have, by what they are in a container.
    pub(super) fn sources(&self, edits: &Edits) -> BTreeMap<String, String> {
        let top = self.directory.path().to_str().unwrap();
        let inner = |path: &str| path.strip_prefix(top).unwrap().to_owned();
        edits.mounts.iter().map(|mount| (mount.target.clone(), inner(&mount.source))).collect()
    }
}

/// The version that libcuda's file has.
fn find_version(folder: &Path) -> String {
    let folders = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let names = folders.filter(|path| path.is_dir()).flat_map(|path| fs::read_dir(path).unwrap());
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut versions = names.filter_map(|name| name.strip_prefix("libcuda.so.").map(str::to_owned));
    versions.find(|version| version.contains('.')).expect("no libcuda")
}
