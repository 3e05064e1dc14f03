//! How unsquashfs is called, by whoever unpacks an image that is not read here.

use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use hygiene::unsecure;

use crate::sif;

/// The program's name.
pub const UNSQUASHFS: &str = "unsquashfs";

/// The command that unpacks `image`, which is open as `file`, to `directory`; into what is there already,
/// if it is `merged`. What it says is on its stderr.
pub fn command(
    program: &Path,
    (file, image): (&File, &Path),
    directory: &Path,
    merged: bool,
) -> Command {
    let mut command = unsecure::command(program);
    command.args(["-no-progress", "-user-xattrs"]).args(merged.then_some("-force"));
    command.args(sif::arguments_of_unsquashfs(file));
    command.args([OsStr::new("-dest"), directory.as_os_str(), image.as_os_str()]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// Whether all of it is there. 2: some attributes (device nodes, foreign xattrs) could not be restored.
pub fn succeeded(status: ExitStatus) -> bool {
    matches!(status.code(), Some(0 | 2))
}

/// The last line of what it has said.
pub fn last_words(log: &[u8]) -> String {
    let log = String::from_utf8_lossy(log);
    log.lines().last().unwrap_or("was killed").trim().to_owned()
}
