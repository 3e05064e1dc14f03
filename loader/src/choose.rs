//! Which build to open, and the one line that says why there is none.

use crate::build::{self, Fault};
use crate::host;
use crate::releases::{RELEASES, name};
use crate::text::{Name, Path, Text};
use core::ffi::{CStr, c_void};

/// Where packages install builds. A loader that has been copied or bind-mounted elsewhere has none beside it.
#[cfg(target_arch = "aarch64")]
const INSTALLED: [&[u8]; 2] = [b"/usr/lib/aarch64-linux-gnu/pyxis", b"/usr/lib64/pyxis"];
#[cfg(not(target_arch = "aarch64"))]
const INSTALLED: [&[u8]; 2] = [b"/usr/lib/x86_64-linux-gnu/pyxis", b"/usr/lib64/pyxis"];

/// More builds than releases will ever be installed together.
const MOST: usize = 64;

/// What a look at all builds found.
struct Search {
    /// For this Slurm and in order; the last by name, where several are.
    chosen: Option<(Path, u32)>,
    /// For this Slurm, and not to be used.
    refused: Option<(Path, Fault)>,
    /// The rest, for the message.
    others: Text<1024>,
    /// Unreadable ones, for the message.
    faulty: Text<512>,
}

/// The open build for this process, with its version number. Says why, if there is none.
pub(crate) fn open() -> Option<(*mut c_void, u32)> {
    let mut line = Text::new();
    let opened = find(&mut line);
    if opened.is_none() {
        host::error(&line);
    }
    opened
}

fn find(line: &mut Text<2048>) -> Option<(*mut c_void, u32)> {
    let Some(api) = host::api() else {
        line.push(b"not loaded by Slurm: this process has no slurm_api_version()");
        return None;
    };
    let Some(own) = host::own_path() else {
        line.push(b"cannot tell where this plugin's file is");
        return None;
    };
    let owner = build::status(&own).map_or(0, |status| status.st_uid);
    let mut dir = own.parent().parent();
    dir.push(b"/pyxis");
    let mut search = search(&dir, api, owner);
    for place in INSTALLED {
        let nothing = search.chosen.is_none() && search.refused.is_none();
        // Beside a loader that somebody has copied there may be other plugins of that name.
        if !(nothing && search.others.is_empty()) {
            break;
        }
        let mut installed = Path::new();
        installed.push(place);
        // What is there is root's, whoever has copied the loader.
        let found = self::search(&installed, api, 0);
        let sound = found.chosen.is_some() || found.refused.is_some() || !found.others.is_empty();
        if (sound || search.faulty.is_empty()) && build::status(&installed).is_some() {
            (dir, search) = (installed, found);
        }
    }

    if let Some((path, number)) = search.chosen {
        return open_build(&path, number, line);
    }
    if let Some((path, fault)) = search.refused {
        refuse(&path, fault.text(), line);
        return None;
    }
    missing(&dir, api, &search, line);
    None
}

fn open_build(path: &Path, number: u32, line: &mut Text<2048>) -> Option<(*mut c_void, u32)> {
    let mut why = Text::new();
    match host::open(path, &mut why) {
        Some(handle) if host::version(handle) == Some(number) => return Some((handle, number)),
        Some(handle) => {
            host::close(handle);
            why.push(b"its plugin_version is not that of its stamp");
        }
        None => {}
    }
    refuse(path, why.bytes(), line);
    None
}

fn refuse(path: &Path, why: &[u8], line: &mut Text<2048>) {
    line.push(b"the build for this Slurm, ");
    line.push(path.bytes());
    line.push(b", is refused: ");
    line.push(why);
}

/// Says which builds there are and which is missing.
fn missing(dir: &Path, api: u32, search: &Search, line: &mut Text<2048>) {
    line.push(b"no build for this Slurm (");
    line.push(name(api).unwrap_or("API").as_bytes());
    if name(api).is_none() {
        line.push(b" ");
        line.decimal(api);
    }
    line.push(b") in ");
    line.push(dir.bytes());
    line.push(b": ");
    match (name(api), RELEASES.last()) {
        (Some(release), _) => {
            line.push(b"install the package pyxis-slurm");
            line.push(release.as_bytes());
        }
        (None, Some((newest, release))) if api > *newest => {
            line.push(b"it is newer than ");
            line.push(release.as_bytes());
            line.push(b", the newest release this pyxis knows; install a newer pyxis");
        }
        _ => line.push(b"this release is not supported"),
    }
    line.push(b"; installed: ");
    line.push(if search.others.is_empty() { b"none" } else { search.others.bytes() });
    if !search.faulty.is_empty() {
        line.push(b"; not usable: ");
        line.push(search.faulty.bytes());
    }
}

/// Looks at `dir`/*/spank_pyxis.so, in the order of their names.
fn search(dir: &Path, api: u32, owner: libc::uid_t) -> Search {
    let mut search =
        Search { chosen: None, refused: None, others: Text::new(), faulty: Text::new() };
    // Who may write there may put any build in the place of another.
    let holder = build::status(dir).and_then(|status| build::trust(&status, owner));
    let mut names = [const { Name::new() }; MOST];
    list(dir, &mut names);
    for name in names.iter().filter(|name| !name.is_empty()) {
        let mut path = *dir;
        for part in [b"/", name.bytes(), b"/spank_pyxis.so"] {
            path.push(part);
        }
        let Some(found) = build::look(&path, owner) else { continue };
        match (found.stamp, found.fault.or(holder)) {
            (Ok(stamp), None) if stamp.api == api => {
                search.chosen = Some((found.path, stamp.number));
            }
            (Ok(stamp), Some(fault)) if stamp.api == api => {
                search.refused = Some((found.path, fault));
            }
            (Ok(_), _) => add(&mut search.others, &[name.bytes()]),
            (Err(fault), _) => {
                add(&mut search.faulty, &[name.bytes(), b" (", fault.text(), b")"]);
            }
        }
    }
    search
}

/// Adds to a list of words.
fn add<const N: usize>(list: &mut Text<N>, words: &[&[u8]]) {
    if !list.is_empty() {
        list.push(b", ");
    }
    words.iter().for_each(|word| list.push(word));
}

/// The entries of a directory that are not hidden, sorted; empty names where there are no more.
fn list(dir: &Path, names: &mut [Name; MOST]) {
    // SAFETY: a C string.
    let open = unsafe { libc::opendir(dir.as_ptr()) };
    if open.is_null() {
        return;
    }
    for place in names.iter_mut() {
        let name = loop {
            // SAFETY: an open directory that only this thread knows.
            let entry = unsafe { libc::readdir(open) };
            if entry.is_null() {
                break None;
            }
            // SAFETY: readdir's entry holds a C string, valid until its next call.
            let name = unsafe { CStr::from_ptr((&raw const (*entry).d_name).cast()) }.to_bytes();
            // A name that does not fit is no release's.
            if !name.starts_with(b".") && name.len() < 64 {
                let mut copy = Name::new();
                copy.push(name);
                break Some(copy);
            }
        };
        let Some(name) = name else { break };
        *place = name;
    }
    // SAFETY: opened above, and used no more.
    unsafe { libc::closedir(open) };
    sort(names);
}

/// By name, the empty ones first. The standard sort can panic, in theory.
fn sort(names: &mut [Name; MOST]) {
    for _ in 0..MOST {
        let mut previous: Option<&mut Name> = None;
        for name in names.iter_mut() {
            if let Some(previous) = previous.take_if(|p| p.bytes() > name.bytes()) {
                core::mem::swap(previous, name);
            }
            previous = Some(name);
        }
    }
}
