//! How mksquashfs is called, by whoever writes an image with it.

use std::ffi::OsStr;
use std::io;
use std::process::{Command, Stdio};

use hygiene::unsecure;

/// The program's name.
const MKSQUASHFS: &str = "mksquashfs";
/// mksquashfs takes a quarter of the machine's memory unless told otherwise; more than this does
/// not make it faster.
const MEMORY: &str = "128M";
/// Enough for a few processors.
const LITTLE_MEMORY: &str = "32M";

/// What a site or a user chooses of it.
#[derive(Clone, Debug)]
pub struct Mksquashfs {
    options: Vec<String>,
    processors: usize,
    memory: &'static str,
}

impl Mksquashfs {
    /// With options separated by blanks, on so many processors, 0 for all.
    pub fn new(options: &str, processors: usize) -> Mksquashfs {
        let options = options.split_whitespace().map(str::to_owned).collect();
        Mksquashfs { options, processors, memory: MEMORY }
    }

    /// How many processors it uses, 0 for all.
    pub fn processors(&self) -> usize {
        self.processors
    }

    /// Does with less memory, and so with fewer processors.
    pub fn save_memory(&mut self) {
        self.memory = LITTLE_MEMORY;
        // Each has threads, whose stacks count.
        self.processors = if self.processors == 0 { 4 } else { self.processors.min(4) };
    }

    /// The command that makes `output` of `input`, all of it owned by root, in bounded memory, with
    /// options that 4.3 has (RHEL 8). What it says is on its stderr.
    pub fn command(&self, input: impl AsRef<OsStr>, output: impl AsRef<OsStr>) -> Command {
        let mut command = unsecure::command(MKSQUASHFS);
        // Since 4.4 it wants either this or options for times.
        command.env_remove("SOURCE_DATE_EPOCH");
        command.arg(input).arg(output);
        command.args(["-noappend", "-no-progress", "-all-root", "-mem", self.memory]);
        if self.processors > 0 {
            command.args(["-processors", &self.processors.to_string()]);
        }
        command.args(&self.options);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }
}

/// Whether it knows `-tar`.
///
/// # Errors
/// It cannot be run.
pub fn reads_archives() -> io::Result<bool> {
    static KNOWN: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    if let Some(known) = KNOWN.get() {
        return Ok(*known);
    }
    let output = unsecure::command(MKSQUASHFS).arg("-version").stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(*KNOWN.get_or_init(|| version(&text).is_some_and(|version| version >= (4, 5))))
}

/// Of `mksquashfs version 4.5.1 (2022/03/17)`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split_whitespace().nth(2)?.split(['.', '-']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_versions() {
        assert_eq!(version("mksquashfs version 4.5.1 (2022/03/17)\ncopyright"), Some((4, 5)));
        assert_eq!(version("mksquashfs version 4.3 (2014/05/12)"), Some((4, 3)));
        assert_eq!(version("mksquashfs version 4.6.1-e2b4c0 (2023)"), Some((4, 6)));
        assert_eq!(version("no"), None);
    }
}
