//! `repo`: packages in folders that apt and dnf take as repositories.
//!
//! The lists are made by the distributions' own programs; a signature is the site's key's.

use crate::error::Error;
use build_matrix::report::Report;
use build_matrix::workspace;
use serde_json::json;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Repository {
    /// Where to: DIR/deb and DIR/rpm are made anew.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Where the packages are.
    #[arg(long, value_name = "DIR", default_value = "dist")]
    from: PathBuf,
    /// Sign lists and rpms with this key of gpg's.
    #[arg(long, value_name = "KEY")]
    sign: Option<String>,
}

/// Makes both.
pub(crate) fn repository(report: &Report, request: &Repository) -> Result<(), Error> {
    let (debs, rpms) = (packages(&request.from, "deb")?, packages(&request.from, "rpm")?);
    if debs.is_empty() && rpms.is_empty() {
        return Err(Error::NoPackages { path: request.from.clone() });
    }
    let sign = request.sign.as_deref();
    let (deb, rpm) = (request.dir.join("deb"), request.dir.join("rpm"));
    // Both would be empty before a package is copied.
    for package in debs.iter().chain(&rpms) {
        let real = absolute(package)?;
        let inside = |dir| fs::canonicalize(dir).is_ok_and(|dir| real.starts_with(dir));
        if inside(&deb) || inside(&rpm) {
            return Err(Error::MadeAnew { path: package.clone() });
        }
    }
    if !debs.is_empty() {
        fill(&deb, &debs)?;
        apt(&deb, sign)?;
        let deb = absolute(&deb)?;
        let trust = if sign.is_some() {
            format!("signed-by={}", deb.join("pyxis.asc").display())
        } else {
            "trusted=yes".into()
        };
        report.line(format_args!("apt: deb [{trust}] file:{} ./", deb.display()));
    }
    if !rpms.is_empty() {
        let copies = fill(&rpm, &rpms)?;
        dnf(&rpm, &copies, sign)?;
        report.line(format_args!("dnf: baseurl=file://{}", absolute(&rpm)?.display()));
    }
    report.document(&json!({ "dir": request.dir, "debs": debs.len(), "rpms": rpms.len() }));
    Ok(())
}

fn packages(dir: &Path, extension: &str) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::io("list", dir))? {
        let path = entry.map_err(Error::io("list", dir))?.path();
        if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn absolute(dir: &Path) -> Result<PathBuf, Error> {
    fs::canonicalize(dir).map_err(Error::io("open", dir))
}

/// An empty `dir` with copies of the packages.
fn fill(dir: &Path, packages: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(Error::io("remove", dir)(e)),
        _ => {}
    }
    fs::create_dir_all(dir).map_err(Error::io("make", dir))?;
    let copy = |from: &PathBuf| {
        let to = dir.join(from.file_name().unwrap_or_default());
        fs::copy(from, &to).map_err(Error::io("copy", from))?;
        Ok(to)
    };
    packages.iter().map(copy).collect()
}

/// A flat repository: Packages, Release, and with a key InRelease and the key.
fn apt(dir: &Path, sign: Option<&str>) -> Result<(), Error> {
    let apt = |args: &[&str]| run(dir, ("apt-ftparchive", "apt-utils"), args);
    let list = apt(&["packages", "."])?;
    write(&dir.join("Packages"), &list)?;
    let facts = ["Origin=pyxis", "Label=pyxis", "Suite=stable", "Architectures=amd64 arm64"];
    let facts = facts.map(|fact| format!("APT::FTPArchive::Release::{fact}"));
    let mut args: Vec<&str> = facts.iter().flat_map(|fact| ["-o", fact]).collect();
    args.extend(["release", "."]);
    let release = apt(&args)?;
    write(&dir.join("Release"), &release)?;
    if let Some(key) = sign {
        gpg(dir, key, &["--clearsign", "--output", "InRelease", "Release"])?;
        gpg(dir, key, &["--detach-sign", "--armor", "--output", "Release.gpg", "Release"])?;
        export(dir, key)?;
    }
    Ok(())
}

/// repodata/; with a key the rpms, the list and the key.
fn dnf(dir: &Path, rpms: &[PathBuf], sign: Option<&str>) -> Result<(), Error> {
    if let Some(key) = sign {
        let name = format!("_gpg_name {key}");
        // rpm wants its path, and not every distribution's default is right.
        let gpg = workspace::find_in_path(&env::var_os("PATH").unwrap_or_default(), "gpg")
            .ok_or(Error::NoTool { program: "gpg", package: "gpg" })?;
        let gpg = format!("__gpg {}", gpg.display());
        let rpms = rpms.iter().filter_map(|rpm| rpm.file_name()?.to_str());
        let options = ["--define", &name, "--define", &gpg, "--addsign"];
        let args: Vec<&str> = options.into_iter().chain(rpms).collect();
        run(dir, ("rpmsign", "rpm (rpm-sign)"), &args)?;
    }
    run(dir, ("createrepo_c", "createrepo-c"), &["--quiet", "--no-database", "."])?;
    if let Some(key) = sign {
        gpg(&dir.join("repodata"), key, &["--detach-sign", "--armor", "repomd.xml"])?;
        export(dir, key)?;
    }
    Ok(())
}

fn gpg(dir: &Path, key: &str, args: &[&str]) -> Result<Vec<u8>, Error> {
    let all: Vec<&str> =
        ["--batch", "--yes", "--local-user", key].iter().chain(args).copied().collect();
    run(dir, ("gpg", "gpg"), &all)
}

fn export(dir: &Path, key: &str) -> Result<(), Error> {
    write(&dir.join("pyxis.asc"), &gpg(dir, key, &["--armor", "--export", key])?)
}

fn write(file: &Path, bytes: &[u8]) -> Result<(), Error> {
    fs::write(file, bytes).map_err(Error::io("write", file))
}

/// What a program prints; its complaints go to stderr.
fn run(
    dir: &Path,
    (program, package): (&'static str, &'static str),
    args: &[impl AsRef<OsStr>],
) -> Result<Vec<u8>, Error> {
    let mut command = Command::new(program);
    command.current_dir(dir).args(args).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().map_err(|e| match e.kind() {
        ErrorKind::NotFound => Error::NoTool { program, package },
        _ => Error::command(program, Some(e)),
    })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(Error::command(format!("{program} in {}", dir.display()), None))
}
