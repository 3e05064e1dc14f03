//! Who writes an image: we ourselves, or mksquashfs where somebody has options for it.

use crate::mksquashfs::Mksquashfs;
use crate::write::{Options, Packing};

/// Bytes of blocks that are on their way.
const MEMORY: usize = 64 << 20;
/// The same where memory is to be saved.
const LITTLE_MEMORY: usize = 16 << 20;

/// The writer of images, as a site or a user chooses it.
#[derive(Clone, Debug)]
pub enum Program {
    /// Ours ([`crate::write`]).
    Own(OwnWriter),
    /// mksquashfs.
    Mksquashfs(Mksquashfs),
}

/// The options of our own writer.
#[derive(Clone, Debug)]
pub struct OwnWriter {
    packing: Packing,
    processors: usize,
    memory: usize,
}

impl Program {
    /// mksquashfs, if there are options for it; on so many processors, 0 for all.
    pub fn new(options: &str, packing: Packing, processors: usize) -> Program {
        if options.trim().is_empty() {
            Program::Own(OwnWriter { packing, processors, memory: MEMORY })
        } else {
            Program::Mksquashfs(Mksquashfs::new(options, processors))
        }
    }

    /// How many processors it uses, 0 for all.
    pub fn processors(&self) -> usize {
        match self {
            Program::Own(own) => own.processors,
            Program::Mksquashfs(mksquashfs) => mksquashfs.processors(),
        }
    }

    /// Does with less memory, and so with fewer processors.
    pub fn save_memory(&mut self) {
        match self {
            Program::Own(own) => {
                own.memory = LITTLE_MEMORY;
                own.processors = if own.processors == 0 { 4 } else { own.processors.min(4) };
            }
            Program::Mksquashfs(mksquashfs) => mksquashfs.save_memory(),
        }
    }
}

impl OwnWriter {
    /// Options of the writer for a container's image.
    pub fn options(&self) -> Options {
        let OwnWriter { packing, processors: threads, memory } = *self;
        Options { threads, memory, ..Options::for_container(packing) }
    }
}

/// What a program of squashfs-tools says of its failure, as one line: without its usage, which is 200 lines, and the middle of lists.
pub fn complaint(said: &str) -> String {
    let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut lines: Vec<&str> = lines.take_while(|line| !line.starts_with("SYNTAX")).collect();
    if lines.len() > 4 {
        lines.splice(2..lines.len() - 2, ["..."]);
    }
    lines.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_without_usage_and_the_middle_of_lists() {
        let usage = "SYNTAX:mksquashfs source1 FILESYSTEM\n\nOptions\n-comp NAME\n";
        for (said, want) in [
            (format!("mksquashfs: invalid option\n\n{usage}"), "mksquashfs: invalid option"),
            (
                "no such name!\nThere are:\n\tgzip\n\tlzo\n\txz".into(),
                "no such name!; There are:; ...; lzo; xz",
            ),
            ("1\n2\n\n3\n4\n".into(), "1; 2; 3; 4"),
            (String::new(), ""),
        ] {
            assert_eq!(complaint(&said), want);
        }
    }
}
