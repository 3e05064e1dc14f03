//! Processes: who the caller is inside ([`identity`]), the helpers beside a container ([`helpers`]), what is
//! kept from one of root's ([`guard`]), and of root's terminal from others ([`session`]).

mod buffer;
pub(in crate::start) mod child;
mod copier;
pub(in crate::start) mod cores;
mod ending;
pub(in crate::start) mod guard;
pub(in crate::start) mod helpers;
pub(in crate::start) mod identity;
pub(in crate::start) mod session;
pub(in crate::start) mod supervise;
