//! Where the calling user is at home: one answer for all that is kept there.

use std::fs;
use std::path::PathBuf;

use nix::unistd::{Uid, User, geteuid};

/// What the user database says, for where nothing else does.
pub fn of_caller() -> Option<PathBuf> {
    of_user(geteuid())
}

/// From `/etc/passwd`: the database proper loads libraries and asks daemons first.
fn of_user(user: Uid) -> Option<PathBuf> {
    let text = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let home = match entry(&text, 7, &user.to_string()) {
        Some(fields) => PathBuf::from(fields[5]),
        None => User::from_uid(user).ok().flatten()?.dir,
    };
    home.is_absolute().then_some(home)
}

/// The first line with this id. Lines that begin with a sign belong to NIS.
pub fn entry<'a>(text: &'a str, fields: usize, id: &str) -> Option<Vec<&'a str>> {
    text.lines().filter(|line| !line.starts_with(['+', '-', '#'])).find_map(|line| {
        let found: Vec<&str> = line.split(':').collect();
        (found.len() >= fields && found[2] == id).then_some(found)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_database_knows_where_root_is_at_home() {
        assert_eq!(of_user(Uid::from_raw(0)), Some("/root".into()));
    }
}
