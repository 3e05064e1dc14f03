//! Changes of a container's tree that a device asks for, made in it as the present root.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::ldcache::{Cache, Entry};
use super::{compat, elf, place};
use crate::cdi::{Action, Edits};

const CACHE: &str = "/etc/ld.so.cache";
const PROFILE: &str = "/etc/nvidia/nvidia-application-profiles-rc.d/10-container.conf";
/// Of a folder that is looked through; the largest one of a driver has a hundred.
const MOST: usize = 4096;
/// More than any cache has.
const LARGEST: u64 = 16 << 20;
/// Folders that the dynamic linker looks through anyway, or that the image's own cache is about.
const USUAL: [&str; 10] = [
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/lib/i386-linux-gnu",
    "/usr/lib/i386-linux-gnu",
];

/// Makes the changes, when the mounts are there. A failure names the path.
pub(crate) fn apply(edits: &Edits) -> Result<(), (PathBuf, io::Error)> {
    let mut folders: Vec<&str> = Vec::new();
    let mut first: Vec<PathBuf> = Vec::new();
    for action in &edits.actions {
        match action {
            Action::Link { target, link } => make_link(target, Path::new(link))?,
            Action::Cache { folders: more } => folders.extend(more.iter().map(String::as_str)),
            Action::Compat { driver, cuda, folder } => {
                first.extend(compat::preferred(
                    Path::new(folder),
                    driver.as_deref(),
                    cuda.as_deref(),
                ));
            }
            Action::Profile => write_profile(edits)?,
        }
    }
    if !folders.is_empty() || !first.is_empty() {
        update_cache(edits, &folders, &first)?;
    }
    Ok(())
}

fn make_link(target: &str, at: &Path) -> Result<(), (PathBuf, io::Error)> {
    match place::link(target, at) {
        // The node's own /dev shows the link already, or nobody may make it there.
        Err(_) if at.starts_with("/dev") => Ok(()),
        result => result.map_err(|error| (at.to_owned(), error)),
    }
}

/// Bit N of the mask is the GPU with the minor number N.
fn write_profile(edits: &Edits) -> Result<(), (PathBuf, io::Error)> {
    let minors = edits.nodes.iter().filter_map(|node| {
        node.path.strip_prefix("/dev/nvidia").and_then(|number| number.parse::<u32>().ok())
    });
    let mask = minors.filter(|minor| *minor < 64).fold(0_u64, |mask, minor| mask | 1 << minor);
    if mask == 0 {
        return Ok(());
    }
    let text = serde_json::json!({
        "profiles": [{
            "name": "_container_",
            "settings": ["EGLVisibleDGPUDevices", mask],
        }],
        "rules": [{ "pattern": [], "profile": "_container_" }],
    });
    let at = Path::new(PROFILE);
    place::write(at, text.to_string().as_bytes(), 0o444).map_err(|error| (at.to_owned(), error))
}

/// Adds the libraries in `folders`, and before all others those in `first`, to the image's cache.
fn update_cache(
    edits: &Edits,
    folders: &[&str],
    first: &[PathBuf],
) -> Result<(), (PathBuf, io::Error)> {
    let mut cache = read_cache().unwrap_or_default();
    let mut more = Vec::new();
    for folder in first {
        more.extend(libraries(folder));
    }
    for folder in folders {
        let folder = Path::new(folder);
        let known = USUAL.iter().any(|usual| folder == Path::new(usual))
            || cache.entries.iter().any(|entry| Path::new(&entry.path).parent() == Some(folder));
        match known {
            // The image's own libraries there are found already. To read them all again costs a
            // request to the image's server for each.
            true => more.extend(mounted(edits, folder)),
            false => more.extend(libraries(folder)),
        }
    }
    for entry in &mut more {
        let at = Path::new(&entry.path);
        let Some(file) = at.file_name().filter(|file| *file != OsStr::new(&entry.name)) else {
            continue;
        };
        // As ldconfig: the name that is asked for leads to the file. A folder that was mounted may be
        // read-only; then the cache itself leads there.
        let link = at.with_file_name(&entry.name);
        if place::link(&file.to_string_lossy(), &link).is_ok() {
            entry.path = link.to_string_lossy().into_owned();
        }
    }
    cache.put_first(more);
    let at = Path::new(CACHE);
    place::write(at, &cache.to_bytes(), 0o644).map_err(|error| (at.to_owned(), error))?;
    tell_musl(first, folders)
}

fn read_cache() -> Option<Cache> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let file = place::file(Path::new(CACHE)).ok()?;
    file.take(LARGEST).read_to_end(&mut bytes).ok()?;
    Cache::parse(&bytes)
}

/// Libraries that were mounted into a folder.
fn mounted(edits: &Edits, folder: &Path) -> Vec<Entry> {
    let targets = edits.mounts.iter().map(|mount| Path::new(&mount.target));
    targets.filter(|target| target.parent() == Some(folder)).filter_map(library).collect()
}

/// All libraries of a folder; none if there is no such folder.
fn libraries(folder: &Path) -> Vec<Entry> {
    let mut names = place::names(folder, MOST).unwrap_or_default();
    // Whatever the order of the folder: a later version is behind an earlier one.
    names.sort();
    let mut found: Vec<Entry> = Vec::new();
    for entry in names.iter().filter_map(|name| library(&folder.join(name))) {
        match found
            .iter_mut()
            .find(|known| (&known.name, known.flags) == (&entry.name, entry.flags))
        {
            Some(known) => *known = entry,
            None => found.push(entry),
        }
    }
    found
}

/// The file at `path` as a library that programs can ask for.
fn library(path: &Path) -> Option<Entry> {
    let name = path.file_name()?.as_bytes();
    let text = path.to_str()?;
    if !name.starts_with(b"lib") || !name.windows(3).any(|part| part == b".so") {
        return None;
    }
    // Links are made anew, if the file has another name than what is asked for.
    if std::fs::symlink_metadata(path).ok()?.is_symlink() {
        return None;
    }
    let file = place::file(path).ok()?;
    let elf = elf::Elf::of(&file)?;
    let soname = elf.dynamic()?.soname;
    let soname = soname.as_deref().or(path.file_name()?.to_str())?;
    Some(Entry::new(soname, text, elf.flags))
}

/// musl's linker has no cache but a list of folders.
fn tell_musl(first: &[PathBuf], folders: &[&str]) -> Result<(), (PathBuf, io::Error)> {
    if !Path::new("/etc/alpine-release").is_file() {
        return Ok(());
    }
    let at = PathBuf::from(format!("/etc/ld-musl-{}.path", std::env::consts::ARCH));
    let mut lines: Vec<String> =
        first.iter().map(|folder| folder.to_string_lossy().into_owned()).collect();
    lines.extend(folders.iter().map(|folder| (*folder).to_owned()));
    match place::file(&at).map(std::io::read_to_string) {
        Ok(Ok(have)) => lines.extend(have.lines().map(str::to_owned)),
        _ => lines.extend(["/lib", "/usr/local/lib", "/usr/lib"].map(str::to_owned)),
    }
    let mut seen = std::collections::BTreeSet::new();
    lines.retain(|line| !line.is_empty() && seen.insert(line.clone()));
    place::write(&at, format!("{}\n", lines.join("\n")).as_bytes(), 0o644)
        .map_err(|error| (at, error))
}
