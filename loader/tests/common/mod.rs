//! A tree as packages install it, with stand-ins for Slurm and for builds.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::{env, fs};
use tempfile::TempDir;

/// `lib/slurm/spank_pyxis.so` and what is beside it.
pub(crate) struct Tree {
    pub(crate) dir: TempDir,
}

/// A build of the tree.
pub(crate) struct Build<'a> {
    pub(crate) slurm: &'a str,
    pub(crate) api: u32,
    pub(crate) number: &'a str,
    /// More words for the compiler.
    pub(crate) options: &'a [&'a str],
}

pub(crate) const B24: Build<'_> =
    Build { slurm: "24.11", api: 42, number: "0x180b07", options: &[] };
pub(crate) const B25: Build<'_> =
    Build { slurm: "25.05", api: 43, number: "0x190508", options: &["-DEPILOG"] };

impl Tree {
    /// The loader, and these builds.
    pub(crate) fn new(builds: &[Build<'_>]) -> Tree {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("lib/slurm")).unwrap();
        fs::create_dir(dir.path().join("lib/pyxis")).unwrap();
        let tree = Tree { dir };
        fs::copy(loader(), tree.loader()).unwrap();
        builds.iter().for_each(|build| tree.add(build));
        tree
    }

    pub(crate) fn loader(&self) -> PathBuf {
        self.dir.path().join("lib/slurm/spank_pyxis.so")
    }

    /// Where the build of a release is.
    pub(crate) fn build(&self, name: &str) -> PathBuf {
        self.dir.path().join("lib/pyxis").join(name).join("spank_pyxis.so")
    }

    pub(crate) fn add(&self, build: &Build<'_>) {
        self.add_as(build.slurm, build);
    }

    pub(crate) fn add_as(&self, name: &str, build: &Build<'_>) {
        let Build { slurm, api, number, options } = build;
        let file = self.build(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let mut words = vec!["-shared".to_owned(), "-fPIC".into(), format!("-DSLURM={slurm}")];
        words.extend([format!("-DAPI={api}"), format!("-DNUMBER={number}")]);
        let given = |what: &str| options.iter().any(|o| o.starts_with(what));
        if !given("-DVERSION") {
            words.push(format!("-DVERSION={number}"));
        }
        if !given("-DSTAMP") {
            words.push("-DSTAMP=\"pyxis\"".into());
        }
        words.extend(options.iter().map(|o| (*o).to_owned()));
        cc("build.c", &words, &file);
    }

    /// What a program of Slurm with that API number prints after loading the loader.
    pub(crate) fn load(&self, api: u32) -> String {
        host(&[], &api.to_string(), &self.loader())
    }
}

/// What the stand-in for Slurm prints.
pub(crate) fn host(options: &[&str], api: &str, plugin: &Path) -> String {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("host");
    compile_host(options, &program);
    said(Command::new(program).arg(api).arg(plugin))
}

/// All that a command prints.
pub(crate) fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8(text).unwrap()
}

/// The stand-in for Slurm.
pub(crate) fn compile_host(options: &[&str], program: &Path) {
    let mut words = vec!["-rdynamic".to_owned()];
    words.extend(options.iter().map(|o| (*o).to_owned()));
    cc("host.c", &words, program);
}

/// Compiles a stand-in.
fn cc(source: &str, words: &[String], out: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(source);
    let mut command = Command::new("cc");
    command.args(words).arg("-o").arg(out).arg(source).arg("-ldl");
    assert!(command.status().unwrap().success(), "{command:?}");
}

/// The loader as it is shipped.
pub(crate) fn loader() -> &'static Path {
    static LOADER: OnceLock<PathBuf> = OnceLock::new();
    LOADER.get_or_init(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--profile", "loader", "-p", "loader", "--message-format=json"]);
        let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let messages = String::from_utf8(output.stdout).unwrap();
        let file = messages.lines().find_map(|line| {
            let message: serde_json::Value = serde_json::from_str(line).ok()?;
            let made = message["target"]["name"] == "pyxis_loader";
            let file = message["filenames"][0].as_str().filter(|file| file.ends_with(".so"))?;
            made.then(|| PathBuf::from(file))
        });
        file.expect("cargo makes it")
    })
}
