//! `build`: the plugin for each release asked for, verified.

use crate::cargo::{self, Cargo};
use crate::error::Error;
use crate::headers::{self, Headers};
use crate::report::{Progress, Report};
use crate::verify::{self, Verdict};
use crate::workspace;
use serde_json::{Value, json};
use slurm_releases::stamp::Stamp;
use slurm_releases::{RELEASES, Release, bindings_hash};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;
use std::{fs, thread};

/// One build to make.
#[derive(Debug)]
pub struct Target {
    /// For this release.
    pub release: &'static Release,
    /// The header that decides; without one, the committed bindings.
    pub headers: Option<Headers>,
}

impl Target {
    /// Cargo features of the plugin.
    pub fn features(&self) -> String {
        let real = if self.headers.is_some() { ",spank-bindings/real-header" } else { "" };
        self.release.feature() + real
    }
}

/// What the command line asks for.
///
/// # Errors
/// A release or a Slurm that is not there.
pub fn targets(asked: &[String], slurm: Option<&Path>) -> Result<Vec<Target>, Error> {
    let known = |name: &String| {
        slurm_releases::release(name).ok_or_else(|| Error::NoRelease { asked: name.clone() })
    };
    let releases: Vec<&'static Release> = match asked {
        [all] if all == "all" => RELEASES.iter().collect(),
        names => names.iter().map(known).collect::<Result<_, _>>()?,
    };
    let headers = match (slurm, releases.as_slice()) {
        (None, []) => headers::installed()?,
        (None, _) => {
            let target = |release| Target { release, headers: None };
            return Ok(releases.into_iter().map(target).collect());
        }
        (Some(path), [] | [_]) => {
            headers::resolve(path, &workspace::root()?.join("target/slurm-headers"))?
        }
        (Some(_), _) => return Err(Error::OneHeader),
    };
    let (path, found) = (headers.include.clone(), headers.release());
    if let Some(asked) = releases.first().filter(|asked| asked.name != found) {
        return Err(Error::OtherRelease { path, found, asked: asked.name.into() });
    }
    let release = slurm_releases::release(&found).ok_or(Error::Unsupported { path, found })?;
    Ok(vec![Target { release, headers: Some(headers) }])
}

/// rustc makes one program in one thread, the way the plugin is built: two cores have work with two
/// at a time, each lane in a target directory of its own, which cargo locks.
const LANES: usize = 2;

/// Builds and verifies each; begins no other when one does not build.
///
/// # Errors
/// One does not build, or is not what it should be.
pub fn build(report: &Report, targets: &[Target], out: &Path) -> Result<(), Error> {
    let root = workspace::root()?;
    let _alone = workspace::lock(&root)?;
    let progress = report.progress(targets.len());
    let queue = Mutex::new((0..targets.len()).rev().collect::<Vec<_>>());
    let results = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for lane in 0..LANES.min(targets.len()) {
            let (root, progress, queue, results) = (&root, &progress, &queue, &results);
            scope.spawn(move || {
                loop {
                    let Some(at) = queue.lock().expect("no panic").pop() else { break };
                    let result = build_next(report, &targets[at], root, out, progress, lane);
                    if result.is_err() {
                        queue.lock().expect("no panic").clear();
                    }
                    results.lock().expect("no panic").push((at, result));
                }
            });
        }
    });
    progress.finish();
    let mut results = results.into_inner().expect("no panic");
    results.sort_by_key(|(at, _)| *at);
    let results: Vec<Value> = results.into_iter().map(|(_, r)| r).collect::<Result<_, _>>()?;
    report.document(&results);
    let faults =
        |result: &&Value| result["verdict"]["faults"].as_array().is_some_and(|f| !f.is_empty());
    match results.iter().filter(faults).count() {
        0 => Ok(()),
        faulty => Err(Error::Faulty { faulty, total: targets.len() }),
    }
}

/// Builds one, says how it went and keeps that for the report.
fn build_next(
    report: &Report,
    target: &Target,
    root: &Path,
    out: &Path,
    progress: &Progress,
    lane: usize,
) -> Result<Value, Error> {
    progress.start(target.release.name);
    let start = Instant::now();
    let verdict = build_one(target, root, out, progress, lane)?;
    let seconds = start.elapsed().as_secs_f64();
    progress.done(report, format_args!("{}, {seconds:.1} s", verdict.summary()));
    verdict.faults.iter().for_each(|fault| report.line(verdict.fault_line(fault)));
    let result = json!({
        "release": target.release.name,
        "seconds": seconds,
        "header": target.headers.as_ref().map(|h| &h.include),
        "verdict": verdict,
    });
    verdict.keep(root, "build", &result)?;
    Ok(result)
}

fn build_one(
    target: &Target,
    root: &Path,
    out: &Path,
    progress: &Progress,
    lane: usize,
) -> Result<Verdict, Error> {
    let name = target.release.name;
    let features = target.features();
    // As a cdylib alone: with the rlib that tests and fuzz targets link, cargo leaves out LTO.
    let args = [
        "rustc",
        "--release",
        "--package=plugin",
        "--lib",
        "--crate-type=cdylib",
        "--features",
        features.as_str(),
    ];
    let mut cargo = Cargo::new(root, &args).small();
    if lane > 0 {
        cargo = cargo.env("CARGO_TARGET_DIR", root.join(format!("target/lane{lane}")));
    }
    if let Some(headers) = &target.headers {
        cargo = cargo.env("SLURM_SPANK_INCLUDE", &headers.include);
    }
    let messages = cargo.run(progress)?;
    let made = cargo::shared_library(&messages, "spank_pyxis")
        .ok_or(Error::NoArtifact { what: "spank_pyxis.so", release: name.into() })?;
    let file = place(&made, &out.join(name))?;

    let mut verdict = verify::verify(&file, Some(name))?;
    check_bindings(target, root, &file, &mut verdict)?;
    Ok(verdict)
}

/// Copies the .so under a name of its own first: a Slurm may have the old one mapped.
fn place(made: &Path, dir: &Path) -> Result<PathBuf, Error> {
    fs::create_dir_all(dir).map_err(Error::io("make", dir))?;
    let (file, new) = (dir.join("spank_pyxis.so"), dir.join(".spank_pyxis.so.new"));
    fs::copy(made, &new).map_err(Error::io("copy", made))?;
    fs::rename(&new, &file).map_err(Error::io("write", &file))?;
    Ok(file)
}

/// Without a header it must be the committed bindings that were used, with one the header's number.
fn check_bindings(
    target: &Target,
    root: &Path,
    file: &Path,
    verdict: &mut Verdict,
) -> Result<(), Error> {
    let bytes = fs::read(file).map_err(Error::io("read", file))?;
    let Ok(stamp) = Stamp::from_elf(&bytes) else { return Ok(()) };
    let number = target.headers.as_ref().map_or(target.release.number, |h| h.number);
    if stamp.number != number {
        verdict.faults.push(format!("stamped {:#08x}, not {number:#08x}", stamp.number));
    }
    if target.headers.is_none() {
        let committed = bindings_hash(&workspace::bindings(root, target.release.name)?);
        if stamp.bindings != committed {
            let built = &stamp.bindings;
            verdict.faults.push(format!("built with bindings {built}, committed are {committed}"));
        }
    }
    Ok(())
}
