//! What a program finds: variables, the user's account, files, and what hooks add.
//!
//! The host is looked at once ([`host_facts`]), what a site's folders have is read ([`site`]); the order in which all
//! of it is applied is [`configure`](crate::start::configure)'s.

pub(in crate::start) mod account;
mod conf_script;
mod device_hooks;
pub(in crate::start) mod fixes;
pub(in crate::start) mod hook_place;
pub(in crate::start) mod hooks;
pub(in crate::start) mod host_facts;
pub(crate) mod launcher;
pub(in crate::start) mod site;
