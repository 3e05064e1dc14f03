//! Which devices a container gets, and of what: specifications first, and where there is none that
//! can be used, the driver that the node has.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use hygiene::console;

use super::host::Host;
use super::inject::{Injection, Recipes};
use super::mellanox;
use super::nvidia::Driver;
use super::nvidia::select::{Selection, select};
use super::others::{VENDORS, Vendor, VendorGpus};
use super::slurm::{self, Number, StepGpus};
use super::variables::{Author, ContainerVariables, VISIBLE, Variables};
use crate::cdi::{CdiError, Edits, Name, Registry, Visible};
use linux::environ::Environ;

/// Which devices to look for, and where.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Asked for by name.
    pub names: Vec<Name>,
    /// Follow `NVIDIA_VISIBLE_DEVICES` and its like, and Slurm's variables where none is set.
    pub nvidia: bool,
    /// Follow `MELLANOX_VISIBLE_DEVICES`.
    pub mellanox: bool,
    /// Variables of the step that the node's configuration has set, and not the job.
    pub of_node: BTreeSet<OsString>,
    /// The user is root, and keeps the privileges of it.
    pub superuser: bool,
    /// Directories of specifications, the strongest last.
    pub directories: Vec<PathBuf>,
    /// The tree in which drivers are looked up.
    pub host: Host,
    /// Groups of the user: to be asked for before there is a user namespace.
    pub groups: Vec<u32>,
    /// What containers get of fabrics.
    pub recipes: Recipes,
    /// Slurm numbers GPUs by their files, as 20.11 does.
    pub slurm_numbers_files: bool,
    /// Say also what is most likely no matter.
    pub verbose: bool,
}

/// Why a container does not get its devices.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// By a specification, or by a name.
    #[error(transparent)]
    Cdi(#[from] CdiError),
    /// By the node, in a line.
    #[error("{0}")]
    Node(String),
}

/// Finds out what the container needs, on the host's tree.
///
/// # Errors
/// [`DeviceError`].
pub fn choose(
    wanted: &Wanted,
    host: &Environ,
    said: ContainerVariables<'_>,
) -> Result<Edits, DeviceError> {
    let mut edits = choose_gpus(wanted, host, said)?;
    if wanted.mellanox {
        let variables = Variables { host, of_node: &wanted.of_node, said };
        edits.add(mellanox::choose(&wanted.host, &variables, wanted.superuser)?);
    }
    Ok(edits)
}

fn choose_gpus(
    wanted: &Wanted,
    host: &Environ,
    said: ContainerVariables<'_>,
) -> Result<Edits, DeviceError> {
    let variables = Variables { host, of_node: &wanted.of_node, said };
    let mut visible = None;
    let mut given = None;
    let mut others: Vec<(Vendor, String)> = Vec::new();
    if wanted.nvidia {
        visible = match variables.get(VISIBLE) {
            Some((value, Author::Image)) => {
                Some((gpus_only(Visible::parse(&value)?), Author::Image))
            }
            Some((value, whose)) => Some((Visible::parse(&value)?, whose)),
            None => None,
        };
        given = StepGpus::of(host);
        for vendor in VENDORS {
            let named = vendor.variables().iter().find_map(|name| variables.value(name));
            others.extend(named.map(|value| (vendor, value)));
        }
    }
    let nothing = matches!(visible, None | Some((Visible::Nothing, _)));
    if wanted.names.is_empty() && nothing && given.is_none() && others.is_empty() {
        return Ok(Edits::default());
    }
    let finder = Finder {
        wanted,
        variables,
        registry: Registry::load(&wanted.directories),
        driver: Driver::find(&wanted.host),
    };
    finder.all(visible, given.as_ref(), &others)
}

/// What a container may get of fabrics, on the host's tree.
pub(crate) fn fabrics(
    wanted: &Wanted,
    host: &Environ,
    said: ContainerVariables<'_>,
) -> Vec<Injection> {
    if wanted.recipes.is_empty() {
        return Vec::new();
    }
    let cuda = Variables { host, of_node: &wanted.of_node, said }.value("CUDA_VERSION");
    let cuda = cuda.and_then(|version| version.split('.').next()?.parse().ok());
    let recipes = wanted.recipes.iter();
    recipes.filter_map(|(name, recipe)| Injection::of(&wanted.host, name, recipe, cuda)).collect()
}

/// An image may ask for GPUs only: other devices, with mounts and hooks of their own, are not its choice.
fn gpus_only(visible: Visible) -> Visible {
    let Visible::Devices(names) = visible else { return visible };
    let (gpus, others): (Vec<_>, Vec<_>) =
        names.into_iter().partition(|name| name.kind == Visible::kind());
    if let Some(name) = others.first() {
        console::tell(format_args!(
            "pyxis: left out what the image asks for in {VISIBLE}: {name}; --device gives it"
        ));
    }
    if gpus.is_empty() { Visible::Nothing } else { Visible::Devices(gpus) }
}

struct Finder<'a> {
    wanted: &'a Wanted,
    variables: Variables<'a>,
    registry: Registry,
    driver: Option<Driver<'a>>,
}

impl Finder<'_> {
    fn all(
        &self,
        visible: Option<(Visible, Author)>,
        given: Option<&StepGpus>,
        others: &[(Vendor, String)],
    ) -> Result<Edits, DeviceError> {
        let mut edits = self.named(&self.wanted.names)?.unwrap_or_default();
        let mut got = false;
        match visible {
            // ContainerVariables by the job or the image: no GPU, whatever Slurm gave.
            Some((Visible::Nothing, _)) => got = true,
            Some((visible, whose)) => {
                let found = match self.visible(&visible) {
                    Err(error) if self.is_of_no_gpu(whose, given) => {
                        console::tell(format_args!("pyxis: {error}; the container gets no GPU"));
                        None
                    }
                    found => found?,
                };
                if found.is_none() && given.is_none() && whose == Author::Job {
                    console::tell(format_args!(
                        "pyxis: no NVIDIA driver and no CDI specification of one on this node \
                         ({VISIBLE})"
                    ));
                }
                got |= found.is_some();
                edits.add(found.unwrap_or_default());
            }
            None => {}
        }
        if let (Some(given), false) = (given, got) {
            let found = self.given(given)?;
            got = found.is_some();
            edits.add(found.unwrap_or_default());
        }
        // Slurm sets some of these variables for its own numbers.
        for (vendor, value) in others.iter().filter(|_| given.is_none()) {
            let found = self.of_vendor(*vendor, value)?;
            edits.add(found.unwrap_or_default());
        }
        match given {
            Some(given) if !got => Err(DeviceError::Node(format!(
                "Slurm gave this step the GPUs {}, and the container would get none: this node has no \
                 driver and no CDI specification of a GPU; {VISIBLE}=void starts without one",
                given.text
            ))),
            _ => Ok(edits),
        }
    }

    /// Whether an error is about a file that nobody knows to be of a GPU, and about an image that could
    /// use one, if there were any.
    fn is_of_no_gpu(&self, whose: Author, given: Option<&StepGpus>) -> bool {
        whose == Author::Image
            && given.is_none()
            && self.driver.is_none()
            && !self.registry.has(Visible::kind())
    }

    /// What `NVIDIA_VISIBLE_DEVICES` asks for; `None` if the node has no such thing.
    fn visible(&self, visible: &Visible) -> Result<Option<Edits>, DeviceError> {
        match visible {
            Visible::Nothing => Ok(Some(Edits::default())),
            Visible::Driver => {
                if self.has_specification() {
                    let of_file = self.registry.driver(Visible::kind());
                    return self.usable(of_file, || Ok(Selection::default())).map(Some);
                }
                self.of_driver(|_| Ok(Selection::default()))
            }
            Visible::Devices(names) => self.named(names),
        }
    }

    fn has_specification(&self) -> bool {
        self.registry.may_have(Visible::kind())
    }

    /// Devices by their names; `None` if they are GPUs of NVIDIA's and the node has none.
    fn named(&self, names: &[Name]) -> Result<Option<Edits>, DeviceError> {
        let (gpus, rest): (Vec<Name>, Vec<Name>) =
            names.iter().cloned().partition(|name| name.kind == Visible::kind());
        let mut edits = Edits::default();
        let mut of_files = Vec::new();
        for name in rest {
            match self.driver.as_ref().filter(|_| !self.registry.may_have(&name.kind)) {
                Some(driver) => match driver.extra(&name.kind, &name.device) {
                    Some(extra) => edits.add(extra.map_err(DeviceError::Node)?),
                    None => of_files.push(name),
                },
                None => of_files.push(name),
            }
        }
        edits.add(self.registry.devices(&of_files)?);
        if gpus.is_empty() {
            return Ok(Some(edits));
        }
        let devices: Vec<&str> = gpus.iter().map(|name| name.device.as_str()).collect();
        if self.has_specification() {
            let of_file = self.registry.devices(&gpus);
            let all = || match &self.driver {
                Some(driver) => select(&driver.gpus, &devices),
                None => Ok(Selection::default()),
            };
            edits.add(self.usable(of_file, all)?);
            return Ok(Some(edits));
        }
        let found = self.of_driver(|driver| select(&driver.gpus, &devices))?;
        let asked_by_name = gpus.iter().find(|name| self.wanted.names.contains(name));
        match (found, asked_by_name) {
            (Some(found), _) => {
                edits.add(found);
                Ok(Some(edits))
            }
            (None, Some(_)) => Ok(Some(self.registry.devices(&gpus)?)),
            // Images that can use a GPU say so; they are not to fail where there is none.
            (None, None) => Ok(None),
        }
    }

    fn of_driver(
        &self,
        selection: impl FnOnce(&Driver<'_>) -> Result<Selection, String>,
    ) -> Result<Option<Edits>, DeviceError> {
        let Some(driver) = &self.driver else { return Ok(None) };
        let edits = selection(driver).and_then(|some| driver.edits(&some, &self.variables.asked()));
        edits.map(Some).map_err(DeviceError::Node)
    }

    /// What a specification says, unless it is not true any more, or cannot be read, and the node has the
    /// driver.
    fn usable(
        &self,
        of_file: Result<Edits, CdiError>,
        selection: impl FnOnce() -> Result<Selection, String>,
    ) -> Result<Edits, DeviceError> {
        let reason = match (&of_file, &self.driver) {
            (_, None) => return Ok(of_file?),
            (Ok(edits), Some(_)) => match stale(edits) {
                None => return Ok(of_file?),
                Some(path) => format!("a CDI specification names {path}, which is not there"),
            },
            (Err(error), Some(_)) => error.to_string(),
        };
        // The same GPUs by what the driver says of itself.
        match self.of_driver(|_| selection()) {
            Ok(Some(edits)) => {
                console::tell(format_args!("pyxis: {reason}; the driver was looked up instead"));
                Ok(edits)
            }
            other => match of_file {
                Err(error) => Err(error.into()),
                Ok(_) => other.map(Option::unwrap_or_default),
            },
        }
    }

    /// The GPUs that Slurm gave the step; `None` if the node has no GPU that is known.
    fn given(&self, given: &StepGpus) -> Result<Option<Edits>, DeviceError> {
        let order = slurm::order(self.variables.host, self.wanted.slurm_numbers_files);
        let is_nvidia = self.driver.is_some() || self.has_specification();
        let nvidia_usable = match &self.driver {
            Some(driver) => driver.gpus.iter().any(|gpu| gpu.usable),
            None => is_nvidia,
        };
        if nvidia_usable && self.of_slurm("CUDA_VISIBLE_DEVICES") {
            return self.given_nvidia(given, order).map(Some);
        }
        // Of two vendors, the one whose variable Slurm has set, or whose GPUs can be used.
        let others: Vec<VendorGpus> = VENDORS
            .into_iter()
            .filter_map(|vendor| VendorGpus::of(&self.wanted.host, vendor))
            .collect();
        let is_set = |found: &&VendorGpus| {
            let variable = found.vendor().of_slurm();
            found.is_usable() && variable.is_some_and(|variable| self.of_slurm(variable))
        };
        let usable = others
            .iter()
            .find(is_set)
            .or_else(|| others.iter().filter(|_| !nvidia_usable).find(|found| found.is_usable()));
        match usable.or(others.first().filter(|_| !is_nvidia)) {
            Some(found) => {
                let places = found.given(given, order).map_err(DeviceError::Node)?;
                self.of_places(found, &places).map(Some)
            }
            None if is_nvidia => self.given_nvidia(given, order).map(Some),
            None => Ok(None),
        }
    }

    /// Whether the step has a variable that Slurm sets for one vendor's GPUs.
    fn of_slurm(&self, variable: &str) -> bool {
        self.variables.host.get(OsStr::new(variable)).is_some_and(|value| !value.is_empty())
    }

    fn outside(&self, path: &str) -> String {
        self.wanted.host.outside(path).to_string_lossy().into_owned()
    }

    fn given_nvidia(&self, given: &StepGpus, order: Number) -> Result<Edits, DeviceError> {
        let kind = Visible::kind();
        let Some(driver) = &self.driver else {
            // Nobody to ask which number is which: the specification's names are the places.
            return Ok(match Visible::parse(&given.text)? {
                Visible::Devices(names) => self.registry.devices(&names)?,
                _ => Edits::default(),
            });
        };
        let selection = given.among(&driver.gpus, order).map_err(DeviceError::Node)?;
        if self.has_specification() {
            let is_whole = selection.0.iter().all(|(_, parts)| parts.is_empty());
            let names: Option<Vec<Name>> = match is_whole {
                true => {
                    let nodes = selection.0.iter().map(|(place, _)| driver.gpus[*place].node());
                    nodes.map(|node| self.registry.of_node(kind, &self.outside(&node))).collect()
                }
                false => {
                    let uuids = given.uuids.iter();
                    Some(
                        uuids
                            .map(|uuid| Name { kind: kind.to_owned(), device: uuid.clone() })
                            .collect(),
                    )
                }
            };
            if let Some(names) = names {
                return self.usable(self.registry.devices(&names), || Ok(selection));
            }
        }
        Ok(self.of_driver(|_| Ok(selection))?.unwrap_or_default())
    }

    /// What a vendor's variable asks for; `None` if the node has none of its GPUs.
    fn of_vendor(&self, vendor: Vendor, value: &str) -> Result<Option<Edits>, DeviceError> {
        if matches!(value.trim(), "" | "void" | "none") {
            return Ok(None);
        }
        let Some(found) = VendorGpus::of(&self.wanted.host, vendor) else { return Ok(None) };
        let places = found.named(value).map_err(DeviceError::Node)?;
        self.of_places(&found, &places).map(Some)
    }

    /// By a specification that has them, or else by themselves.
    fn of_places(&self, found: &VendorGpus, places: &[usize]) -> Result<Edits, DeviceError> {
        let names_of = |kind: &&str| -> Option<Vec<Name>> {
            let nodes = places.iter().map(|place| found.node(*place));
            nodes.map(|node| self.registry.of_node(kind, &self.outside(node?))).collect()
        };
        let names = found.vendor().kinds().iter().find_map(names_of);
        Ok(match names.filter(|names| !names.is_empty()) {
            Some(names) => self.registry.devices(&names)?,
            None => found.edits(&self.wanted.host, places),
        })
    }
}

/// A file that a specification names and the node has not.
fn stale(edits: &Edits) -> Option<String> {
    let bound = edits.mounts.iter().filter(|mount| mount.fstype.is_none());
    let nodes = edits.nodes.iter().map(|node| &node.host_path);
    bound.map(|mount| &mount.source).chain(nodes).find(|path| !Path::new(path).exists()).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_chooses_gpus_only() {
        let gpus = |text| Visible::parse(text).unwrap();
        assert_eq!(gpus_only(gpus("a.com/b=c,1")), gpus("1"));
        assert_eq!(gpus_only(gpus("a.com/b=c")), Visible::Nothing);
        assert_eq!(gpus_only(gpus("all")), gpus("all"));
        assert_eq!(gpus_only(Visible::Driver), Visible::Driver);
    }
}
