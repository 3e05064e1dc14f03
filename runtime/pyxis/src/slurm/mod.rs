//! A node's Slurm: where its configuration and its programs are, and what the configuration says. Files are read, and
//! nothing is run.

pub(crate) mod conf;
pub(crate) mod plugstack;
pub(crate) mod programs;
