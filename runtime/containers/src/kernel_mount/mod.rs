//! Images of the shared store, mounted by the kernel.
//!
//! Only root may have the kernel read a file system. So a process that slurmstepd has forked waits beside a
//! step for one request, a digest, and answers with a mount that is in no tree: [`lend()`]. The plugin asks it, before it executes
//! who starts the container ([`Lender`]) and puts the mount below the overlay, in place of the one that a server
//! answers for. Where there is no such mount to be had, that server is.

mod lend;
mod request;

pub use lend::lend;
pub use request::{Lender, Requested, answer, requested};
