//! The record of named containers: directories below the data path, the same as enroot's. What is
//! done with them stands in [`crate::verbs`].
//!
//! A container made by enroot is a plain root filesystem. One made here holds
//!
//! | file | what |
//! |---|---|
//! | `container.toml` | identity, and what the image looked like: size, time, digest of its tables |
//! | `image.sqsh` | the image: a hard link where possible, else a copy |
//! | `upper`, `work` | what was changed in the container, as the kernel's overlay keeps it |
//! | `environ` | the environment it was last started with, for those who join it |
//! | `lock` | held while it is being made, started or joined |
//! | `used` | held by the process that serves the image, as long as the container runs |
//!
//! Names with a leading dot are being made (`.pyxis.create.NAME`) or removed (`.pyxis.trash.*`), or are
//! layers of containers without a name ([`scratch`]).

mod container;
pub(crate) mod data_path;
mod error;
mod fresh;
mod image;
mod metadata;
mod name;
pub(crate) mod pinned;
mod place;
pub(crate) mod removal;
pub(crate) mod running;
pub(crate) mod scratch;
pub(crate) mod trash;
pub(crate) mod unpacked;
pub(crate) mod usage;

pub use container::Container;
pub use data_path::DataPath;
pub use error::ContainerError;
pub(crate) use fresh::forget_names;
pub use metadata::Metadata;
pub use name::Name;
pub use place::NamedBy;
pub use running::Process;
pub(crate) use running::label_mark;
pub use scratch::sweep_layers;
pub(crate) use trash::finish as finish_removal;
pub use unpacked::remove_unpacked;
pub(crate) use usage::{Claim, State};
