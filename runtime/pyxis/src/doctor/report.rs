//! What the doctor says: findings, each with the command that mends it.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, but not well, not for all or not for long.
    Warning,
    /// Containers do not start, or are not safe.
    Error,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Error => "error",
        })
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// The check that found it, a word that stays the same: `line-optional`.
    pub check: &'static str,
    /// What is so, and where.
    pub text: String,
    /// The command that mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

/// A Slurm on this node.
#[derive(Debug, Clone, Serialize)]
pub struct SlurmSeen {
    /// `22.05.8`
    pub version: String,
    /// Its programs that load plugins.
    pub programs: Vec<PathBuf>,
    /// Where its own plugins are.
    pub plugins: PathBuf,
}

/// A line of plugstack.conf that is about pyxis, and what it loads.
#[derive(Debug, Clone, Serialize)]
pub struct LineSeen {
    /// `/etc/slurm/plugstack.conf:3`
    pub place: String,
    /// The line.
    pub text: String,
    /// Per Slurm: its version, and what is opened or why nothing is.
    pub loads: Vec<(String, String)>,
}

/// Everything found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Every Slurm.
    pub slurm: Vec<SlurmSeen>,
    /// The file that Slurm reads plugins from; of several Slurms, the first one's.
    pub plugstack: Option<PathBuf>,
    /// Its lines about pyxis.
    pub lines: Vec<LineSeen>,
    /// Everything looked at.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Something that is as it should be.
    pub(super) fn ok(&mut self, check: &'static str, text: impl Into<String>) {
        self.add(Finding { level: Level::Ok, check, text: text.into(), mend: None });
    }

    /// Something that works badly.
    pub(super) fn warning(
        &mut self,
        check: &'static str,
        text: impl Into<String>,
        mend: impl Into<String>,
    ) {
        let (text, mend) = (text.into(), Some(mend.into()));
        self.add(Finding { level: Level::Warning, check, text, mend });
    }

    /// Something that does not work.
    pub(super) fn error(
        &mut self,
        check: &'static str,
        text: impl Into<String>,
        mend: impl Into<String>,
    ) {
        let (text, mend) = (text.into(), Some(mend.into()));
        self.add(Finding { level: Level::Error, check, text, mend });
    }

    /// Adds a remark to the commands, of findings after the first `known`, that are about a file in that directory.
    pub(super) fn remark_on_mends(&mut self, known: usize, directory: &Path, remark: &str) {
        let below = format!("{}/", directory.display());
        let mends = self.findings[known..].iter_mut().filter_map(|finding| finding.mend.as_mut());
        for mend in mends.filter(|mend| mend.contains(&below)) {
            mend.push_str(remark);
        }
    }

    /// Two configurations may include the same file.
    fn add(&mut self, finding: Finding) {
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    /// A line of plugstack.conf, which more than one Slurm may read.
    pub(super) fn line(&mut self, line: LineSeen) {
        let same = |known: &&mut LineSeen| known.place == line.place && known.text == line.text;
        match self.lines.iter_mut().find(same) {
            Some(known) => known.loads.extend(line.loads),
            None => self.lines.push(line),
        }
    }

    /// Whether a check of that name has found something.
    pub(super) fn has(&self, check: &str) -> bool {
        self.findings.iter().any(|finding| finding.check == check && finding.level > Level::Ok)
    }

    /// How many findings are of that level.
    pub fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }

    /// Nothing to mend.
    pub fn healthy(&self) -> bool {
        self.findings.iter().all(|finding| finding.level == Level::Ok)
    }
}
