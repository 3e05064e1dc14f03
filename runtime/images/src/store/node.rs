//! What tells one node from another, and one boot from the next, in a store that several share.

use std::fs;

/// This node's name, as part of a file name.
pub(super) fn host() -> String {
    let name = nix::unistd::gethostname().unwrap_or_default();
    let plain = |char: char| char.is_ascii_alphanumeric() || char == '-' || char == '_';
    name.to_string_lossy().chars().filter(|char| plain(*char)).take(64).collect()
}

/// The number that the kernel has made for this boot.
pub(super) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}
