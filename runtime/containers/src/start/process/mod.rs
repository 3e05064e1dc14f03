//! Processes: who the caller is inside, the helpers beside a container, and what is kept from it.

pub(in crate::start) mod child;
pub(in crate::start) mod cores;
pub(in crate::start) mod guard;
pub(in crate::start) mod helpers;
pub(in crate::start) mod identity;
pub(in crate::start) mod supervise;
