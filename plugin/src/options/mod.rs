//! The `--container-*` options: pure parsing and checking.
//!
//! Slurm may give an option several times: it calls back once on the command line's behalf and
//! again on the node. The same value again is fine; another value is an error.

pub mod components;
pub mod defaults;
mod error;
mod mount;
pub mod repeats;
pub mod table;
#[cfg(test)]
mod tests;
mod values;

pub use error::{MAX_ENTRIES, OptionError};
pub use mount::Mount;
pub use values::{Name, NameFlag, Options, Switch, Unshare, Valued};
