//! plugstack.conf: what is wrong with its files.

use std::io::ErrorKind;

use super::report::Report;
use crate::shell::quoted;
use crate::slurm::conf::SlurmConf;
use crate::slurm::plugstack::{Fault, Plugstack, read};

/// Follows the configuration from its first file, and reports what cannot be read in it.
pub(super) fn follow(conf: &SlurmConf, report: &mut Report) -> Plugstack {
    let stack = read(conf);
    if conf.has_plugstack() {
        report.plugstack.get_or_insert_with(|| conf.plugstack());
    }
    stack.faults.iter().for_each(|fault| tell(fault, conf, report));
    stack
}

fn tell(fault: &Fault, conf: &SlurmConf, report: &mut Report) {
    match fault {
        Fault::Missing(first) => report.error(
            "plugstack-missing",
            format!("{} does not exist: Slurm loads no plugin of SPANK", first.display()),
            format!(
                "echo {} > {}",
                quoted(format!("include {}/plugstack.conf.d/*.conf", conf.dir().display())),
                quoted(first)
            ),
        ),
        Fault::Loop(path) => report.error(
            "plugstack-loop",
            format!("{} includes itself", path.display()),
            format!("sed -i '/^include/d' {}", quoted(path)),
        ),
        Fault::Dangling(path) => report.error(
            "plugstack-dangling",
            format!("{} is a link to a file that is gone", path.display()),
            format!("rm {}", quoted(path)),
        ),
        Fault::Unreadable(path, error) => report.error(
            "plugstack-unreadable",
            format!("{} cannot be read: {error}", path.display()),
            match error.kind() {
                ErrorKind::PermissionDenied => format!("chmod a+r {}", quoted(path)),
                _ => format!("ls -ld {}", quoted(path)),
            },
        ),
        Fault::Foreign(path, number) => report.error(
            "plugstack-bytes",
            format!(
                "{}:{number}: another system's editor has left a carriage return or a byte order mark \
                 here, which Slurm takes for a part of the word beside it",
                path.display()
            ),
            format!("sed -i '1s/^\\xef\\xbb\\xbf//; s/\\r$//' {}", quoted(path)),
        ),
        Fault::Line(path, number, line) => report.warning(
            "plugstack-syntax",
            format!(
                "{}:{number}: Slurm ignores this line: {line:?} (it takes required, optional or \
                 include, and a path)",
                path.display()
            ),
            format!("sed -i '{number}d' {}", quoted(path)),
        ),
    }
}
