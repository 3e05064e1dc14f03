//! One plugin per Slurm release, and the checks that they are what they should be: what `build-matrix` does, a module
//! per verb, and what the crate packaging needs of it.

pub mod bindings;
pub mod build;
pub mod cargo;
pub mod diff;
pub mod error;
pub mod headers;
mod interface;
pub mod list;
pub mod lists;
pub mod report;
pub mod results;
pub mod verify;
pub mod workspace;
