//! What is done with named containers, and with those that run.

mod create;
mod exec;
mod exec_error;
mod export;
mod hand_over;
mod hold;
mod owner;
mod remove;

pub use exec::{Entered, Exec};
pub use exec_error::ExecError;
pub use export::{Export, ExportError, default_output};
pub use hand_over::{hand_over, hand_over_labelled};
