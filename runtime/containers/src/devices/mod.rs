//! What a container needs of the node's devices, and how it gets there: of specifications
//! ([`crate::cdi`]), or by looking the driver up.

mod apply;
mod choose;
mod compat;
pub(crate) mod elf;
pub(crate) mod host;
mod inject;
pub(crate) mod ldcache;
mod mellanox;
pub(crate) mod nvidia;
mod others;
pub(crate) mod place;
mod seen;
mod slurm;
#[cfg(test)]
mod tree;
mod variables;

pub(crate) use apply::apply;
pub(crate) use choose::fabrics;
pub use choose::{DeviceError, Wanted, choose};
pub use host::Host;
pub use inject::{Recipe, Recipes, applies, enabled, shipped};
pub use seen::{DriverSummary, GpuSummary, NodeDevices, look};
pub use variables::ContainerVariables;

/// Reads what may be a library or a cache of libraries, and writes what was read; for fuzzing.
#[doc(hidden)]
pub fn check(bytes: &[u8]) {
    if let Some(cache) = ldcache::Cache::parse(bytes) {
        let again = ldcache::Cache::parse(&cache.to_bytes());
        assert_eq!(again.as_ref(), Some(&cache));
    }
    let Ok(file) = linux::sys::memory_file("library", bytes) else { return };
    let file = std::fs::File::from(file);
    if let Some(elf) = elf::Elf::of(&file) {
        let _ = (elf.dynamic(), elf.note(".note.cuda.fwd_compatibility"));
    }
}
