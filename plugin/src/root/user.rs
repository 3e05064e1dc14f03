//! Users of the node.

use nix::libc;
use std::ffi::{CStr, OsString};
use std::os::unix::ffi::OsStringExt;

/// Whom to become.
#[derive(Debug)]
pub(crate) struct Credentials {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups.
    pub(crate) groups: Vec<u32>,
}

impl Credentials {
    pub(crate) const ROOT: Credentials = Credentials { uid: 0, gid: 0, groups: Vec::new() };
}

/// Where the user database says that the user is at home: in a job without HOME, and in the epilog.
pub(crate) fn home_of(uid: u32) -> Option<OsString> {
    let mut texts = vec![0; 16 << 10];
    let mut found = std::ptr::null_mut();
    // SAFETY: all zero is a value of this type, of null pointers.
    let mut user = unsafe { std::mem::zeroed::<libc::passwd>() };
    // SAFETY: the pointers are valid for as long as they say.
    let failed = unsafe {
        libc::getpwuid_r(uid, &raw mut user, texts.as_mut_ptr(), texts.len(), &raw mut found)
    };
    if failed != 0 || found.is_null() || user.pw_dir.is_null() {
        return None;
    }
    // SAFETY: a C string in `texts`.
    let home = unsafe { CStr::from_ptr(user.pw_dir) };
    Some(OsString::from_vec(home.to_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_a_home_in_the_user_database() {
        assert_eq!(home_of(0), Some("/root".into()));
        assert_eq!(home_of(4_000_000_009), None);
    }
}
