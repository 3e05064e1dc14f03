//! Devices by CDI ([`crate::cdi`]) in the container that is being put together.
//!
//! Nobody here may make a device node. Those of the node are bound: into a `/dev` of the
//! container's own, which is made only if the node's has not the same under the same name.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, FileType, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use hygiene::console;
use linux::file_error::FileError;

use crate::cdi::{DeviceNode, Edits, Mount, NodeKind};
pub(in crate::start) use crate::devices::ContainerVariables;
use crate::devices::Wanted;
use crate::devices::{self, place};
use crate::fstab::{Entry, escape};
use crate::start::error::StartError;
use crate::start::mounts::lines;
use crate::start::roots::Roots;
use linux::environ::Environ;

/// Finds out what the container needs, on the host's tree.
pub(in crate::start) fn choose(
    wanted: &Wanted,
    host: &Environ,
    said: ContainerVariables<'_>,
) -> Result<Edits, StartError> {
    checked(wanted, devices::choose(wanted, host, said)?)
}

/// Adds what the container gets of fabrics: of those whose libraries the image can use.
pub(in crate::start) fn add_fabrics(
    roots: &mut Roots,
    wanted: &Wanted,
    host: &Environ,
    said: ContainerVariables<'_>,
    edits: &mut Edits,
) -> Result<(), StartError> {
    roots.host()?;
    for injection in devices::fabrics(wanted, host, said) {
        roots.container()?;
        match injection.suits() {
            Ok(()) => edits.add(injection.edits),
            Err(lack) => console::tell(format_args!(
                "pyxis: inject.{} is left out of this container: {lack}",
                injection.name
            )),
        }
    }
    Ok(())
}

/// The nodes must be there, and be what the specification says. What is left out is said.
fn checked(wanted: &Wanted, mut edits: Edits) -> Result<Edits, StartError> {
    leave_out_absent_hooks(&mut edits);
    for line in &edits.left_out {
        console::tell(format_args!("pyxis: {line}"));
    }
    // A user's groups stay with the container's processes. None can be added.
    for gid in edits.gids.iter().filter(|gid| wanted.verbose && !wanted.groups.contains(gid)) {
        console::tell(format_args!(
            "pyxis: a device is for the group {gid}, which the user is not in"
        ));
    }
    edits.nodes.iter().try_for_each(check_node)?;
    Ok(edits)
}

/// Leaves out a later toolkit's hooks, of a specification that was made elsewhere.
fn leave_out_absent_hooks(edits: &mut Edits) {
    let left_out = &mut edits.left_out;
    edits.hooks.retain(|hook| {
        let is_absent = hook.of_toolkit() && !hook.path.exists();
        if is_absent {
            let arguments = hook.args.get(1..).unwrap_or_default().join(" ");
            let hook = format!("{} {arguments}", hook.path.display());
            left_out
                .push(format!("the hook {hook:?} is left out: it is not known, and not installed"));
        }
        !is_absent
    });
}

fn check_node(node: &DeviceNode) -> Result<(), StartError> {
    let found = fs::metadata(&node.host_path).map_err(|error| device(node, error))?;
    let kind = found.file_type();
    if node.kind == Some(NodeKind::Fifo) {
        return if kind.is_fifo() { Ok(()) } else { Err(device(node, "it is no FIFO")) };
    }
    if !is_device(kind) {
        return Err(device(node, "it is no device"));
    }
    let is_block = kind.is_block_device();
    if node.kind.is_some_and(|wanted| (wanted == NodeKind::Block) != is_block) {
        return Err(device(node, "it is of the other type, block or character"));
    }
    let (major, minor) = numbers(&found);
    let differs = |wanted: Option<_>, number| wanted.is_some_and(|wanted| wanted != number);
    if differs(node.numbers.0, major) || differs(node.numbers.1, minor) {
        return Err(device(node, format_args!("it has the numbers {major}:{minor}, other ones")));
    }
    Ok(())
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
pub(in crate::start) fn renamed(edits: &Edits) -> Vec<&DeviceNode> {
    let same = |node: &&DeviceNode| {
        let (inside, outside) = (fs::metadata(&node.path), fs::metadata(&node.host_path));
        let (Ok(inside), Ok(outside)) = (inside, outside) else { return false };
        if node.kind == Some(NodeKind::Fifo) {
            return (inside.dev(), inside.ino()) == (outside.dev(), outside.ino());
        }
        is_device(inside.file_type())
            && (inside.file_type().is_block_device(), inside.rdev())
                == (outside.file_type().is_block_device(), outside.rdev())
    };
    edits.nodes.iter().filter(|node| node.path.starts_with("/dev/") && !same(node)).collect()
}

/// Mounts of the nodes. `all`: into a `/dev` of the container's own.
pub(in crate::start) fn node_entries(edits: &Edits, all: bool) -> Result<Vec<Entry>, StartError> {
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
fn mount_entries(edits: &Edits) -> Result<Vec<Entry>, StartError> {
    let line = |Mount { source, target, fstype, options }: &Mount| {
        let mut rest = String::from(fstype.as_deref().unwrap_or("none"));
        rest.push_str(if fstype.is_some() { " x-create=dir" } else { " x-create=auto" });
        let bound = options.iter().any(|option| matches!(option.as_str(), "bind" | "rbind"));
        if fstype.is_none() && !bound {
            rest.push_str(",rbind");
        }
        for option in options.iter().filter_map(|option| as_fstab(option, fstype.is_none())) {
            rest.push(',');
            rest.push_str(option);
        }
        entry(source, target, &rest)
    };
    edits.mounts.iter().map(line).collect()
}

/// An option of the OCI's for a bind mount, as fstab(5) has it: what is said of all that is mounted below
/// holds for it anyway. Ids are the user's already.
fn as_fstab(option: &str, bound: bool) -> Option<&str> {
    match option {
        _ if !bound => Some(option),
        "idmap" | "ridmap" => None,
        "rro" | "rrw" | "rnosuid" | "rsuid" | "rnodev" | "rdev" | "rnoexec" | "rexec"
        | "rnoatime" | "ratime" | "rnodiratime" | "rdiratime" | "rrelatime" | "rnorelatime"
        | "rstrictatime" | "rnostrictatime" | "rnosymfollow" | "rsymfollow" => option.get(1..),
        option => Some(option),
    }
}

/// Mounts the files of the devices, and makes the changes that they ask for in the container.
pub(in crate::start) fn inject(roots: &mut Roots, edits: &Edits) -> Result<(), StartError> {
    for (entry, mount) in mount_entries(edits)?.iter().zip(&edits.mounts) {
        mount_safely(roots, entry, &mount.target)?;
    }
    roots.container()?;
    devices::apply(edits).map_err(|(path, error)| {
        let operation = "make for a device";
        FileError::new(operation, path, error).into()
    })
}

/// Mounts what a device has at `target`, where a link of the image does not lead out of it.
pub(in crate::start) fn mount_safely(
    roots: &mut Roots,
    entry: &Entry,
    target: &str,
) -> Result<(), StartError> {
    let target = Path::new(target);
    roots.container()?;
    place::clear(target)
        .map_err(|error| FileError::new("mount a device's file at", target, error))?;
    lines::apply(roots, entry)
}

/// A link's target, and where it is.
pub(in crate::start) type Link = (PathBuf, PathBuf);

/// Mounts and links that show in a new `/dev` what the host's has, on the host's tree. The
/// directories of `nodes` become the container's own.
pub(in crate::start) fn mirror(
    nodes: &[&DeviceNode],
) -> Result<(Vec<Entry>, Vec<Link>), StartError> {
    let own: BTreeSet<&Path> =
        nodes.iter().flat_map(|node| Path::new(&node.path).ancestors().skip(1)).collect();
    let mut entries =
        vec![entry("tmpfs", "/dev", "tmpfs x-create=dir,rw,nosuid,noexec,mode=755,slave")?];
    let mut links = Vec::new();
    let mut directories = vec![PathBuf::from("/dev")];
    while let Some(directory) = directories.pop() {
        let failed = |error| FileError::new("read", &directory, error);
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
