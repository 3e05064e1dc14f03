//! `verify`: is a built plugin what it should be? Read from its file, nothing is loaded.

use crate::error::Error;
use crate::report::Report;
use crate::{results, workspace};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use slurm_releases::Release;
use slurm_releases::elf::{AARCH64, Elf, Library, numbers};
use slurm_releases::stamp::{SYMBOL, Stamp};
use std::fs;
use std::path::{Path, PathBuf};

/// The hooks of pyxis. Each costs something when it is there: an epilog a fork for every job.
const HOOKS: &[&str] = &[
    "slurm_spank_init",
    "slurm_spank_init_post_opt",
    "slurm_spank_local_user_init",
    "slurm_spank_user_init",
    "slurm_spank_task_init_privileged",
    "slurm_spank_task_init",
    "slurm_spank_task_exit",
    "slurm_spank_job_epilog",
    "slurm_spank_exit",
];

/// Those that are offered only where they are wanted.
const OFFERED: &[&str] = &["slurm_spank_job_epilog"];

/// Libraries that are there wherever Slurm is; an old glibc has parts in libraries of their own.
const LIBRARIES: &[&str] =
    &["libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "libgcc_s.so.1", "ld-linux"];

/// Most bytes of a plugin.
const MOST: u64 = 500 * 1024;

/// On aarch64 instructions are larger, and segments are aligned to pages of 64 KiB.
const MOST_AARCH64: u64 = 576 * 1024;

/// What was found out about one file.
#[derive(Debug, Serialize)]
pub struct Verdict {
    /// The file.
    pub file: PathBuf,
    /// In bytes.
    pub size: u64,
    /// Of all of it.
    pub sha256: String,
    /// From the stamp.
    pub slurm: Option<String>,
    /// The processor, from the stamp.
    pub arch: Option<String>,
    /// The newest glibc it needs anything of, `2.34`.
    pub glibc: Option<String>,
    /// What is not as it should be, a line each.
    pub faults: Vec<String>,
}

/// Reports on each file.
///
/// # Errors
/// One has a fault, or cannot be read.
pub fn verify_files(report: &Report, files: &[PathBuf]) -> Result<(), Error> {
    let verdicts: Vec<Verdict> =
        files.iter().map(|file| verify(file, None)).collect::<Result<_, _>>()?;
    for verdict in &verdicts {
        report.line(verdict.summary());
        verdict.faults.iter().for_each(|fault| report.line(verdict.fault_line(fault)));
    }
    // Outside of the source tree there is no report to be made.
    if let Ok(root) = workspace::root() {
        verdicts.iter().try_for_each(|verdict| verdict.keep(&root, "verify", &json!(verdict)))?;
    }
    report.document(&verdicts);
    let faulty = verdicts.iter().filter(|v| !v.faults.is_empty()).count();
    if faulty == 0 { Ok(()) } else { Err(Error::Faulty { faulty, total: files.len() }) }
}

impl Verdict {
    /// Keeps a result about its plugin.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep(&self, root: &Path, kind: &str, result: &Value) -> Result<(), Error> {
        let (Some(release), Some(arch)) = (&self.slurm, &self.arch) else { return Ok(()) };
        results::write(root, &format!("{kind}-{release}-{arch}"), result)
    }

    /// One line for people.
    pub fn summary(&self) -> String {
        format!(
            "{}: for Slurm {}, {} KiB, needs glibc {}, {}",
            self.file.display(),
            self.slurm.as_deref().unwrap_or("?"),
            self.size.div_ceil(1024),
            self.glibc.as_deref().unwrap_or("?"),
            if self.faults.is_empty() { "verified" } else { "FAULTY" }
        )
    }

    /// One line about one of its faults.
    pub fn fault_line(&self, fault: &str) -> String {
        format!("{}: {fault}", self.file.display())
    }
}

/// Looks at one file; `expected` is the release it was built for, where that is known.
///
/// # Errors
/// It cannot be read.
pub fn verify(file: &Path, expected: Option<&str>) -> Result<Verdict, Error> {
    let bytes = fs::read(file).map_err(Error::io("read", file))?;
    let mut verdict = Verdict {
        file: file.to_path_buf(),
        size: bytes.len() as u64,
        sha256: workspace::hex(&Sha256::digest(&bytes)),
        slurm: None,
        arch: None,
        glibc: None,
        faults: Vec::new(),
    };
    let library = match Library::read(&bytes) {
        Ok(library) => library,
        Err(e) => {
            verdict.faults.push(format!("no shared library: {e}"));
            return Ok(verdict);
        }
    };
    verdict.glibc = library.newest_glibc();
    verdict.faults.extend(too_large(&bytes));
    let faults = &mut verdict.faults;
    linking(&library, faults);
    match Stamp::from_elf(&bytes) {
        Ok(stamp) => {
            match stamped(&stamp, &bytes, expected, faults) {
                Some(release) => symbols(&library, release, faults),
                None => faults.push(format!("no such Slurm release: {}", stamp.slurm)),
            }
            verdict.arch = stamp.target.split('-').next().map(str::to_owned);
            verdict.slurm = Some(stamp.slurm);
        }
        Err(e) => faults.push(e.to_string()),
    }
    Ok(verdict)
}

/// More bytes than a plugin for its processor may have.
fn too_large(bytes: &[u8]) -> Option<String> {
    let aarch64 = Elf::parse(bytes).is_some_and(|elf| elf.machine() == AARCH64);
    let most = if aarch64 { MOST_AARCH64 } else { MOST };
    let size = bytes.len() as u64;
    (size > most).then(|| format!("{size} bytes, more than {most}"))
}

/// How it was linked.
fn linking(library: &Library, faults: &mut Vec<String>) {
    if !library.nodelete {
        faults.push("not linked with -z nodelete: dlclose would leave destructors behind".into());
    }
    if library.unstripped {
        faults.push("not stripped".into());
    }
    for needed in &library.needed {
        if !LIBRARIES.iter().any(|known| needed.starts_with(known)) {
            faults.push(format!("needs the library {needed}"));
        }
    }
}

/// The stamp, and what must agree with it; the release it names.
fn stamped(
    stamp: &Stamp,
    bytes: &[u8],
    expected: Option<&str>,
    faults: &mut Vec<String>,
) -> Option<&'static Release> {
    let release = slurm_releases::release(&stamp.slurm)?;
    if let Some(expected) = expected.filter(|expected| *expected != stamp.slurm) {
        faults.push(format!("stamped for Slurm {}, built for {expected}", stamp.slurm));
    }
    if stamp.number >> 8 != release.number >> 8 {
        faults.push(format!("stamped with number {:#08x}, not of {}", stamp.number, release.name));
    }
    if stamp.api != release.api {
        faults.push(format!("stamped with API {}, not {}", stamp.api, release.api));
    }
    let exported = Elf::parse(bytes);
    match exported.and_then(|elf| elf.number("plugin_version")) {
        Some(number) if number == stamp.number => {}
        Some(number) => faults
            .push(format!("plugin_version is {number:#08x}, the stamp says {:#08x}", stamp.number)),
        None => faults.push("no readable plugin_version".into()),
    }
    let name = format!("{}\0", stamp.plugin);
    for (symbol, value) in [("plugin_name", name.as_str()), ("plugin_type", "spank\0")] {
        if exported.and_then(|elf| elf.datum(symbol)) != Some(value.as_bytes()) {
            faults.push(format!("{symbol} is not {:?}", value.trim_end_matches('\0')));
        }
    }
    Some(release)
}

/// What it exports and wants, against what its release has.
fn symbols(library: &Library, release: &Release, faults: &mut Vec<String>) {
    let own = ["plugin_name", "plugin_type", "plugin_version", SYMBOL];
    let expected = || own.iter().chain(release.version_symbols).chain(release.data).chain(HOOKS);
    for name in expected().filter(|name| !library.exports.contains(**name)) {
        faults.push(format!("does not export {name}"));
    }
    for name in OFFERED.iter().filter(|name| !library.indirect.contains(**name)) {
        faults.push(format!("{name} is always there: Slurm would start a process for each job"));
    }
    for name in &library.exports {
        if !expected().any(|known| known == name) {
            faults.push(format!("exports {name}"));
        }
    }
    for name in &library.wants {
        if !release.functions.contains(&name.as_str()) {
            faults.push(format!("wants {name}, which Slurm {} does not have", release.name));
        }
    }
}

/// Is version `a` newer than `b`?
pub fn newer(a: &str, b: &str) -> bool {
    numbers(a) > numbers(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF header for the processor with this number, and zeros to `size` bytes.
    fn file(machine: u8, size: u64) -> Vec<u8> {
        let mut bytes = vec![0; size as usize];
        // 64 bits, little endian, version 1.
        bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        // ET_DYN, e_machine, e_version, e_ehsize.
        (bytes[16], bytes[18], bytes[20], bytes[52]) = (3, machine, 1, 64);
        bytes
    }

    #[test]
    fn each_processor_has_its_own_limit_of_size() {
        for (machine, most) in [(62, 500 * 1024), (183, 576 * 1024)] {
            assert_eq!(too_large(&file(machine, most)), None);
            let fault = too_large(&file(machine, most + 1)).unwrap();
            assert_eq!(fault, format!("{} bytes, more than {most}", most + 1));
        }
    }
}
