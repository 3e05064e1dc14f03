//! What is inside: the crates of the shipped programs, as CycloneDX.

use crate::error::Error;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::env;
use std::path::Path;
use std::process::Command;

/// The document, from what cargo has resolved.
pub(crate) fn sbom(root: &Path, target: &str, version: &str) -> Result<String, Error> {
    let args = ["metadata", "--locked", "--format-version", "1", "--filter-platform", target];
    let failed = |why| Error::command(format!("cargo {}", args.join(" ")), why);
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    let output = cargo.current_dir(root).args(args).output().map_err(|e| failed(Some(e)))?;
    if !output.status.success() {
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        return Err(failed(None));
    }
    let metadata: Value = serde_json::from_slice(&output.stdout).map_err(|_| failed(None))?;
    let components: Vec<Value> = shipped(&metadata)
        .into_iter()
        .filter_map(|id| list(&metadata["packages"]).find(|package| package["id"] == id))
        // Our own have no source.
        .filter(|package| !package["source"].is_null())
        .map(|package| {
            let text = |key: &str| package[key].as_str().unwrap_or_default();
            json!({
                "type": "library",
                "name": text("name"),
                "version": text("version"),
                "purl": format!("pkg:cargo/{}@{}", text("name"), text("version")),
                "licenses": [{ "expression": text("license").replace('/', " OR ") }],
            })
        })
        .collect();
    let document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": { "type": "application", "name": "pyxis", "version": version } },
        "components": components,
    });
    Ok(serde_json::to_string_pretty(&document).expect("plain data") + "\n")
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Ids of the packages that the three programs are linked from.
fn shipped(metadata: &Value) -> BTreeSet<&str> {
    let named =
        |id: &str| ["plugin", "loader", "pyxis"].iter().any(|n| id.contains(&format!("/{n}#")));
    let mut todo: Vec<&str> = list(&metadata["workspace_members"])
        .filter_map(Value::as_str)
        .filter(|id| named(id))
        .collect();
    let mut found = BTreeSet::new();
    while let Some(id) = todo.pop() {
        if !found.insert(id) {
            continue;
        }
        let node = list(&metadata["resolve"]["nodes"]).find(|node| node["id"] == id);
        for dependency in node.into_iter().flat_map(|node| list(&node["deps"])) {
            // "build" and "dev" are not in the result.
            if list(&dependency["dep_kinds"]).any(|kind| kind["kind"].is_null()) {
                todo.extend(dependency["pkg"].as_str());
            }
        }
    }
    found
}
