//! The settings of devices.

use containers::cdi::CdiError;
use containers::devices::{Host, Wanted};
use containers::start::{Site, Standard};
use pyxis::settings::Settings;

/// Those of these names, given on the command line, and the site's, by what it has in enroot's folders.
pub(super) fn wanted(
    devices: &[String],
    settings: &Settings,
    folders: &Site,
) -> Result<Wanted, CdiError> {
    let site = &settings.devices;
    let names = site.names.iter().chain(devices).map(|name| name.parse());
    let groups = nix::unistd::getgroups().unwrap_or_default();
    let groups = groups.into_iter().chain([nix::unistd::getegid()]);
    Ok(Wanted {
        names: names.collect::<Result<_, _>>()?,
        nvidia: site.nvidia && !folders.replaces(Standard::Nvidia),
        mellanox: !folders.replaces(Standard::Mellanox),
        of_node: settings.of_enroot.clone(),
        superuser: nix::unistd::geteuid().is_root() && settings.container.allow_superuser,
        directories: site.directories.clone(),
        host: Host::below(&site.root),
        groups: groups.map(nix::unistd::Gid::as_raw).collect(),
        recipes: site.recipes.clone(),
        slurm_numbers_files: site.slurm_numbers_files,
        verbose: site.verbose,
    })
}
