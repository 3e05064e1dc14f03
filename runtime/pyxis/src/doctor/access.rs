//! Who may read and change the files that Slurm's daemons run as root.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::builds;
use super::conf::{MEND_OF_SPOOL, is_of_spool};
use super::copies;
use super::lines::PyxisLine;
use super::report::Report;
use crate::owner::{self, Untrusted, faults};
use crate::shell::quoted;
use crate::slurm::conf::SlurmConf;
use crate::slurm::plugstack::Plugstack;

/// Checks the configuration files, the plugins, the builds, and the directories they are in.
pub(super) fn check(
    conf: &SlurmConf,
    stack: &Plugstack,
    lines: &[PyxisLine],
    command: Option<&Path>,
    report: &mut Report,
) {
    let mut files: Vec<PathBuf> = stack.files.clone();
    for line in lines {
        files.push(line.path.clone());
        if line.ours() {
            files.extend(builds::beside(&line.path).1.into_iter().map(|build| build.path));
        }
    }
    files.extend(command.map(Path::to_path_buf));
    let mut files: Vec<PathBuf> = files.iter().filter_map(|path| owner::real(path)).collect();
    files.sort();
    files.dedup();
    let before = report.findings.len();
    for file in &files {
        readable(file, report);
    }
    // What a line could load that is not known.
    let usual = copies::usual().filter_map(|path| owner::real(&path));
    for file in files.iter().cloned().chain(usual) {
        for why in faults(&file) {
            if is_of_spool(conf, &why) {
                let text = format!("{why}, and has slurmctld's configuration");
                report.warning("access-spool", text, MEND_OF_SPOOL);
                continue;
            }
            let mend = why.mend();
            // The loader's refusal has been reported.
            let known = report.findings.iter().any(|finding| finding.mend.as_ref() == Some(&mend));
            // What is not there, or closed to the caller, is another check's.
            if !known && !matches!(why, Untrusted::Unseen { .. }) {
                report.error("access-writable", format!("{why}; Slurm runs it as root"), mend);
            }
        }
    }
    if report.findings.len() == before {
        report.ok(
            "access",
            format!("{} files belong to root and are open to readers only", files.len()),
        );
    }
}

/// srun runs as the user, and reads the same files.
fn readable(file: &Path, report: &mut Report) {
    let Ok(status) = fs::metadata(file) else { return };
    if status.mode() & 0o004 == 0 {
        report.error(
            "access-unreadable",
            format!(
                "{} cannot be read by users (mode {:o}): srun does without it",
                file.display(),
                status.mode() & 0o7777
            ),
            format!("chmod a+r {}", quoted(file)),
        );
    }
    let mut closed = file
        .ancestors()
        .skip(1)
        .filter(|directory| fs::metadata(directory).is_ok_and(|status| status.mode() & 0o001 == 0));
    if let Some(directory) = closed.next() {
        report.error(
            "access-closed",
            format!(
                "{} is closed to users: srun cannot open {}",
                directory.display(),
                file.display()
            ),
            format!("chmod a+x {}", quoted(directory)),
        );
    }
}
