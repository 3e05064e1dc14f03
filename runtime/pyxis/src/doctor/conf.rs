//! slurm.conf: whether it can be read, and who reads which.

use std::io;
use std::path::PathBuf;

use super::report::Report;
use super::slurm::Slurm;
use crate::owner::{self, Unread, Untrusted};
use crate::shell::quoted;
use crate::slurm::conf::{SlurmConf, below, real};

/// What is mended in a copy is so until slurmctld gives out the next.
pub(super) const OF_COPY: &str = " (a copy of slurmctld's: do it where that runs, in the file of this name, then: scontrol reconfigure)";

/// Of a copy that is in a directory of Slurm's own user, as Debian has it.
pub(super) const MEND_OF_SPOOL: &str = "SlurmdSpoolDir=/var/spool/slurmd, or another place of root's, in slurm.conf where slurmctld runs; then restart slurmd here";

/// Whether it is the owner of a directory that has a copy. Slurm's own user has a say in what is in that anyway: slurmctld is its.
pub(super) fn is_of_spool(conf: &SlurmConf, fault: &Untrusted) -> bool {
    let copy = conf.is_copy().then(|| owner::real(conf.dir())).flatten().unwrap_or_default();
    matches!(fault, Untrusted::Owner { path, .. } if copy.starts_with(path))
}

/// Reports what of it could not be read, or is not believed.
pub(super) fn check(conf: &SlurmConf, report: &mut Report) {
    for (path, why) in &conf.unread {
        match why {
            // It may be Slurm's own user's, whom Slurm trusts as it does root.
            Unread::Untrusted(fault) => {
                let mend = match is_of_spool(conf, fault) {
                    true => MEND_OF_SPOOL.to_owned(),
                    false => fault.mend(),
                };
                report.warning(
                    "conf-untrusted",
                    format!("{}: {fault}: root does not go by it", path.display()),
                    format!("{mend} (or ask as a user: pyxis doctor)"),
                );
            }
            Unread::File(error) => report.error(
                "conf-unreadable",
                format!("{} cannot be read: {error}", path.display()),
                match error.kind() {
                    io::ErrorKind::PermissionDenied => format!("chmod a+r {}", quoted(path)),
                    _ => format!("ls -ld {}", quoted(path)),
                },
            ),
        }
    }
}

/// Which Slurm reads which configuration: a Slurm with a slurm.conf below its own prefix that one,
/// all others the one found first. `named`: somebody has said that it is for all; `runs`: the
/// programs of daemons that have read the first.
pub(super) fn shares(
    first: SlurmConf,
    named: bool,
    runs: &[PathBuf],
    slurms: &[Slurm],
) -> Vec<(SlurmConf, Vec<Slurm>)> {
    let mut all = vec![(first, Vec::new())];
    for slurm in slurms {
        let reads_first = named || runs.iter().any(|program| slurm.has(program));
        let own = slurm
            .prefixes()
            .find_map(|prefix| below(&prefix).find(|path| owner::real(path).is_some()));
        let conf = own.filter(|_| !reads_first).map_or(all[0].0.path.clone(), real);
        match all.iter_mut().find(|(known, _)| real(known.path.clone()) == real(conf.clone())) {
            Some((_, share)) => share.push(slurm.clone()),
            None => all.push((SlurmConf::at(conf), vec![slurm.clone()])),
        }
    }
    // One that no Slurm here reads says nothing about this node, if there is another.
    if all[0].1.is_empty() && all.len() > 1 {
        all.remove(0);
    }
    all
}
