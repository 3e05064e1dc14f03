//! Slurm's commands in a container, where the site says so.
//!
//! They are the node's programs, linked to the node's libraries: an image may have another C library, an older one, or none.
//! So the node's directories of programs and libraries are mounted at a place of their own, which no program of the image
//! looks at, and where the node has a command the container has a program that runs it there ([`mod@stub`]). What
//! the commands open by its path is mounted where the node has it.

mod stub;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use linux::environ::Environ;
use linux::file_error::FileError;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::symlinkat;

use crate::devices::{elf::Elf, ldcache::Cache};
use crate::fstab::Entry;
use crate::start::error::StartError;
use crate::start::files;
use crate::start::mounts::lines;
use crate::start::roots::Roots;
use crate::start::slurm_commands::SlurmCommands;
use stub::stub;

/// Where the node's files are. What is mounted over it takes the commands along, and they say so.
const PLACE: &str = "/run/pyxis-slurm";
/// Below it: programs that stand for the commands.
const STUBS: &str = "bin";
/// The commands under their names, and the linker under the same.
const PROGRAMS: &str = "programs";
const LINKERS: &str = "linkers";
/// Whole trees of the system's: all libraries and programs of a distribution, and nobody's files.
const TREES: [&str; 5] = ["/usr", "/lib", "/lib64", "/lib32", "/bin"];
/// Where a dynamic linker looks without being told.
const USUAL: [&str; 4] = ["/lib64", "/usr/lib64", "/lib", "/usr/lib"];
/// More directories than any site tells its dynamic linker of.
const MOST: usize = 64;
/// A cache of ten thousand libraries is smaller.
const LARGEST_CACHE: u64 = 16 << 20;

/// Mounts them, and makes what runs them. `remapped`: the container's root is the caller.
pub(in crate::start) fn mount(
    roots: &mut Roots,
    slurm: &SlurmCommands,
    remapped: bool,
) -> Result<(), StartError> {
    roots.host()?;
    let node = Node::look(slurm)?;
    let apply = |roots: &mut Roots, source: &Path, target: &Path, options: &str| {
        let entry = Entry::of_parts(source.as_os_str(), target.as_os_str(), OsStr::new(options))?;
        lines::apply(roots, &entry)
    };
    let place = Path::new(PLACE);
    let options = "x-create=dir,rw,nosuid,nodev,private,mode=755,size=1M";
    apply(roots, Path::new("tmpfs"), place, options)?;
    node.make_stubs(roots, slurm, remapped)
        .map_err(|error| FileError::new("fill", place, error))?;
    for tree in &node.trees {
        apply(roots, tree, &inside(tree), "x-create=dir,rbind,ro,nosuid,nodev,rslave")?;
    }
    for path in &slurm.places {
        apply(roots, path, path, "x-create=auto,rbind,ro,nosuid,nodev,rslave")?;
    }
    for (at, real) in &slurm.programs {
        let options = OsStr::new("x-create=file,bind,ro,nosuid,nodev");
        let stub = node.linked.contains(at);
        let source = if stub { place.join(STUBS).join(name(at)) } else { real.clone() };
        let entry = Entry::of_parts(source.as_os_str(), at.as_os_str(), options)?;
        lines::apply(roots, &Entry { inside: stub, ..entry })?;
    }
    Ok(())
}

/// Has a shell find them, and them their configuration.
pub(in crate::start) fn add_variables(environ: &mut Environ, slurm: &SlurmCommands) {
    if let Some(configuration) = &slurm.configuration {
        let name = OsString::from("SLURM_CONF");
        environ.entry(name).or_insert_with(|| configuration.clone().into());
    }
    let path = environ.entry("PATH".into()).or_default();
    for directory in slurm.programs.iter().filter_map(|(at, _)| at.parent()) {
        let mut known = path.as_bytes().split(|byte| *byte == b':');
        if !known.any(|known| known == directory.as_os_str().as_bytes()) {
            if !path.is_empty() {
                path.push(":");
            }
            path.push(directory);
        }
    }
}

/// Where the container has a file of the node's.
fn inside(path: &Path) -> PathBuf {
    Path::new(PLACE).join(path.strip_prefix("/").unwrap_or(path))
}

fn name(program: &Path) -> &OsStr {
    program.file_name().unwrap_or_default()
}

/// What of the node is needed to run its programs.
struct Node {
    linker: PathBuf,
    libraries: Vec<PathBuf>,
    /// What is to be mounted for all of these.
    trees: BTreeSet<PathBuf>,
    /// The commands that are programs, and no scripts.
    linked: BTreeSet<PathBuf>,
}

impl Node {
    /// Looks at the tree that is the process's root.
    fn look(slurm: &SlurmCommands) -> Result<Node, StartError> {
        let mut linker = None;
        let mut linked = BTreeSet::new();
        for (at, real) in &slurm.programs {
            let file = File::open(real).map_err(|error| FileError::new("open", real, error))?;
            if let Some(elf) = Elf::of(&file) {
                linker = linker.or_else(|| elf.interpreter());
                linked.insert(at.clone());
            }
        }
        let linker = linker.unwrap_or_default();
        let linker = fs::canonicalize(&linker).map_err(|error| {
            FileError::new("find the linker of Slurm's commands,", linker, error)
        })?;
        let libraries = libraries(slurm, &linker);
        let programs = slurm.programs.iter().filter(|(at, _)| linked.contains(at));
        let files = programs.map(|(_, real)| real).chain(&slurm.as_caller).chain([&linker]);
        let directories = files.filter_map(|file| file.parent()).map(Path::to_owned);
        let trees = directories.chain(libraries.iter().cloned()).map(tree_of).collect();
        Ok(Node { linker, libraries, trees: topmost(trees), linked })
    }

    /// The programs that stand for the commands.
    fn make_stubs(
        &self,
        roots: &mut Roots,
        slurm: &SlurmCommands,
        remapped: bool,
    ) -> io::Result<()> {
        roots.container().map_err(io::Error::other)?;
        let place = files::open_path(Path::new(PLACE))?;
        for directory in [STUBS, PROGRAMS, LINKERS] {
            mkdirat(&place, directory, Mode::from_bits_truncate(0o755))?;
        }
        let libraries = self.libraries.iter().map(|path| inside(path).into_os_string());
        let libraries = libraries.collect::<Vec<_>>().join(OsStr::new(":"));
        for (at, real) in slurm.programs.iter().filter(|(at, _)| self.linked.contains(at)) {
            let name = name(at);
            // By these names it is known: in its messages, and in lists of processes.
            let (program, linker) = (Path::new(PROGRAMS).join(name), Path::new(LINKERS).join(name));
            symlinkat(&inside(real), &place, &program)?;
            symlinkat(&inside(&self.linker), &place, &linker)?;
            let at_place = |path: &Path| Path::new(PLACE).join(path).into_os_string();
            let (linker, option) = (at_place(&linker), OsString::from("--library-path"));
            let mut words = vec![linker, option, libraries.clone()];
            if let (true, Some(as_caller)) = (remapped, &slurm.as_caller) {
                let first = [inside(as_caller).into_os_string(), "as-caller".into()];
                words = words.iter().cloned().chain(first).chain(words.clone()).collect();
            }
            words.push(at_place(&program));
            let words: Vec<&OsStr> = words.iter().map(OsString::as_os_str).collect();
            let said = name.to_string_lossy();
            let message = format!("{said}: {PLACE} of this container is hidden by a mount\n");
            write(&place, &Path::new(STUBS).join(name), &stub(&words, &message))?;
        }
        Ok(())
    }
}

fn write(place: &OwnedFd, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    let mode = Mode::from_bits_truncate(0o755);
    File::from(openat(place, path, flags, mode)?).write_all(bytes)
}

/// The directories in which the node's dynamic linker finds libraries, as they are called without links.
fn libraries(slurm: &SlurmCommands, linker: &Path) -> Vec<PathBuf> {
    let cache = linux::bounded::read(Path::new("/etc/ld.so.cache"), LARGEST_CACHE);
    let cache = cache.ok().and_then(|bytes| Cache::parse(&bytes)).unwrap_or_default();
    let known = cache.entries.iter().filter(|entry| entry.is_wide());
    let known = known.filter_map(|entry| Path::new(&entry.path).parent());
    let usual = USUAL.iter().map(Path::new);
    let all = slurm.libraries.iter().map(PathBuf::as_path);
    let mut asked: Vec<&Path> = Vec::new();
    let mut found: Vec<PathBuf> = Vec::new();
    for directory in all.chain(linker.parent()).chain(known).chain(usual) {
        if asked.contains(&directory) || found.len() >= MOST {
            continue;
        }
        asked.push(directory);
        let real = fs::canonicalize(directory).ok().filter(|real| real.is_dir());
        found.extend(real.filter(|real| !found.contains(real)));
    }
    found
}

fn tree_of(directory: PathBuf) -> PathBuf {
    let tree = TREES.iter().map(Path::new).find(|tree| directory.starts_with(tree));
    tree.map_or(directory, Path::to_owned)
}

/// Without those that are below others.
fn topmost(trees: BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
    let covered =
        |tree: &PathBuf| trees.iter().any(|other| other != tree && tree.starts_with(other));
    trees.iter().filter(|tree| !covered(tree)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environ(path: &str) -> Environ {
        [("PATH".into(), path.into())].into()
    }

    #[test]
    fn commands_are_found_by_their_name() {
        let slurm = SlurmCommands {
            programs: ["/opt/slurm/bin/srun", "/opt/slurm/bin/sbatch"]
                .map(|program| (program.into(), program.into()))
                .into(),
            configuration: Some("/site/slurm.conf".into()),
            ..SlurmCommands::default()
        };
        for (before, after) in [
            ("/usr/bin:/bin", "/usr/bin:/bin:/opt/slurm/bin"),
            ("/opt/slurm/bin:/bin", "/opt/slurm/bin:/bin"),
            ("", "/opt/slurm/bin"),
        ] {
            let mut environ = environ(before);
            add_variables(&mut environ, &slurm);
            assert_eq!(environ[OsStr::new("PATH")], after);
            assert_eq!(environ[OsStr::new("SLURM_CONF")], "/site/slurm.conf");
        }
        let mut other = Environ::from([("SLURM_CONF".into(), "/other".into())]);
        add_variables(&mut other, &slurm);
        assert_eq!(other[OsStr::new("SLURM_CONF")], "/other");
    }

    #[test]
    fn what_is_mounted_covers_what_is_needed_once() {
        let of = |paths: &[&str]| {
            let trees = topmost(paths.iter().map(|path| tree_of(path.into())).collect());
            trees.iter().map(|tree| tree.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(of(&["/usr/lib", "/usr/bin", "/usr/local/lib"]), ["/usr"]);
        assert_eq!(
            of(&["/lib64", "/usr/lib", "/opt/a", "/opt/a/lib"]),
            ["/lib64", "/opt/a", "/usr"]
        );
        assert_eq!(of(&["/lib64x", "/opt/ab", "/opt/a"]), ["/lib64x", "/opt/a", "/opt/ab"]);
    }
}
