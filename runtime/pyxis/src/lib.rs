//! The `pyxis` command: its settings, and the doctor. Its arguments are in the program itself.

pub mod config;
pub mod directives;
pub mod doctor;
