//! `make quick`: format, lints and the unit tests of what was changed, without root and without a Slurm.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

use crate::bodies::{self, is_shell};
use crate::command::cmd;
use crate::lint;
use crate::run::{Run, Stop};

/// What cargo says of the workspace, as far as it is needed.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: String,
    dependencies: Vec<Dependency>,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
}

pub(crate) fn quick(run: &mut Run<'_>) -> Result<(), Stop> {
    let changed = changed_files(run)?;
    run.check("cargo fmt --check", &cmd(["cargo", "fmt", "--all", "--check"]))?;
    lints(run, &changed)?;
    let text =
        run.output(&cmd(["cargo", "metadata", "--locked", "--no-deps", "--format-version", "1"]))?;
    let line = text.lines().find(|line| line.starts_with('{')).unwrap_or_default();
    let metadata: Metadata = serde_json::from_str(line)
        .map_err(|error| run.stop(&format!("cargo metadata: {error}")))?;
    let root = std::env::current_dir().unwrap_or_default();
    let crates = Crates::new(&metadata, &root);
    let touched = crates.touched(&changed);
    if touched.is_empty() {
        run.tally.notes.push("no crate has changed".into());
        return Ok(());
    }
    let names: Vec<&str> = touched.keys().copied().collect();
    run.tally.notes.push(format!("changed: {}", names.join(", ")));
    let packages = |names: &[&str]| {
        names.iter().flat_map(|name| ["-p".to_owned(), (*name).to_owned()]).collect::<Vec<_>>()
    };
    let clippy = cmd(["cargo", "clippy", "--locked", "--all-targets"])
        .args(packages(&crates.with_dependents(&names)));
    run.check(
        "cargo clippy, of these and of who uses them",
        &clippy.args(["--", "-D", "warnings"]),
    )?;
    let mut targets = crates.kinds(&names);
    targets.extend(touched.values().flatten().flat_map(|test| ["--test".to_owned(), test.clone()]));
    if run.listen(&cmd(["cargo", "nextest", "--version"]))?.0 {
        let tests = cmd([
            "cargo",
            "nextest",
            "run",
            "--locked",
            "--no-fail-fast",
            "--color",
            "never",
            "--no-tests",
            "pass",
        ]);
        run.rust(&tests.args(packages(&names)).args(targets))
    } else {
        run.rust(
            &cmd(["cargo", "test", "--locked", "--no-fail-fast"])
                .args(packages(&names))
                .args(targets),
        )
    }
}

/// What differs from where this branch has begun, and what is not committed. All files if nothing does: a clone that is new.
fn changed_files(run: &mut Run<'_>) -> Result<Vec<String>, Stop> {
    // BASE names another place to compare with.
    let bases = "{ test -n \"$BASE\" && git rev-parse --verify \"$BASE\"; } || git merge-base HEAD @{upstream} || \
                 git merge-base HEAD origin/main || git merge-base HEAD main || git rev-parse HEAD";
    let base = run.output(&cmd(["sh", "-c", &format!("({bases}) 2> /dev/null")]))?;
    let changed = "git diff --name-only \"$1\" && git ls-files --others --exclude-standard";
    let text = run.output(&cmd(["sh", "-c", changed, "sh", base.trim()]))?;
    if text.trim().is_empty() {
        run.tally.notes.push("nothing has changed: all of it is tested".into());
        return lint::files(Path::new("."), &["."]).map_err(|error| run.stop(&error));
    }
    Ok(text.lines().map(str::to_owned).collect())
}

fn lints(run: &mut Run<'_>, changed: &[String]) -> Result<(), Stop> {
    bodies::lints(run, None);
    let scripts: Vec<&String> =
        changed.iter().filter(|file| Path::new(file).is_file() && is_shell(file)).collect();
    if !run.listen(&cmd(["sh", "-c", "command -v shellcheck"]))?.0 {
        run.tally.notes.push("shellcheck is not installed: shell scripts are not looked at".into());
    } else if !scripts.is_empty() {
        run.check(
            "shellcheck",
            &cmd(["shellcheck", "-x", "-P", "SCRIPTDIR", "-P", "."]).args(scripts),
        )?;
    }
    Ok(())
}

/// The crates of the workspace.
struct Crates<'a> {
    /// Name, folder below the root of the tree, and what it uses of ours.
    all: Vec<(&'a Package, String, BTreeSet<&'a str>)>,
}

impl<'a> Crates<'a> {
    fn new(metadata: &'a Metadata, root: &Path) -> Crates<'a> {
        let names: BTreeSet<&str> =
            metadata.packages.iter().map(|package| package.name.as_str()).collect();
        let all = metadata.packages.iter().map(|package| {
            let folder = Path::new(&package.manifest_path)
                .parent()
                .and_then(|folder| folder.strip_prefix(root).ok());
            let used = package
                .dependencies
                .iter()
                .map(|used| used.name.as_str())
                .filter(|name| names.contains(name));
            (
                package,
                folder.map_or_else(String::new, |folder| folder.to_string_lossy().into_owned()),
                used.collect(),
            )
        });
        Crates { all: all.collect() }
    }

    /// The crates that the files are of, each with those of its integration tests that are among them.
    fn touched(&self, files: &[String]) -> BTreeMap<&'a str, BTreeSet<String>> {
        let mut touched: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for file in files {
            if ["Cargo.toml", "Cargo.lock", "clippy.toml"].contains(&file.as_str()) {
                for (package, ..) in &self.all {
                    touched.entry(&package.name).or_default();
                }
            }
            let within =
                |folder: &str| file.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'));
            let owner = self
                .all
                .iter()
                .filter(|(_, folder, _)| within(folder).is_some())
                .max_by_key(|(_, folder, _)| folder.len());
            let Some((package, folder, _)) = owner else { continue };
            let rest = within(folder).unwrap_or_default();
            if !rest.ends_with(".rs") && !rest.ends_with(".toml") || rest.starts_with("fuzz/") {
                continue;
            }
            let tests = touched.entry(&package.name).or_default();
            let test = rest.strip_prefix("tests/").and_then(|test| test.strip_suffix(".rs"));
            tests.extend(test.filter(|test| !test.contains('/')).map(str::to_owned));
        }
        touched
    }

    /// Crates and all that use them.
    fn with_dependents(&self, names: &[&'a str]) -> Vec<&'a str> {
        let mut found: BTreeSet<&str> = names.iter().copied().collect();
        loop {
            let before = found.len();
            for (package, _, used) in &self.all {
                if used.iter().any(|name| found.contains(name)) {
                    found.insert(&package.name);
                }
            }
            if found.len() == before {
                return found.into_iter().collect();
            }
        }
    }

    /// The unit tests are those of libraries and programs, where crates have such.
    fn kinds(&self, names: &[&str]) -> Vec<String> {
        let has = |kinds: &[&str]| {
            let packages =
                self.all.iter().filter(|(package, ..)| names.contains(&package.name.as_str()));
            packages
                .flat_map(|(package, ..)| &package.targets)
                .flat_map(|target| &target.kind)
                .any(|kind| kinds.contains(&kind.as_str()))
        };
        let mut options = Vec::new();
        if has(&["lib", "rlib", "cdylib", "staticlib", "proc-macro"]) {
            options.push("--lib".to_owned());
        }
        if has(&["bin"]) {
            options.push("--bins".to_owned());
        }
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, folder: &str, uses: &[&str], kind: &str) -> Package {
        Package {
            name: name.into(),
            manifest_path: format!("/tree/{folder}/Cargo.toml"),
            dependencies: uses.iter().map(|name| Dependency { name: (*name).into() }).collect(),
            targets: vec![Target { kind: vec![kind.into()] }],
        }
    }

    fn metadata() -> Metadata {
        let packages = vec![
            package("linux", "runtime/linux", &["libc"], "lib"),
            package("pyxis", "runtime/pyxis", &["linux"], "bin"),
            package("loader", "loader", &[], "cdylib"),
        ];
        Metadata { packages }
    }

    #[test]
    fn what_changed_is_of_the_crate_whose_folder_it_is_in() {
        let metadata = metadata();
        let crates = Crates::new(&metadata, Path::new("/tree"));
        let touched = |files: &[&str]| {
            let files: Vec<String> = files.iter().map(|file| (*file).to_owned()).collect();
            crates
                .touched(&files)
                .into_iter()
                .map(|(name, tests)| format!("{name} {tests:?}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            touched(&["runtime/pyxis/tests/start.rs", "runtime/pyxis/tests/common/mod.rs"]),
            ["pyxis {\"start\"}"]
        );
        assert_eq!(
            touched(&["runtime/linux/src/sys/mod.rs", "README.md", "loader/README.md"]),
            ["linux {}"]
        );
        assert_eq!(touched(&["runtime/fuzz/x.rs", "tests/run"]), [""; 0]);
        assert_eq!(touched(&["Cargo.lock"]).len(), 3);
    }

    #[test]
    fn who_uses_what_changed_is_looked_at_too() {
        let metadata = metadata();
        let crates = Crates::new(&metadata, Path::new("/tree"));
        assert_eq!(crates.with_dependents(&["linux"]), ["linux", "pyxis"]);
        assert_eq!(crates.with_dependents(&["loader"]), ["loader"]);
        assert_eq!(crates.kinds(&["linux", "pyxis"]), ["--lib", "--bins"]);
        assert_eq!(crates.kinds(&["pyxis"]), ["--bins"]);
    }
}
