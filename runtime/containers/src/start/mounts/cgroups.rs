//! The container's view of `/sys/fs/cgroup`: the job's part of each hierarchy, at its top, where
//! programs look for their limits.

use std::fs;
use std::path::{Path, PathBuf};

use linux::path::normalized;
use nix::mount::MsFlags;

use crate::fstab::{Create, Entry};

/// Mounts that show the calling process's cgroups; if it is `in_step`, those of the step: its tasks
/// have cgroups of their own.
pub(in crate::start) fn entries(in_step: bool) -> Vec<Entry> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    // Everything in the root of its hierarchy: nothing to show differently.
    if groups.lines().all(|line| line.ends_with(":/")) {
        return Vec::new();
    }
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    views(&groups, &table, in_step)
        .into_iter()
        .map(|(source, target)| entry(source, target))
        .collect()
}

fn entry(source: PathBuf, target: &str) -> Entry {
    Entry {
        source: source.into(),
        inside: false,
        target: target.into(),
        fstype: "none".to_owned(),
        flags: MsFlags::MS_BIND
            | MsFlags::MS_REC
            | MsFlags::MS_RDONLY
            | MsFlags::MS_NOSUID
            | MsFlags::MS_NODEV
            | MsFlags::MS_NOEXEC,
        propagation: MsFlags::empty(),
        data: String::new(),
        ignored: Vec::new(),
        create: Some(Create::Directory),
        squashfs: false,
        detach: false,
        // A cgroup that has gone or is hidden is no reason not to start.
        nofail: true,
        silent: true,
        pass: 0,
    }
}

/// Source and target of each.
fn views<'a>(groups: &str, table: &'a str, up: bool) -> Vec<(PathBuf, &'a str)> {
    let mut out = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let Some((root, mounted)) = table.lines().find_map(|line| mount_of(line, controllers))
        else {
            continue;
        };
        let Ok(below) = Path::new(path).strip_prefix(root) else { continue };
        let mut group = Path::new(mounted).join(below);
        if up {
            group.push("..");
        }
        let group = normalized(&group);
        if group != Path::new(mounted) && group.starts_with(mounted) {
            out.push((group, mounted));
        }
    }
    out
}

/// Root and mount point, if this line of mountinfo is the hierarchy with these controllers.
fn mount_of<'a>(line: &'a str, controllers: &str) -> Option<(&'a str, &'a str)> {
    let (mount, kind) = line.split_once(" - ")?;
    let mut kind = kind.split(' ');
    let (fstype, _, options) = (kind.next()?, kind.next()?, kind.next()?);
    let fits = match controllers {
        "" => fstype == "cgroup2",
        names => {
            fstype == "cgroup"
                && names.split(',').all(|name| options.split(',').any(|option| option == name))
        }
    };
    let mut fields = mount.split(' ').skip(3);
    fits.then_some((fields.next()?, fields.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_job_at_the_top() {
        let table = "30 25 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
        let groups = "0::/system.slice/slurmstepd.scope/job_7/step_0/user/task_0\n";
        let view = |up| views(groups, table, up);
        let job = "/sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/step_0/user";
        assert_eq!(view(true), [(PathBuf::from(job), "/sys/fs/cgroup")]);
        assert_eq!(view(false)[0].0, Path::new(job).join("task_0"));
        assert_eq!(views("0::/\n", table, true), []);
        assert_eq!(views("0::/../other\n", table, false), []);
    }

    #[test]
    fn finds_each_hierarchy_of_version_1() {
        let table = "31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
            32 30 0:28 /lxc/1 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
            33 30 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n";
        let groups =
            "4:memory:/lxc/1/slurm/job\n3:cpu,cpuacct:/slurm\n2:name=systemd:/\n1:pids:/x\n";
        let got = views(groups, table, false);
        assert_eq!(got.len(), 2);
        assert_eq!(got[0].0, Path::new("/sys/fs/cgroup/memory/slurm/job"));
        assert_eq!(
            got[1],
            ("/sys/fs/cgroup/cpu,cpuacct/slurm".into(), "/sys/fs/cgroup/cpu,cpuacct")
        );
    }
}
