//! The node's root, as a process sees him in a user namespace that has no id for him: a container, or what
//! `unshare --user` makes.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;

use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};

const OVERFLOW_ID: &str = "/proc/sys/kernel/overflowuid";

/// The uid that files of the node's root have here, if it is nobody's: that of all who have no id here.
/// `None` wherever root has an id, as in the namespace in which slurmd runs.
///
/// The numbers in `uid_map` are those of the namespace around this one, where `0` may be anybody. So a file is
/// looked at that is always root's.
pub fn root() -> Option<u32> {
    let file = File::open(OVERFLOW_ID).ok()?;
    let owner = file.metadata().ok()?.uid();
    // What nearly everybody finds.
    if owner == 0 || fstatfs(&file).ok()?.filesystem_type() != PROC_SUPER_MAGIC {
        return None;
    }
    let overflow = fs::read_to_string(OVERFLOW_ID).ok()?.trim().parse().ok()?;
    let map = fs::read_to_string("/proc/self/uid_map").ok()?;
    (owner == overflow && !has(&map, overflow)?).then_some(overflow)
}

/// Whether somebody in the namespace has this id; `None` for what is no map.
fn has(map: &str, id: u32) -> Option<bool> {
    let mut found = false;
    for line in map.lines() {
        let mut fields = line.split_ascii_whitespace().map(str::parse::<u64>);
        let (first, _, count) = (fields.next()?.ok()?, fields.next()?.ok()?, fields.next()?.ok()?);
        found |= (first..first.saturating_add(count)).contains(&u64::from(id));
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whether_an_id_is_somebodys() {
        let own = "         0       1000          1\n";
        assert_eq!(has(own, 65534), Some(false));
        assert_eq!(has(own, 0), Some(true));
        assert_eq!(has("0 0 4294967295\n", 65534), Some(true));
        // A user with further ids: one of them is the overflow id's.
        assert_eq!(has("0 1000 1\n1 100000 65536\n", 65534), Some(true));
        assert_eq!(has("0 1000 1\n1 100000 65533\n", 65534), Some(false));
        assert_eq!(has("", 65534), Some(false));
        for odd in ["0 0", "x 0 1\n", "0 0 -1\n"] {
            assert_eq!(has(odd, 65534), None, "{odd}");
        }
    }

    #[test]
    fn root_has_an_id_where_everybody_has() {
        let map = fs::read_to_string("/proc/self/uid_map").unwrap();
        if map.split_ascii_whitespace().eq(["0", "0", "4294967295"]) {
            assert_eq!(root(), None);
        }
    }
}
