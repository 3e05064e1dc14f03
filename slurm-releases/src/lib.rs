//! What is known of the Slurm releases that pyxis has builds for, in one place, without a function of Slurm's.
//!
//! * [`RELEASES`]: the table of the data files in `releases/`.
//! * [`stamp`]: what a built plugin says of itself, written by spank-bindings and read from a file.
//! * [`elf`]: what else the file of a plugin or of a program of Slurm says, nothing of it loaded.
//! * [`header`]: which release an installed `spank.h` is of.
//!
//! Nothing that Slurm loads links this crate: spank-bindings and the loader use it in their build scripts.

pub mod elf;
pub mod header;
mod release;
pub mod stamp;

pub use release::{RELEASES, Release, above, bindings_file, bindings_hash, feature, release};
