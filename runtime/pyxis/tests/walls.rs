//! Who may depend on whom. The walls between the crates are cargo's; this says where they stand.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Each crate, and those of ours that it may use.
const WALLS: [(&str, &[&str]); 8] = [
    ("hygiene", &[]),
    ("handover", &[]),
    ("linux", &[]),
    ("squashfs", &["hygiene", "linux"]),
    ("images", &["hygiene", "linux", "squashfs"]),
    ("containers", &["handover", "hygiene", "linux", "squashfs"]),
    (
        "pyxis",
        &["containers", "handover", "hygiene", "images", "linux", "slurm-releases", "squashfs"],
    ),
    ("plugin", &["handover", "hygiene", "spank-bindings"]),
];
/// What a crate may link of others', where that is little: libc and nix, with what nix needs.
const FOREIGN: [(&str, &[&str]); 3] = [
    ("handover", &["libc", "nix", "bitflags", "cfg-if", "memoffset"]),
    ("linux", &["libc", "nix", "bitflags", "cfg-if", "memoffset"]),
    ("plugin", &["libc", "nix", "bitflags", "cfg-if", "memoffset"]),
];
/// What makes namespaces speaks no HTTP and reads no command line.
const NOT_IN_CONTAINERS: [&str; 4] = ["ureq", "rustls", "ring", "clap"];

/// What is linked into each package of the workspace as cargo builds it, by name: directly, and in all.
struct Graph {
    direct: BTreeMap<String, BTreeSet<String>>,
    all: BTreeMap<String, BTreeSet<String>>,
    ours: BTreeSet<String>,
}

fn graph() -> Graph {
    let cargo = option_env!("CARGO").unwrap_or("cargo");
    let host = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--locked",
            "--offline",
            "--format-version",
            "1",
            "--filter-platform",
            &host,
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let names: BTreeMap<String, String> =
        list(&metadata["packages"]).iter().map(|p| (text(&p["id"]), text(&p["name"]))).collect();
    let ours =
        list(&metadata["workspace_members"]).iter().map(|id| names[&text(id)].clone()).collect();
    let mut direct: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for node in list(&metadata["resolve"]["nodes"]) {
        let linked = list(&node["deps"]).into_iter().filter(|dependency| {
            // "build" and "dev" are not linked. A macro is not, either, but is one all the same.
            list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null())
        });
        let linked = linked.map(|dependency| names[&text(&dependency["pkg"])].clone()).collect();
        direct.insert(names[&text(&node["id"])].clone(), linked);
    }
    let mut all = BTreeMap::new();
    for name in direct.keys() {
        let (mut found, mut todo) = (BTreeSet::<String>::new(), vec![name.clone()]);
        while let Some(next) = todo.pop() {
            for dependency in direct.get(&next).into_iter().flatten() {
                if found.insert(dependency.clone()) {
                    todo.push(dependency.clone());
                }
            }
        }
        all.insert(name.clone(), found);
    }
    Graph { direct, all, ours }
}

#[test]
fn each_crate_uses_those_of_ours_that_it_may() {
    let graph = graph();
    for (name, allowed) in WALLS {
        let used: BTreeSet<_> = graph.direct[name].intersection(&graph.ours).cloned().collect();
        let allowed = allowed.iter().map(|name| (*name).to_owned()).collect();
        assert!(used.is_subset(&allowed), "{name} uses {used:?}; it may use {allowed:?}");
    }
}

#[test]
fn what_slurms_daemons_load_links_next_to_nothing() {
    let graph = graph();
    for (name, allowed) in FOREIGN {
        let foreign: BTreeSet<_> = graph.all[name].difference(&graph.ours).cloned().collect();
        let allowed: BTreeSet<String> = allowed.iter().map(|name| (*name).to_owned()).collect();
        assert!(foreign.is_subset(&allowed), "{name} links {foreign:?}; it may link {allowed:?}");
    }
}

/// Where features choose what is compiled, building one crate changes what another is built of.
#[test]
fn no_crate_of_the_runtime_has_features_or_optional_dependencies() {
    let runtime = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for name in ["hygiene", "handover", "linux", "squashfs", "images", "containers", "pyxis"] {
        let manifest = fs::read_to_string(runtime.join(name).join("Cargo.toml")).unwrap();
        let chooses = |line: &str| line.trim() == "[features]" || line.contains("optional");
        assert!(!manifest.lines().any(chooses), "{name}/Cargo.toml");
        for path in sources(&runtime.join(name).join("src")) {
            let text = fs::read_to_string(&path).unwrap();
            assert!(!text.contains("cfg(feature"), "{}", path.display());
        }
    }
}

#[test]
fn what_makes_namespaces_speaks_to_nobody() {
    let graph = graph();
    let linked = &graph.all["containers"];
    for name in NOT_IN_CONTAINERS {
        assert!(!linked.contains(name), "containers links {name}");
    }
}

/// The parts of `containers`, by their folders, and those of them that each may use.
const PARTS: [(&str, &[&str]); 6] = [
    ("record", &[]),
    ("cdi", &[]),
    ("devices", &["cdi"]),
    ("start", &["record", "cdi", "devices"]),
    ("launch", &["record", "start"]),
    ("verbs", &["record", "start", "launch"]),
];

/// The record of a named container lies below its start, what is done with one above.
#[test]
fn the_parts_of_containers_are_no_circle() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../containers/src");
    for (part, allowed) in PARTS {
        let mut todo = vec![source.join(part)];
        while let Some(path) = todo.pop() {
            if path.is_dir() {
                todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
                continue;
            }
            // A part that is not there yet, or no file of Rust.
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            for line in code {
                for (other, _) in PARTS.iter().filter(|(other, _)| *other != part) {
                    let used = line.contains(&format!("crate::{other}"));
                    assert!(
                        !used || allowed.contains(other),
                        "{} uses {other}: {line}",
                        path.display()
                    );
                }
            }
        }
    }
}

/// All Rust files below a folder.
fn sources(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found
}

/// An operation on a file that fails is `linux::file_error::FileError` everywhere: no error has a path and the
/// kernel's answer of its own.
#[test]
fn file_errors_are_made_in_one_place() {
    let runtime = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut seen = 0;
    for name in ["linux", "squashfs", "images", "containers", "pyxis"] {
        for path in sources(&runtime.join(name).join("src")) {
            let text = fs::read_to_string(&path).unwrap();
            let fields: Vec<&str> = text
                .lines()
                .map(|line| line.trim().trim_start_matches("pub "))
                .filter(|line| !line.starts_with("///"))
                .collect();
            for pair in fields.windows(2) {
                if pair[0] == "path: PathBuf," && pair[1].ends_with("io::Error,") {
                    seen += 1;
                    assert!(path.ends_with("linux/src/file_error.rs"), "{}", path.display());
                }
            }
        }
    }
    assert_eq!(seen, 1);
}

/// A digest is parsed in one place; everywhere else it is `images::digest::Digest`, whose digits are sound.
#[test]
fn digests_are_parsed_in_one_place() {
    let runtime = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut seen = false;
    for path in ["images", "pyxis"].iter().flat_map(|name| sources(&runtime.join(name).join("src")))
    {
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        if code.contains("\"sha256\"") || code.contains("\"sha256:\"") {
            seen = true;
            assert!(path.ends_with("images/src/digest.rs"), "{}", path.display());
        }
    }
    assert!(seen);
}
