//! `spank_pyxis.so`: runs the tasks of a Slurm step in a container.
//!
//! In srun, sbatch and salloc it registers the options; in slurmd it makes the runtime directory;
//! in slurmstepd it starts the container once per node and moves every task into it before Slurm
//! executes the user's program. The invariants of living inside those daemons are in SAFETY.md.

// Those of clippy.toml are about what runs in slurmstepd.
#![cfg_attr(test, allow(clippy::disallowed_methods, clippy::disallowed_macros))]

pub mod config;
mod hooks;
mod line;
pub mod options;
#[cfg(test)]
mod releases;
mod root;
mod state;
mod step;
mod terminal;

spank_bindings::export_plugin! {
    name: "pyxis",
    version: env!("CARGO_PKG_VERSION"),
    failure_mode: spank_bindings::FailureMode::Job,
    hooks: {
        init => hooks::init,
        init_post_opt => hooks::init_post_opt,
        local_user_init => hooks::local_user_init,
        user_init => hooks::user_init,
        task_init_privileged => hooks::task_init_privileged,
        task_init => hooks::task_init,
        task_exit => hooks::task_exit,
        // Of no use in the other scope, and Slurm pays for it with each job (docs/releases.md).
        job_epilog => hooks::job_epilog where line::may_ask_for_job_scope,
        exit => hooks::exit,
    }
}
