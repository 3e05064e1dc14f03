//! The names of the command's own variables: each is a constant of one file, where it is read as a setting. Whoever
//! looked one up elsewhere would have a default, an error and a meaning of their own. And what the settings hold is
//! used: one that is read, shown and documented, and changes nothing, is worse than none.

use std::collections::BTreeSet;
use std::path::Path;

/// The constants.
const FILE: &str = "runtime/pyxis/src/settings/variables.rs";
/// The table of settings, which names each of them but those below.
const TABLE: &str = "runtime/pyxis/src/settings/table.rs";
/// The files with structs of values that are handed down, and the folder of all that makes them.
const VALUES: [&str; 5] = [
    "runtime/pyxis/src/settings/mod.rs",
    "runtime/pyxis/src/settings/container.rs",
    "runtime/pyxis/src/settings/devices.rs",
    "runtime/pyxis/src/settings/folders.rs",
    "runtime/pyxis/src/settings/paths.rs",
];
const SETTINGS: &str = "runtime/pyxis/src/settings/";
/// Constants that are no setting of a file, and what they are.
const NO_SETTING: &[(&str, &str)] = &[
    ("CONFIG", "says where the file is"),
    ("FORCE_OVERRIDE", "an argument, as enroot has it"),
    ("ROOTFS", "is said by a batch script alone"),
    ("SLURM_RELEASE", "is said by the plugin alone"),
    ("TERMINAL", "is said by the plugin alone"),
];
/// Names that other files of the command have, and what for: never to look them up.
const WRITTEN: &[(&str, &[&str], &str)] = &[
    ("runtime/hygiene/src/account.rs", &["PYXIS_STORE_PATH"], "set for the account's process"),
    (
        "runtime/containers/src/start/environment/hook_place.rs",
        &["ENROOT_ENVIRON", "ENROOT_MOUNTS", "ENROOT_PID", "ENROOT_ROOTFS", "ENROOT_RUNTIME_PATH"],
        "set for hooks, and filled into the site's lines",
    ),
    (
        "runtime/containers/src/start/environment/hooks.rs",
        &["ENROOT_LIBRARY_PATH"],
        "set for hooks",
    ),
    (
        "runtime/containers/src/start/environment/site.rs",
        &["ENROOT_ROOTFS"],
        "filled into the site's lines",
    ),
    ("runtime/images/src/layers/limits.rs", &["PYXIS_MAX_UNPACKED"], "named in an error"),
    (
        "runtime/pyxis/src/as_enroot.rs",
        &["ENROOT_VERSION", "ENROOT_GZIP_PROGRAM", "ENROOT_ZSTD_OPTIONS"],
        "set as enroot sets it",
    ),
    (
        "runtime/pyxis/src/settings/enroot/effect.rs",
        &[
            "ENROOT_BUNDLE_ALL",
            "ENROOT_BUNDLE_CHECKSUM",
            "ENROOT_GZIP_PROGRAM",
            "ENROOT_ZSTD_OPTIONS",
        ],
        "settings of enroot's that mean nothing here",
    ),
];
const LOOK_UPS: [&str; 4] = ["get(", "contains_key(", "var(", "var_os("];

/// What is wrong with the runtime's files of the checkout, one line each.
pub(crate) fn check(root: &Path) -> Result<Vec<String>, String> {
    let mut sources = Vec::new();
    for name in super::files(root, &["runtime/*.rs"])? {
        let text = super::read(root, &name)?;
        sources.push((name, text));
    }
    for place in [FILE].iter().chain(&VALUES) {
        if sources.iter().all(|(name, _)| name != place) {
            return Err(format!("{place} is not there"));
        }
    }
    Ok([named_elsewhere(&sources), in_no_table(&sources), unused(&sources)].concat())
}

/// Fields of the settings that nothing but the settings reads.
fn unused(sources: &[(String, String)]) -> Vec<String> {
    let code = super::code::without_tests(sources);
    let of_command = code
        .iter()
        .filter(|(file, _)| file.starts_with("runtime/pyxis/src/") && !file.starts_with(SETTINGS));
    let words: BTreeSet<&str> = of_command
        .flat_map(|(_, lines)| lines)
        .flat_map(|(_, line)| line.split(|letter: char| !letter.is_alphanumeric() && letter != '_'))
        .collect();
    let values = code.iter().filter(|(file, _)| VALUES.contains(file));
    let lines = values.flat_map(|(file, lines)| lines.iter().map(move |line| (file, line)));
    lines
        .filter_map(|(file, (number, line))| {
            let (name, _) = line.strip_prefix("    pub ")?.split_once(':')?;
            let is_used = name.contains(' ') || words.contains(name);
            (!is_used).then(|| format!("{file}:{number}: nothing uses {name}"))
        })
        .collect()
}

fn named_elsewhere(sources: &[(String, String)]) -> Vec<String> {
    let mut found = Vec::new();
    for (file, lines) in super::code::without_tests(sources) {
        let written = WRITTEN.iter().find(|(place, ..)| *place == file);
        let allowed = written.map_or(&[][..], |(_, names, _)| names);
        for (number, line) in lines.iter().filter(|_| file != FILE) {
            for name in names(line) {
                let looks_up = LOOK_UPS.iter().any(|call| line.contains(call));
                if looks_up || !allowed.contains(&name) {
                    found.push(format!(
                        "{file}:{number}: {name} is a setting, or is for {FILE}: hand its value down"
                    ));
                }
            }
        }
        for name in allowed {
            if lines.iter().all(|(_, line)| !names(line).any(|has| has == *name)) {
                found.push(format!("{file} has no {name}: take it from the table of this lint"));
            }
        }
    }
    found
}

/// Constants that nothing makes a setting of.
fn in_no_table(sources: &[(String, String)]) -> Vec<String> {
    let text = |file: &str| {
        sources.iter().find(|(name, _)| name == file).map_or("", |(_, text)| text.as_str())
    };
    let settings: Vec<&str> = text(TABLE)
        .split("v::")
        .skip(1)
        .filter_map(|rest| rest.split(|letter: char| !is_of_name(letter)).next())
        .collect();
    let constants = text(FILE).lines().filter(|line| names(line).next().is_some());
    let constants = constants
        .filter_map(|line| line.strip_prefix("pub const ")?.split(':').next())
        .filter(|name| NO_SETTING.iter().all(|(known, _)| known != name));
    constants
        .filter(|name| !settings.contains(name))
        .map(|name| format!("{FILE}: {name} is in no table: {TABLE} has all settings"))
        .collect()
}

/// The names of variables of ours and enroot's that are texts of this line.
fn names(line: &str) -> impl Iterator<Item = &str> {
    line.split('"').skip(1).step_by(2).filter(|text| text.chars().all(is_of_name)).filter(|text| {
        ["PYXIS_", "ENROOT_"].iter().any(|ours| {
            text.strip_prefix(ours).is_some_and(|rest| !rest.is_empty() && !rest.ends_with('_'))
        })
    })
}

fn is_of_name(letter: char) -> bool {
    letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(all: &[(&str, &str)]) -> Vec<(String, String)> {
        all.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn a_variable_that_is_looked_up_below_the_settings_is_found() {
        let file = "runtime/containers/src/start/x.rs";
        for line in [
            "let on = host.get(OsStr::new(\"PYXIS_UNSHARE\"));\n",
            "match name.as_bytes() { b\"ENROOT_MOUNT_HOME\" => 1 }",
            "const NAME: &CStr = c\"PYXIS_X\";",
        ] {
            assert_eq!(named_elsewhere(&sources(&[(file, line)])).len(), 1, "{line}");
        }
        for line in
            ["name.starts_with(\"ENROOT_\")", "\"set PYXIS_X to a directory\"", "// \"PYXIS_X\""]
        {
            assert_eq!(named_elsewhere(&sources(&[(file, line)])), [""; 0], "{line}");
        }
        let hooks = "runtime/hygiene/src/account.rs";
        let set = "command.env(\"PYXIS_STORE_PATH\", store)";
        assert_eq!(named_elsewhere(&sources(&[(hooks, set)])), [""; 0]);
        let read = "host.get(\"PYXIS_STORE_PATH\")";
        assert_eq!(named_elsewhere(&sources(&[(hooks, read)])).len(), 1);
        assert_eq!(
            named_elsewhere(&sources(&[(hooks, "")])),
            [format!("{hooks} has no PYXIS_STORE_PATH: take it from the table of this lint")]
        );
    }

    #[test]
    fn a_variable_in_no_table_is_found() {
        let constants = "pub const DATA: &str = \"ENROOT_DATA\";\npub const HOME: &str = \"HOME\";\n\
            pub const MAX: &str = \"PYXIS_MAX\";\npub const CONFIG: &str = \"PYXIS_CONFIG\";\n";
        let table =
            "Data \"data\" Path v::DATA, Is(\"\");\nMax \"max\" Size v::MAX_SIZE, Is(\"\");";
        assert_eq!(
            in_no_table(&sources(&[(FILE, constants), (TABLE, table)])),
            [format!("{FILE}: MAX is in no table: {TABLE} has all settings")]
        );
    }

    #[test]
    fn a_value_that_nothing_uses_is_found() {
        let values = "pub struct Settings {\n    pub temp: PathBuf,\n    pub force: bool,\n}\n\
            impl Settings {\n    pub fn new(x: u8) {}\n}\n";
        let user = ("runtime/pyxis/src/cli/x.rs", "fn x(s: &Settings) { s.force; // s.temp\n}");
        let of_settings = ("runtime/pyxis/src/settings/places.rs", "fn x() { settings.temp }");
        for file in VALUES {
            assert_eq!(
                unused(&sources(&[(file, values), user, of_settings])),
                [format!("{file}:2: nothing uses temp")]
            );
        }
    }

    #[test]
    fn no_variable_of_this_checkout_is_looked_up_below_the_settings() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        assert_eq!(check(&root), Ok(vec![]));
    }
}
