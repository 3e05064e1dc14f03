//! Builds everything that is shipped, for one processor and an old glibc, two at a time.
//!
//! Paths of this machine are mapped to fixed ones, so that the same source gives the same bytes
//! wherever it is built.

use crate::debug::{self, Split};
use crate::error::Error;
use crate::kinds::Arch;
use crate::unwinder::unwinder;
use build_matrix::build::Target;
use build_matrix::cargo::{self, Cargo, FRAME_POINTERS};
use build_matrix::error::Error as Building;
use build_matrix::report::{Progress, Report};
use build_matrix::verify;
use build_matrix::workspace;
use nix::fcntl::Flock;
use sha2::{Digest, Sha256};
use slurm_releases::elf::Library;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;
use std::{env, fs, path, thread};

/// Cargo locks its target directory, and rustc optimizes a whole program in one thread: with one
/// directory per lane two cores have work.
const LANES: usize = 2;

/// The programs, stripped.
#[derive(Debug)]
pub(crate) struct Built {
    /// What the package `pyxis` has, unless only builds are wanted.
    pub(crate) main: Option<Main>,
    /// By release.
    pub(crate) plugins: BTreeMap<String, Part>,
    /// Until they are in packages.
    _alone: Flock<File>,
}

/// The programs that are the same for all releases.
#[derive(Debug)]
pub(crate) struct Main {
    pub(crate) command: Part,
    pub(crate) loader: Part,
}

/// One program.
#[derive(Debug)]
pub(crate) struct Part {
    /// As the compiler made it.
    pub(crate) file: PathBuf,
    pub(crate) split: Split,
    /// The newest glibc it wants anything of.
    pub(crate) glibc: Option<String>,
    /// It wants gcc's library for unwinding, as what is loaded into Slurm does.
    pub(crate) libgcc: bool,
    pub(crate) seconds: f64,
}

#[derive(Debug, Clone, Copy)]
enum Job<'a> {
    Command,
    Loader,
    Plugin(&'a Target),
}

/// Builds for `arch`, such that nothing newer than glibc `floor` is needed.
pub(crate) fn compile(
    report: &Report,
    root: &Path,
    targets: &[Target],
    arch: Arch,
    floor: &str,
    builds_only: bool,
) -> Result<Built, Error> {
    // Taken from the end: the command takes longest.
    let plugins = targets.iter().map(Job::Plugin).enumerate();
    let mut jobs: Vec<(usize, Job<'_>)> = plugins.map(|(i, job)| (i % LANES, job)).collect();
    if !builds_only {
        jobs.extend([(1, Job::Loader), (0, Job::Command)]);
    }
    let progress = report.progress(jobs.len());
    let setup = setup(root, arch, floor)?;
    let alone = workspace::lock(root)?;
    let queue = Mutex::new(jobs);
    let results = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for lane in 0..LANES {
            let (queue, results, setup, progress) = (&queue, &results, &setup, &progress);
            scope.spawn(move || {
                loop {
                    let job = next(&mut queue.lock().expect("no panic"), lane);
                    let Some(job) = job else { break };
                    let result = setup.run(lane, job, progress);
                    match &result {
                        Ok(part) => {
                            let seconds = part.seconds;
                            progress.done(report, format_args!("{}, {seconds:.1} s", name(job)));
                        }
                        // Nothing more is begun.
                        Err(_) => queue.lock().expect("no panic").clear(),
                    }
                    results.lock().expect("no panic").push((job, result));
                }
            });
        }
    });
    progress.finish();

    let (mut command, mut loader, mut plugins) = (None, None, BTreeMap::new());
    for (job, result) in results.into_inner().expect("no panic") {
        let part = result?;
        match job {
            Job::Command => command = Some(part),
            Job::Loader => loader = Some(part),
            Job::Plugin(target) => drop(plugins.insert(target.release.name.to_owned(), part)),
        }
    }
    let main = command.zip(loader).map(|(command, loader)| Main { command, loader });
    Ok(Built { main, plugins, _alone: alone })
}

/// What a lane has built before it builds again soonest; it helps the other when out of work.
fn next<'a>(jobs: &mut Vec<(usize, Job<'a>)>, lane: usize) -> Option<Job<'a>> {
    let own = jobs.iter().rposition(|(preferred, _)| *preferred == lane);
    own.map(|at| jobs.remove(at)).or_else(|| jobs.pop()).map(|(_, job)| job)
}

fn name(job: Job<'_>) -> String {
    match job {
        Job::Command => "pyxis".into(),
        Job::Loader => "loader".into(),
        Job::Plugin(target) => format!("plugin for Slurm {}", target.release.name),
    }
}

/// What all builds have in common.
struct Setup<'a> {
    root: &'a Path,
    arch: Arch,
    floor: &'a str,
    path: OsString,
    /// cargo-zigbuild, unless it is for this machine's glibc.
    zig: Option<PathBuf>,
    /// Cargo does not notice another linker: what it makes is kept apart.
    linker: String,
    /// What zig links plugins against instead of an unwinder of its own, from the root.
    unwinder: Option<PathBuf>,
}

impl Setup<'_> {
    #[expect(
        clippy::too_many_lines,
        reason = "one run of cargo after the other, each with its settings"
    )]
    fn run(&self, lane: usize, job: Job<'_>, progress: &Progress) -> Result<Part, Error> {
        progress.start(&name(job));
        let start = Instant::now();
        let triple = match &self.zig {
            None => self.arch.target().to_owned(),
            Some(_) => format!("{}.{}", self.arch.target(), self.floor),
        };
        let mut args: Vec<&str> = vec!["rustc", "--locked", "--target", &triple];
        let features;
        let made = match job {
            Job::Command => {
                args.extend(["--release", "-p", "pyxis", "--bin", "pyxis"]);
                "pyxis"
            }
            Job::Loader => {
                args.extend(["--profile", "loader", "-p", "loader", "--lib"]);
                "pyxis_loader"
            }
            Job::Plugin(target) => {
                features = target.features();
                // As build.rs: with the rlib beside it, cargo leaves out LTO.
                args.extend(["--release", "-p", "plugin", "--lib", "--crate-type=cdylib"]);
                args.extend(["--features", &features]);
                "spank_pyxis"
            }
        };
        let lane_dir = format!("target/package/{}-{}-{lane}", self.arch.name(), self.linker);
        let lane_dir = self.root.join(lane_dir);
        let program = self.zig.clone().map(PathBuf::into_os_string);
        let program = program.or_else(|| env::var_os("CARGO")).unwrap_or("cargo".into());
        // Not the root: zig names what is below its directory from there, and build scripts run elsewhere.
        let mut cargo = Cargo::by(program, &self.root.join("plugin"), &args)
            .env("PATH", &self.path)
            .env("CARGO_TARGET_DIR", &lane_dir)
            .env("CARGO_ENCODED_RUSTFLAGS", self.rust_flags(job, &lane_dir))
            .env("CFLAGS", self.c_flags(&lane_dir))
            // The lanes keep the cores busy: one unit each, which makes smaller code.
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
            .env("CARGO_PROFILE_RELEASE_STRIP", "none")
            .env("CARGO_PROFILE_RELEASE_DEBUG", "line-tables-only");
        if let Job::Plugin(target) = job {
            cargo = cargo.small();
            if let Some(headers) = &target.headers {
                cargo = cargo.env("SLURM_SPANK_INCLUDE", &headers.include);
            }
        }
        let messages = cargo.run(progress)?;
        let release = || self.arch.target().to_owned();
        let made = cargo::artifact(&messages, made).ok_or_else(|| {
            Error::from(Building::NoArtifact { what: "program", release: release() })
        })?;
        // The next build of the lane overwrites it.
        let dir = self.root.join("target/package").join(self.arch.name()).join(match job {
            Job::Plugin(target) => target.release.name,
            Job::Command => "command",
            Job::Loader => "loader",
        });
        fs::create_dir_all(&dir).map_err(Error::io("make", &dir))?;
        let file = dir.join(if let Job::Command = job { "pyxis" } else { "spank_pyxis.so" });
        fs::copy(&made, &file).map_err(Error::io("copy", &made))?;

        let split = debug::split(&file, self.arch)?;
        if let Job::Plugin(target) = job {
            let verdict = verify::verify(&split.file, Some(target.release.name))?;
            if !verdict.faults.is_empty() {
                return Err(Error::Unsound { path: file, faults: verdict.faults });
            }
        }
        let library = Library::read(&split.stripped).unwrap_or_default();
        let glibc = not_newer(&file, &library, self.floor)?;
        let libgcc = library.needed.iter().any(|name| name == "libgcc_s.so.1");
        Ok(Part { file, split, glibc, libgcc, seconds: start.elapsed().as_secs_f64() })
    }

    /// Directories of this machine, and what they are called instead.
    fn remapped(&self, lane: &Path) -> Vec<String> {
        let home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| {
            let home = env::home_dir()?;
            Some(home.join(".cargo"))
        });
        // The last that fits counts.
        let mut dirs = vec![(self.root.to_path_buf(), "/usr/src/pyxis")];
        dirs.push((lane.to_path_buf(), "/build"));
        let registry = home.map(|home| home.join("registry/src"));
        let sources = registry.iter().flat_map(fs::read_dir).flatten().flatten();
        dirs.extend(sources.map(|source| (source.path(), "/cargo")));
        dirs.into_iter().map(|(from, to)| format!("{}={to}", from.display())).collect()
    }

    fn rust_flags(&self, job: Job<'_>, lane: &Path) -> String {
        let remap = self.remapped(lane);
        let mut flags = vec!["-Clink-arg=-Wl,--build-id=sha1".to_owned()];
        // A process of Slurm has gcc's already. The command is one of its own, and starts sooner without.
        let unwinder = self.unwinder.iter().filter(|_| !matches!(job, Job::Command));
        // The linker runs in the root.
        flags.extend(unwinder.map(|file| format!("-Clink-arg={}", file.display())));
        flags.extend(remap.into_iter().map(|map| format!("--remap-path-prefix={map}")));
        if let Job::Plugin(_) = job {
            flags.push(FRAME_POINTERS.into());
        }
        flags.join("\x1f")
    }

    fn c_flags(&self, lane: &Path) -> String {
        let remap = self.remapped(lane);
        let flags: Vec<_> = remap.iter().map(|map| format!("-ffile-prefix-map={map}")).collect();
        flags.join(" ")
    }
}

/// The newest glibc that a program needs, which must not be newer than `floor`.
fn not_newer(file: &Path, library: &Library, floor: &str) -> Result<Option<String>, Error> {
    let newest = library.newest_glibc();
    match newest {
        Some(needed) if floor != "host" && verify::newer(&needed, floor) => {
            Err(Error::Glibc { path: file.into(), needed, floor: floor.into() })
        }
        newest => Ok(newest),
    }
}

/// With the `cargo-zigbuild` that `packaging/zig` has fetched, or the system's.
fn setup<'a>(root: &'a Path, arch: Arch, floor: &'a str) -> Result<Setup<'a>, Error> {
    let old = env::var_os("PATH").unwrap_or_default();
    if floor == "host" {
        let linker = floor.to_owned();
        return Ok(Setup { root, arch, floor, path: old, zig: None, linker, unwinder: None });
    }
    let mut dirs: Vec<PathBuf> = env::split_paths(&old).collect();
    let cache = env::var_os("PYXIS_CACHE").map_or_else(|| root.join(".cache"), PathBuf::from);
    let place = path::absolute(&cache).unwrap_or(cache).join("zig");
    // First: it looks for zig beside the first python3 of PATH.
    dirs.insert(0, place.join("bin"));
    let path = env::join_paths(dirs).unwrap_or(old);
    let zig = workspace::find_in_path(&path, "cargo-zigbuild").ok_or(Error::NoZig)?;
    let pins = fs::read(place.join("packages")).unwrap_or_default();
    let linker = format!("{floor}-{}", &workspace::hex(&Sha256::digest(pins))[..6]);
    let dir = Path::new("target/package").join(format!("{}-{linker}", arch.name()));
    let unwinder = unwinder(root, &dir, arch, &zig, &path)?;
    Ok(Setup { root, arch, floor, path, zig: Some(zig), linker, unwinder: Some(unwinder) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_needs_a_newer_glibc_than_the_floor_is_refused() {
        let program = env::current_exe().unwrap();
        let library = Library::read(&fs::read(&program).unwrap()).unwrap();
        let needed = library.newest_glibc().unwrap();
        let error = not_newer(&program, &library, "2.4").unwrap_err().to_string();
        assert!(error.contains(&format!("needs glibc {needed}, more than 2.4")), "{error}");
        assert_eq!(not_newer(&program, &library, &needed).unwrap(), Some(needed.clone()));
        assert_eq!(not_newer(&program, &library, "host").unwrap(), Some(needed));
    }

    #[test]
    fn versions_are_numbers() {
        assert!(verify::newer("2.28", "2.3.4"));
        assert!(!verify::newer("2.4", "2.28"));
    }
}
