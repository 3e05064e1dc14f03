//! Slurm's daemons that run on this node.
//!
//! Anybody can have a process called slurmd, with any arguments and variables. Root believes only
//! root's, a user only root's and his own, and both only a program that nobody else could have put
//! there.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use linux::bounded;
use nix::fcntl::OFlag;
use nix::unistd::geteuid;

use super::report::Report;
use crate::owner::{self, Untrusted};
use crate::shell::quoted;

/// What the kernel puts behind the path of a file that is gone.
const DELETED: &str = " (deleted)";
/// More than the mappings of any slurmd.
const MAPS: u64 = 4 << 20;

/// A running slurmd.
#[derive(Debug)]
pub(super) struct Daemon {
    pub(super) pid: u32,
    /// Its program, as it was called when it started; `None` if that is gone, or could be anything.
    pub(super) program: Option<PathBuf>,
    /// The `-f` of its command line, or SLURM_CONF of its environment.
    pub(super) conf: Option<PathBuf>,
    /// Files it uses that are no longer there.
    replaced: Option<String>,
    /// Why its program is not believed.
    fault: Option<Untrusted>,
}

/// The slurmds that run; only root sees what they have opened.
pub(super) fn find() -> Vec<Daemon> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(daemon).collect()
}

/// A process, held: what is read by it is of no other one that gets its number.
struct Process(File);

impl Process {
    fn open(pid: u32) -> Option<Process> {
        let flags = (OFlag::O_PATH | OFlag::O_DIRECTORY).bits();
        let open = File::options().read(true).custom_flags(flags).open(format!("/proc/{pid}"));
        open.ok().map(Process)
    }

    fn path(&self, name: &str) -> PathBuf {
        format!("/proc/self/fd/{}/{name}", self.0.as_raw_fd()).into()
    }

    fn read(&self, name: &str, most: u64) -> Option<Vec<u8>> {
        bounded::beginning(&self.path(name), most).ok()
    }

    fn link(&self, name: &str) -> Option<PathBuf> {
        fs::read_link(self.path(name)).ok()
    }

    /// Whether all of its users, the real one and the effective one, are root or the caller.
    fn is_believed(&self) -> Option<bool> {
        let status = self.read("status", bounded::OF_PROCESS)?;
        let status = String::from_utf8_lossy(&status).into_owned();
        let users = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
        let users: Result<Vec<u32>, _> = users.split_whitespace().map(str::parse).collect();
        let (users, me) = (users.ok()?, geteuid().as_raw());
        Some(users.iter().all(|uid| *uid == 0) || users.iter().all(|uid| *uid == me))
    }
}

fn daemon(pid: u32) -> Option<Daemon> {
    let process = Process::open(pid)?;
    if process.read("comm", bounded::OF_PROCESS)?.trim_ascii_end() != b"slurmd" {
        return None;
    }
    // Of others' processes nothing more is read: their memory is where it would come from, and
    // reading may take for ever.
    if !process.is_believed()? {
        return None;
    }
    // One in another mount namespace, a container's or a test's, is not this node's; one in another
    // user namespace is root of nothing but that.
    for namespace in ["ns/mnt", "ns/user"] {
        if process.link(namespace)?
            != fs::read_link(Path::new("/proc/self").join(namespace)).ok()?
        {
            return None;
        }
    }
    let link = process.link("exe")?;
    let link = link.to_str()?;
    let path = Path::new(link.strip_suffix(DELETED).unwrap_or(link));
    // The name of the process is that of a link to it, which anybody can make: `sudo` is root's, too.
    if !path.file_name()?.to_str()?.starts_with("slurmd") {
        return None;
    }
    let gone = link.ends_with(DELETED);
    let fault = if gone { of_gone(&process, path) } else { owner::fault(path) };
    let sound = fault.is_none();
    Some(Daemon {
        pid,
        program: (sound && !gone).then(|| path.to_path_buf()),
        conf: if sound { conf_of(&process) } else { None },
        replaced: replaced(&process),
        fault,
    })
}

/// Of a program that has no path any more, the file itself says whose it was.
fn of_gone(process: &Process, path: &Path) -> Option<Untrusted> {
    let stat = fs::metadata(process.path("exe")).ok();
    let fine = stat.is_some_and(|stat| {
        [0, geteuid().as_raw()].contains(&stat.uid()) && stat.mode() & 0o022 == 0
    });
    (!fine).then(|| Untrusted::Unseen { path: path.into(), problem: "it is gone".to_owned() })
}

fn replaced(process: &Process) -> Option<String> {
    let maps = process.read("maps", MAPS)?;
    let maps = String::from_utf8_lossy(&maps).into_owned();
    let mut deleted = maps.lines().filter_map(|line| line.strip_suffix(DELETED));
    deleted
        .find(|line| line.contains("/slurmd") || line.contains("libslurm"))
        .and_then(|line| line.find('/').map(|at| line[at..].to_owned()))
}

fn conf_of(process: &Process) -> Option<PathBuf> {
    let words = process.read("cmdline", bounded::OF_PROCESS)?;
    let words: Vec<&[u8]> = words.split(|byte| *byte == 0).collect();
    let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
    if let Some(at) = words.iter().position(|word| *word == b"-f") {
        return words.get(at + 1).map(|word| path(word));
    }
    // Asked of slurmctld; a slurmd with that links its copy here.
    if words.iter().any(|word| word.starts_with(b"--conf-server")) {
        return Some("/run/slurm/conf/slurm.conf".into());
    }
    let variables = process.read("environ", bounded::OF_PROCESS)?;
    let mut variables = variables.split(|byte| *byte == 0);
    variables.find_map(|variable| variable.strip_prefix(b"SLURM_CONF=")).map(path)
}

/// Reports those that must be started again, and those that others could have made run something
/// else.
pub(super) fn check(daemons: &[Daemon], report: &mut Report) {
    for daemon in daemons {
        let pid = daemon.pid;
        match (&daemon.fault, &daemon.replaced) {
            (_, Some(file)) => report.error(
                "daemon-old",
                format!(
                    "slurmd (process {pid}) still runs {file} of before an upgrade; the slurmstepd \
                     it starts is of after it"
                ),
                "systemctl restart slurmd",
            ),
            (Some(fault @ Untrusted::Unseen { path, .. }), None) => report.warning(
                "daemon-untrusted",
                format!("slurmd (process {pid}): {fault}: what it says is not believed"),
                format!("ls -ld {}", quoted(path)),
            ),
            (Some(fault), None) => report.error(
                "daemon-untrusted",
                format!("slurmd (process {pid}): {fault}; what it says is not believed"),
                fault.mend(),
            ),
            (None, None) => report.ok("daemon", format!("slurmd runs (process {pid})")),
        }
    }
}
