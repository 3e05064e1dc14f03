//! Processes: who the caller is inside ([`identity`]), the helpers beside a container ([`helpers`]), and what is
//! kept from one of root's ([`guard`]).

pub(in crate::start) mod child;
pub(in crate::start) mod cores;
pub(in crate::start) mod guard;
pub(in crate::start) mod helpers;
pub(in crate::start) mod identity;
pub(in crate::start) mod supervise;
