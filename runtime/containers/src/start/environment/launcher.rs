//! What a program in a step of Slurm's needs to find the others: Slurm's and the PMI's variables,
//! the directory of its PMIx server, and for images of PyTorch the variables that its own launcher
//! would have set. Nobody has to install hooks for these.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use linux::environ::{self, Environ};

/// Older names of what the server chose, which clients in images still look for.
const PMIX_CHOICES: [(&str, &str); 3] = [
    ("PMIX_PTL_MODULE", "PMIX_MCA_ptl"),
    ("PMIX_SECURITY_MODE", "PMIX_MCA_psec"),
    ("PMIX_GDS_MODULE", "PMIX_MCA_gds"),
];

/// What the launcher has told this process.
pub(in crate::start) struct Launcher<'a> {
    host: &'a Environ,
}

impl Launcher<'_> {
    /// `None` outside of steps.
    pub(in crate::start) fn of_step(host: &Environ) -> Option<Launcher<'_>> {
        let launcher = Launcher { host };
        ["SLURM_JOB_ID", "SLURM_STEP_ID"]
            .iter()
            .all(|name| launcher.get(name).is_some())
            .then_some(launcher)
    }

    /// Lines to go after `given`, the container's variables so far.
    pub(in crate::start) fn lines(&self, given: &[u8]) -> Vec<u8> {
        let mut more = Environ::new();
        self.add_all(&mut more, "SLURM_");
        if self.uses_pmix() {
            self.add_all(&mut more, "PMIX_");
            for (choice, old) in PMIX_CHOICES {
                if let (Some(value), None) = (self.get(choice), self.get(old)) {
                    more.insert(old.into(), value.into());
                }
            }
        }
        self.add_all(&mut more, "PMI_");
        let known: Environ = environ::entries(given).collect();
        if known.contains_key(OsStr::new("PYTORCH_VERSION")) {
            self.add_pytorch(&mut more, &known);
        }
        let mut lines = b"\n".to_vec();
        lines.extend(environ::to_lines(&more));
        lines
    }

    /// The mount line of the PMIx server's directory, where its sockets and shared memory are.
    pub(in crate::start) fn mount_line(&self) -> Option<OsString> {
        let directory = self.get("PMIX_SERVER_TMPDIR").filter(|_| self.uses_pmix())?;
        let mut line = crate::fstab::escape(directory);
        line.push(" x-create=dir,bind,rw,nosuid,noexec,nodev,private,nofail");
        Some(line)
    }

    fn get(&self, name: &str) -> Option<&OsStr> {
        let value = self.host.get(OsStr::new(name)).filter(|value| !value.is_empty());
        value.map(OsString::as_os_str)
    }

    fn number(&self, name: &str) -> Option<u32> {
        self.get(name)?.to_str()?.parse().ok()
    }

    fn uses_pmix(&self) -> bool {
        let asked =
            self.get("SLURM_MPI_TYPE").is_none_or(|kind| kind.as_bytes().starts_with(b"pmix"));
        asked && self.host.keys().any(|name| name.as_bytes().starts_with(b"PMIX_"))
    }

    fn add_all(&self, to: &mut Environ, prefix: &str) {
        // A value of several lines would end the first one's variable.
        to.extend(self.host.iter().filter_map(|(name, value)| {
            let wanted = name.as_bytes().starts_with(prefix.as_bytes());
            (wanted && !value.as_bytes().contains(&b'\n')).then(|| (name.clone(), value.clone()))
        }));
    }

    /// What the image or the user has set stays.
    fn add_pytorch(&self, to: &mut Environ, known: &Environ) {
        let master = self.get("SLURM_STEP_NODELIST").and_then(|list| first_host(list.to_str()?));
        // As others compute it, so that tasks outside of containers find it too.
        let port = self.number("SLURM_JOB_ID").map(|job| (job % 4536 + 61000).to_string());
        let copied = |name| self.get(name).map(|value| value.to_string_lossy().into_owned());
        let tasks = self.number("SLURM_STEP_NUM_TASKS").unwrap_or(1);
        let share = tasks > self.number("SLURM_STEP_NUM_NODES").unwrap_or(1);
        for (name, value) in [
            ("MASTER_ADDR", master),
            ("MASTER_PORT", port),
            ("WORLD_SIZE", copied("SLURM_NTASKS")),
            ("RANK", copied("SLURM_PROCID")),
            ("LOCAL_RANK", copied("SLURM_LOCALID")),
            // torchrun does so where several processes share a node.
            ("OMP_NUM_THREADS", share.then(|| "1".to_owned())),
        ] {
            if let (Some(value), false) = (value, known.contains_key(OsStr::new(name))) {
                to.insert(name.into(), value.into());
            }
        }
    }
}

/// The variables of a container that is joined, with what concerns the joining step.
pub(crate) fn for_this_step(block: &[u8], host: &Environ) -> Vec<u8> {
    let mut environ = environ::from_block(block);
    if let Some(launcher) = Launcher::of_step(host) {
        let lines = launcher.lines(&environ::to_lines(&environ));
        environ.extend(environ::entries(&lines));
    }
    environ::to_block(&environ)
}

/// Variables of a running program, without what its launcher told it.
pub(crate) fn without_step(block: &[u8]) -> Vec<u8> {
    let mut environ = environ::from_block(block);
    environ.retain(|name, _| {
        let name = name.as_bytes();
        !["SLURM_", "PMI_", "PMIX_"].iter().any(|prefix| name.starts_with(prefix.as_bytes()))
    });
    environ::to_block(&environ)
}

/// The first name of a list in Slurm's notation, `n[3-5,9]x[0-1],m`: `n3x0`.
fn first_host(list: &str) -> Option<String> {
    let mut host = String::new();
    let mut rest = list.trim_start();
    while let Some(special) = rest.find(['[', ',']) {
        host.push_str(&rest[..special]);
        if rest[special..].starts_with(',') {
            return (!host.is_empty()).then_some(host);
        }
        let (ranges, after) = rest[special + 1..].split_once(']')?;
        host.push_str(ranges.split(['-', ',']).next()?);
        rest = after;
    }
    host.push_str(rest);
    (!host.is_empty()).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(variables: &[(&str, &str)]) -> Environ {
        let step = [("SLURM_JOB_ID", "4537"), ("SLURM_STEP_ID", "0")];
        step.iter().chain(variables).map(|(name, value)| (name.into(), value.into())).collect()
    }

    fn lines(variables: &[(&str, &str)], given: &str) -> Vec<String> {
        let host = host(variables);
        let lines = Launcher::of_step(&host).unwrap().lines(given.as_bytes());
        String::from_utf8(lines).unwrap().lines().map(str::to_owned).collect()
    }

    fn has(lines: &[String], line: &str) -> bool {
        lines.iter().any(|have| have == line)
    }

    #[test]
    fn outside_of_steps_there_is_nothing_to_tell() {
        let mut host = host(&[]);
        assert!(Launcher::of_step(&host).is_some());
        host.insert("SLURM_STEP_ID".into(), "".into());
        assert!(Launcher::of_step(&host).is_none());
    }

    #[test]
    fn slurms_variables_and_those_of_the_pmi_in_use() {
        let got = lines(
            &[
                ("SLURM_MPI_TYPE", "pmi2"),
                ("PMI_JOBID", "4537.0"),
                ("PMIX_NAMESPACE", "leftover"),
                ("PATH", "/x"),
                ("SLURM_JOB_COMMENT", "two\nlines"),
            ],
            "",
        );
        assert!(has(&got, "SLURM_STEP_ID=0") && has(&got, "PMI_JOBID=4537.0"), "{got:?}");
        assert!(!got.iter().any(|line| line.starts_with("PMIX_")), "{got:?}");
        assert!(
            !got.iter().any(|line| line.contains("COMMENT") || line.contains("PATH")),
            "{got:?}"
        );
    }

    #[test]
    fn pmix_clients_find_their_servers_choices_and_directory() {
        let pmix = [
            ("SLURM_MPI_TYPE", "pmix_v4"),
            ("PMIX_SECURITY_MODE", "munge,native"),
            ("PMIX_GDS_MODULE", "ds21,ds12,hash"),
            ("PMIX_MCA_gds", "hash"),
            ("PMIX_SERVER_TMPDIR", "/var/spool/a b/pmix.1.0"),
        ];
        let got = lines(&pmix, "");
        assert!(
            has(&got, "PMIX_MCA_psec=munge,native") && has(&got, "PMIX_MCA_gds=hash"),
            "{got:?}"
        );
        assert!(has(&got, "PMIX_GDS_MODULE=ds21,ds12,hash"), "{got:?}");
        let environ = host(&pmix);
        let line = Launcher::of_step(&environ).unwrap().mount_line().unwrap();
        let entry = crate::fstab::Entry::parse(&line).unwrap().unwrap();
        assert_eq!(entry.source, "/var/spool/a b/pmix.1.0");
        assert!(entry.target == entry.source && entry.nofail);
        let other = host(&[("SLURM_MPI_TYPE", "none"), ("PMIX_SERVER_TMPDIR", "/x")]);
        assert_eq!(Launcher::of_step(&other).unwrap().mount_line(), None);
    }

    #[test]
    fn pytorch_gets_what_its_launcher_would_set() {
        let step = [
            ("SLURM_STEP_NODELIST", "gpu[07-09,11]"),
            ("SLURM_NTASKS", "8"),
            ("SLURM_STEP_NUM_TASKS", "8"),
            ("SLURM_STEP_NUM_NODES", "4"),
        ];
        let got = lines(&step, "PYTORCH_VERSION=2.1\n");
        for line in ["MASTER_ADDR=gpu07", "MASTER_PORT=61001", "WORLD_SIZE=8", "OMP_NUM_THREADS=1"]
        {
            assert!(has(&got, line), "{line} not in {got:?}");
        }
        assert!(!got.iter().any(|line| line.starts_with("RANK=")), "{got:?}");
        let got = lines(&step, "PYTORCH_VERSION=2.1\nMASTER_ADDR=mine\nOMP_NUM_THREADS=4\n");
        assert!(!got.iter().any(|line| line.starts_with("MASTER_ADDR=")), "{got:?}");
        assert!(!got.iter().any(|line| line.starts_with("OMP_")), "{got:?}");
        let got = lines(&step, "OTHER=1\n");
        assert!(!got.iter().any(|line| line.starts_with("MASTER_")), "{got:?}");
    }

    #[test]
    fn who_joins_gets_nothing_of_another_step() {
        let running = b"A=1\0SLURM_STEP_ID=1\0PMIX_NAMESPACE=x\0PMI_FD=3\0";
        assert_eq!(without_step(running), b"A=1\0");
    }

    #[test]
    fn the_first_host_of_a_list() {
        for (list, first) in [
            ("n1", "n1"),
            ("n1,n2", "n1"),
            ("n[1-3]", "n1"),
            ("n[03,05-07],m", "n03"),
            ("r[1-2]n[10-12].x,y", "r1n10.x"),
            ("a,b[1-2]", "a"),
        ] {
            assert_eq!(first_host(list).as_deref(), Some(first), "{list}");
        }
        for broken in ["", ",", "n[1-3"] {
            assert_eq!(first_host(broken), None, "{broken}");
        }
    }
}
