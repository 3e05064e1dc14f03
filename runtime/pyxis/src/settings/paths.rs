//! Where containers, their changes and temporary files are.

use std::path::{Path, PathBuf};

use super::layers::Resolved;
use super::table::Id;

/// Places, where something says where they are.
#[derive(Clone, Debug)]
pub struct Paths {
    /// Containers of the user.
    pub data: Option<PathBuf>,
    /// The caller has said so, by the environment.
    pub data_is_callers: bool,
    /// Where nodes share that place, each has containers of its own.
    pub per_node: bool,
    /// Where hooks see a container, and whether somebody has said so: else it is a wish.
    pub runtime: (PathBuf, bool),
    /// Temporary files.
    pub temp: PathBuf,
    /// Where changes of containers without a name may be kept that memory cannot keep, the best first.
    pub layers: Vec<PathBuf>,
    /// Where unpacked images are kept, on kernels that need them.
    pub unpacked: Option<PathBuf>,
}

impl Paths {
    pub(super) fn of(resolved: &Resolved) -> Paths {
        let (data, temp) = (resolved.path(Id::Data), resolved.path(Id::Temp));
        let temp = temp.unwrap_or_else(|| "/tmp".into());
        let anywhere = || [&temp, Path::new("/var/tmp")].into_iter().chain(data.as_deref());
        Paths {
            layers: match resolved.path(Id::Layers) {
                Some(place) => vec![place],
                None => anywhere().map(Path::to_owned).collect(),
            },
            unpacked: resolved.path(Id::Cache).map(|cache| cache.join("pyxis-unpacked")),
            data: data.clone(),
            data_is_callers: resolved.is_of_environment(Id::Data),
            per_node: resolved.is_on(Id::PerNode),
            runtime: (
                resolved.path(Id::Runtime).unwrap_or_else(|| "/run/enroot".into()),
                resolved.is_said(Id::Runtime),
            ),
            temp,
        }
    }
}
