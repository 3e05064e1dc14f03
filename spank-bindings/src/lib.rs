//! Slurm's SPANK plugin interface in Rust, for one Slurm release at a time.
//!
//! * [`raw`]: what bindgen makes of that release's `slurm/spank.h`.
//! * [`Spank`], [`log`], [`OptionSpec`], [`export_plugin!`]: a small safe layer over it.
//! * [`stamp`]: what a plugin built with it says of itself. The crate slurm-releases reads that, and has the
//!   facts of every supported release.
//!
//! The release is chosen by one of the features `slurm-20-11` ... `slurm-26-05`; none means the
//! newest. With the feature `real-header` the interface is taken from the header below the
//! directory `SLURM_SPANK_INCLUDE`, which must be of that release, instead of the committed one.
//!
//! # Telling releases apart in a dependent crate
//!
//! `#[cfg(slurm_ge_23_11)]` and its like hold for every release up to the chosen one. A dependent
//! crate gets them with this build script:
//!
//! ```no_run
//! for (list, line) in
//!     [("CHECK_CFGS", "rustc-check-cfg=cfg(NAME)"), ("CFGS", "rustc-cfg=NAME")]
//! {
//!     let names = std::env::var(format!("DEP_SLURM_SPANK_{list}")).unwrap();
//!     for name in names.split(',') {
//!         println!("cargo::{}", line.replace("NAME", name));
//!     }
//! }
//! ```

// Only the bindings are wanted, of whatever header that is (`build-matrix diff`).
#![cfg(not(compared))]

#[cfg(not(target_pointer_width = "64"))]
compile_error!("the layout of Slurm's structures is known for 64-bit targets only");

include!(concat!(env!("OUT_DIR"), "/features.rs"));

/// What bindgen makes of the release's `slurm/spank.h`; Slurm's documentation is in that header.
#[allow(missing_docs, non_camel_case_types, unreachable_pub)]
pub mod raw {
    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}

mod conf;
mod env;
mod error;
mod handle;
mod items;
mod options;

pub mod export;
pub mod log;
pub mod stamp;

#[cfg(feature = "mock")]
pub mod mock;

pub use conf::has_task_prolog;
pub use error::{ErrorKind, SpankError};
pub use export::FailureMode;
pub use handle::{Args, Context, Spank, context};
pub use items::StepId;
pub use options::{HasArg, OptionCallback, OptionSpec};

include!(concat!(env!("OUT_DIR"), "/release.rs"));
