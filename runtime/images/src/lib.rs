//! From the name of an image to a squashfs file: names, registries, layers, the store of images and
//! the import into it. It makes no namespace and knows nothing of containers.

#![deny(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)]

mod bounded;
pub mod digest;
pub mod imageconf;
pub mod import;
pub mod layers;
mod pack;
pub mod progress;
pub mod push;
pub mod registry;
pub mod squash;
pub mod store;
pub mod tarball;
pub mod uri;
