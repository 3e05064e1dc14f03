//! The `pyxis` command that the plugin runs, and srun's own word about the plugin.

use std::env;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use linux::environ::find_in_path;

use super::ask;
use super::lines::PyxisLine;
use super::report::Report;
use super::slurm::Slurm;
use crate::owner;
use crate::shell::{quoted, replacement};
use crate::slurm::conf::SlurmConf;

/// The file of a program in PATH.
#[expect(clippy::disallowed_methods, reason = "the doctor looks where Slurm would")]
pub(super) fn in_path(name: &str) -> Option<PathBuf> {
    find_in_path(&env::var_os("PATH")?, name, executable)
}

pub(super) fn executable(file: &Path) -> bool {
    owner::real(file)
        .and_then(|file| std::fs::metadata(file).ok())
        .is_some_and(|status| status.is_file() && status.mode() & 0o111 != 0)
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
            let number = line.line.number;
            let edit = format!("{number}s|pyxis_path=[^ ]*|pyxis_path={}|", replacement(&mend));
            report.error(
                "command-missing",
                format!("{place}: pyxis_path={path} is no program"),
                format!("sed -i {} {}", quoted(edit), quoted(&line.line.file)),
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
                        quoted(&line.line.file)
                    ),
                );
                return None;
            }
        },
    };
    // Whose it is, another check says.
    if owner::fault(&command).is_some() {
        return Some(command);
    }
    let ours = env!("CARGO_PKG_VERSION");
    let mut program = ask::program(&command);
    program.arg("version");
    match ask::answer(program) {
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
        if let Some(fault) = owner::fault(srun) {
            report.warning(
                "srun-untrusted",
                format!("{}: {fault}: it is not asked", srun.display()),
                fault.mend(),
            );
            continue;
        }
        let mut program = ask::program(srun);
        program.arg("--help").env("SLURM_CONF", &conf.path);
        match ask::answer(program) {
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
                        quoted(&conf.path),
                        quoted(srun)
                    ),
                );
            }
        }
    }
}
