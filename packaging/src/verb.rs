//! The verb itself: what is asked for, and what is reported.

use crate::compile::{self, Main};
use crate::contents::{self, Documents};
use crate::error::Error;
use crate::kinds::{Arch, Format};
use crate::package::{EntryKind, Package, Written};
use crate::{deb, facts, rpm, sbom};
use build_matrix::build::{self, Target};
use build_matrix::diff;
use build_matrix::report::Report;
use build_matrix::results;
use build_matrix::workspace;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use std::{fs, thread};

/// What is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Request {
    /// Releases such as 24.11, or `all`.
    #[arg(value_name = "RELEASE")]
    releases: Vec<String>,
    /// Both, unless one is named.
    #[arg(long, value_enum)]
    format: Vec<Format>,
    /// For which processor.
    #[arg(long, value_enum, default_value = "x86_64")]
    arch: Arch,
    /// Build against the spank.h found here, as `build --slurm`.
    #[arg(long, value_name = "PATH")]
    slurm: Option<PathBuf>,
    /// The oldest glibc that the packages run with; `host` for this machine's, without zig.
    #[arg(long, value_name = "VERSION", default_value = "2.28")]
    glibc: String,
    /// Only the packages of the releases, for nodes that have the others.
    #[arg(long)]
    builds_only: bool,
    /// One package with all that is needed for one Slurm, under the name and version of the original's.
    #[arg(long, conflicts_with_all = ["builds_only", "tree"])]
    single: bool,
    /// Where to put them.
    #[arg(long, value_name = "DIR", default_value = "dist")]
    out: PathBuf,
    /// Write no packages, but their files below DIR/PACKAGE: for dpkg-buildpackage and rpmbuild.
    #[arg(long, value_name = "DIR")]
    tree: Option<PathBuf>,
}

/// Builds, packages and writes.
pub(crate) fn package(report: &Report, request: &Request) -> Result<(), Error> {
    let start = Instant::now();
    let root = workspace::root()?;
    let release = facts::load(&root)?;
    let everything = ["all".to_owned()];
    let asked = match (request.releases.as_slice(), &request.slurm) {
        ([], None) => &everything,
        (names, _) => names,
    };
    let targets = build::targets(asked, request.slurm.as_deref())?;
    if request.single && targets.len() != 1 {
        return Err(Error::OneSlurm);
    }
    if request.slurm.is_some() {
        diff::announce(report, &targets)?;
    }
    let Request { arch, ref glibc, builds_only, .. } = *request;
    let built = compile::compile(report, &root, &targets, arch, glibc, builds_only)?;
    let documents = match &built.main {
        None => None,
        Some(main) => Some(Documents {
            generated: generate(&root, main, arch)?,
            sbom: sbom::sbom(&root, arch.target(), &release.version)?,
        }),
    };

    fs::create_dir_all(&request.out).map_err(Error::io("make", &request.out))?;
    let packages = wanted(&built, documents.as_ref(), &release, request)?;
    let written = match request.single {
        true => write_all(&packages, &standing_in(&release, &targets[0]), request)?,
        false => write_all(&packages, &release, request)?,
    };
    for package in &written {
        let size = package.size.div_ceil(1024);
        report.line(format_args!("{}: {size} KiB", package.file.display()));
    }
    let seconds = start.elapsed().as_secs_f64();
    report.line(format_args!("{} packages in {seconds:.1} s", written.len()));
    let parts = built.plugins.iter().map(|(name, part)| {
        json!({
            "release": name, "seconds": part.seconds, "glibc": part.glibc,
            "size": part.split.stripped.len(), "file": part.file,
        })
    });
    let document = json!({
        "version": release.version, "arch": request.arch.name(), "seconds": seconds,
        "glibc_floor": request.glibc, "plugins": parts.collect::<Vec<_>>(), "packages": written,
        "loader": built.main.as_ref().map(|main| main.loader.split.stripped.len()),
        "command": built.main.as_ref().map(|main| main.command.split.stripped.len()),
    });
    if !written.is_empty() && !request.single {
        results::write(&root, &format!("package-{}", request.arch.name()), &document)?;
    }
    report.document(&document);
    Ok(())
}

/// The packages that are asked for; those of a tree are laid out instead.
fn wanted(
    built: &compile::Built,
    documents: Option<&Documents>,
    release: &facts::Release,
    request: &Request,
) -> Result<Vec<(Format, Package)>, Error> {
    let arch = request.arch;
    let mut packages = Vec::new();
    for format in [Format::Deb, Format::Rpm] {
        if !request.format.is_empty() && !request.format.contains(&format) {
            continue;
        }
        if let (true, Some(documents)) = (request.single, documents) {
            let package = contents::single(built, documents, release, format, arch);
            packages.extend(package.map(|package| (format, package)));
            continue;
        }
        for package in contents::packages(built, documents, release, format, arch) {
            match &request.tree {
                Some(tree) => lay_out(&package, &tree.join(&package.name))?,
                None => packages.push((format, package)),
            }
        }
    }
    Ok(packages)
}

/// Under the version that sites know: their Slurm's, and the original's.
fn standing_in(release: &facts::Release, target: &Target) -> facts::Release {
    let number = target.headers.as_ref().map_or(target.release.number, |headers| headers.number);
    let slurm = format!("{}.{}", slurm_releases::header::release_name(number), number & 0xff);
    let version = format!("{slurm}-{}", build_matrix::lists::ORIGINAL);
    facts::Release { version, ..release.clone() }
}

/// Compresses with all cores.
fn write_all(
    packages: &[(Format, Package)],
    release: &facts::Release,
    request: &Request,
) -> Result<Vec<Written>, Error> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let share = packages.len().div_ceil(cores).max(1);
    let write_share = |packages: &[(Format, Package)]| {
        packages.iter().map(|(format, p)| write(p, release, *format, request)).collect()
    };
    thread::scope(|scope| {
        let shares: Vec<_> = packages
            .chunks(share)
            .map(|share| scope.spawn(move || -> Result<Vec<Written>, Error> { write_share(share) }))
            .collect();
        let results = shares.into_iter().map(|share| share.join().expect("no panic"));
        results.collect::<Result<Vec<_>, _>>().map(|written| written.concat())
    })
}

/// The files alone; debug symbols are the other tool's concern.
fn lay_out(package: &Package, dir: &Path) -> Result<(), Error> {
    for entry in package.files.iter().filter(|_| !package.debug) {
        let path = dir.join(&entry.path);
        let (parent, file) = match &entry.what {
            EntryKind::Directory => (path.as_path(), None),
            // Only packages of debug symbols have any.
            EntryKind::Link(_) => continue,
            EntryKind::File { bytes, mode } => (path.parent().unwrap_or(dir), Some((bytes, *mode))),
        };
        fs::create_dir_all(parent).map_err(Error::io("make", parent))?;
        if let Some((bytes, mode)) = file {
            fs::write(&path, bytes).map_err(Error::io("write", &path))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))
                .map_err(Error::io("change", &path))?;
        }
    }
    Ok(())
}

fn write(
    package: &Package,
    release: &facts::Release,
    format: Format,
    request: &Request,
) -> Result<Written, Error> {
    let (bytes, name) = match format {
        Format::Deb => {
            let arch = request.arch.debian();
            let shown = if package.any_arch { "all" } else { arch };
            // An rpm has the second part for its revision; a deb's comes after both.
            let revised = facts::Release {
                version: format!("{}-{}", release.version, release.facts.revision),
                ..release.clone()
            };
            let release = if request.single { &revised } else { release };
            let name = format!("{}_{}_{shown}.deb", package.name, release.version);
            (deb::deb(package, release, arch)?, name)
        }
        Format::Rpm => {
            let arch = request.arch.name();
            let shown = if package.any_arch { "noarch" } else { arch };
            let name = format!("{}-{}.{shown}.rpm", package.name, release.version);
            (rpm::rpm(package, release, arch)?, name)
        }
    };
    let file = request.out.join(name);
    fs::write(&file, &bytes).map_err(Error::io("write", &file))?;
    let sha256 = workspace::hex(&Sha256::digest(&bytes));
    Ok(Written { file, package: package.name.clone(), size: bytes.len() as u64, sha256 })
}

/// Man pages and completions, by the command itself; one of this machine's processor writes them.
fn generate(root: &Path, main: &Main, arch: Arch) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let mut found = facts::tree(&root.join("packaging/share"))?;
    for what in ["man", "completions"] {
        let dir = root.join("target/package/generated").join(what);
        let _ = fs::remove_dir_all(&dir);
        let mut command = if arch.name() == std::env::consts::ARCH {
            Command::new(&main.command.file)
        } else {
            let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
            // RUSTC may be one for the other processor alone.
            cargo.current_dir(root).env_remove("RUSTC").args([
                "run",
                "-q",
                "--release",
                "-p",
                "pyxis",
                "--",
            ]);
            cargo
        };
        let failed = |why| Error::command(format!("pyxis generate {what}"), why);
        let status = command.args(["generate", what]).arg(&dir).status();
        if !status.map_err(|e| failed(Some(e)))?.success() {
            return Err(failed(None));
        }
        found.extend(facts::tree(&dir)?.into_iter().map(|(name, text)| (place(&name), text)));
    }
    Ok(found)
}

/// Where a generated file belongs below /usr/share, to Debian.
fn place(name: &str) -> String {
    match name.rsplit_once('.') {
        Some((_, "bash")) => "bash-completion/completions/pyxis".into(),
        Some((_, "fish")) => format!("fish/vendor_completions.d/{name}"),
        Some((_, section)) => format!("man/man{section}/{name}"),
        None => format!("zsh/vendor-completions/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use build_matrix::headers::Headers;

    #[test]
    fn the_one_package_has_the_slurms_version_and_the_originals() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let release = facts::load(root).unwrap();
        let slurm = slurm_releases::release("24.11").unwrap();
        let built = Target { release: slurm, headers: None };
        assert_eq!(standing_in(&release, &built).version, format!("{}-0.24.0", slurm.latest));
        let headers = Some(Headers { include: "/opt/slurm/include".into(), number: 0x18_0b05 });
        let built = Target { release: slurm, headers };
        assert_eq!(standing_in(&release, &built).version, "24.11.5-0.24.0");
    }
}
