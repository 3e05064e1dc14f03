//! Where Slurm's programs and libraries are.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use linux::bounded;
use nix::unistd::geteuid;
use slurm_releases::elf::Elf;

use crate::owner::{self, Untrusted};

/// Where programs are beside PATH.
const DIRECTORIES: [&str; 6] = [
    "/usr/bin",
    "/usr/sbin",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/opt/slurm/bin",
    "/opt/slurm/sbin",
];
/// Where sites keep several.
const SEVERAL: [&str; 10] = [
    "/opt/slurm/*/bin",
    "/opt/slurm/*/sbin",
    // AWS's Parallel Computing Service.
    "/opt/aws/pcs/scheduler/*/bin",
    "/opt/aws/pcs/scheduler/*/sbin",
    // Bright, now Base Command Manager.
    "/cm/shared/apps/slurm/*/bin",
    "/cm/shared/apps/slurm/*/sbin",
    "/cm/local/apps/slurm/bin",
    "/cm/local/apps/slurm/sbin",
    "/cm/local/apps/slurm/*/bin",
    "/cm/local/apps/slurm/*/sbin",
];
/// Where the library and the plugins are, below a prefix.
const LIBRARIES: [&str; 6] = [
    "lib/slurm",
    "lib64/slurm",
    "lib/x86_64-linux-gnu/slurm-wlm",
    "lib/x86_64-linux-gnu/slurm",
    "lib/aarch64-linux-gnu/slurm-wlm",
    "lib/aarch64-linux-gnu/slurm",
];

/// No Slurm plugin is larger: what is there instead must not fill the memory.
const MOST: u64 = 64 << 20;

/// Where programs are that users run: in this PATH, and in the usual places.
pub(crate) fn client_directories(path: Option<&OsStr>) -> Vec<PathBuf> {
    let mut directories: Vec<PathBuf> = env::split_paths(path.unwrap_or_default()).collect();
    directories.extend(DIRECTORIES.map(PathBuf::from));
    directories.extend(SEVERAL.iter().flat_map(|pattern| owner::glob(Path::new(pattern))));
    directories
}

/// The directory with Slurm's library that a program is linked to, and its plugins.
pub(crate) fn library_of(program: &Path) -> Option<PathBuf> {
    let bytes = bytes_of(program).ok()?;
    let elf = Elf::parse(&bytes)?;
    let directory = program.parent()?;
    let origin = directory.display().to_string();
    let linked =
        elf.run_paths().unwrap_or_default().into_iter().flat_map(|text| text.split(':')).map(
            |path| PathBuf::from(path.replace("$ORIGIN", &origin).replace("${ORIGIN}", &origin)),
        );
    let prefix = directory.parent().unwrap_or(Path::new("/")).to_path_buf();
    let usual = LIBRARIES.iter().map(|library| prefix.join(library));
    let has = |path: &PathBuf| owner::real(&path.join("libslurmfull.so")).is_some();
    linked.chain(usual).find(has).and_then(|path| owner::real(&path))
}

/// A program or library, as far as anybody can have one. Root does not wait for a user's server.
pub(crate) fn bytes_of(path: &Path) -> io::Result<Vec<u8>> {
    if geteuid().is_root() {
        if let Some(fault @ Untrusted::Served { .. }) = owner::faults(path).pop() {
            return Err(io::Error::other(fault.to_string()));
        }
    }
    bounded::read(path, MOST)
}
