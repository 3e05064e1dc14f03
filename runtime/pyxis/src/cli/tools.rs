//! What verbs work with, as the settings have it: the data path, the host, the image store, an importer.

use containers::HostSide;
use containers::record::{ContainerError, DataPath, NamedBy};
use images::import::{Importer, Tools};
use images::progress::Progress;
use images::registry::is_architecture;
use images::store::{Store, StoreError, mark_use};
use pyxis::settings::{Paths, Settings};
use pyxis::unmapped;

use super::CliError;

/// The data path, made if need be.
pub(crate) fn data_path(settings: &Settings) -> Result<DataPath, ContainerError> {
    let Paths { data, data_is_callers, per_node, .. } = &settings.paths;
    let named = match data_is_callers {
        true => NamedBy::Caller,
        false => NamedBy::Site { root: unmapped::root().unwrap_or(0) },
    };
    DataPath::open(data.clone().ok_or(ContainerError::NoDataPath)?, *per_node, named)
}

/// The host, for what makes containers.
pub(crate) fn host(settings: &Settings) -> HostSide {
    HostSide {
        environ: settings.host.clone(),
        overlay: settings.container.native_overlayfs,
        layers: settings.paths.layers.clone(),
        unpacked: settings.paths.unpacked.clone(),
        in_use: mark_use,
    }
}

/// The image store.
pub(crate) fn store(settings: &Settings) -> Result<Store, StoreError> {
    Store::open(settings.store.clone().ok_or(StoreError::NoPlace)?)
}

/// Who makes images for `arch`, by default the machine's.
pub(crate) fn importer(
    settings: &Settings,
    arch: Option<&str>,
    progress: Progress,
) -> Result<Importer, CliError> {
    if let Some(arch) = arch.filter(|arch| !is_architecture(arch)) {
        return Err(CliError::Architecture(arch.to_owned()));
    }
    let tools = Tools {
        store: store(settings)?,
        registries: settings.registries.clone(),
        credentials: settings.credentials.clone(),
        squash: settings.squash.clone(),
        max_unpacked: settings.max_unpacked,
    };
    Ok(Importer::new(tools, arch, progress))
}
