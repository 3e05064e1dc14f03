//! The `pyxis` command that the plugin runs, and srun's own word about the plugin.

use std::env;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use super::conf::SlurmConf;
use super::lines::PyxisLine;
use super::report::Report;
use super::slurm::Slurm;

/// No program asked here takes that long.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a program printed to both of its outputs, or why that is not known.
pub(super) fn output(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).map_err(|errno| errno.desc().to_owned())?;
    let error = writer.try_clone().map_err(|error| error.to_string())?;
    command.stdin(Stdio::null()).stdout(writer).stderr(error);
    let child = command.spawn().map_err(|error| format!("{name}: {error}"));
    // The command holds the pipe's other end open as long as it lives.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = child?;
    let reading = std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = File::from(reader).read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    let begin = Instant::now();
    while child.try_wait().map_err(|error| error.to_string())?.is_none() {
        if begin.elapsed() > PATIENCE {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("{name} does not end"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    reading.join().map_err(|_| format!("{name}: its output cannot be read"))
}

/// The file of a program in PATH.
pub(super) fn in_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let mut candidates = env::split_paths(&path).map(|directory| directory.join(name));
    candidates.find(|file| executable(file))
}

pub(super) fn executable(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|status| status.is_file() && status.mode() & 0o111 != 0)
}

/// Checks the command that the lines name; returns it.
pub(super) fn check(lines: &[PyxisLine], report: &mut Report) -> Option<PathBuf> {
    let line = lines.iter().find(|line| line.ours())?;
    let place = line.line.place();
    let command = match line.line.argument("pyxis_path") {
        Some(path) if executable(Path::new(path)) => PathBuf::from(path),
        Some(path) => {
            let mend =
                env::current_exe().map_or("/usr/bin/pyxis".into(), |exe| exe.display().to_string());
            report.error(
                "command-missing",
                format!("{place}: pyxis_path={path} is no program"),
                format!(
                    "sed -i '{}s|pyxis_path=[^ ]*|pyxis_path={mend}|' {}",
                    line.line.number,
                    line.line.file.display()
                ),
            );
            return None;
        }
        None => match in_path("pyxis") {
            Some(path) => path,
            None => {
                report.error(
                    "command-missing",
                    format!("{place}: no pyxis_path, and no pyxis in PATH"),
                    format!(
                        "sed -i '{}s|$| pyxis_path=/usr/bin/pyxis|' {}",
                        line.line.number,
                        line.line.file.display()
                    ),
                );
                return None;
            }
        },
    };
    let ours = env!("CARGO_PKG_VERSION");
    match output(Command::new(&command).arg("version")) {
        Ok(version) if version.trim() == ours => {
            report.ok("command", format!("{} is pyxis {ours}", command.display()));
        }
        Ok(version) => report.error(
            "command-other",
            format!("{} is pyxis {:?}, this is {ours}", command.display(), version.trim()),
            "install the packages of one version: apt-get install pyxis, or make install",
        ),
        Err(error) => report.error(
            "command-broken",
            format!("{} does not run: {error}", command.display()),
            "install the package pyxis (or make install) again",
        ),
    }
    Some(command)
}

/// Lets srun load its plugins: it says which options it has, or why it does not.
pub(super) fn ask_srun(
    slurms: &[Slurm],
    conf: &SlurmConf,
    lines: &[PyxisLine],
    report: &mut Report,
) {
    if lines.is_empty() {
        return;
    }
    for slurm in slurms {
        let Some(srun) = slurm.program("srun") else { continue };
        let help = output(Command::new(srun).arg("--help").env("SLURM_CONF", &conf.path));
        match help {
            Ok(text) if text.contains("--container-image") => {
                report.ok("srun", format!("{} has the options --container-*", srun.display()));
            }
            answer => {
                let text = answer.unwrap_or_else(|error| error);
                let why: Vec<&str> = text.lines().filter(|line| line.contains("error")).collect();
                let why =
                    if why.is_empty() { "it does not say why".into() } else { why.join("; ") };
                report.error(
                    "srun",
                    format!("{} has no option --container-image: {why}", srun.display()),
                    format!(
                        "SLURM_CONF={} {} --help | grep container",
                        conf.path.display(),
                        srun.display()
                    ),
                );
            }
        }
    }
}
