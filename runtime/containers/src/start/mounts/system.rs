//! The mounts every container gets, and the devices it was given.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, IsTerminal};
use std::os::unix::fs::symlink;
use std::path::Path;

use hygiene::console;
use linux::file_error::FileError;
use nix::libc;

use crate::cdi::{DeviceNode, Edits};
use crate::fstab::Entry;
use crate::start::environment::site::Standard;
use crate::start::error::StartError;
use crate::start::mounts::above_image;
use crate::start::mounts::detached::DetachedMounts;
use crate::start::mounts::devices;
use crate::start::mounts::lines;
use crate::start::plan::Plan;
use crate::start::rootfs::tree::Tree;
use crate::start::roots::Roots;

/// First: later mounts of files go through it.
const PROC: &str = "/proc /proc none x-create=dir,rbind,rw,nosuid,nodev,noexec,rslave";
const OWN_PROC: &str = "proc /proc proc x-create=dir,rw,nosuid,nodev,noexec,private";
const SYS: &str = "/sys /sys none x-create=dir,rbind,ro,nosuid,nodev,noexec,rslave";
/// Shows the devices of the container's own network.
const OWN_SYS: &str = "sysfs /sys sysfs x-create=dir,ro,nosuid,nodev,noexec,private";

const DEV: [&str; 2] = [
    "/dev /dev none x-create=dir,rbind,rw,nosuid,noexec,rslave",
    "/dev/shm /dev/shm none x-create=dir,bind,rw,nosuid,nodev,noexec,rslave,nofail,silent",
];
/// A `/dev` with what every program expects and nothing else.
const LEAST_DEV: [&str; 11] = [
    "tmpfs /dev tmpfs x-create=dir,rw,nosuid,noexec,mode=755,slave",
    "/dev/null /dev/null none x-create=file,bind,rw,nosuid,noexec,private",
    "/dev/zero /dev/zero none x-create=file,bind,rw,nosuid,noexec,private",
    "/dev/full /dev/full none x-create=file,bind,rw,nosuid,noexec,private",
    "/dev/random /dev/random none x-create=file,bind,rw,nosuid,noexec,private",
    "/dev/urandom /dev/urandom none x-create=file,bind,rw,nosuid,noexec,private",
    "/dev/tty /dev/tty none x-create=file,bind,rw,nosuid,noexec,private",
    "devpts /dev/pts devpts \
     x-create=dir,rw,nosuid,noexec,newinstance,ptmxmode=0666,mode=620,slave",
    "/dev/hugepages /dev/hugepages none \
     x-create=dir,bind,rw,nosuid,noexec,nodev,rslave,nofail,silent",
    "/dev/log /dev/log none x-create=file,bind,rw,nosuid,noexec,nodev,private,nofail,silent",
    "/proc/self/fd/0 /dev/console none x-create=file,bind,rw,nosuid,noexec,private,nofail,silent",
];
const HOST_IPC: [&str; 2] = [
    "/dev/shm /dev/shm none x-create=dir,bind,rw,nosuid,noexec,nodev,rslave,nofail,silent",
    "/dev/mqueue /dev/mqueue none x-create=dir,bind,rw,nosuid,noexec,nodev,rslave,nofail,silent",
];
const OWN_IPC: [&str; 2] = [
    "tmpfs /dev/shm tmpfs x-create=dir,rw,nosuid,noexec,nodev,mode=1777,private",
    "mqueue /dev/mqueue mqueue x-create=dir,rw,nosuid,noexec,nodev,private,nofail,silent",
];
const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/dev/pts/ptmx", "/dev/ptmx"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
];

const TEMPORARY: [&str; 3] = [
    "tmpfs /tmp tmpfs x-create=dir,rw,nosuid,nodev,mode=1777,slave",
    "tmpfs /var/run tmpfs x-create=dir,rw,nosuid,nodev,mode=755,slave",
    "tmpfs /var/lock tmpfs x-create=dir,rw,nosuid,nodev,mode=755,slave",
];
const CONFIG: [&str; 4] = [
    "/etc/hosts /etc/hosts none x-create=file,bind,ro,nosuid,nodev,noexec,private,nofail,silent",
    "/etc/hostname /etc/hostname none \
     x-create=file,bind,ro,nosuid,nodev,noexec,private,nofail,silent",
    "/etc/resolv.conf /etc/resolv.conf none \
     x-create=file,bind,ro,nosuid,nodev,noexec,private,nofail,silent",
    "/etc/machine-id /etc/machine-id none \
     x-create=file,bind,ro,nosuid,nodev,noexec,private,nofail,silent",
];

/// Those in `/etc` that are the host's.
pub(in crate::start) fn host_files() -> impl Iterator<Item = &'static str> {
    CONFIG.iter().filter_map(|line| line.strip_prefix("/etc/")?.split(' ').next())
}

/// Those that do not depend on the image: they can be mounted before anybody has looked into it.
pub(in crate::start) fn entries_without_image(
    plan: &Plan,
    guarded: bool,
) -> impl Iterator<Item = Entry> {
    let own = &plan.unshare;
    let least = has_least_dev(plan);
    let first = [proc(plan, guarded), if own.net { OWN_SYS } else { SYS }];
    let dev = dev(plan).filter(move |_| !least);
    first
        .into_iter()
        .chain(dev)
        .chain(common(plan))
        .filter_map(|line| Entry::parse(OsStr::new(line)).ok()?)
}

fn has_least_dev(plan: &Plan) -> bool {
    (plan.unshare.ipc || plan.restrict_dev) && !plan.site.replaces(Standard::Devices)
}

/// Whether a site's own list has, where the container has something of its own, what the node has: by
/// enroot the container's own comes after such lists.
pub(in crate::start) fn is_replaced(plan: &Plan, target: &Path) -> bool {
    let own = &plan.unshare;
    (has_least_dev(plan) && target.starts_with("/dev"))
        || (own.pid && target == Path::new("/proc"))
        || (own.net && target == Path::new("/sys"))
}

/// The node's `/dev`. A site that has a list of its own for it says what is mounted in it.
fn dev(plan: &Plan) -> impl Iterator<Item = &'static str> {
    let parts = if plan.site.replaces(Standard::System) { 1 } else { DEV.len() };
    DEV.into_iter().take(parts)
}

/// Those that are a list of the site's to say, if it has one.
fn common(plan: &Plan) -> impl Iterator<Item = &'static str> {
    let ours = |standard| !plan.site.replaces(standard);
    let (system, config) = (ours(Standard::System), ours(Standard::Config));
    let temporary = TEMPORARY.into_iter().filter(move |_| system);
    temporary.chain(CONFIG.into_iter().filter(move |_| config))
}

/// `guarded`: the tree that is seen has a `/proc` of the container's PID namespace already
/// ([`crate::start::process::guard`]).
fn proc(plan: &Plan, guarded: bool) -> &'static str {
    if plan.unshare.pid && !guarded { OWN_PROC } else { PROC }
}

/// Where an image has files below the file systems in memory that a container gets.
pub(in crate::start) fn filled(tree: Tree<'_>) -> Vec<&'static str> {
    let targets = TEMPORARY.iter().filter_map(|line| line.split(' ').nth(1));
    // Every distribution has empty directories below /run.
    targets.filter(|target| tree.has_files(Path::new(target), *target == "/tmp")).collect()
}

/// Mounts them all. Returns those lines that were carried out as they are. `filled` is where the image is known
/// to have files below its own mounts.
pub(in crate::start) fn mount(
    roots: &mut Roots,
    plan: &Plan,
    guarded: bool,
    devices: &Edits,
    filled: Option<&[&str]>,
    detached: &mut DetachedMounts,
) -> Result<Vec<&'static str>, StartError> {
    let own = &plan.unshare;
    let least = has_least_dev(plan);
    let renamed = renamed(roots, devices, least)?;
    let mut lines = vec![proc(plan, guarded), if own.net { OWN_SYS } else { SYS }];
    if least {
        let terminal = io::stdin().is_terminal();
        lines.extend(LEAST_DEV.iter().filter(|line| terminal || !line.contains("/dev/console")));
        lines.extend(if own.ipc { OWN_IPC } else { HOST_IPC });
    } else if renamed.is_empty() {
        lines.extend(dev(plan));
    }
    apply_lines(roots, &lines, detached)?;
    if least {
        make_links(roots, &LINKS.map(|(target, link)| (target.into(), link.into())))?;
    }
    mount_nodes(roots, devices, &renamed, least)?;
    let common: Vec<&str> = common(plan).collect();
    let (overlays, mut some_filled) = (plan.host.overlay, false);
    let there: Vec<&str> = match filled {
        Some(filled) => filled.to_vec(),
        None => roots.container().map(|_| self::filled(Tree::Root))?,
    };
    for line in &common {
        let Some(entry) = Entry::parse(OsStr::new(line))? else { continue };
        let target = entry.target.to_string_lossy();
        let done = !entry.is_bind()
            && there.contains(&&*target)
            && above_image::mount(roots, &entry, overlays, some_filled)?;
        some_filled |= done;
        if !done {
            apply_common(roots, &entry, detached)?;
        }
    }
    lines.extend(common);
    if !renamed.is_empty() {
        // A site's own line for /dev, as enroot has it, would cover what has been made.
        lines.extend(DEV);
    }
    Ok(lines)
}

/// Mounts the nodes of devices that are known late: a hook may have made a `/dev` of its own.
pub(in crate::start) fn mount_late_nodes(
    roots: &mut Roots,
    plan: &Plan,
    devices: &Edits,
) -> Result<(), StartError> {
    let all = has_least_dev(plan) || plan.site.replaces(Standard::Devices);
    let renamed = renamed(roots, devices, all)?;
    mount_nodes(roots, devices, &renamed, all)
}

/// Nodes that the node's `/dev` has not. There is no need to know where all are mounted anyway.
fn renamed<'a>(
    roots: &mut Roots,
    devices: &'a Edits,
    all: bool,
) -> Result<Vec<&'a DeviceNode>, StartError> {
    if all || devices.nodes.is_empty() {
        return Ok(Vec::new());
    }
    roots.host()?;
    Ok(devices::renamed(devices))
}

fn mount_nodes(
    roots: &mut Roots,
    devices: &Edits,
    renamed: &[&DeviceNode],
    all: bool,
) -> Result<(), StartError> {
    if !renamed.is_empty() {
        roots.host()?;
        let (entries, links) = devices::mirror(renamed)?;
        entries.iter().try_for_each(|entry| lines::apply(roots, entry))?;
        make_links(roots, &links)?;
    }
    for entry in devices::node_entries(devices, all || !renamed.is_empty())? {
        devices::mount_safely(roots, &entry, &entry.target.to_string_lossy())?;
    }
    Ok(())
}

/// Where an image has something else in place of a directory that is for a file system of the
/// container's own, that stays: so it is with other engines, and the container may do without.
fn apply_common(
    roots: &mut Roots,
    entry: &Entry,
    detached: &mut DetachedMounts,
) -> Result<(), StartError> {
    let applied = detached.apply(roots, entry);
    if applied.is_err() && !entry.is_bind() && is_no_directory(roots, entry)? {
        console::tell(format_args!(
            "pyxis: {} is no directory in the image: it stays what it is",
            Path::new(&entry.target).display()
        ));
        return Ok(());
    }
    applied
}

fn is_no_directory(roots: &mut Roots, entry: &Entry) -> Result<bool, StartError> {
    roots.container()?;
    Ok(match fs::metadata(Path::new("/").join(&entry.target)) {
        Ok(there) => !there.is_dir(),
        Err(error) => matches!(error.raw_os_error(), Some(libc::ENOTDIR | libc::ELOOP)),
    })
}

fn make_links(roots: &mut Roots, links: &[devices::Link]) -> Result<(), StartError> {
    if links.is_empty() {
        return Ok(());
    }
    roots.container()?;
    links.iter().try_for_each(|(target, link)| {
        symlink(target, link).map_err(|error| FileError::new("create", link, error).into())
    })
}

fn apply_lines(
    roots: &mut Roots,
    lines: &[&str],
    detached: &mut DetachedMounts,
) -> Result<(), StartError> {
    for line in lines {
        if let Some(entry) = Entry::parse(OsStr::new(line))? {
            detached.apply(roots, &entry)?;
        }
    }
    Ok(())
}
