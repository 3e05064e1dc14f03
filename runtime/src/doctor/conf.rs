//! slurm.conf: where it is, and the two lines of it that matter here.

use std::fs;
use std::path::{Path, PathBuf};

/// Where it is looked for; the last two are a slurmd's that gets it from slurmctld.
const PLACES: [&str; 6] = [
    "/etc/slurm/slurm.conf",
    "/etc/slurm-llnl/slurm.conf",
    "/usr/local/etc/slurm.conf",
    "/opt/slurm/etc/slurm.conf",
    "/run/slurm/conf/slurm.conf",
    "/var/spool/slurmd/conf-cache/slurm.conf",
];

/// A slurm.conf, read as far as needed.
#[derive(Debug, Default)]
pub(super) struct SlurmConf {
    pub(super) path: PathBuf,
    plugstack: Option<PathBuf>,
    plugin_dir: Option<String>,
    /// Why it could not be read.
    pub(super) unread: Option<std::io::Error>,
}

impl SlurmConf {
    /// The file named, that of the environment, that of the running slurmd, or one of the usual
    /// places.
    pub(super) fn find(
        named: Option<&Path>,
        running: Option<PathBuf>,
        prefixes: &[PathBuf],
    ) -> Option<SlurmConf> {
        if let Some(path) = named {
            return Some(SlurmConf::at(path.into()));
        }
        let environment = std::env::var_os("SLURM_CONF").filter(|path| !path.is_empty());
        let below = prefixes.iter().flat_map(|prefix| {
            ["etc/slurm.conf", "etc/slurm/slurm.conf"].map(|name| prefix.join(name))
        });
        let candidates = environment.map(PathBuf::from).into_iter().chain(running);
        let mut candidates = candidates.chain(PLACES.map(PathBuf::from)).chain(below);
        candidates.find(|path| path.exists()).map(SlurmConf::at)
    }

    pub(super) fn at(path: PathBuf) -> SlurmConf {
        let mut conf = SlurmConf { path: path.clone(), ..SlurmConf::default() };
        conf.read(&path, 0);
        conf
    }

    fn read(&mut self, path: &Path, depth: usize) {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                if depth == 0 && error.kind() != std::io::ErrorKind::NotFound {
                    self.unread = Some(error);
                }
                return;
            }
        };
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
                    _ => {}
                }
            }
        }
    }

    /// Its directory.
    pub(super) fn dir(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// PlugStackConfig; beside slurm.conf unless it says otherwise.
    pub(super) fn plugstack(&self) -> PathBuf {
        self.dir().join(self.plugstack.as_deref().unwrap_or(Path::new("plugstack.conf")))
    }

    /// PluginDir, in order.
    pub(super) fn plugin_dirs(&self) -> impl Iterator<Item = PathBuf> + '_ {
        self.plugin_dir.iter().flat_map(|list| list.split(':')).map(PathBuf::from)
    }
}

/// The rest of a line after a word, whatever its case.
fn keyword<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    let (first, rest) = line.split_once(char::is_whitespace)?;
    first.eq_ignore_ascii_case(word).then(|| rest.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

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
