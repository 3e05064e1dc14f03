//! Images of docker or podman, by their commands: a container is made of the image, never
//! started, exported, and removed.

use std::io::{self, Read};
use std::process::{Child, Stdio};

use hygiene::unsecure;
use linux::file_error::FileError;

use linux::phases;

use super::build::Merged;
use super::slice::Slice;
use super::{ImportError, Importer};
use crate::imageconf::ImageConfig;
use crate::layers::{Index, Interpretation, Meter};
use crate::store::Pending;
use crate::uri::{Engine, Uri};

/// A container that is removed when it is no longer needed.
struct Container<'a> {
    engine: &'a str,
    name: String,
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let _ = unsecure::command(self.engine)
            .args(["rm", "-f", "-v", &self.name])
            .stdin(Stdio::null())
            .output();
    }
}

impl Importer {
    pub(super) fn merge_from_engine(
        &self,
        engine: Engine,
        image: &str,
    ) -> Result<Merged, ImportError> {
        phases::begin("download");
        self.squash.check()?;
        let program = engine.program();
        let name = format!("pyxis-import-{}", std::process::id());
        let container = Container { engine: program, name };
        // It is never run; but of an image without a command no container can be made without one.
        let create = Running::begin(
            program,
            &["create", "--name", &container.name, "--", image, "/bin/sh"],
        )?;
        self.progress.step(&format!("Fetching {image} from {program}"));
        create.end()?;
        let config =
            Running::begin(program, &["inspect", "--type", "image", "--", image])?.end()?;
        let malformed = |source| ImportError::Config { what: image.to_owned(), source };
        let configs: Vec<ImageConfig> = serde_json::from_slice(&config).map_err(malformed)?;
        let config = configs.into_iter().next().unwrap_or_default();

        self.progress.step("Exporting the image's content");
        let pending = self.store.pending()?;
        export(program, &container.name, &pending)?;
        drop(container);
        let failed = |source| FileError::new("read", self.store.scratch(), source);
        let slice = Slice::whole(pending.file().try_clone().map_err(failed)?).map_err(failed)?;
        phases::begin("merge");
        let archive = crate::layers::decoder(slice.reader())?;
        let meter = Meter::of(self.limits, slice.reader().len());
        let index = Index::read(archive, &meter, Interpretation::Flat, None)?;
        let uri = Uri::Engine { engine, image: image.to_owned() };
        self.merge_flat(slice, index, meter, &config, &uri.to_string())
    }
}

/// A command of the engine's, and what it is called in errors.
struct Running {
    child: Child,
    command: String,
}

impl Running {
    fn begin(program: &str, arguments: &[&str]) -> Result<Running, ImportError> {
        let command = format!("{program} {}", arguments[0]);
        let child = unsecure::command(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        match child {
            Ok(child) => Ok(Running { child, command }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(ImportError::NoEngine(program.to_owned()))
            }
            Err(error) => Err(ImportError::Engine { command, problem: error.to_string() }),
        }
    }

    /// What it has printed.
    fn end(self) -> Result<Vec<u8>, ImportError> {
        let Running { child, command } = self;
        let failed = |problem: String| ImportError::Engine { command, problem };
        match child.wait_with_output() {
            Ok(output) if output.status.success() => Ok(output.stdout),
            Ok(output) => Err(failed(last_line(&output.stderr, &output.status.to_string()))),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

/// Stores an export compressed: it is read twice, and on disk it would be as large as the image.
fn export(program: &str, name: &str, pending: &Pending) -> Result<(), ImportError> {
    let mut running = Running::begin(program, &["export", name])?;
    let stdout = running.child.stdout.take().expect("it is piped");
    let copied = compress(stdout, pending);
    if copied.is_err() {
        let _ = running.child.kill();
    }
    let command = running.command.clone();
    let ended = running.end();
    copied.map_err(|error| ImportError::Engine { command, problem: error.to_string() })?;
    ended.map(drop)
}

fn compress(mut input: impl Read, pending: &Pending) -> io::Result<()> {
    let mut encoder = zstd::stream::write::Encoder::new(pending.file(), 1)?;
    io::copy(&mut input, &mut encoder)?;
    encoder.finish().map(drop)
}

fn last_line(log: &[u8], otherwise: &str) -> String {
    let log = String::from_utf8_lossy(log);
    log.lines().rfind(|line| !line.trim().is_empty()).unwrap_or(otherwise).trim().to_owned()
}
