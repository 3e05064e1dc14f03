//! The stamp that a plugin carries: its text as one constant, which [`export_plugin!`](crate::export_plugin) puts into
//! a section of its own.

use crate::STAMP;

/// The parts of a plugin's stamp, built with this crate.
#[doc(hidden)]
pub const fn parts<'a>(plugin: &'a str, version: &'a str) -> [&'a str; 6] {
    [STAMP[0], plugin, STAMP[1], version, STAMP[2], "\0"]
}

/// The length of all parts together, in bytes.
#[doc(hidden)]
pub const fn length(parts: &[&str]) -> usize {
    let (mut length, mut i) = (0, 0);
    while i < parts.len() {
        length += parts[i].len();
        i += 1;
    }
    length
}

/// All parts in one array of that length.
#[doc(hidden)]
pub const fn join<const N: usize>(parts: &[&str]) -> [u8; N] {
    let (mut out, mut at, mut i) = ([0; N], 0, 0);
    while i < parts.len() {
        let (part, mut j) = (parts[i].as_bytes(), 0);
        while j < part.len() {
            out[at] = part[j];
            at += 1;
            j += 1;
        }
        i += 1;
    }
    out
}
