//! What a program finds: variables, the user's account, files, and what hooks add.

pub(in crate::start) mod account;
pub(in crate::start) mod fixes;
pub(in crate::start) mod hooks;
pub(in crate::start) mod host_facts;
pub(crate) mod launcher;
pub(in crate::start) mod site;
