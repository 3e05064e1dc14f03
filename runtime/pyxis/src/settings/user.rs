//! Whose settings they are.

use std::path::PathBuf;

use linux::environ::Environ;

use super::places::place;
use super::variables;

/// For whom templates of paths are filled in.
#[derive(Clone, Debug)]
pub struct User {
    /// Number.
    pub uid: u32,
    /// Number of the primary group.
    pub gid: u32,
    /// Login name by number; asked for only where a template wants it.
    pub name: fn(u32) -> String,
    /// Home directory.
    pub home: Option<PathBuf>,
}

impl User {
    /// The calling user, whose home directory is what `HOME` says.
    pub fn caller(environ: &Environ) -> User {
        let name = |uid: u32| {
            let user = nix::unistd::User::from_uid(uid.into()).ok().flatten();
            user.map_or_else(|| uid.to_string(), |user| user.name)
        };
        User {
            uid: nix::unistd::geteuid().as_raw(),
            gid: nix::unistd::getegid().as_raw(),
            name,
            home: place(environ, variables::HOME),
        }
    }
}
