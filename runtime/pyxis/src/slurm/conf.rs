//! slurm.conf: where it is, and the few lines of it that matter here.

use std::io;
use std::path::{Path, PathBuf};

use linux::bounded::CONFIGURATION;

use crate::owner::{self, Unread};

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
/// More files than any site's is made of, and deeper: those that include themselves end, too.
const MOST_FILES: usize = 1000;
const DEEPEST: usize = 8;
/// A Slurm of AWS's has its configuration beside its name, not below its prefix.
const OF_PCS: (&str, &str) = ("/opt/aws/pcs/scheduler", "/etc/aws/pcs/scheduler");

/// A slurm.conf, read as far as needed.
#[derive(Debug, Default)]
pub(crate) struct SlurmConf {
    pub(crate) path: PathBuf,
    plugstack: Option<PathBuf>,
    plugin_dir: Option<String>,
    slurm_user: Option<String>,
    slurmd_user: Option<String>,
    auth_info: Option<String>,
    /// It, and those that it includes.
    pub(crate) files: Vec<PathBuf>,
    /// Files of it that were not read.
    pub(crate) unread: Vec<(PathBuf, Unread)>,
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
    #[expect(clippy::disallowed_methods, reason = "it is looked for where Slurm would")]
    pub(crate) fn environment() -> Option<PathBuf> {
        std::env::var_os("SLURM_CONF").filter(|path| !path.is_empty()).map(PathBuf::from)
    }

    pub(crate) fn at(path: PathBuf) -> SlurmConf {
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
                if depth < DEEPEST && self.files.len() < MOST_FILES {
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

    /// Whether there is something in it that is not known.
    pub(crate) fn is_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Its directory.
    pub(crate) fn dir(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// Whether slurmctld has given it out (`slurmd --conf-server`, sackd), and does so again.
    pub(crate) fn is_copy(&self) -> bool {
        let real = owner::real(&self.path).unwrap_or_default();
        let of_slurmd = real.parent().is_some_and(|directory| directory.ends_with("conf-cache"));
        of_slurmd || self.dir() == Path::new("/run/slurm/conf")
    }

    /// PlugStackConfig; beside slurm.conf unless it says otherwise.
    pub(crate) fn plugstack(&self) -> PathBuf {
        self.dir().join(self.plugstack.as_deref().unwrap_or(Path::new("plugstack.conf")))
    }

    /// Whether there is one.
    pub(crate) fn has_plugstack(&self) -> bool {
        owner::real(&self.plugstack()).is_some()
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

/// Where a Slurm that was not told otherwise has its slurm.conf.
pub(crate) fn below(prefix: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let pcs = prefix.strip_prefix(OF_PCS.0).map(|name| Path::new(OF_PCS.1).join(name));
    let own = ["etc/slurm.conf", "etc/slurm/slurm.conf"].map(|name| prefix.join(name));
    own.into_iter().chain(pcs.map(|directory| directory.join("slurm.conf")))
}

pub(crate) fn real(path: PathBuf) -> PathBuf {
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

    #[test]
    fn a_file_that_includes_itself_many_times_ends() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("slurm.conf");
        fs::write(&path, "include slurm.conf\n".repeat(10) + "SlurmUser=slurm\n").unwrap();
        assert_eq!(SlurmConf::at(path).users().collect::<Vec<_>>(), ["slurm"]);
    }
}
