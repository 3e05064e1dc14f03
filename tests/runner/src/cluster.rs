//! The cluster that suites share, and what runs on it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::command::{Cmd, cmd};
use crate::run::{Run, Stop};
use crate::shared::lock;

fn variable(name: &str, default: &str) -> String {
    std::env::var(name).ok().filter(|value| !value.is_empty()).unwrap_or_else(|| default.to_owned())
}

/// The runtime that tests are told of.
pub(crate) fn runtime() -> String {
    variable("PYXIS_TEST_RUNTIME", "pyxis")
}

impl Run<'_> {
    /// A verb of the shared cluster.
    pub(crate) fn cluster_verb<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Cmd {
        cmd(["tests/cluster/cluster", "--state"]).arg(self.state()).args(words).by_root()
    }

    /// Where the shared cluster is: after `cluster`.
    pub(crate) fn state(&self) -> PathBuf {
        lock(&self.shared.cluster).clone().unwrap_or_default()
    }

    /// Boots it unless it is up: the plugin as `make install` leaves it, unless PYXIS_PLUGSTACK names another.
    pub(crate) fn cluster(&mut self) -> Result<(), Stop> {
        if lock(&self.shared.cluster).is_some() {
            return Ok(());
        }
        let made = self.output(&cmd(["mktemp", "-d", "--tmpdir", "pyxis-cluster.XXXXXX"]))?;
        let state = PathBuf::from(made.trim());
        // From here on it is taken down in any case.
        *lock(&self.shared.cluster) = Some(state.clone());
        let booted = self.boot(&state);
        if booted.is_err() {
            self.shared.end_cluster();
        }
        booted
    }

    fn boot(&mut self, state: &Path) -> Result<(), Stop> {
        let at = |below: &str| state.join(below);
        self.need(&cmd(["chmod", "755"]).arg(state))?;
        let ours = format!("include {}", at("prefix/share/pyxis/pyxis.conf").display());
        let named = variable("PYXIS_PLUGSTACK", "");
        if named.is_empty() {
            let prefix = format!("prefix={}", at("prefix").display());
            self.compiling(|run| {
                run.need(&cmd(["make"]))?;
                run.need(&cmd(["make", "install"]).arg(prefix).by_root())
            })?;
        }
        // enroot is what suite enroot puts there.
        self.need(&cmd(["mkdir", "-p"]).arg(at("enroot")).by_root())?;
        let owner = std::process::id().to_string();
        let line = if named.is_empty() { ours } else { named };
        let up = self
            .cluster_verb(["up", "--owner", &owner, "--path"])
            .arg(at("enroot"))
            .args(["--plugstack", &line]);
        // It outlives the suite that boots it.
        self.need(&up.unmarked())?;
        // A copy: the checkout may be somewhere that ordinary users cannot read.
        self.need(&cmd(["mkdir"]).args([at("work/images"), at("work/tests")]).by_root())?;
        let images = self.images(&["busybox", "entrypoint", "hostile", "noshell"])?;
        self.need(&cmd(["cp"]).args(images).arg(at("work/images")).by_root())?;
        let mut tests = bats_files(Path::new("tests"));
        tests.extend(["tests/common.bash", "tests/sbatch", "tests/mpi"].map(PathBuf::from));
        self.need(&cmd(["cp", "-R"]).args(tests).arg(at("work/tests")).by_root())
    }

    /// The paths of test images, which are made if need be.
    pub(crate) fn images(&mut self, names: &[&str]) -> Result<Vec<String>, Stop> {
        let text = self.output(&cmd(["tests/images"]).args(names))?;
        let paths = text.lines().filter(|line| line.starts_with('/') && line.ends_with(".sqsh"));
        let paths: Vec<String> = paths.map(str::to_owned).collect();
        if paths.len() == names.len() {
            Ok(paths)
        } else {
            Err(self.stop("tests/images did not name each image"))
        }
    }

    /// A command as the ordinary user. TMPDIR is where bats puts what tests write; the nodes have to see it.
    pub(crate) fn on_cluster(&self, runtime: &str, words: &[&str]) -> Cmd {
        let state = self.state();
        let at = |name: &str, below: &str| format!("{name}={}", state.join(below).display());
        let settings = [
            at("TMPDIR", "work"),
            format!("SUT={}", variable("SUT", "pyxis")),
            format!("PYXIS_TEST_RUNTIME={runtime}"),
            at("PYXIS_TEST_COMMAND", "prefix/bin/pyxis"),
            at("PYXIS_TEST_IMAGES", "work/images"),
        ];
        let run = settings
            .iter()
            .fold(self.cluster_verb(["run"]), |run, setting| run.args(["--env", setting]));
        run.arg("--").args(words)
    }

    /// A file of bats as root, with arguments for the plugin's line in plugstack.conf; of its tests those that match.
    pub(crate) fn cluster_tap(
        &mut self,
        file: &str,
        more: &[&str],
        only: Option<&str>,
    ) -> Result<(), Stop> {
        self.cluster_tap_with(&runtime(), file, more, only)
    }

    pub(crate) fn cluster_tap_with(
        &mut self,
        runtime: &str,
        file: &str,
        more: &[&str],
        only: Option<&str>,
    ) -> Result<(), Stop> {
        let state = self.state();
        let mut words = vec![self.plugin_line()?];
        words.extend(more.iter().map(|word| (*word).to_owned()));
        let bats = cmd(["bats", "--tap"])
            .args(only.into_iter().flat_map(|only| ["-f", only]))
            .arg(file)
            .env("CLUSTER_STATE", &state)
            .env("PYXIS_TEST_IMAGES", state.join("work/images"))
            .env("PYXIS_TEST_RUNTIME", runtime)
            .env("PYXIS_TEST_COMMAND", state.join("prefix/bin/pyxis"))
            .env("PYXIS_TEST_LINE", words.join(" "))
            .by_root();
        self.tap("", &bats)
    }

    /// What plugstack.conf has between suites.
    pub(crate) fn plugin_include(&self) -> String {
        format!("include {}", self.state().join("prefix/share/pyxis/pyxis.conf").display())
    }

    /// What `make install` has written for plugstack.conf.
    pub(crate) fn plugin_line(&mut self) -> Result<String, Stop> {
        let file = self.state().join("prefix/share/pyxis/pyxis.conf");
        let text = fs::read_to_string(&file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with("required"));
        line.map(str::to_owned)
            .ok_or_else(|| self.stop(&format!("no line for plugstack.conf in {}", file.display())))
    }
}

/// The files of bats right below a folder, by name.
pub(crate) fn bats_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "bats")).collect();
    files.sort();
    files
}
