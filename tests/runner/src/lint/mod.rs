//! Rules for sources that no compiler has: a test that cannot fail is worse than none, and so is code that
//! nobody calls.

pub(crate) mod bats;
pub(crate) mod callers;
pub(crate) mod claims;
pub(crate) mod mask;
pub(crate) mod rust;
pub(crate) mod script;
pub(crate) mod sizes;

use std::path::Path;
use std::process::Command;

/// Every file of the checkout, committed or about to be, below one of the places.
pub(crate) fn files(root: &Path, places: &[&str]) -> Result<Vec<String>, String> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "--"])
        .args(places)
        .current_dir(root)
        .output()
        .map_err(|e| format!("git: {e}"))?;
    if !output.status.success() {
        return Err(format!("git ls-files: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let names = String::from_utf8_lossy(&output.stdout);
    // Listed by git and deleted since: not to be looked at.
    Ok(names.lines().filter(|name| root.join(name).is_file()).map(str::to_owned).collect())
}

/// The text of a file, by its name in the checkout.
pub(crate) fn read(root: &Path, name: &str) -> Result<String, String> {
    std::fs::read_to_string(root.join(name)).map_err(|e| format!("{name}: {e}"))
}
