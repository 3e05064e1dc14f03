//! What others have written, on its way to a terminal, a log or a program: text ([`text`]), passwords
//! in names ([`userinfo`]), variables ([`unsecure`], [`account`]), paths in lines of mounts ([`fstab`]), and the one
//! place that prints ([`console`]).
//!
//! It uses nothing but std, so that the plugin can use it too.

#![deny(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)]

pub mod account;
pub mod console;
pub mod fstab;
pub mod text;
pub mod unsecure;
pub mod userinfo;
