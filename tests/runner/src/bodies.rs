//! The suites that are more than a list of commands.

use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use crate::cluster::bats_files;
use crate::command::{Cmd, cmd};
use crate::lint;
use crate::run::{Run, Stop};
use crate::shared::{cache, lock};

pub(crate) type Done = Result<(), Stop>;

fn here() -> &'static Path {
    Path::new(".")
}

/// The lints of our own that a suite has, or all: their findings are in the log.
pub(crate) fn lints(run: &mut Run<'_>, suite: Option<&str>) {
    for lint in lint::LINTS.iter().filter(|lint| suite.is_none_or(|suite| lint.suite == suite)) {
        let faults = (lint.check)(here()).unwrap_or_else(|error| vec![error]);
        for fault in &faults {
            run.say(fault);
        }
        run.verdict(lint.says, faults.is_empty());
    }
}

pub(crate) fn shell(run: &mut Run<'_>) -> Done {
    let files = lint::files(here(), &["tests", "packaging", "debian", "build-matrix", ".ci"]);
    for file in files.map_err(|error| run.stop(&error))?.iter().filter(|file| is_shell(file)) {
        let shellcheck = cmd(["shellcheck", "-x", "-P", "SCRIPTDIR", "-P", ".", file]);
        run.check(&format!("shellcheck {file}"), &shellcheck)?;
    }
    lints(run, Some("shell"));
    Ok(())
}

/// By its name, or by its first line.
pub(crate) fn is_shell(file: &str) -> bool {
    let known = [".bats", ".bash", ".sh"].iter().any(|end| file.ends_with(end));
    known || {
        let first = fs::read(file).unwrap_or_default();
        let first = first.split(|byte| *byte == b'\n').next().unwrap_or_default();
        first.starts_with(b"#!") && first.len() <= 20 && first.ends_with(b"sh")
    }
}

pub(crate) fn sizes(run: &mut Run<'_>) -> Done {
    lints(run, Some("clippy"));
    Ok(())
}

pub(crate) fn dependencies(run: &mut Run<'_>) -> Done {
    let metadata = "cargo metadata --locked --format-version 1 --no-deps > /dev/null";
    run.check("Cargo.lock is up to date", &cmd(["sh", "-c", metadata]))?;
    run.check(
        "no dependency wants a newer Rust than we state",
        &cmd(["tests/dependencies", "msrv"]),
    )?;
    let text = run.output(&cmd(["tests/tools"]))?;
    let deny = PathBuf::from(text.lines().last().unwrap_or_default()).join("cargo-deny");
    let deny = cmd([&deny]).arg("--workspace");
    let check = deny.clone().args(["check", "-D", "warnings", "licenses", "bans", "sources"]);
    run.check("licences, duplicates and sources are as deny.toml has it", &check)?;
    // A list on the network, which not everybody can reach: what it says counts, that it cannot be had does not.
    if run.listen(&deny.clone().args(["fetch", "db"]))?.0 {
        let check = deny.args(["check", "--disable-fetch", "advisories"]);
        run.check("no advisory is about a crate of ours", &check)?;
    } else {
        run.tally.notes.push("advisories are not checked: their list cannot be fetched".into());
    }
    Ok(())
}

pub(crate) fn msrv(run: &mut Run<'_>) -> Done {
    run.check(
        "everything compiles with the oldest Rust that Cargo.toml states",
        &cmd(["tests/msrv"]).by_root(),
    )
}

/// Of the ignored tests this one is for the suite `drivers`, which downloads what it reads.
const WANTS_DOWNLOADS: &str = "real_packages";

pub(crate) fn unit(run: &mut Run<'_>) -> Done {
    // Real spank.h of several releases, as input for tests; fetched once.
    let named = std::env::var_os("PYXIS_HEADERS_DIR").filter(|path| !path.is_empty());
    let headers = named.map_or_else(|| cache().join("headers"), PathBuf::from);
    let fetch = cmd(["build-matrix/fetch-headers.sh"]).arg(&headers);
    run.check("headers of other releases can be fetched", &fetch)?;
    // Tests that need root are marked by #[ignore]: without root they are seen to be left out.
    let is_root = geteuid().is_root();
    let tests = if run.listen(&cmd(["cargo", "nextest", "--version"]))?.0 {
        let filter = format!("not test({WANTS_DOWNLOADS})");
        let all = if is_root { &["--run-ignored", "all", "-E", &filter][..] } else { &[] };
        cmd([
            "cargo",
            "nextest",
            "run",
            "--workspace",
            "--locked",
            "--no-fail-fast",
            "--color",
            "never",
        ])
        .args(all)
    } else {
        let all =
            if is_root { &["--", "--include-ignored", "--skip", WANTS_DOWNLOADS][..] } else { &[] };
        cmd([
            "cargo",
            "test",
            "--workspace",
            "--locked",
            "--no-fail-fast",
            "--lib",
            "--bins",
            "--tests",
        ])
        .args(all)
    };
    run.rust(&tests.env("PYXIS_HEADERS_DIR", headers).with_own_mounts())
}

pub(crate) fn build_matrix() -> Cmd {
    cmd(["cargo", "run", "-q", "--release", "--locked", "-p", "build-matrix", "--"])
}

pub(crate) fn matrix(run: &mut Run<'_>) -> Done {
    run.check("every release builds", &build_matrix().args(["build", "all"]))?;
    let built: Vec<PathBuf> = children("target/matrix")
        .into_iter()
        .map(|dir| dir.join("spank_pyxis.so"))
        .filter(|so| so.is_file())
        .collect();
    for so in &built {
        run.check(
            &format!("{} is what it should be", so.display()),
            &build_matrix().arg("verify").arg(so),
        )?;
    }
    let same = announces(run, "")?;
    run.verdict(
        "a spank.h with the same interface says so",
        same.0 && same.1.contains("same interface as"),
    );
    let other = announces(run, "s/S_JOB_GID,/S_SITE, S_JOB_GID,/")?;
    let shown = other.1.lines().any(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        line.starts_with("item") && words == ["item", "S_SITE", "-", "1"]
    });
    run.verdict("one with another is shown, and refused", !other.0 && shown);
    let releases = children("slurm-releases/releases").len();
    run.verdict("as many builds as releases", releases > 0 && built.len() == releases);
    Ok(())
}

/// What is directly below a folder.
fn children(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Builds against the installed Slurm's header changed by a sed command: whether that went well, and what was printed.
fn announces(run: &mut Run<'_>, change: &str) -> Result<(bool, String), Stop> {
    let dir = PathBuf::from(run.output(&cmd(["mktemp", "-d"]))?.trim());
    run.need(&cmd(["cp", "-r", "/usr/include/slurm"]).arg(&dir))?;
    run.need(&cmd(["sed", "-i", change]).arg(dir.join("slurm/spank.h")))?;
    let build =
        build_matrix().args(["build", "--slurm"]).arg(&dir).arg("--out").arg(dir.join("out"));
    let found = run.listen(&build);
    run.need(&cmd(["rm", "-rf"]).arg(dir))?;
    found
}

pub(crate) fn install(run: &mut Run<'_>) -> Done {
    let dest = PathBuf::from(run.output(&cmd(["mktemp", "-d"]))?.trim());
    let make = |target: &str| {
        let to = format!("DESTDIR={}", dest.display());
        cmd(["make", target, &to, "prefix=/usr", "libdir=/usr/lib64"])
    };
    run.check("make", &cmd(["make"]))?;
    let same = cmd(["sh", "-c", "cmp spank_pyxis.so target/make/*/spank_pyxis.so"]);
    run.check("the plugin is in the tree, as the original's build leaves it", &same)?;
    run.check("make install", &make("install"))?;
    run.check(
        "the plugin is where libdir says",
        &cmd(["test", "-s"]).arg(dest.join("usr/lib64/slurm/spank_pyxis.so")),
    )?;
    run.check(
        "the command is where bindir says",
        &cmd(["test", "-x"]).arg(dest.join("usr/bin/pyxis")),
    )?;
    let line = "required /usr/lib64/slurm/spank_pyxis.so pyxis_path=/usr/bin/pyxis";
    let grep = cmd(["grep", "-qx", line]).arg(dest.join("usr/share/pyxis/pyxis.conf"));
    run.check("the line for plugstack.conf names both", &grep)?;
    run.check("make uninstall", &make("uninstall"))?;
    let left = run.output(&cmd(["find"]).arg(&dest).args(["!", "-type", "d"]))?;
    run.verdict("nothing is left", left.is_empty());
    run.need(&cmd(["rm", "-rf"]).arg(dest))
}

/// In its own mount namespace; the plugins are those that the suites install and matrix build.
pub(crate) fn doctor(run: &mut Run<'_>) -> Done {
    run.need(&cmd(["make"]))?;
    run.need(&cmd(["cargo", "build", "-q", "--profile", "loader", "--locked", "-p", "loader"]))?;
    let root = std::env::current_dir().unwrap_or_default();
    let other = root.join("target/matrix/24.11/spank_pyxis.so");
    if !other.is_file() {
        run.need(&build_matrix().args(["build", "24.11"]))?;
    }
    let ours = children("target/make")
        .into_iter()
        .map(|dir| dir.join("spank_pyxis.so"))
        .find(|so| so.is_file());
    let ours = ours.ok_or_else(|| run.stop("make has left no plugin"))?;
    let bats = cmd(["bats", "--tap", "tests/doctor"])
        .env("PYXIS_COMMAND", root.join("target/release/pyxis"))
        .env("PYXIS_BUILD", root.join(ours))
        .env("PYXIS_OTHER_BUILD", other)
        .env("PYXIS_LOADER", root.join("target/loader/libpyxis_loader.so"));
    run.tap("", &bats.by_root().with_own_mounts())
}

/// As remapped root, with what a distribution's mirror has.
pub(crate) fn package_managers(run: &mut Run<'_>) -> Done {
    run.need(&cmd(["cargo", "build", "-q", "--release", "--locked", "-p", "pyxis"]))?;
    run.tap("", &cmd(["bats", "--tap", "tests/package-managers"]).by_root())
}

pub(crate) fn nix(run: &mut Run<'_>) -> Done {
    run.tap("", &cmd(["bats", "--tap", "tests/nix/flake.bats"]))
}

/// As a site runs it, inside an allocation of its own.
const ALLOCATION: [&str; 4] = ["salloc", "--quiet", "-N2", "--overcommit"];

fn in_allocation(run: &mut Run<'_>, runtime: &str, tests: &str) -> Done {
    let words = [&ALLOCATION[..], &["bats", "--tap", tests]].concat();
    let bats = run.on_cluster(runtime, &words);
    run.tap("", &bats)
}

pub(crate) fn end_to_end(run: &mut Run<'_>) -> Done {
    run.cluster()?;
    in_allocation(run, &crate::cluster::runtime(), "tests")
}

pub(crate) fn sbatch(run: &mut Run<'_>) -> Done {
    run.cluster()?;
    let bats = run.on_cluster(&crate::cluster::runtime(), &["bats", "--tap", "tests/sbatch"]);
    run.tap("", &bats)
}

/// Programs of OpenMPI and MPICH over two nodes.
pub(crate) fn mpi(run: &mut Run<'_>) -> Done {
    run.cluster()?;
    mpi_tests(run, &crate::cluster::runtime())
}

fn mpi_tests(run: &mut Run<'_>, runtime: &str) -> Done {
    let image = run.images(&["mpi"])?;
    let images = run.state().join("work/images");
    run.need(&cmd(["cp"]).args(image).arg(images).by_root())?;
    in_allocation(run, runtime, "tests/mpi")
}

pub(crate) fn attacks(run: &mut Run<'_>) -> Done {
    run.cluster()?;
    let files = bats_files(Path::new("tests/attacks"));
    let done =
        files.iter().try_for_each(|file| run.cluster_tap(&file.to_string_lossy(), &[], None));
    // Whatever came of it, the next suite is not watched.
    let include = run.plugin_include();
    run.need(&run.cluster_verb(["plugstack", &include]))?;
    done
}

/// The code path of enroot: the pyxis command, which takes enroot's arguments, stands in under its name. Containers are
/// kept on the node, as sites configure enroot; where hooks work is left to the command.
pub(crate) fn enroot(run: &mut Run<'_>) -> Done {
    run.cluster()?;
    let state = run.state();
    let link = state.join("enroot/enroot");
    let done = enroot_tests(run, &link);
    // Whatever came of it, the next suite has another runtime.
    let clean = "rm -rf /etc/pyxis";
    run.need(&run.cluster_verb(["login", "--", "sh", "-c", clean]))?;
    run.need(&cmd(["rm", "-f"]).arg(link).by_root())?;
    let include = run.plugin_include();
    run.need(&run.cluster_verb(["plugstack", &include]))?;
    done
}

/// Up to the program; what comes then is Slurm's and export's.
const CANCEL: &str = "^while (an image|a container|the entrypoint|the program runs)";
/// Those whose fault is not the built-in runtime's own: its keeper, its image server, its words.
const FAULTS: &str = "^(one task|steps cancelled|the end of a step|the runtime directory is|a runtime directory|the runtime directory lost in|runtime_path|no room for what|the memory)";

fn enroot_tests(run: &mut Run<'_>, link: &Path) -> Done {
    let (state, line) = (run.state(), run.plugin_line()?);
    run.need(&cmd(["ln", "-sfn"]).arg(state.join("prefix/bin/pyxis")).arg(link).by_root())?;
    let settings = r#"mkdir -p /etc/pyxis; printf '[paths]\ndata = "/var/tmp/enroot-data-%%u"\n' > /etc/pyxis/pyxis.toml"#;
    run.need(&run.cluster_verb(["login", "--", "sh", "-c", settings]))?;
    let line = format!("{line} runtime=enroot");
    run.need(&run.cluster_verb(["plugstack", &line]))?;
    in_allocation(run, "enroot", "tests")?;
    let bats = run.on_cluster("enroot", &["bats", "--tap", "tests/sbatch"]);
    run.tap("", &bats)?;
    mpi_tests(run, "enroot")?;
    for suite in ["plugstack", "races", "superuser", "hostile"] {
        run.cluster_tap_with(
            "enroot",
            &format!("tests/cluster/{suite}.bats"),
            &["runtime=enroot"],
            None,
        )?;
    }
    for (suite, only) in [("cancel", CANCEL), ("faults", FAULTS)] {
        run.cluster_tap_with(
            "enroot",
            &format!("tests/cluster/{suite}.bats"),
            &["runtime=enroot"],
            Some(only),
        )?;
    }
    for node in ["n1", "n2"] {
        let log = state.join(format!("log/slurmd.{node}.log"));
        let grep = cmd(["grep", "-q", "pyxis: container runtime: enroot"]).arg(log).by_root();
        run.check(&format!("it was enroot, on {node}"), &grep)?;
    }
    Ok(())
}

/// Where all packages are, deb and rpm. Made once per run, unless PYXIS_DIST names some already.
pub(crate) fn dist(run: &mut Run<'_>) -> Result<PathBuf, Stop> {
    if let Some(named) = std::env::var_os("PYXIS_DIST").filter(|path| !path.is_empty()) {
        return Ok(PathBuf::from(named));
    }
    if let Some(made) = lock(&run.shared.dist).clone() {
        return Ok(made);
    }
    let dist = std::env::current_dir().unwrap_or_default().join("target/dist");
    run.need(&cmd(["packaging/zig"]))?;
    run.need(&cmd(["rm", "-rf"]).arg(&dist))?;
    run.need(&build_matrix().args(["package", "all", "--out", "target/dist"]))?;
    *lock(&run.shared.dist) = Some(dist.clone());
    Ok(dist)
}

pub(crate) fn packages(run: &mut Run<'_>) -> Done {
    let dist = dist(run)?;
    // Root, which runs the tests, often has no Rust toolchain.
    run.need(&cmd([
        "cargo",
        "build",
        "-q",
        "--release",
        "--locked",
        "-p",
        "build-matrix",
        "-p",
        "packaging",
    ]))?;
    let bats = cmd(["bats", "--tap", "tests/packages"])
        .env("PYXIS_DIST", dist)
        .env("PYXIS_CACHE", cache());
    run.tap("", &bats.by_root().with_own_mounts())
}

/// One release for Grace nodes.
pub(crate) fn aarch64(run: &mut Run<'_>) -> Done {
    let dist = aarch64_packages(run)?;
    run.tap(
        "",
        &cmd(["bats", "--tap", "tests/packages/aarch64"])
            .env("PYXIS_DIST", dist)
            .by_root()
            .with_own_mounts(),
    )
}

/// Makes its packages. The other processor's standard library is Debian's, unless rustc has it.
pub(crate) fn aarch64_packages(run: &mut Run<'_>) -> Result<PathBuf, Stop> {
    run.need(&cmd(["packaging/zig"]))?;
    let sysroot = run.output(&cmd(["rustc", "--print", "sysroot"]))?;
    let has_library =
        Path::new(sysroot.trim()).join("lib/rustlib/aarch64-unknown-linux-gnu").is_dir();
    let rustc =
        if has_library { None } else { Some(run.output(&cmd(["tests/packages/rust-aarch64"]))?) };
    run.need(&cmd(["rm", "-rf", "target/dist-aarch64"]))?;
    run.need(&cmd(["cargo", "build", "-q", "--release", "--locked", "-p", "packaging"]))?;
    let make = cmd([
        "target/release/packaging",
        "package",
        "24.11",
        "--arch",
        "aarch64",
        "--out",
        "target/dist-aarch64",
    ]);
    let make = match rustc.as_deref().and_then(|text| text.lines().last()) {
        Some(rustc) => make.env("RUSTC", rustc),
        None => make,
    };
    run.need(&make)?;
    Ok(std::env::current_dir().unwrap_or_default().join("target/dist-aarch64"))
}

pub(crate) fn loader(run: &mut Run<'_>) -> Done {
    let dist = dist(run)?;
    run.tap("", &cmd(["bats", "--tap", "tests/releases/loader.bats"]).env("PYXIS_DIST", &dist))?;
    let rpm = cmd(["bats", "--tap", "tests/releases/rpm.bats"]).env("PYXIS_DIST", dist);
    run.tap("", &rpm.by_root().with_own_mounts())
}

/// Runs a command for each group, two at a time, as they wait more than they work; the output of each is a file of its own.
pub(crate) fn side_by_side(run: &mut Run<'_>, groups: &[&str], script: &str, dist: &Path) -> Done {
    // $1 is the group, $2 the file of its output.
    let one = format!("({script}) > \"$2.$1\" 2>&1 || echo \"$1\" >> \"$2.failed\"");
    let each = format!(
        "rm -f \"$2.failed\"; printf '%s\\n' $1 | xargs -P 2 -I '{{}}' sh -c '{one}' sh '{{}}' \"$2\""
    );
    let base = run.file("");
    let base = base.to_string_lossy().trim_end_matches('.').to_owned();
    let all = cmd(["sh", "-c", &each, "sh", &groups.join(" "), &base]).env("PYXIS_DIST", dist);
    let ended = run.listen(&all.by_root().with_own_mounts())?.0;
    let failed = fs::read_to_string(format!("{base}.failed")).unwrap_or_default();
    for group in groups {
        let well = ended && !failed.lines().any(|line| line == *group);
        run.tap_file(group, well);
    }
    Ok(())
}

/// Three of the ways in which sites install the originals, with ours in their place.
pub(crate) fn recipes(run: &mut Run<'_>) -> Done {
    replayed(run, &["wiki", "parallelcluster", "google"])
}

/// All of them.
pub(crate) fn every_recipe(run: &mut Run<'_>) -> Done {
    let names = recipes_with(run, "")?;
    replayed(run, &names.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Those that build from source, with what they build in place of packages.
pub(crate) fn built_recipes(run: &mut Run<'_>) -> Done {
    let names = recipes_with(run, "\nbuild() {")?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    prepare_recipes(run)?;
    side_by_side(run, &names, "tests/recipes/replay --built \"$1\"", Path::new(""))
}

/// The names of recipes whose text has this.
fn recipes_with(run: &mut Run<'_>, text: &str) -> Result<Vec<String>, Stop> {
    let files = fs::read_dir("tests/recipes/recipes").into_iter().flatten().flatten();
    let has_text = |path: &Path| fs::read_to_string(path).is_ok_and(|recipe| recipe.contains(text));
    let mut names: Vec<String> = files
        .filter(|entry| has_text(&entry.path()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".sh").map(str::to_owned))
        .collect();
    names.sort();
    if names.is_empty() {
        return Err(run.stop("tests/recipes/recipes has no such recipe"));
    }
    Ok(names)
}

fn replayed(run: &mut Run<'_>, names: &[&str]) -> Done {
    let dist = dist(run)?;
    prepare_recipes(run)?;
    side_by_side(run, names, "tests/recipes/replay \"$1\" \"$PYXIS_DIST\"", &dist)
}

/// What is downloaded or made once, one after the other. Ubuntu's roots may not be to be had.
fn prepare_recipes(run: &mut Run<'_>) -> Done {
    run.need(&cmd(["tests/cluster/roots", "bookworm", "trixie"]).by_root())?;
    run.images(&["busybox", "entrypoint", "mpi"]).map(drop)
}

/// What is in the packages, with four real Slurms.
pub(crate) fn releases(run: &mut Run<'_>) -> Done {
    releases_of(run, &["bullseye", "forky", "trixie", "bookworm"])
}

/// Those that Debian has not.
pub(crate) fn ubuntu_releases(run: &mut Run<'_>) -> Done {
    releases_of(run, &["jammy", "noble", "resolute"])
}

fn releases_of(run: &mut Run<'_>, suites: &[&str]) -> Done {
    let dist = dist(run)?;
    // What is downloaded once, one after the other.
    run.need(&cmd(["tests/cluster/roots"]).args(suites).by_root())?;
    side_by_side(run, suites, "tests/releases/run \"$1\" \"$PYXIS_DIST\"", &dist)
}

pub(crate) fn upgrade(run: &mut Run<'_>) -> Done {
    let dist = dist(run)?;
    side_by_side(
        run,
        &["22.05", "24.11"],
        "bats --tap -f \"^from $1\" tests/releases/upgrade.bats",
        &dist,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::Shared;

    fn two_groups(run: &mut Run<'_>) -> Done {
        let script =
            "echo 1..2; echo \"ok 1 $1 in $PYXIS_DIST\"; test \"$1\" = good && echo \"ok 2 it\"";
        side_by_side(run, &["good", "bad"], script, Path::new("/dist"))
    }

    #[test]
    #[ignore = "needs root, who runs the groups"]
    fn groups_side_by_side_are_counted_each_for_itself() {
        let folder = tempfile::tempdir().unwrap();
        let shared = Shared::new(folder.path().to_owned(), 1.0);
        let mut run = Run::new(&shared, "groups", 1, false).unwrap();
        two_groups(&mut run).unwrap();
        // The plan of the second is not fulfilled.
        assert_eq!((run.tally.passed, run.tally.failed), (3, 1));
        let tests: Vec<String> =
            run.tests.iter().map(|(group, test)| format!("{group}: {}", test.name)).collect();
        assert_eq!(tests, ["good: good in /dist", "good: it", "bad: bad in /dist"]);
    }

    #[test]
    fn scripts_are_known_by_their_name_or_their_first_line() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let is_script = |name: &str| is_shell(&root.join(name).to_string_lossy());
        assert!(
            is_script("tests/run")
                && is_script("tests/common.bash")
                && is_script("tests/basic.bats")
        );
        assert!(!is_script("Cargo.toml") && !is_script("tests/runner/src/main.rs"));
    }
}
