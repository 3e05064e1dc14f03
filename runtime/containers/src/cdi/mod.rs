//! Devices by the Container Device Interface: files in `/etc/cdi` and `/var/run/cdi`, such as
//! `nvidia-ctk cdi generate` writes, say which device nodes, mounts, variables and hooks a
//! container needs for a device.

mod edits;
mod error;
mod name;
mod native;
mod spec;
mod yaml;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use edits::{Action, DeviceNode, Edits, Hook, HookPoint, Mount, NodeKind};
pub use error::CdiError;
pub use name::{Name, Visible};

use name::ALL;
use spec::Spec;

/// Where specifications are, the strongest last: files that are written by hand, and those that
/// are made when the node boots.
pub const DIRECTORIES: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];

/// All specifications of a node.
#[derive(Debug)]
pub struct Registry {
    directories: Vec<PathBuf>,
    /// With the place of their directory.
    specs: Vec<(usize, Spec)>,
    faults: Vec<Fault>,
}

/// A file or a directory that cannot be used.
#[derive(Debug)]
struct Fault {
    /// The kind of its devices, as far as the file says so.
    kind: Option<String>,
    /// Its name without the suffix, if that says the kind: `VENDOR-CLASS`, or `VENDOR-CLASS_ID`, as
    /// the interface's own library names what it writes.
    stem: Option<String>,
    error: CdiError,
}

impl Fault {
    fn of_file(path: &Path, text: Option<&str>, error: CdiError) -> Fault {
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let says =
            |stem: &&str| stem.split_once('-').is_some_and(|(vendor, _)| vendor.contains('.'));
        let stem = stem.filter(says).map(str::to_owned);
        Fault { kind: text.and_then(Spec::kind_of), stem, error }
    }

    fn of_directory(error: CdiError) -> Fault {
        Fault { kind: None, stem: None, error }
    }

    /// Whether what cannot be read may be about devices of this kind.
    fn may_have(&self, kind: &str) -> bool {
        match (&self.kind, &self.stem) {
            (Some(known), _) => known == kind,
            (None, Some(stem)) => {
                let rest = stem.strip_prefix(kind.replacen('/', "-", 1).as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
            }
            (None, None) => true,
        }
    }
}

impl Registry {
    /// Reads `*.json`, `*.yaml` and `*.yml` in `directories`. A file that cannot be used counts
    /// only when a device is asked for that it may have.
    pub fn load(directories: &[PathBuf]) -> Registry {
        let mut registry =
            Registry { directories: directories.to_vec(), specs: Vec::new(), faults: Vec::new() };
        for (place, directory) in directories.iter().enumerate() {
            let files = match files(directory) {
                Err(source) if source.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => {
                    registry.faults.push(Fault::of_directory(CdiError::read(directory, source)));
                    continue;
                }
                Ok(files) => files,
            };
            for path in files {
                let fault = match fs::read_to_string(&path) {
                    Err(source) => Fault::of_file(&path, None, CdiError::read(&path, source)),
                    Ok(text) => match Spec::parse(&text, &path) {
                        Ok(spec) => {
                            registry.specs.push((place, spec));
                            continue;
                        }
                        Err(error) => Fault::of_file(&path, Some(&text), error),
                    },
                };
                registry.faults.push(fault);
            }
        }
        registry
    }

    /// Whether there are devices of this kind, or a file that cannot tell.
    pub fn may_have(&self, kind: &str) -> bool {
        self.fault(kind).is_some() || self.has(kind)
    }

    /// Whether there are devices of this kind.
    pub fn has(&self, kind: &str) -> bool {
        self.specs.iter().any(|(_, spec)| spec.kind == kind && !spec.devices.is_empty())
    }

    /// What cannot be used and may be about this kind.
    fn fault(&self, kind: &str) -> Option<&CdiError> {
        self.faults.iter().find(|fault| fault.may_have(kind)).map(|fault| &fault.error)
    }

    /// What a container needs for these devices, and for every file that one of them is from.
    ///
    /// # Errors
    /// [`CdiError`].
    pub fn devices(&self, names: &[Name]) -> Result<Edits, CdiError> {
        let mut found = Vec::new();
        for name in names {
            for device in self.resolve(name)? {
                if !found.contains(&device) {
                    found.push(device);
                }
            }
        }
        let mut edits = Edits::default();
        let mut used = Vec::new();
        for (spec, device) in found {
            let (_, spec_of) = &self.specs[spec];
            spec_of.check(Some(&spec_of.devices[device]))?;
            if !used.contains(&spec) {
                used.push(spec);
                edits.add(spec_of.edits.clone());
                edits.left_out.extend_from_slice(&spec_of.unknown);
            }
            edits.add(spec_of.devices[device].edits.clone());
        }
        Ok(edits)
    }

    /// What the files of a kind have for all its devices: the driver.
    ///
    /// # Errors
    /// [`CdiError`] of a file that cannot be used.
    pub fn driver(&self, kind: &str) -> Result<Edits, CdiError> {
        if let Some(fault) = self.fault(kind) {
            return Err(fault.clone());
        }
        let mut edits = Edits::default();
        for (_, spec) in self.specs.iter().filter(|(_, spec)| spec.kind == kind) {
            spec.check(None)?;
            edits.add(spec.edits.clone());
            edits.left_out.extend_from_slice(&spec.unknown);
        }
        Ok(edits)
    }

    /// The device of a kind that is this one node of the host and no part of it.
    pub fn of_node(&self, kind: &str, node: &str) -> Option<Name> {
        let is_it = |device: &spec::Device| {
            let mut nodes = device.edits.nodes.iter().map(|node| node.host_path.as_str());
            device.name != ALL
                && nodes.clone().any(|path| path == node)
                && !nodes.any(|path| path.contains("/nvidia-caps/"))
        };
        // The strongest directory is the last.
        self.specs.iter().rev().filter(|(_, spec)| spec.kind == kind).find_map(|(_, spec)| {
            let device = spec.devices.iter().find(|device| is_it(device))?;
            Some(Name { kind: kind.to_owned(), device: device.name.clone() })
        })
    }

    /// Places of specifications and of devices in them.
    fn resolve(&self, name: &Name) -> Result<Vec<(usize, usize)>, CdiError> {
        if let Some(found) = self.find(name)? {
            return Ok(vec![found]);
        }
        let of_kind = || self.specs.iter().filter(|(_, spec)| spec.kind == name.kind);
        let mut known: Vec<String> = Vec::new();
        for device in of_kind().flat_map(|(_, spec)| &spec.devices) {
            if !known.contains(&device.name) {
                known.push(device.name.clone());
            }
        }
        // A file that cannot be used may have some of "all".
        if name.device == ALL && !known.is_empty() && self.fault(&name.kind).is_none() {
            let names = known.into_iter().map(|device| Name { kind: name.kind.clone(), device });
            return names.filter_map(|name| self.find(&name).transpose()).collect();
        }
        Err(CdiError::Absent {
            device: name.to_string(),
            known,
            faulty: self.fault(&name.kind).map(|fault| Box::new(fault.clone())),
            searched: self
                .directories
                .iter()
                .map(|directory| directory.to_string_lossy())
                .collect::<Vec<_>>()
                .join(" or "),
        })
    }

    /// The one device of that name; of those in several directories, the last one's.
    fn find(&self, name: &Name) -> Result<Option<(usize, usize)>, CdiError> {
        let mut best: Option<(usize, usize, usize)> = None;
        for (at, (place, spec)) in self.specs.iter().enumerate() {
            if spec.kind != name.kind {
                continue;
            }
            let device = spec.devices.iter().position(|device| device.name == name.device);
            let Some(device) = device else { continue };
            match best {
                Some((other, known, _)) if known == *place => {
                    return Err(CdiError::Conflict {
                        device: name.to_string(),
                        one: self.specs[other].1.path.clone(),
                        other: spec.path.clone(),
                    });
                }
                _ => best = Some((at, *place, device)),
            }
        }
        Ok(best.map(|(spec, _, device)| (spec, device)))
    }
}

/// The specifications in a directory, by name.
fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let suffix = path.extension().and_then(|suffix| suffix.to_str());
        if matches!(suffix, Some("json" | "yaml" | "yml")) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Reads one specification; for fuzzing.
#[doc(hidden)]
pub fn check(text: &str) -> Result<(), CdiError> {
    Spec::parse(text, Path::new("specification")).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Node(tempfile::TempDir);

    impl Node {
        fn new(files: &[(&str, &str, &[&str])]) -> Node {
            let node = Node(tempfile::tempdir().unwrap());
            for (file, kind, devices) in files {
                let mut text = format!(
                    "cdiVersion: 0.6.0\nkind: {kind}\ncontainerEdits: {{env: [FILE={file}]}}\ndevices:\n"
                );
                for device in *devices {
                    text += &format!(
                        "- {{name: \"{device}\", containerEdits: {{env: [\"D{device}={file}\"]}}}}\n"
                    );
                }
                node.write(file, &text);
            }
            node
        }

        fn write(&self, file: &str, text: &str) {
            let path = self.0.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn env(&self, names: &[&str]) -> Result<String, String> {
            let directories = ["etc", "run"].map(|directory| self.0.path().join(directory));
            let names: Vec<Name> = names.iter().map(|name| name.parse().unwrap()).collect();
            let edits = Registry::load(&directories).devices(&names);
            let root = format!("{}/", self.0.path().display());
            edits.map(|edits| edits.env.join(" ")).map_err(|e| e.to_string().replace(&root, ""))
        }
    }

    #[test]
    fn devices_bring_what_their_file_has_for_all() {
        let node = Node::new(&[
            ("etc/a.yaml", "v/gpu", &["0", "1"]),
            ("etc/b.json", "v/nic", &["x", "all"]),
            ("etc/c.txt", "v/gpu", &["2"]),
        ]);
        assert_eq!(node.env(&["v/gpu=1"]).unwrap(), "FILE=etc/a.yaml D1=etc/a.yaml");
        assert_eq!(
            node.env(&["v/gpu=all", "v/gpu=0"]).unwrap(),
            "FILE=etc/a.yaml D0=etc/a.yaml D1=etc/a.yaml"
        );
        // A device of that name is what is meant.
        assert_eq!(node.env(&["v/nic=all"]).unwrap(), "FILE=etc/b.json Dall=etc/b.json");
        assert_eq!(
            node.env(&["v/gpu=2"]).unwrap_err(),
            "no device v/gpu=2 on this node: there are 0, 1"
        );
        assert_eq!(
            node.env(&["w/gpu=all"]).unwrap_err(),
            "no device w/gpu=all on this node: no CDI specification in etc or run is of this kind"
        );
    }

    #[test]
    fn the_last_directory_is_the_strongest() {
        let node = Node::new(&[
            ("etc/a.yaml", "v/gpu", &["0", "1"]),
            ("run/a.yaml", "v/gpu", &["0"]),
            ("run/b.yaml", "v/nic", &["0"]),
            ("run/c.yaml", "v/nic", &["0", "1"]),
        ]);
        assert_eq!(node.env(&["v/gpu=0"]).unwrap(), "FILE=run/a.yaml D0=run/a.yaml");
        assert_eq!(
            node.env(&["v/gpu=all"]).unwrap(),
            "FILE=run/a.yaml D0=run/a.yaml FILE=etc/a.yaml D1=etc/a.yaml"
        );
        assert_eq!(
            node.env(&["v/nic=0"]).unwrap_err(),
            "device v/nic=0 is in run/b.yaml and in run/c.yaml; remove it from one"
        );
        assert!(node.env(&["v/nic=1"]).is_ok());
    }

    #[test]
    fn a_file_that_cannot_be_used_counts_when_it_may_be_meant() {
        let node = Node::new(&[("etc/a.yaml", "v/gpu", &["0"])]);
        node.write("run/b.yaml", "cdiVersion: 0.6.0\nkind: v/gpu\ndevices: [\n");
        assert!(node.env(&["v/gpu=0"]).is_ok());
        for name in ["v/gpu=1", "v/gpu=all", "other/thing=0"] {
            let error = node.env(&[name]).unwrap_err();
            assert!(error.contains("on this node: run/b.yaml:4: "), "{error}");
        }
        // What can be said of what it is about counts.
        node.write("run/b.yaml", "cdiVersion: 0.6.0\nkind: v/gpu\ndevice: []\n");
        assert!(node.env(&["v/gpu=all"]).unwrap_err().contains("run/b.yaml:3: "));
        assert!(!node.env(&["other/thing=0"]).unwrap_err().contains("b.yaml"));
    }

    #[test]
    fn the_name_of_a_file_that_cannot_be_read_says_what_it_is_about() {
        let fault = |name: &str| {
            let path = Path::new("/etc/cdi").join(name);
            Fault::of_file(
                &path,
                None,
                CdiError::read(&path, io::ErrorKind::PermissionDenied.into()),
            )
        };
        for (name, kind, may) in [
            ("intel.com-gpu.yaml", "intel.com/gpu", true),
            ("intel.com-gpu.yaml", "nvidia.com/gpu", false),
            ("intel.com-gpu.yaml", "intel.com/gpu-mei", false),
            ("intel.com-gpu-mei.yaml", "intel.com/gpu", false),
            ("intel.com-gpu-mei.yaml", "intel.com/gpu-mei", true),
            ("k8s.gpu.amd.com-gpu_8f-1.json", "k8s.gpu.amd.com/gpu", true),
            ("my-own.com-gpu.json", "nvidia.com/gpu", true),
            ("nvidia.yaml", "nvidia.com/gpu", true),
            ("amd.json", "nvidia.com/gpu", true),
            ("nvidia-container-toolkit.json", "nvidia.com/gpu", true),
        ] {
            assert_eq!(fault(name).may_have(kind), may, "{name} {kind}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,200}") {
            let _ = check(&text);
        }

        #[test]
        fn no_change_of_a_good_one_panics(at in 0usize..200, with in "[\\[\\]{}:,'\"&*!|>%@`~ \\n\\t-]{0,4}") {
            let mut text = String::from("cdiVersion: 0.6.0\nkind: v/gpu\ndevices:\n- name: '0'\n  containerEdits:\n    deviceNodes:\n    - path: /dev/x\n      hostPath: /dev/null\n    env: [A=1]\n");
            let at = at.min(text.len());
            text.insert_str(at, &with);
            let _ = check(&text);
        }
    }
}
