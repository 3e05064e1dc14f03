//! Runs cargo and reads what it says.

use crate::error::Error;
use crate::report::Progress;
use serde_json::Value;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, thread};

/// To rustc.
pub const FRAME_POINTERS: &str = "-Cforce-frame-pointers=yes";
/// LLVM's own measure of what is small enough to be inlined costs 3 KiB more, and what std has marked for it, too. std's functions
/// and their loops, which were made for speed, begin at multiples of 16 otherwise: 4 KiB. Common ends of two instructions are worth a jump.
/// Nor does it need branches twice to spare a jump, or tables of places to jump to: 3 KiB.
/// What a loop computes anew each time takes no register before it, where values are spilled costs bytes and not time, and blocks are
/// not put in the order in which they run: 2 KiB.
/// Instructions that occur again and again become functions where that saves more than the tables for unwinding take for one: 5 KiB.
/// To be said once: LLVM refuses an option that comes twice.
const SMALL_CODE: [&str; 12] = [
    "-Cllvm-args=-inline-threshold=10",
    "-Cllvm-args=-inlinehint-threshold=10",
    "-Cllvm-args=-align-all-functions=1",
    "-Cllvm-args=-align-loops=1",
    "-Cllvm-args=-tail-merge-size=2",
    "-Cllvm-args=-tail-dup-placement=false",
    "-Cllvm-args=-min-jump-table-entries=16",
    "-Cllvm-args=-disable-machine-licm",
    "-Cllvm-args=-split-spill-mode=size",
    "-Cllvm-args=-disable-block-placement",
    "-Cllvm-args=-enable-machine-outliner=always",
    "-Cllvm-args=-outliner-benefit-threshold=28",
];

/// One run of cargo.
#[derive(Debug)]
pub struct Cargo(Command);

impl Cargo {
    /// `cargo VERB ...` in the source tree, without what a cargo above this program has set.
    pub fn new(root: &Path, args: &[&str]) -> Cargo {
        Cargo::by(env::var_os("CARGO").unwrap_or("cargo".into()), root, args)
    }

    /// The same by a program that takes cargo's arguments.
    pub fn by(program: impl AsRef<OsStr>, root: &Path, args: &[&str]) -> Cargo {
        let mut command = Command::new(program);
        command.current_dir(root).args(args).arg("--message-format=json-render-diagnostics");
        command.env_remove("SLURM_SPANK_INCLUDE").env_remove("SLURM_SPANK_COMPARE");
        Cargo(command)
    }

    /// With that variable set.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Cargo {
        self.0.env(name, value);
        self
    }

    /// What Slurm loads may have 500 KiB: smaller code than the release profile makes, also where that was told to be quick. It is
    /// to be the last thing said. With frame pointers the tables for unwinding, which follow every push of a register otherwise,
    /// are 9 KiB smaller, and the code is no larger.
    #[must_use]
    pub fn small(mut self) -> Cargo {
        self.0.args(["--", FRAME_POINTERS]).args(SMALL_CODE);
        let one_unit = self.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1");
        let one_unit = one_unit.env("CARGO_PROFILE_RELEASE_LTO", "fat");
        let small = one_unit.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "z");
        // For what it is made of. Flags that the caller has for all of cargo go before these.
        small.env("CARGO_BUILD_RUSTFLAGS", FRAME_POINTERS)
    }

    /// Runs it: the messages, one JSON value each. If it fails, its words go to stderr.
    ///
    /// # Errors
    /// It cannot be run, or fails.
    pub fn run(mut self, progress: &Progress) -> Result<Vec<Value>, Error> {
        let args: Vec<_> = self.0.get_args().map(|a| a.to_string_lossy().into_owned()).collect();
        let failed = |why| Error::Command { command: format!("cargo {}", args.join(" ")), why };
        let child = self.0.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = child.spawn().map_err(|e| failed(Some(e)))?;
        let (out, err) = (child.stdout.take(), child.stderr.take());

        let (messages, words) = thread::scope(|scope| {
            let reader = scope.spawn(move || {
                let lines = out.into_iter().flat_map(|out| BufReader::new(out).lines());
                let parse = |line: String| serde_json::from_str::<Value>(&line).ok();
                lines.map_while(Result::ok).filter_map(parse).collect::<Vec<_>>()
            });
            let mut words = Vec::new();
            for line in err.into_iter().flat_map(|err| BufReader::new(err).lines()) {
                let Ok(line) = line else { break };
                progress.message(line.trim());
                words.push(line);
            }
            (reader.join().unwrap_or_default(), words)
        });
        let status = child.wait().map_err(|e| failed(Some(e)))?;
        if status.success() {
            return Ok(messages);
        }
        // What a build script of ours says is complete; cargo repeats all it printed.
        let own = |line: &&String| line.starts_with("error: spank-bindings@");
        let own: Vec<&String> = words.iter().filter(own).collect();
        let shown = if own.is_empty() { words.iter().collect() } else { own };
        shown.iter().for_each(|line| eprintln!("{line}"));
        Err(failed(None))
    }
}

/// The OUT_DIR of a package's build script.
pub fn out_dir(messages: &[Value], package: &str) -> Option<PathBuf> {
    let found = messages.iter().find(|m| {
        m["reason"] == "build-script-executed"
            && m["package_id"].as_str().is_some_and(|id| id.contains(package))
    })?;
    Some(PathBuf::from(found["out_dir"].as_str()?))
}

/// The program or .so of the target `name`. A package may have a library of the same name as its program.
pub fn artifact(messages: &[Value], name: &str) -> Option<PathBuf> {
    let mut made = messages.iter().filter(|m| {
        m["reason"] == "compiler-artifact" && m["target"]["name"].as_str() == Some(name)
    });
    let program = made.find_map(|m| m["executable"].as_str().map(PathBuf::from));
    program.or_else(|| shared_library(messages, name))
}

/// The .so of the library target `name`, if cargo made or has it.
pub fn shared_library(messages: &[Value], name: &str) -> Option<PathBuf> {
    let found = messages.iter().find(|m| {
        m["reason"] == "compiler-artifact" && m["target"]["name"].as_str() == Some(name)
    })?;
    let files = found["filenames"].as_array()?.iter().filter_map(Value::as_str);
    files.map(PathBuf::from).find(|file| file.extension().is_some_and(|e| e == "so"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_program_is_found_behind_the_library_of_its_name() {
        let made = |executable: Value, files: &[&str]| {
            json!({
                "reason": "compiler-artifact", "target": { "name": "x" },
                "executable": executable, "filenames": files,
            })
        };
        let library = made(Value::Null, &["/t/libx.rlib", "/t/libx.so"]);
        let program = made(json!("/t/x"), &["/t/x"]);
        assert_eq!(artifact(&[library.clone(), program], "x"), Some("/t/x".into()));
        assert_eq!(artifact(&[library], "x"), Some("/t/libx.so".into()));
        assert_eq!(artifact(&[], "x"), None);
    }
}
