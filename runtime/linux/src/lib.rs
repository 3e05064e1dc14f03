//! System calls that neither std nor nix has, descriptors of processes, locks, and detached mounts.
//! It knows nothing of containers and nothing of images.

#![deny(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)]

pub mod bounded;
pub mod cgroups;
pub mod channel;
pub mod detached;
pub mod environ;
pub mod file_error;
pub mod hex;
pub mod home;
pub mod limits;
pub mod loop_device;
pub mod path;
pub mod phases;
pub mod processes;
pub mod sys;
pub mod xattr;
