//! `pyxis as-caller PROGRAM...`: executes a program as the user whom the container's root stands for. Slurm's commands in
//! such a container want it: they say who they are, and munge says who asks.

use std::ffi::{CString, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;

use handover::namespaces::NewUser;
use hygiene::console;
use nix::unistd::execv;

use super::Exit;

const VERB: &str = "as-caller";
/// What a shell ends with where it could not execute a program.
const NOT_EXECUTED: Exit = Exit(126);

/// Whether the command was called so. It is no verb of those that people type.
pub(crate) fn is_asked_for() -> bool {
    std::env::args_os().nth(1).is_some_and(|word| word == VERB)
}

pub(crate) fn run() -> Exit {
    let Err(error) = execute(std::env::args_os().skip(2));
    console::tell(format_args!(
        "pyxis: cannot run one of Slurm's commands as the user that this container's root is: {error}"
    ));
    NOT_EXECUTED
}

fn execute(words: impl Iterator<Item = OsString>) -> io::Result<std::convert::Infallible> {
    let words = words.map(|word| CString::new(word.into_vec()));
    let words = words.collect::<Result<Vec<CString>, _>>()?;
    let (uid, gid) = (outside("/proc/self/uid_map")?, outside("/proc/self/gid_map")?);
    NewUser::new((uid, 0), (gid, 0)).enter()?;
    let program = words.first().ok_or(io::ErrorKind::InvalidInput)?;
    Ok(execv(program, &words)?)
}

/// The id outside that is 0 here.
fn outside(map: &str) -> io::Result<u32> {
    let text = fs::read_to_string(map)?;
    let ids = text.lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        (fields.next()? == "0").then(|| fields.next()?.parse().ok())?
    });
    ids.ok_or_else(|| io::Error::other("nobody is root here"))
}
