//! Containers: what is recorded of the named ones, how one is started, and what is done with one that
//! runs. It knows nothing of registries: a root file system is a squashfs file or a directory.

#![deny(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)]

pub mod cdi;
pub mod devices;
pub mod fstab;
mod hint;
mod host_side;
pub mod kernel_mount;
pub mod launch;
pub mod record;
pub mod start;
mod unpack;
pub mod verbs;

pub use hint::nearest;
pub use host_side::HostSide;
