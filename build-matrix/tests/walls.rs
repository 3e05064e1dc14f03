//! Who may depend on whom, from what cargo says of the whole workspace.

mod common;

use common::{root, text};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Crates of ours that a crate of ours is linked with, for those whose walls are held here.
const WALLS: &[(&str, &[&str])] = &[
    ("slurm-releases", &[]),
    ("spank-bindings", &[]),
    ("loader", &[]),
    ("build-matrix", &["slurm-releases"]),
    ("packaging", &["build-matrix", "slurm-releases"]),
];

/// The same of what their build scripts are linked with.
const BUILD_WALLS: &[(&str, &[&str])] = &[
    ("slurm-releases", &[]),
    ("spank-bindings", &["slurm-releases"]),
    ("loader", &["slurm-releases"]),
    ("plugin", &[]),
    ("build-matrix", &[]),
    ("packaging", &[]),
];

/// What only packages are made with: `make`, which compiles build-matrix, does without.
const PACKAGING_ONLY: &[&str] = &["rpm", "tar", "md-5", "packaging"];

fn cargo(args: &[&str]) -> String {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()))
        .current_dir(root())
        .args(args)
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// By crate of ours: names of those of ours that it depends on, for linking or for building.
fn ours(kind: Option<&str>) -> BTreeMap<String, BTreeSet<String>> {
    let metadata = cargo(&["metadata", "--format-version=1", "--no-deps", "--locked"]);
    let metadata: Value = serde_json::from_str(&metadata).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let name = |package: &Value| package["name"].as_str().expect("a name").to_owned();
    let all: BTreeSet<String> = packages.iter().map(name).collect();
    let wanted = |package: &Value| {
        let dependencies = package["dependencies"].as_array().into_iter().flatten();
        let of_kind = dependencies.filter(|d| d["kind"].as_str() == kind).map(name);
        of_kind.filter(|dependency| all.contains(dependency)).collect()
    };
    packages.iter().map(|package| (name(package), wanted(package))).collect()
}

#[test]
fn who_may_depend_on_whom() {
    for (kind, walls) in [(None, WALLS), (Some("build"), BUILD_WALLS)] {
        let found = ours(kind);
        for (krate, allowed) in walls {
            let allowed: BTreeSet<String> = allowed.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(found[*krate], allowed, "{krate}, {}", kind.unwrap_or("linked"));
        }
    }
}

/// Names of the crates that cargo would compile for that.
fn tree(args: &[&str]) -> BTreeSet<String> {
    let fixed = ["tree", "--locked", "--prefix=none", "--format={p}"];
    let tree = cargo(&fixed.iter().chain(args).copied().collect::<Vec<_>>());
    tree.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn make_compiles_nothing_that_only_packages_need() {
    for args in [&["--package=build-matrix", "--edges=normal,build"][..], &["--edges=normal,build"]]
    {
        let compiled = tree(args);
        assert!(compiled.contains("build-matrix"), "{compiled:?}");
        for name in PACKAGING_ONLY {
            assert!(!compiled.contains(*name), "{name} is compiled for {args:?}");
        }
    }
    let packaging = tree(&["--package=packaging", "--edges=normal"]);
    assert!(PACKAGING_ONLY.iter().all(|name| packaging.contains(*name)), "{packaging:?}");
}

#[test]
fn the_bindings_link_nothing() {
    assert_eq!(tree(&["--package=spank-bindings", "--edges=normal"]).len(), 1);
}
