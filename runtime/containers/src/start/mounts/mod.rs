//! Mounts: lines and who they are of, and how one is carried out.
//!
//! [`lines`] carries out any line. The others say who has some: every container ([`system`], [`above_image`], [`cgroups`]), the image
//! ([`of_image`]), devices, data images, hooks of enroot's ([`enroot_mount`]).

pub(in crate::start) mod above_image;
pub(in crate::start) mod cgroups;
pub(in crate::start) mod change;
pub(in crate::start) mod data_images;
pub(in crate::start) mod detached;
pub(in crate::start) mod devices;
pub(in crate::start) mod enroot_mount;
pub(in crate::start) mod lines;
pub(in crate::start) mod of_image;
pub(in crate::start) mod slurm;
pub(in crate::start) mod system;
