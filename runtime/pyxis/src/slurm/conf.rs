//! slurm.conf: where it is, and the few lines of it that matter here.

use std::io;
use std::path::{Path, PathBuf};

use linux::bounded::CONFIGURATION;

use super::report::Report;
use super::slurm::Slurm;
use crate::owner::{self, Unread};
use crate::shell::quoted;

/// Where it is looked for, as distributions and clouds have it; the last ones are a slurmd's that gets it from slurmctld.
const PLACES: [&str; 15] = [
    "/etc/slurm/slurm.conf",
    "/etc/slurm-llnl/slurm.conf",
    "/usr/local/etc/slurm.conf",
    "/usr/local/etc/slurm/slurm.conf",
    "/opt/slurm/etc/slurm.conf",
    "/opt/slurm/etc/slurm/slurm.conf",
    "/etc/aws/pcs/scheduler/*/slurm.conf",
    // One folder per cluster, or none.
    "/cm/shared/apps/slurm/var/etc/*/slurm.conf",
    "/cm/shared/apps/slurm/var/etc/slurm.conf",
    "/cm/shared/apps/slurm/etc/*/slurm.conf",
    "/cm/shared/apps/slurm/etc/slurm.conf",
    "/cm/local/apps/slurm/etc/slurm.conf",
    "/run/slurm/conf/slurm.conf",
    "/var/spool/slurmd/conf-cache/slurm.conf",
    "/var/spool/slurm/d/conf-cache/slurm.conf",
];
/// A Slurm of AWS's has its configuration beside its name, not below its prefix.
const OF_PCS: (&str, &str) = ("/opt/aws/pcs/scheduler", "/etc/aws/pcs/scheduler");

/// A slurm.conf, read as far as needed.
#[derive(Debug, Default)]
pub(crate) struct SlurmConf {
    pub(super) path: PathBuf,
    plugstack: Option<PathBuf>,
    plugin_dir: Option<String>,
    slurm_user: Option<String>,
    slurmd_user: Option<String>,
    auth_info: Option<String>,
    /// It, and those that it includes.
    pub(crate) files: Vec<PathBuf>,
    /// Files of it that were not read.
    unread: Vec<(PathBuf, Unread)>,
}

impl SlurmConf {
    /// The file named, that of the environment, that of the running slurmd, or one of the usual
    /// places.
    pub(crate) fn find(
        named: Option<&Path>,
        running: Option<PathBuf>,
        prefixes: &[PathBuf],
    ) -> Option<SlurmConf> {
        if let Some(path) = named {
            return Some(SlurmConf::at(path.into()));
        }
        let candidates = SlurmConf::environment().into_iter().chain(running);
        let below = prefixes.iter().flat_map(|prefix| below(prefix));
        let places = PLACES.iter().flat_map(|pattern| owner::glob(Path::new(pattern)));
        let mut candidates = candidates.chain(places).chain(below);
        candidates.find(|path| owner::real(path).is_some()).map(SlurmConf::at)
    }

    /// The one that every program of Slurm reads when started from here.
    #[expect(clippy::disallowed_methods, reason = "the doctor looks where Slurm would")]
    pub(super) fn environment() -> Option<PathBuf> {
        std::env::var_os("SLURM_CONF").filter(|path| !path.is_empty()).map(PathBuf::from)
    }

    pub(super) fn at(path: PathBuf) -> SlurmConf {
        let mut conf = SlurmConf { path: path.clone(), ..SlurmConf::default() };
        conf.read(&path, 0);
        conf
    }

    fn read(&mut self, path: &Path, depth: usize) {
        let bytes = match owner::read(path, CONFIGURATION) {
            Ok(bytes) => bytes,
            Err(Unread::File(error)) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => return self.unread.push((path.into(), error)),
        };
        self.files.push(path.into());
        let text = String::from_utf8_lossy(&bytes).replace("\\\n", " ");
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if let Some(name) = keyword(line, "include") {
                if depth < 8 {
                    let name = path.parent().unwrap_or(Path::new("/")).join(name);
                    self.read(&name, depth + 1);
                }
            } else if let Some((key, value)) = line.split_once('=') {
                let value = value.trim().trim_matches('"');
                match key.trim().to_ascii_lowercase().as_str() {
                    "plugstackconfig" => self.plugstack = Some(value.into()),
                    "plugindir" => self.plugin_dir = Some(value.into()),
                    "slurmuser" => self.slurm_user = Some(value.into()),
                    "slurmduser" => self.slurmd_user = Some(value.into()),
                    "authinfo" => self.auth_info = Some(value.into()),
                    _ => {}
                }
            }
        }
    }

    /// Reports what of it could not be read, or is not believed.
    pub(super) fn check(&self, report: &mut Report) {
        for (path, why) in &self.unread {
            match why {
                // It may be Slurm's own user's, whom Slurm trusts as it does root.
                Unread::Untrusted(fault) => report.warning(
                    "conf-untrusted",
                    format!("{}: {fault}: root does not go by it", path.display()),
                    format!("{} (or ask as a user: pyxis doctor)", fault.mend()),
                ),
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

    /// Whether there is something in it that is not known.
    pub(super) fn is_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Its directory.
    pub(crate) fn dir(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// PlugStackConfig; beside slurm.conf unless it says otherwise.
    pub(super) fn plugstack(&self) -> PathBuf {
        self.dir().join(self.plugstack.as_deref().unwrap_or(Path::new("plugstack.conf")))
    }

    /// SlurmUser and SlurmdUser: who has another one's word is asked for by name.
    pub(crate) fn users(&self) -> impl Iterator<Item = &str> {
        self.slurm_user.iter().chain(&self.slurmd_user).map(String::as_str)
    }

    /// The socket of munge that AuthInfo names.
    pub(crate) fn munge_socket(&self) -> Option<PathBuf> {
        let words = self.auth_info.as_deref()?.split([',', ';']);
        let mut sockets = words.filter_map(|word| word.trim().strip_prefix("socket="));
        sockets.next().map(PathBuf::from)
    }

    /// PluginDir, in order.
    pub(crate) fn plugin_dirs(&self) -> impl Iterator<Item = PathBuf> + '_ {
        self.plugin_dir.iter().flat_map(|list| list.split(':')).map(PathBuf::from)
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

/// Where a Slurm that was not told otherwise has its slurm.conf.
fn below(prefix: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let pcs = prefix.strip_prefix(OF_PCS.0).map(|name| Path::new(OF_PCS.1).join(name));
    let own = ["etc/slurm.conf", "etc/slurm/slurm.conf"].map(|name| prefix.join(name));
    own.into_iter().chain(pcs.map(|directory| directory.join("slurm.conf")))
}

fn real(path: PathBuf) -> PathBuf {
    owner::real(&path).unwrap_or(path)
}

/// The rest of a line after a word, whatever its case.
fn keyword<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    let (first, rest) = line.split_once(char::is_whitespace)?;
    first.eq_ignore_ascii_case(word).then(|| rest.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn keys_of_any_case_and_included_files() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("slurm.conf");
        fs::write(&path, "ClusterName=c # PlugStackConfig=/no\nInclude more.conf\n").unwrap();
        fs::write(temp.path().join("more.conf"), "PLUGINDIR = /a:/b\nplugstackconfig=\\\n/x/p\n")
            .unwrap();
        let conf = SlurmConf::at(path);
        assert_eq!(conf.plugstack(), Path::new("/x/p"));
        assert_eq!(conf.plugin_dirs().collect::<Vec<_>>(), [Path::new("/a"), Path::new("/b")]);
    }
}
