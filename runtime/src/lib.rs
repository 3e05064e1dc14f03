//! The built-in container runtime of pyxis: an unprivileged root filesystem made of a squashfs
//! image, a kernel overlay and bind mounts, in namespaces of the calling user.
//!
//! Without the `cli` feature only what the SPANK plugin shares is built: [`handover`], the
//! protocol by which a started container's descriptors reach it, and [`seccomp`].

pub mod handover;
pub mod seccomp;

#[cfg(feature = "cli")]
pub mod cdi;
#[cfg(feature = "cli")]
pub mod config;
#[cfg(feature = "cli")]
pub mod containers;
#[cfg(feature = "cli")]
pub mod directives;
#[cfg(feature = "cli")]
pub mod doctor;
#[cfg(feature = "cli")]
pub mod environ;
#[cfg(feature = "cli")]
pub mod fstab;
#[cfg(feature = "cli")]
pub mod fuse;
#[cfg(feature = "cli")]
pub mod image;
#[cfg(feature = "cli")]
pub mod imageconf;
#[cfg(feature = "cli")]
pub mod import;
#[cfg(feature = "cli")]
pub mod launch;
#[cfg(feature = "cli")]
pub mod layers;
#[cfg(feature = "cli")]
pub mod processes;
#[cfg(feature = "cli")]
pub mod progress;
#[cfg(feature = "cli")]
pub mod registry;
#[cfg(feature = "cli")]
pub mod squash;
#[cfg(feature = "cli")]
pub mod squashfs;
#[cfg(feature = "cli")]
pub mod start;
#[cfg(feature = "cli")]
pub mod store;
#[cfg(feature = "cli")]
pub mod tarball;
#[cfg(feature = "cli")]
pub mod uri;
