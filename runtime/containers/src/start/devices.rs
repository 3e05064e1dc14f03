//! Devices by CDI ([`crate::cdi`]) in the container that is being put together.
//!
//! Nobody here may make a device node. Those of the node are bound: into a `/dev` of the
//! container's own, which is made only if the node's has not the same under the same name.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, FileType, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use hygiene::console;

use super::StartError;
use crate::cdi::{CdiError, DeviceNode, Edits, Mount, Name, Registry, Visible};
use crate::fstab::{Entry, escape};
use linux::environ::{self, Environ};

const VARIABLE: &str = "NVIDIA_VISIBLE_DEVICES";
/// What Slurm says of a step's or a job's GPUs, by their numbers on the node.
const OF_SLURM: [&str; 2] = ["SLURM_STEP_GPUS", "SLURM_JOB_GPUS"];

/// Which devices to look for, and where.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Asked for by name.
    pub names: Vec<Name>,
    /// Follow `NVIDIA_VISIBLE_DEVICES`, and Slurm's variables where it is not set.
    pub nvidia: bool,
    /// Directories of specifications, the strongest last.
    pub directories: Vec<PathBuf>,
}

/// The container's variables.
#[derive(Clone, Copy)]
pub(super) struct Said<'a> {
    /// Lines of the image.
    pub(super) image: &'a [u8],
    /// Lines of the site and of the user, which come after.
    pub(super) others: &'a [u8],
}

/// Finds out what the container needs, on the host's tree.
pub(super) fn choose(wanted: &Wanted, host: &Environ, said: Said<'_>) -> Result<Edits, StartError> {
    let (visible, from_host) = match wanted.nvidia {
        true => visible(host, said)?,
        false => (Visible::Nothing, false),
    };
    if wanted.names.is_empty() && visible == Visible::Nothing {
        return Ok(Edits::default());
    }
    let registry = Registry::load(&wanted.directories);
    let has_gpus = registry.may_have(Visible::kind());
    let mut names = wanted.names.clone();
    match visible {
        Visible::Nothing => {}
        Visible::Driver if has_gpus && names.is_empty() => {
            return checked(registry.driver(Visible::kind())?);
        }
        Visible::Driver => {}
        Visible::Devices(devices) => {
            // Images that can use a GPU say so; they are not to fail where there is none.
            let wanted = |name: &Name| has_gpus || name.kind != Visible::kind();
            let (found, absent): (Vec<_>, Vec<_>) = devices.into_iter().partition(wanted);
            names.extend(found);
            if let (Some(name), true) = (absent.first(), from_host) {
                console::tell(format_args!(
                    "pyxis: no CDI specification on this node is about {name} ({VARIABLE})"
                ));
            }
        }
    }
    checked(registry.devices(&names)?)
}

/// What the variable says: the host's, or else the container's last; and whether it is the host's. An
/// image may ask for GPUs only: other devices, with mounts and hooks of their own, are not its choice.
fn visible(host: &Environ, said: Said<'_>) -> Result<(Visible, bool), CdiError> {
    let text = |value: &OsString| value.to_string_lossy().into_owned();
    if let Some(value) = host.get(OsStr::new(VARIABLE)) {
        return Ok((Visible::parse(&text(value))?, true));
    }
    let last = |lines| environ::entries(lines).filter(|(name, _)| name == VARIABLE).last();
    if let Some((_, value)) = last(said.others) {
        return Ok((Visible::parse(&text(&value))?, false));
    }
    if let Some((_, value)) = last(said.image) {
        return Ok((gpus_only(Visible::parse(&text(&value))?), false));
    }
    let of_slurm = OF_SLURM.iter().find_map(|name| host.get(OsStr::new(name)));
    Ok((of_slurm.map_or(Ok(Visible::Nothing), |value| Visible::parse(&text(value)))?, false))
}

fn gpus_only(visible: Visible) -> Visible {
    let Visible::Devices(names) = visible else { return visible };
    let (gpus, others): (Vec<_>, Vec<_>) =
        names.into_iter().partition(|name| name.kind == Visible::kind());
    if let Some(name) = others.first() {
        console::tell(format_args!(
            "pyxis: left out what the image asks for in {VARIABLE}: {name}; --device gives it"
        ));
    }
    if gpus.is_empty() { Visible::Nothing } else { Visible::Devices(gpus) }
}

/// The nodes must be there, and be what the specification says.
fn checked(edits: Edits) -> Result<Edits, StartError> {
    for node in &edits.nodes {
        let path = Path::new(&node.host_path);
        let found = fs::metadata(path).map_err(|error| device(node, error))?;
        if !is_device(found.file_type()) {
            return Err(device(node, "it is no device"));
        }
        let (major, minor) = numbers(&found);
        let (wanted_major, wanted_minor) = node.numbers;
        if node.block.is_some_and(|block| block != found.file_type().is_block_device()) {
            return Err(device(node, "it is of the other type, block or character"));
        }
        if wanted_major.is_some_and(|wanted| wanted != major)
            || wanted_minor.is_some_and(|wanted| wanted != minor)
        {
            return Err(device(
                node,
                format_args!("it has the numbers {major}:{minor}, other ones"),
            ));
        }
    }
    Ok(edits)
}

fn device(node: &DeviceNode, problem: impl std::fmt::Display) -> StartError {
    StartError::Device {
        path: node.host_path.clone().into(),
        problem: format!("{problem} (a CDI specification asks for it; is it still true?)"),
    }
}

fn is_device(kind: FileType) -> bool {
    kind.is_char_device() || kind.is_block_device()
}

fn numbers(found: &Metadata) -> (u64, u64) {
    let device = found.rdev();
    (nix::sys::stat::major(device), nix::sys::stat::minor(device))
}

/// Nodes that the host's `/dev` has not got under their name, on the host's tree.
pub(super) fn renamed(edits: &Edits) -> Vec<&DeviceNode> {
    let same = |node: &&DeviceNode| {
        let (inside, outside) = (fs::metadata(&node.path), fs::metadata(&node.host_path));
        let (Ok(inside), Ok(outside)) = (inside, outside) else { return false };
        is_device(inside.file_type())
            && (inside.file_type().is_block_device(), inside.rdev())
                == (outside.file_type().is_block_device(), outside.rdev())
    };
    edits.nodes.iter().filter(|node| node.path.starts_with("/dev/") && !same(node)).collect()
}

/// Mounts of the nodes. `all`: into a `/dev` of the container's own.
pub(super) fn node_entries(edits: &Edits, all: bool) -> Result<Vec<Entry>, StartError> {
    let wanted = |node: &&DeviceNode| all || !node.path.starts_with("/dev/");
    edits
        .nodes
        .iter()
        .filter(wanted)
        .map(|node| {
            entry(&node.host_path, &node.path, "none x-create=file,bind,rw,nosuid,noexec,private")
        })
        .collect()
}

/// The files and directories of the devices.
pub(super) fn mount_entries(edits: &Edits) -> Result<Vec<Entry>, StartError> {
    let line = |Mount { source, target, fstype, options }: &Mount| {
        let mut rest = String::from(fstype.as_deref().unwrap_or("none"));
        rest.push_str(if fstype.is_some() { " x-create=dir" } else { " x-create=auto" });
        let bound = options.iter().any(|option| matches!(option.as_str(), "bind" | "rbind"));
        if fstype.is_none() && !bound {
            rest.push_str(",rbind");
        }
        for option in options {
            rest.push(',');
            rest.push_str(option);
        }
        entry(source, target, &rest)
    };
    edits.mounts.iter().map(line).collect()
}

/// A link's target, and where it is.
pub(super) type Link = (PathBuf, PathBuf);

/// Mounts and links that show in a new `/dev` what the host's has, on the host's tree. The
/// directories of `nodes` become the container's own.
pub(super) fn mirror(nodes: &[&DeviceNode]) -> Result<(Vec<Entry>, Vec<Link>), StartError> {
    let own: BTreeSet<&Path> =
        nodes.iter().flat_map(|node| Path::new(&node.path).ancestors().skip(1)).collect();
    let mut entries =
        vec![entry("tmpfs", "/dev", "tmpfs x-create=dir,rw,nosuid,noexec,mode=755,slave")?];
    let mut links = Vec::new();
    let mut directories = vec![PathBuf::from("/dev")];
    while let Some(directory) = directories.pop() {
        let failed = |error| StartError::file("read", &directory, error);
        for found in fs::read_dir(&directory).map_err(failed)? {
            let found = found.map_err(failed)?;
            let (path, kind) = (found.path(), found.file_type().map_err(failed)?);
            if nodes.iter().any(|node| Path::new(&node.path) == path) {
                continue; // the device takes its place
            }
            let text = path.to_string_lossy();
            if kind.is_symlink() {
                links.push((fs::read_link(&path).map_err(failed)?, path));
            } else if kind.is_dir() && own.contains(path.as_path()) {
                directories.push(path);
            } else if kind.is_dir() {
                let how = "none x-create=dir,rbind,rw,nosuid,noexec,rslave,nofail,silent";
                entries.push(entry(&text, &text, how)?);
            } else {
                let how = "none x-create=file,bind,rw,nosuid,noexec,private,nofail,silent";
                entries.push(entry(&text, &text, how)?);
            }
        }
    }
    Ok((entries, links))
}

fn entry(source: &str, target: &str, rest: &str) -> Result<Entry, StartError> {
    let mut line = escape(OsStr::from_bytes(source.as_bytes()));
    line.push(" ");
    line.push(escape(OsStr::from_bytes(target.as_bytes())));
    line.push(" ");
    line.push(rest);
    Ok(Entry::parse(&line)?.expect("a line with fields"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(host: &[(&str, &str)], lines: &str) -> (Visible, bool) {
        let host = host.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        visible(&host, Said { image: lines.as_bytes(), others: b"" }).unwrap()
    }

    #[test]
    fn whose_word_counts() {
        let gpus = |text| (Visible::parse(text).unwrap(), false);
        let image = "NVIDIA_VISIBLE_DEVICES=all\nNVIDIA_VISIBLE_DEVICES=1\n";
        assert_eq!(chosen(&[], image), gpus("1"));
        assert_eq!(chosen(&[(VARIABLE, "void")], image), (Visible::Nothing, true));
        assert_eq!(chosen(&[(VARIABLE, "0,2")], image).0, gpus("0,2").0);
        assert_eq!(chosen(&[("SLURM_STEP_GPUS", "3"), ("SLURM_JOB_GPUS", "2,3")], ""), gpus("3"));
        assert_eq!(chosen(&[("SLURM_JOB_GPUS", "2,3")], ""), gpus("2,3"));
        assert_eq!(chosen(&[("SLURM_STEP_GPUS", "3")], image), gpus("1"));
        assert_eq!(chosen(&[], ""), (Visible::Nothing, false));
        let said = Said { image: image.as_bytes(), others: b"NVIDIA_VISIBLE_DEVICES=a.com/b=c\n" };
        let (theirs, _) = visible(&Environ::new(), said).unwrap();
        assert_eq!(theirs, Visible::parse("a.com/b=c").unwrap());
    }

    #[test]
    fn an_image_chooses_gpus_only() {
        let gpus = |text| (Visible::parse(text).unwrap(), false);
        assert_eq!(chosen(&[], "NVIDIA_VISIBLE_DEVICES=a.com/b=c,1\n"), gpus("1"));
        assert_eq!(chosen(&[], "NVIDIA_VISIBLE_DEVICES=a.com/b=c\n"), (Visible::Nothing, false));
    }
}
