//! Limits of processes (getrlimit(2)): those of another one, and lowering one's own to them.

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, rlim_t, setrlimit};

/// As `/proc/PID/limits` names them.
const NAMES: [(&str, Resource); 16] = [
    ("Max cpu time", Resource::RLIMIT_CPU),
    ("Max file size", Resource::RLIMIT_FSIZE),
    ("Max data size", Resource::RLIMIT_DATA),
    ("Max stack size", Resource::RLIMIT_STACK),
    ("Max core file size", Resource::RLIMIT_CORE),
    ("Max resident set", Resource::RLIMIT_RSS),
    ("Max processes", Resource::RLIMIT_NPROC),
    ("Max open files", Resource::RLIMIT_NOFILE),
    ("Max locked memory", Resource::RLIMIT_MEMLOCK),
    ("Max address space", Resource::RLIMIT_AS),
    ("Max file locks", Resource::RLIMIT_LOCKS),
    ("Max pending signals", Resource::RLIMIT_SIGPENDING),
    ("Max msgqueue size", Resource::RLIMIT_MSGQUEUE),
    ("Max nice priority", Resource::RLIMIT_NICE),
    ("Max realtime priority", Resource::RLIMIT_RTPRIO),
    ("Max realtime timeout", Resource::RLIMIT_RTTIME),
];

/// A limit of a process: what holds, and how far the process may raise that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What is limited.
    pub resource: Resource,
    /// What holds.
    pub soft: rlim_t,
    /// As far as that may be raised.
    pub hard: rlim_t,
}

impl Limit {
    /// All that the text of a `/proc/PID/limits` has.
    pub fn all(text: &str) -> impl Iterator<Item = Limit> + '_ {
        let value = |word: &str| match word {
            "unlimited" => Some(RLIM_INFINITY),
            word => word.parse().ok(),
        };
        NAMES.into_iter().filter_map(move |(name, resource)| {
            let mut words =
                text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace();
            Some(Limit { resource, soft: value(words.next()?)?, hard: value(words.next()?)? })
        })
    }

    /// Lowers this process's own to it. Nothing is raised.
    ///
    /// # Errors
    /// From the kernel.
    pub fn lower(self) -> nix::Result<()> {
        let (soft, hard) = getrlimit(self.resource)?;
        let limit = (self.soft.min(soft), self.hard.min(hard));
        if limit == (soft, hard) {
            Ok(())
        } else {
            setrlimit(self.resource, limit.0.min(limit.1), limit.1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_of_a_process_is_known() {
        let text = std::fs::read_to_string("/proc/self/limits").unwrap();
        let limits: Vec<Limit> = Limit::all(&text).collect();
        assert_eq!(limits.len(), text.lines().count() - 1, "{text}");
        for limit in limits {
            assert_eq!(getrlimit(limit.resource).unwrap(), (limit.soft, limit.hard), "{limit:?}");
            limit.lower().unwrap();
        }
        let file = "Max open files            unlimited            20                   files\n";
        let limit = Limit { resource: Resource::RLIMIT_NOFILE, soft: RLIM_INFINITY, hard: 20 };
        assert_eq!(Limit::all(file).collect::<Vec<_>>(), [limit]);
        assert_eq!(Limit::all("Max open files\nMax cpu time x 1\n").next(), None);
    }
}
