//! The mounts that an image asks for in its `/etc/fstab`. Whoever made the image has no say in what
//! of the host a container sees, nor in what a site has mounted: without the user's or the site's word
//! an image gets file systems that are the container's own, and nothing else.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use hygiene::console;
use nix::mount::MsFlags;

use crate::fstab::Entry;
use crate::start::error::StartError;
use crate::start::mounts::lines;
use linux::environ::{self, Environ};

/// Made anew by the kernel, out of nothing that is the host's, and without options that would be
/// paths or descriptors.
const OWN: [&str; 6] = ["tmpfs", "ramfs", "proc", "sysfs", "mqueue", "devpts"];

/// Reads the lines. `${ENROOT_ROOTFS}/x` means the image's own `/x`, which a volume binds onto
/// itself; with a root of our own there is nothing to do for those.
pub(in crate::start) fn parse(fstab: &[u8], host: &Environ) -> Result<Vec<Entry>, StartError> {
    let mut lines = Vec::new();
    for line in fstab.split(|byte| *byte == b'\n') {
        if !line.trim_ascii_start().starts_with(b"${ENROOT_ROOTFS}") {
            lines.extend_from_slice(&environ::substitute(line, host));
            lines.push(b'\n');
        }
    }
    lines::parse_lines(OsStr::from_bytes(&lines))
}

/// Takes out what is not the image's to ask for, and says so in one line.
pub(in crate::start) fn leave_out_foreign(entries: &mut Vec<Entry>, passes: &[i32]) {
    let mut left_out: Vec<Entry> = Vec::new();
    entries.retain(|entry| {
        let own = is_own(entry);
        if !own && passes.contains(&entry.pass) && !entry.silent {
            left_out.push(entry.clone());
        }
        own
    });
    if let Some(line) = warning(&left_out) {
        console::tell(format_args!("pyxis: {line}"));
    }
}

fn is_own(entry: &Entry) -> bool {
    let changes = entry.detach || entry.flags.intersects(MsFlags::MS_BIND | MsFlags::MS_REMOUNT);
    !changes && OWN.contains(&entry.fstype.as_str())
}

fn warning(left_out: &[Entry]) -> Option<String> {
    let first = left_out.first()?;
    let more = match left_out.len() - 1 {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    // Its words are the image's: nothing of them is to reach a terminal as it is.
    Some(format!(
        "left out what the image's /etc/fstab asks for: {:?} at {:?}{more}; \
         PYXIS_IMAGE_MOUNTS=y allows it (or image_mounts in pyxis.toml)",
        first.source.to_string_lossy(),
        first.target.to_string_lossy()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_images_volumes_need_no_mount() {
        let host = Environ::from([("HOME".into(), "/home/u".into())]);
        let fstab = b"${ENROOT_ROOTFS}/data /data none x-create=dir,bind\n${HOME} /h\n";
        let got = parse(fstab, &host).unwrap();
        assert_eq!(got.len(), 1);
        assert_eq!((got[0].source.to_str(), got[0].target.to_str()), (Some("/home/u"), Some("/h")));
    }

    #[test]
    fn what_is_not_the_containers_own_is_left_out() {
        let entry = |line: &str| Entry::parse(OsStr::new(line)).unwrap().unwrap();
        for line in [
            "tmpfs /scratch tmpfs x-create=dir,size=1m",
            "tmpfs /scratch",
            "mqueue /dev/mqueue mqueue nofail",
            "proc /p proc x-create=dir",
        ] {
            assert!(is_own(&entry(line)), "{line}");
        }
        for line in [
            "/ /host none x-create=dir,rbind",
            "/home",
            "/home /h bind",
            "none /data none remount,rw",
            "tmpfs /data tmpfs remount,rw",
            "tmpfs /data tmpfs bind",
            "umount /sys x-detach",
            "/dev/sda1 / ext4 defaults",
            "LABEL=root / ext4 defaults",
            "o /mnt overlay lowerdir=/proc/self/fd/4/host:/x",
            "f /mnt fuse fd=4,rootmode=40000,user_id=0,group_id=0",
            "none /mnt none rshared",
        ] {
            assert!(!is_own(&entry(line)), "{line}");
        }
    }

    #[test]
    fn one_line_says_it() {
        let entry = |line: &str| Entry::parse(OsStr::new(line)).unwrap().unwrap();
        assert_eq!(warning(&[]), None);
        let line = warning(&[entry("/\x1b[2J /a\\012b bind"), entry("/b")]).unwrap();
        assert!(!line.contains(['\x1b', '\n']) && line.contains(", and 1 more; "), "{line}");
    }
}
