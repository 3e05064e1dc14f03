//! The `pyxis` command: its settings, the doctor, and progress. Its arguments are in the program itself.

#![deny(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)]

pub mod as_enroot;
pub mod directives;
pub mod doctor;
pub mod fits;
pub mod owner;
pub mod progress;
pub mod settings;
mod shell;
pub mod site;
mod slurm;
pub mod slurm_commands;
pub mod unmapped;
