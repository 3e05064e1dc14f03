//! The root file system: what it is made from ([`source`]), who serves an image ([`server`]), where its changes are
//! kept ([`scratch`]), and how it is put together ([`assemble`]).

pub(in crate::start) mod assemble;
pub(in crate::start) mod extract;
pub(in crate::start) mod image_files;
pub(in crate::start) mod layers;
pub(in crate::start) mod merged;
pub(in crate::start) mod merger;
pub(in crate::start) mod scratch;
pub(in crate::start) mod server;
pub(in crate::start) mod source;
pub(in crate::start) mod tree;
pub(in crate::start) mod unlayered;
pub(in crate::start) mod upper;
