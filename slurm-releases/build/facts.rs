//! The data files of `releases/`, one per Slurm release, read and accumulated.

use std::fs;
use std::path::Path;
use toml::{Table, Value};

/// What one release offers; the lists hold what all earlier releases brought, too.
#[derive(Clone, Default)]
pub(crate) struct Facts {
    pub(crate) release: String,
    pub(crate) first: String,
    pub(crate) latest: String,
    pub(crate) api: u32,
    pub(crate) soname: String,
    pub(crate) version_check: String,
    pub(crate) task_prolog: u32,
    pub(crate) adds: Vec<String>,
    pub(crate) error_type: String,
    pub(crate) error_base: u32,
    pub(crate) option_maxlen: u32,
    pub(crate) items: Vec<String>,
    pub(crate) contexts: Vec<String>,
    pub(crate) errors: Vec<String>,
    pub(crate) hooks: Vec<String>,
    pub(crate) data: Vec<String>,
    pub(crate) version_symbols: Vec<String>,
    pub(crate) functions: Vec<String>,
    pub(crate) log_functions: Vec<String>,
}

impl Facts {
    /// Major and minor, for ordering.
    pub(crate) fn order(&self) -> (u32, u32) {
        let n = numbers(&self.release);
        (n[0], n[1])
    }

    /// SLURM_VERSION_NUMBER of the latest known micro release.
    pub(crate) fn number(&self) -> u32 {
        let n = numbers(&self.latest);
        n[0] << 16 | n[1] << 8 | n[2]
    }

    /// Name and value of each error code but success, which is 0 everywhere.
    pub(crate) fn error_values(&self) -> impl Iterator<Item = (&str, u32)> {
        (self.error_base..).zip(&self.errors).map(|(value, name)| (name.as_str(), value))
    }

    /// The prototypes of what a plugin may call.
    pub(crate) fn prototypes(&self) -> impl Iterator<Item = &str> {
        self.functions.iter().chain(&self.log_functions).map(String::as_str)
    }
}

/// The name of the function that a prototype declares.
pub(crate) fn function_name(prototype: &str) -> &str {
    let head = prototype.split('(').next().unwrap_or(prototype);
    head.rsplit([' ', '*']).next().unwrap_or(head)
}

/// Every release in `dir`, oldest first.
pub(crate) fn load(dir: &Path) -> Result<Vec<Facts>, String> {
    let wrong = |path: &Path, what: String| format!("{}: {what}", path.display());
    let mut tables = Vec::new();
    for entry in fs::read_dir(dir).map_err(|e| wrong(dir, e.to_string()))? {
        let path = entry.map_err(|e| wrong(dir, e.to_string()))?.path();
        if path.extension().is_none_or(|e| e != "toml") {
            continue;
        }
        let text = fs::read_to_string(&path).map_err(|e| wrong(&path, e.to_string()))?;
        let table: Table = text.parse().map_err(|e| wrong(&path, format!("{e}")))?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        tables.push((stem, path, table));
    }
    tables.sort_by_key(|(stem, ..)| numbers(stem));

    let mut all: Vec<Facts> = Vec::new();
    for (stem, path, table) in tables {
        let before = all.last().cloned().unwrap_or_default();
        let facts = read(before, &table).map_err(|e| wrong(&path, e))?;
        if facts.release != stem || numbers(&facts.release).len() != 2 {
            return Err(wrong(&path, format!("holds release {:?}", facts.release)));
        }
        if numbers(&facts.latest).len() != 3 || !facts.latest.starts_with(&facts.release) {
            return Err(wrong(&path, format!("latest = {:?} is not one of its own", facts.latest)));
        }
        all.push(facts);
    }
    if all.is_empty() { Err(wrong(dir, "holds no release".into())) } else { Ok(all) }
}

/// One file, on top of the release before it.
fn read(mut f: Facts, table: &Table) -> Result<Facts, String> {
    f.release = text(table, "release")?;
    f.first = text(table, "first")?;
    f.latest = text(table, "latest")?;
    f.api = integer(table, "api")?;
    f.soname = text(table, "soname")?;
    f.version_check = text(table, "version_check")?;
    f.task_prolog = integer(table, "task_prolog")?;
    f.adds = list(table, "adds")?;
    let Some(interface) = table.get("interface") else { return Ok(f) };
    let interface = interface.as_table().ok_or("`interface` is no table")?;
    for key in interface.keys() {
        let target = match key.as_str() {
            "error_type" => {
                f.error_type = text(interface, key)?;
                continue;
            }
            "error_base" => {
                f.error_base = integer(interface, key)?;
                continue;
            }
            "option_maxlen" => {
                f.option_maxlen = integer(interface, key)?;
                continue;
            }
            "items" => &mut f.items,
            "contexts" => &mut f.contexts,
            "errors" => &mut f.errors,
            "hooks" => &mut f.hooks,
            "data" => &mut f.data,
            "version_symbols" => &mut f.version_symbols,
            "functions" => &mut f.functions,
            "log_functions" => &mut f.log_functions,
            // A name that left the interface, wherever it was.
            "removed" => {
                let gone = list(interface, key)?;
                let keep = |name: &String| !gone.iter().any(|g| g == function_name(name));
                for names in [&mut f.items, &mut f.hooks, &mut f.data] {
                    names.retain(keep);
                }
                f.functions.retain(keep);
                f.log_functions.retain(keep);
                continue;
            }
            other => return Err(format!("unknown key `{other}`")),
        };
        target.extend(list(interface, key)?);
    }
    Ok(f)
}

fn text(table: &Table, key: &str) -> Result<String, String> {
    let value = table.get(key).and_then(Value::as_str);
    value.map(str::to_owned).ok_or_else(|| format!("`{key}` must be a text"))
}

fn integer(table: &Table, key: &str) -> Result<u32, String> {
    let value = table.get(key).and_then(Value::as_integer).and_then(|v| v.try_into().ok());
    value.ok_or_else(|| format!("`{key}` must be a small number"))
}

fn list(table: &Table, key: &str) -> Result<Vec<String>, String> {
    let wrong = || format!("`{key}` must be a list of texts");
    let values = table.get(key).and_then(Value::as_array).ok_or_else(wrong)?;
    values.iter().map(|v| v.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
}

/// `24.05.8` as `[24, 5, 8]`; what is no number is left out.
fn numbers(version: &str) -> Vec<u32> {
    version.split('.').filter_map(|part| part.parse().ok()).collect()
}
