//! `bindings`: what is committed, made again from the data files.

use crate::cargo::{self, Cargo};
use crate::error::Error;
use crate::lists::LISTS;
use crate::report::Report;
use crate::workspace;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

/// Makes every file, or with `check` only compares.
///
/// # Errors
/// One cannot be made, or with `check` is not as it would be made.
pub fn bindings(report: &Report, check: bool) -> Result<(), Error> {
    let root = workspace::root()?;
    let releases = workspace::releases(&root)?;
    let mut changes = Changes { check, root: root.clone(), changed: Vec::new() };

    // First, so that cargo knows the feature of a new release.
    for (name, make) in LISTS {
        changes.file(name, |old| make(old, &releases))?;
    }
    if check && !changes.changed.is_empty() {
        return Err(Error::Stale(changes.changed));
    }

    let progress = report.progress(releases.len());
    for release in &releases {
        progress.start(&release.name);
        let features = format!("real-header,{}", slurm_releases::feature(&release.name));
        let args = ["check", "-p", "spank-bindings", "--lib", "--features", features.as_str()];
        let messages =
            Cargo::new(&root, &args).env("SLURM_SPANK_INCLUDE", "facts").run(&progress)?;
        let out = cargo::out_dir(&messages, "spank-bindings")
            .ok_or(Error::NoArtifact { what: "build script", release: release.name.clone() })?;
        let made = out.join("bindings.rs");
        let text = fs::read_to_string(&made).map_err(Error::io("read", &made))?;
        let name = format!("spank-bindings/{}", slurm_releases::bindings_file(&release.name));
        changes.file(&name, |_| Some(text))?;
        progress.done(report, format_args!("{}: {name}", release.name));
    }
    progress.finish();
    report.document(&json!({ "check": check, "changed": changes.changed }));
    if check && !changes.changed.is_empty() {
        return Err(Error::Stale(changes.changed));
    }
    Ok(())
}

/// Files made, and which of them are not as they were.
struct Changes {
    check: bool,
    root: PathBuf,
    changed: Vec<String>,
}

impl Changes {
    /// Replaces the text of the file `name` by what `make` makes of it.
    fn file(&mut self, name: &str, make: impl FnOnce(&str) -> Option<String>) -> Result<(), Error> {
        let path = self.root.join(name);
        let old = fs::read_to_string(&path).unwrap_or_default();
        let new = make(&old).ok_or_else(|| Error::NoList { path: path.clone() })?;
        if new != old {
            self.changed.push(name.to_owned());
            if !self.check {
                write(&path, &new)?;
            }
        }
        Ok(())
    }
}

/// In one step, so that nobody reads half a file.
fn write(path: &Path, text: &str) -> Result<(), Error> {
    let new = path.with_extension("new");
    fs::write(&new, text).map_err(Error::io("write", &new))?;
    fs::rename(&new, path).map_err(Error::io("write", path))
}
