//! `report`: the last results as tables, in HTML and markdown.

use crate::error::Error;
use crate::page;
use crate::table::{Cell, Table};
use build_matrix::report::Report;
use build_matrix::results;
use build_matrix::workspace;
use serde_json::{Value, json};
use slurm_releases::RELEASES;
use std::fs;
use std::path::{Path, PathBuf};

/// Debian's and Ubuntu's suites, and the release of Slurm each has: tests name either.
const SUITES: [(&str, &str); 7] = [
    ("bullseye", "20.11"),
    ("jammy", "21.08"),
    ("bookworm", "22.05"),
    ("noble", "23.11"),
    ("trixie", "24.11"),
    ("resolute", "25.11"),
    ("forky", "26.05"),
];

/// Writes `index.html` and `report.md` to `out`.
pub(crate) fn report(report: &Report, out: &Path) -> Result<(), Error> {
    let root = workspace::root()?;
    let tables = tables(&root)?;
    if tables.iter().all(|table| table.rows.is_empty()) {
        return Err(Error::NoResults);
    }
    fs::create_dir_all(out).map_err(Error::io("make", out))?;
    let files: [(&str, String); 2] =
        [("index.html", page::html(&tables)), ("report.md", page::markdown(&tables))];
    let mut written: Vec<PathBuf> = Vec::new();
    for (name, text) in files {
        let path = out.join(name);
        fs::write(&path, text).map_err(Error::io("write", &path))?;
        report.line(path.display());
        written.push(path);
    }
    report.document(&json!({ "files": written }));
    Ok(())
}

fn tables(root: &Path) -> Result<Vec<Table>, Error> {
    let builds = results::read(root, "build-")?;
    let verified = results::read(root, "verify-")?;
    let packages = results::read(root, "package-")?;
    let suites = results::read(root, "suite-")?;
    Ok(vec![
        matrix(&builds, &verified, &packages, &suites),
        machine_table(&suites),
        check_table(&suites),
        suite_table(&suites),
        package_table(&packages),
    ])
}

/// Release by architecture, and every check of them.
fn matrix(
    builds: &[(String, Value)],
    verified: &[(String, Value)],
    packages: &[(String, Value)],
    suites: &[(String, Value)],
) -> Table {
    let mut rows = Vec::new();
    for release in RELEASES {
        for arch in ["x86_64", "aarch64"] {
            let key = format!("{}-{arch}", release.name);
            let find = |all: &'_ [(String, Value)]| {
                all.iter().find(|(name, _)| *name == key).map(|(_, value)| value.clone())
            };
            let (build, verify) = (find(builds), find(verified));
            let packaged = packages.iter().find(|(name, _)| name == arch).map(|(_, value)| value);
            let plugin = packaged.and_then(|value| {
                value["plugins"].as_array()?.iter().find(|part| part["release"] == release.name)
            });
            let format = |suffix: &str| package_cell(packaged, release.name, suffix);
            let (deb, rpm) = (format(".deb"), format(".rpm"));
            if build.is_none() && verify.is_none() && plugin.is_none() {
                continue;
            }
            let verdict = build.as_ref().map(|build| &build["verdict"]);
            let tests =
                if arch == "x86_64" { tests_of(release.name, suites) } else { Cell::none() };
            rows.push(vec![
                Cell::text(release.name),
                Cell::text(arch),
                verdict.map_or(Cell::none(), |verdict| seconds_cell(&build, verdict)),
                verdict.map_or(Cell::none(), |verdict| Cell::text(kib(&verdict["size"]))),
                verdict.map_or(Cell::none(), |verdict| hash_cell(&verdict["sha256"])),
                verify.as_ref().map_or(Cell::none(), faults_cell),
                plugin.map_or(Cell::none(), |part| Cell::text(seconds(&part["seconds"]))),
                plugin.map_or(Cell::none(), |part| Cell::text(plain(&part["glibc"]))),
                deb,
                rpm,
                tests,
            ]);
        }
    }
    Table {
        title: "Releases",
        note: "The plugin of each Slurm release. Built here, and verified; built for an old glibc, \
               packaged; run in a real Slurm of that release (tests passed).",
        head: vec![
            "Slurm",
            "processor",
            "build",
            "size",
            "sha256",
            "verify",
            "for packages",
            "glibc",
            "deb",
            "rpm",
            "in Slurm",
        ],
        rows,
    }
}

/// A machine as it was when it ran last.
struct Machine {
    name: String,
    /// Distribution, kernel, Slurm, runtime.
    facts: Vec<String>,
    finished: String,
    /// Names of checks, and whether they passed.
    checks: Vec<(String, bool)>,
}

impl Machine {
    /// A note of a run says `NAME: DISTRIBUTION, Linux X, SLURM, RUNTIME, ...`; other notes are of no machine.
    fn read(suite: &Value, note: &str) -> Option<Machine> {
        let (name, facts) = note.split_once(": ")?;
        let facts: Vec<String> = facts.split(", ").take(4).map(str::to_owned).collect();
        if facts.len() < 4 || !facts[1].starts_with("Linux ") {
            return None;
        }
        let of_it = tests(suite).filter(|test| test["group"] == name);
        let checks = of_it.map(|test| (plain(&test["name"]), test["ok"] == true)).collect();
        Some(Machine { name: name.to_owned(), facts, finished: plain(&suite["finished"]), checks })
    }
}

/// Of a machine in several suites the last run counts.
fn machines(suites: &[(String, Value)]) -> Vec<Machine> {
    let mut found: Vec<Machine> = Vec::new();
    for (_, suite) in suites {
        let notes = suite["notes"].as_array().into_iter().flatten().filter_map(Value::as_str);
        for machine in notes.filter_map(|note| Machine::read(suite, note)) {
            match found.iter_mut().find(|known| known.name == machine.name) {
                Some(known) if known.finished < machine.finished => *known = machine,
                Some(_) => {}
                None => found.push(machine),
            }
        }
    }
    found
}

/// Distribution, kernel, Slurm, runtime, and how the checks there went.
fn machine_table(suites: &[(String, Value)]) -> Table {
    let row = |machine: Machine| {
        let failing: Vec<&str> = machine
            .checks
            .iter()
            .filter(|(_, passed)| !passed)
            .map(|(name, _)| name.as_str())
            .collect();
        let passed = machine.checks.len() - failing.len();
        let mut checks = Cell::verdict(
            failing.is_empty() && passed > 0,
            format!("{passed} of {}", machine.checks.len()),
        );
        checks.more = failing.join("\n");
        let facts = machine.facts.iter().map(Cell::text);
        let name = std::iter::once(Cell::text(&machine.name));
        name.chain(facts).chain([checks, Cell::text(&machine.finished)]).collect()
    };
    Table {
        title: "Machines",
        note: "The last run on each emulated machine, with the distribution's own kernel and systemd: tests passed.",
        head: vec!["machine", "distribution", "kernel", "Slurm", "runtime", "checks", "finished"],
        rows: machines(suites).into_iter().map(row).collect(),
    }
}

/// Where each check passed, and where it did not.
fn check_table(suites: &[(String, Value)]) -> Table {
    let machines = machines(suites);
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in machines.iter().flat_map(|machine| &machine.checks) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let row = |name: &str| {
        let with = |wanted: bool| {
            let has = |machine: &&Machine| {
                machine.checks.iter().any(|(known, passed)| known == name && *passed == wanted)
            };
            let found = machines.iter().filter(has).map(|machine| machine.name.as_str());
            let list = found.collect::<Vec<_>>().join(", ");
            if list.is_empty() { Cell::none() } else { Cell::verdict(wanted, list) }
        };
        vec![Cell::text(name), with(true), with(false)]
    };
    Table {
        title: "Checks on machines",
        note: "Of the same runs: on which machines each check passed, and on which it failed.",
        head: vec!["check", "passed on", "failed on"],
        rows: names.into_iter().map(row).collect(),
    }
}

/// Suites of tests.
fn suite_table(suites: &[(String, Value)]) -> Table {
    let rows = suites.iter().map(|(name, suite)| {
        let failed = suite["failed"].as_u64().unwrap_or(0);
        let passed = suite["passed"].as_u64().unwrap_or(0);
        let failing: Vec<&str> = tests(suite)
            .filter(|test| test["ok"] == false)
            .filter_map(|test| test["name"].as_str())
            .collect();
        let mut failed_cell = Cell::verdict(failed == 0, failed.to_string());
        failed_cell.more = failing.join("\n");
        vec![
            Cell::text(name),
            Cell::text(passed.to_string()),
            failed_cell,
            Cell::text(seconds(&suite["seconds"])),
            Cell::text(plain(&suite["finished"])),
        ]
    });
    Table {
        title: "Suites",
        note: "The last run of each suite of tests/run.",
        head: vec!["suite", "passed", "failed", "time", "finished"],
        rows: rows.collect(),
    }
}

fn package_table(packages: &[(String, Value)]) -> Table {
    let all = packages.iter().flat_map(|(_, value)| value["packages"].as_array()).flatten();
    let rows = all.map(|package| {
        let file = PathBuf::from(package["file"].as_str().unwrap_or_default());
        vec![
            Cell::text(file.file_name().unwrap_or_default().to_string_lossy()),
            Cell::text(kib(&package["size"])),
            Cell::text(plain(&package["sha256"])),
        ]
    });
    Table {
        title: "Packages",
        note: "Files written by the last run of build-matrix package.",
        head: vec!["file", "size", "sha256"],
        rows: rows.collect(),
    }
}

/// The package of a release in one format.
fn package_cell(packaged: Option<&Value>, release: &str, suffix: &str) -> Cell {
    let name = format!("pyxis-slurm{release}");
    let packages = packaged.and_then(|value| value["packages"].as_array());
    let found = packages.into_iter().flatten().find(|package| {
        package["package"] == name.as_str()
            && package["file"].as_str().is_some_and(|file| file.ends_with(suffix))
    });
    found.map_or(Cell::none(), |package| {
        let mut cell = Cell::text(kib(&package["size"]));
        cell.more = plain(&package["sha256"]);
        cell
    })
}

/// The tests that name the release, or the suite of Debian's that has it.
fn tests_of(release: &str, suites: &[(String, Value)]) -> Cell {
    let suite = SUITES.iter().find(|(_, has)| *has == release).map_or("-", |(suite, _)| suite);
    let about = |test: &&Value| {
        let name = test["name"].as_str().unwrap_or_default();
        test["group"] == suite || name.contains(release) || name.starts_with(suite)
    };
    let ran = suites.iter().filter(|(name, _)| {
        ["releases", "ubuntu-releases", "upgrade", "packages"].contains(&name.as_str())
    });
    let (mut passed, mut failing) = (0, Vec::new());
    for test in ran.flat_map(|(_, suite)| tests(suite)).filter(about) {
        match test["ok"].as_bool() {
            Some(true) => passed += 1,
            _ => failing.push(test["name"].as_str().unwrap_or_default()),
        }
    }
    if passed == 0 && failing.is_empty() {
        return Cell::none();
    }
    let mut cell =
        Cell::verdict(failing.is_empty(), format!("{passed} of {}", passed + failing.len()));
    cell.more = failing.join("\n");
    cell
}

fn tests(suite: &Value) -> impl Iterator<Item = &Value> {
    suite["tests"].as_array().into_iter().flatten()
}

fn seconds_cell(build: &Option<Value>, verdict: &Value) -> Cell {
    let time = build.as_ref().map_or(String::new(), |build| seconds(&build["seconds"]));
    let mut cell = faults_cell(verdict);
    cell.text = time;
    cell
}

fn faults_cell(verdict: &Value) -> Cell {
    let faults: Vec<&str> =
        verdict["faults"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let text = if faults.is_empty() { "sound".into() } else { counted(faults.len(), "fault") };
    let mut cell = Cell::verdict(faults.is_empty(), text);
    cell.more = faults.join("\n");
    cell
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn hash_cell(hash: &Value) -> Cell {
    let hash = plain(hash);
    let mut cell = Cell::text(hash.chars().take(12).collect::<String>());
    cell.more = hash;
    cell
}

fn seconds(value: &Value) -> String {
    value.as_f64().map_or(String::new(), |seconds| format!("{seconds:.1} s"))
}

fn kib(value: &Value) -> String {
    value.as_u64().map_or(String::new(), |bytes| format!("{} KiB", bytes.div_ceil(1024)))
}

fn plain(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
