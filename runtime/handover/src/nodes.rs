//! Places that several nodes have together, and what keeps the nodes apart there.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use nix::sys::statfs::statfs;
use nix::unistd::gethostname;

/// File systems of other machines, by their number (`linux/magic.h`, and their own sources): none of
/// them takes the upper layer of an overlay.
const NETWORK: [(u32, &str); 12] = [
    (0x6969, "NFS"),
    (0x0bd0_0bd0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x1983_0326, "BeeGFS"),
    (0x00c3_6400, "Ceph"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x0102_1997, "9p"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x2003_0528, "OrangeFS"),
    (0xaad7_aaea, "PanFS"),
];

/// FUSE: most servers of a directory that people work in are other machines' clients.
const FUSE: u32 = 0x6573_5546;

/// The numbers of all of these. (Without the names, which the .so has no use for.)
const SHARED: [u32; NETWORK.len() + 1] = {
    let (mut numbers, mut at) = ([FUSE; NETWORK.len() + 1], 0);
    while at < NETWORK.len() {
        numbers[at] = NETWORK[at].0;
        at += 1;
    }
    numbers
};

/// What a file system of that type is called, if it is of another machine.
pub fn network(kind: i64) -> Option<&'static str> {
    let kind = number(kind);
    NETWORK.iter().find(|(number, _)| *number == kind).map(|(_, name)| *name)
}

/// Whether other nodes are likely to have the same directory.
pub fn is_shared(directory: &Path) -> bool {
    statfs(directory).is_ok_and(|is| SHARED.contains(&number(is.filesystem_type().0)))
}

/// The type is a number of 32 bits, with a sign on some processors.
fn number(kind: i64) -> u32 {
    (kind & 0xffff_ffff) as u32
}

/// This node's name, without its domain.
pub fn node() -> OsString {
    let mut name = gethostname().unwrap_or_default().into_vec();
    let end = name.iter().position(|byte| *byte == b'.');
    name.truncate(end.unwrap_or(name.len()));
    OsString::from_vec(name)
}

/// What the file of this name is called while process `pid` of this node writes it.
pub fn partial(pid: u32, name: &OsStr) -> OsString {
    let (node, pid) = (node(), pid.to_string());
    let parts: [&[u8]; 6] =
        [b".pyxis.", node.as_bytes(), b".", pid.as_bytes(), b".", name.as_bytes()];
    OsString::from_vec(parts.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_of_other_machines_are_known() {
        assert_eq!(network(0x6969), Some("NFS"));
        assert_eq!(network(-0x00ac_b2be), Some("CIFS"));
        assert_eq!(network(nix::sys::statfs::EXT4_SUPER_MAGIC.0), None);
        assert_eq!(network(i64::from(FUSE)), None);
        assert!(!is_shared(Path::new("/proc")));
    }

    #[test]
    fn what_is_being_written_has_the_nodes_name() {
        let partial = partial(7, OsStr::new("x.sqsh")).into_string().unwrap();
        let node = node().into_string().unwrap();
        assert!(!node.is_empty() && !node.contains('.'));
        assert_eq!(partial, format!(".pyxis.{node}.7.x.sqsh"));
    }
}
