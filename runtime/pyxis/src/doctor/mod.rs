//! `pyxis doctor`: what is wrong with pyxis on this node, and the command that mends it.
//!
//! Each file has the checks of one topic. They look and try, and change nothing.

mod access;
mod ask;
pub mod builds;
mod command;
mod conf;
mod copies;
mod daemons;
mod enroot;
mod fabrics;
mod file;
mod image;
mod kernel;
mod kernel_image;
mod lines;
mod packages;
mod places;
mod plugstack;
mod probe;
mod report;
mod slurm;
mod store;
mod tools;

use std::path::PathBuf;

use crate::settings::Settings;
use crate::slurm::conf::SlurmConf;

pub use file::{Plugin, PluginFileError, dotted, look};
pub use image::examine_image;
pub use kernel_image::probe_image;
pub use probe::{Attempt, run as probe};
pub use report::{Finding, Level, LineSeen, Report, SlurmSeen};
pub use store::examine_store;

/// What is to be looked at.
#[derive(Debug)]
pub struct Subject {
    /// Prefixes of Slurms beside those in the usual places.
    pub slurm: Vec<PathBuf>,
    /// slurm.conf, where it is not in one of the usual places.
    pub conf: Option<PathBuf>,
    /// This node as it runs, not an image of one: kernel, devices and processes count.
    pub live: bool,
    /// The settings, where they could be resolved: nothing of a node's image is executed for it.
    pub settings: Option<Settings>,
}

/// Looks at everything.
pub fn examine(subject: &Subject) -> Report {
    let mut report = Report::default();
    let daemons = if subject.live { daemons::find() } else { Vec::new() };
    let programs: Vec<PathBuf> =
        daemons.iter().filter_map(|daemon| daemon.program.clone()).collect();
    let slurms = slurm::find(&subject.slurm, &programs, &mut report);
    daemons::check(&daemons, &mut report);

    let running = daemons.iter().find_map(|daemon| daemon.conf.clone());
    let prefixes: Vec<PathBuf> = slurms.iter().flat_map(slurm::Slurm::prefixes).collect();
    let named = subject.conf.is_some() || SlurmConf::environment().is_some();
    let runs: Vec<PathBuf> = daemons
        .iter()
        .filter(|daemon| running.is_some() && daemon.conf == running)
        .filter_map(|daemon| daemon.program.clone())
        .collect();
    let mut lines = Vec::new();
    match SlurmConf::find(subject.conf.as_deref(), running, &prefixes) {
        Some(first) => {
            for (conf, share) in conf::shares(first, named, &runs, &slurms) {
                lines.extend(of_conf(&conf, &share, &mut report));
            }
        }
        None => report.error(
            "conf-missing",
            "no slurm.conf in the usual places: which plugins Slurm loads is not known",
            "pyxis doctor --slurm-conf /path/slurm.conf",
        ),
    }
    copies::check(&lines, &slurms, &mut report);
    tools::check(&lines, enroot::obstacle(subject.settings.as_ref()), &mut report);
    if subject.live {
        tools::device(&mut report);
        let settings = subject.settings.as_ref();
        let layers = settings.map(|settings| settings.paths.layers.clone()).unwrap_or_default();
        kernel::check(&layers, &mut report);
        kernel_image::check(&lines, &mut report);
        let recipes = settings.map(|settings| settings.devices.recipes.clone());
        fabrics::check(&recipes.unwrap_or_default(), &mut report);
    }
    places::runtime_path(&lines, subject.live, &mut report);
    places::settings(subject.live, &mut report);
    if let Some(settings) = &subject.settings {
        enroot::check(settings, &mut report);
        if let Some(containers) = &settings.paths.data {
            places::containers(containers, &mut report);
        }
    }
    places::headers(&slurms, &mut report);
    report
}

fn of_conf(
    conf: &SlurmConf,
    slurms: &[slurm::Slurm],
    report: &mut Report,
) -> Vec<lines::PyxisLine> {
    let known = report.findings.len();
    conf::check(conf, report);
    let before = report.count(Level::Error);
    let stack = plugstack::follow(conf, report);
    let mut directories: Vec<PathBuf> = conf.plugin_dirs().collect();
    directories.extend(slurms.iter().map(|slurm| slurm.plugins.clone()));
    let lines = lines::of_pyxis(&stack, &directories);
    lines::check(&lines, slurms, &stack, report);
    let command = command::check(&lines, report);
    access::check(conf, &stack, &lines, command.as_deref(), report);
    // What is known to be wrong srun would only say again.
    if report.count(Level::Error) == before {
        command::ask_srun(slurms, conf, &lines, report);
    }
    if conf.is_copy() {
        report.remark_on_mends(known, conf.dir(), conf::OF_COPY);
    }
    lines
}
