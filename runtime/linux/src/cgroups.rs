//! Going to the cgroups of another process (cgroups(7)).

use std::fs::File;
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

use crate::file_error::FileError;

/// Where all hierarchies are, on every system with cgroups.
const PLACE: &str = "/sys/fs/cgroup";

/// Moves the calling process, with all its threads, to the cgroups of another one: `theirs` and `ours` are the texts of
/// a `/proc/PID/cgroup`. Where both are in the same one nothing is done, and what is not in sight here is passed over.
///
/// # Errors
/// The kernel does not let the process in.
pub fn join(theirs: &str, ours: &str) -> Result<(), FileError> {
    let unified = Path::new(PLACE).join("cgroup.controllers").exists();
    for line in theirs.lines().filter(|line| !ours.lines().any(|own| own == *line)) {
        let Some(file) = file(line, unified) else { continue };
        let opened = File::options().write(true).open(&file);
        match opened.and_then(|mut procs| procs.write_all(b"0")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(FileError::new("write to", file, error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// What is written to in order to go to the cgroup of a line. One outside of this process's cgroup namespace has a path
/// with `..`, which would lead elsewhere.
fn file(line: &str, unified: bool) -> Option<PathBuf> {
    let mut parts = line.splitn(3, ':');
    let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let hierarchy = match (number, unified) {
        ("0", true) => "",
        ("0", false) => "unified",
        _ => controllers.strip_prefix("name=").unwrap_or(controllers),
    };
    let path = Path::new(path.strip_prefix('/')?);
    let below = |path: &Path| path.components().all(|part| matches!(part, Component::Normal(_)));
    let good = below(path) && below(Path::new(hierarchy));
    good.then(|| Path::new(PLACE).join(hierarchy).join(path).join("cgroup.procs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hierarchy_is_where_systems_have_it() {
        for (line, unified, expected) in [
            ("0::/", true, Some("cgroup.procs")),
            ("0::/a b/c:d", true, Some("a b/c:d/cgroup.procs")),
            ("0::/a", false, Some("unified/a/cgroup.procs")),
            ("4:cpu,cpuacct:/slurm/uid_1", false, Some("cpu,cpuacct/slurm/uid_1/cgroup.procs")),
            ("1:name=systemd:/a", true, Some("systemd/a/cgroup.procs")),
            ("0::/../a", true, None),
            ("0::/a/../../b", true, None),
            ("1:../x:/a", false, None),
            ("1:name=/etc:/a", false, None),
            ("1:memory://etc", false, None),
            ("1:memory:a", false, None),
            ("1:memory", false, None),
            ("", false, None),
        ] {
            let expected = expected.map(|path| Path::new(PLACE).join(path));
            assert_eq!(file(line, unified), expected, "{line}");
        }
    }

    #[test]
    fn what_is_not_in_sight_is_passed_over() {
        join("1:no-such-controller:/\n0::/no/such/group\n5:memory:/../x\n", "").unwrap();
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        join(&own, &own).unwrap();
    }
}
