//! `bindings`: what is committed, made again from the data files.

use crate::cargo::{self, Cargo};
use crate::error::Error;
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
    changes.file("spank-bindings/Cargo.toml", |old| features(old, &releases, |_| String::new()))?;
    changes.file("plugin/Cargo.toml", |old| {
        features(old, &releases, |feature| format!("\"spank-bindings/{feature}\""))
    })?;
    if check && !changes.changed.is_empty() {
        return Err(Error::Stale(changes.changed));
    }

    let progress = report.progress(releases.len());
    for release in &releases {
        progress.start(release);
        let features = format!("real-header,{}", slurm_releases::feature(release));
        let args = ["check", "-p", "spank-bindings", "--lib", "--features", features.as_str()];
        let messages =
            Cargo::new(&root, &args).env("SLURM_SPANK_INCLUDE", "facts").run(&progress)?;
        let out = cargo::out_dir(&messages, "spank-bindings")
            .ok_or(Error::NoArtifact { what: "build script", release: release.clone() })?;
        let made = out.join("bindings.rs");
        let text = fs::read_to_string(&made).map_err(Error::io("read", &made))?;
        let name = format!("spank-bindings/{}", slurm_releases::bindings_file(release));
        changes.file(&name, |_| Some(text))?;
        progress.done(report, format_args!("{release}: {name}"));
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
        let new = make(&old).ok_or_else(|| Error::NoFeatures { path: path.clone() })?;
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

/// A manifest with one feature line per release where its first such line was.
fn features(
    manifest: &str,
    releases: &[String],
    enables: impl Fn(&str) -> String,
) -> Option<String> {
    let is_release = |line: &&str| {
        line.strip_prefix("slurm-")
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let place = manifest.lines().position(|line| is_release(&line))?;
    let mut lines: Vec<String> =
        manifest.lines().filter(|line| !is_release(line)).map(str::to_owned).collect();
    let list = releases.iter().map(|release| {
        let feature = slurm_releases::feature(release);
        let enables = enables(&feature);
        format!("{feature} = [{enables}]")
    });
    lines.splice(place..place, list);
    Some(lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_features_is_replaced_where_it_is() {
        let old = "[features]\nmock = []\nslurm-20-11 = []\nslurm-99-99 = []\n\n[lints]\n";
        let releases = ["20.11".to_owned(), "21.08".to_owned()];
        let new = features(old, &releases, |feature| format!("\"x/{feature}\"")).unwrap();
        assert_eq!(
            new,
            "[features]\nmock = []\nslurm-20-11 = [\"x/slurm-20-11\"]\n\
             slurm-21-08 = [\"x/slurm-21-08\"]\n\n[lints]\n"
        );
        assert_eq!(features(&new, &releases, |f| format!("\"x/{f}\"")).unwrap(), new);
        assert!(features("[package]\n", &releases, |_| String::new()).is_none());
    }
}
