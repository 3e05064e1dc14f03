//! What the SPANK plugin and the `pyxis` command say to each other: what the one asks for, the message by
//! which a started container's descriptors reach the tasks that join it, the way into its namespaces, and
//! what a task in it may not do.
//!
//! Linked into the .so that Slurm's daemons load: it depends on libc and nix only.

pub mod fork;
pub mod inside;
mod message;
pub mod namespaces;
pub mod nodes;
pub mod request;
pub mod seccomp;

pub use message::*;

/// What to say where one of the two is of another version than this one.
pub const MISMATCH: &str =
    "the pyxis command and the plugin are of different versions: install both from one release";

/// Before a line of the command that is for who asks for more of them.
pub const VERBOSE: &str = "[VERBOSE] ";

/// Before a line of the command that takes the place of its last one on a terminal.
pub const AGAIN: &str = "[AGAIN] ";
