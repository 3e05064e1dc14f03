//! `pyxis doctor`.

use std::path::PathBuf;

use clap::Args;
use hygiene::console;
use linux::file_error::FileError;
use nix::unistd::{chdir, chroot};
use pyxis::doctor::{
    Level, Report, Subject, examine, examine_image, examine_store, probe, probe_image,
};
use pyxis::settings::Settings;
use serde_json::json;

use super::{CliError, Exit};

/// Exits with 0 if there is nothing to mend, else with 1.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Print one JSON document, for monitoring
    #[arg(long)]
    json: bool,
    /// Print what is as it should be, too
    #[arg(short, long)]
    verbose: bool,
    /// Look at the image of a node in this directory; only root can. Kernel, devices and processes
    /// are left out
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// A Slurm that is not in PATH or the usual places; may be given several times
    #[arg(long, value_name = "PREFIX")]
    slurm: Vec<PathBuf>,
    /// Slurm's configuration, where it is not in one of the usual places
    #[arg(long, value_name = "FILE")]
    slurm_conf: Option<PathBuf>,
    /// What a container of this image, a squashfs file or a directory, would get of this node's
    /// devices, and nothing else; in a job, as a step of it
    #[arg(long, value_name = "IMAGE", conflicts_with_all = ["root", "slurm", "slurm_conf"])]
    image: Option<PathBuf>,
    /// Whether the file system of this directory is fit for a store, for named containers and for layers, and
    /// nothing else: tried in a directory of its own, which is removed
    #[arg(long, value_name = "DIR", conflicts_with_all = ["root", "slurm", "slurm_conf", "image"])]
    store: Option<PathBuf>,
    /// What the doctor has its child do
    #[arg(long, hide = true)]
    probe: bool,
    /// The same, for root
    #[arg(long, hide = true)]
    probe_image: bool,
}

impl DoctorArgs {
    pub(crate) fn run(self) -> Result<Exit, CliError> {
        if self.probe {
            probe();
            return Ok(Exit::SUCCESS);
        }
        if self.probe_image {
            probe_image();
            return Ok(Exit::SUCCESS);
        }
        if let Some(root) = &self.root {
            chroot(root)
                .and_then(|()| chdir("/"))
                .map_err(|errno| FileError::new("look into", root, errno))?;
        }
        if let Some(image) = &self.image {
            let settings = Settings::of_process(Vec::new())?;
            let wanted = super::devices::wanted(&[], &settings, &pyxis::site::find(&settings)?)?;
            let report = examine_image(image, &wanted, &settings)
                .map_err(|source| FileError::new("look at", image, source))?;
            return show(&report, self.json, true);
        }
        if let Some(store) = &self.store {
            return show(&examine_store(store), self.json, self.verbose);
        }
        let live = self.root.is_none();
        // What is wrong with the settings is one of the findings. Those of a node's image are not
        // resolved: its libraries would be asked for names, and root would run them.
        let settings = live.then(|| Settings::of_process(Vec::new()).ok()).flatten();
        let subject = Subject { slurm: self.slurm, conf: self.slurm_conf, live, settings };
        show(&examine(&subject), self.json, self.verbose)
    }
}

fn show(report: &Report, json: bool, verbose: bool) -> Result<Exit, CliError> {
    let printed = match json {
        true => console::print_json(&document(report)),
        false => console::print_lines(lines(report, verbose)),
    };
    printed.map_err(CliError::Output)?;
    Ok(if report.healthy() { Exit::SUCCESS } else { Exit::FAILURE })
}

fn document(report: &Report) -> String {
    let document = json!({
        "pyxis": env!("CARGO_PKG_VERSION"),
        "healthy": report.healthy(),
        "errors": report.count(Level::Error),
        "warnings": report.count(Level::Warning),
        "slurm": report.slurm,
        "plugstack": report.plugstack,
        "lines": report.lines,
        "findings": report.findings,
    });
    format!("{document:#}")
}

fn lines(report: &Report, verbose: bool) -> Vec<String> {
    let mut out = vec![format!("pyxis {}", env!("CARGO_PKG_VERSION"))];
    for slurm in &report.slurm {
        let programs: Vec<String> =
            slurm.programs.iter().map(|program| program.display().to_string()).collect();
        out.push(format!("Slurm {}: {}", slurm.version, programs.join(" ")));
    }
    for line in &report.lines {
        out.push(format!("{}: {}", line.place, line.text));
        for (version, opened) in &line.loads {
            out.push(format!("    in Slurm {version}: {opened}"));
        }
    }
    out.push(String::new());
    for finding in &report.findings {
        if finding.level == Level::Ok && !verbose {
            continue;
        }
        out.push(format!("{:<8} {}: {}", finding.level, finding.check, finding.text));
        if let Some(mend) = &finding.mend {
            out.push(format!("         -> {mend}"));
        }
    }
    let (errors, warnings) = (report.count(Level::Error), report.count(Level::Warning));
    let fine = report.count(Level::Ok);
    out.push(match (errors, warnings) {
        (0, 0) => format!("healthy: {fine} checks"),
        _ => {
            let s = |count| if count == 1 { "" } else { "s" };
            let (e, w) = (s(errors), s(warnings));
            format!("{errors} error{e}, {warnings} warning{w}, {fine} checks are fine")
        }
    });
    out
}
