//! Which devices a container gets, and of what: specifications first, and where there is none that
//! can be used, the driver that the node has.

mod given;
mod named;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;

use hygiene::console;

use super::host::Host;
use super::inject::{Injection, Recipes};
use super::mellanox;
use super::nvidia::Driver;
use super::others::{VENDORS, Vendor};
use super::slurm::StepGpus;
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
        given: given.as_ref(),
        registry: Registry::load(&wanted.directories),
        driver: Driver::find(&wanted.host),
    };
    finder.all(visible, &others)
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
    /// What Slurm gave the step.
    given: Option<&'a StepGpus>,
    registry: Registry,
    driver: Option<Driver<'a>>,
}

impl Finder<'_> {
    fn all(
        &self,
        visible: Option<(Visible, Author)>,
        others: &[(Vendor, String)],
    ) -> Result<Edits, DeviceError> {
        let given = self.given;
        let mut edits = self.named(&self.wanted.names)?.unwrap_or_default();
        let mut got = false;
        match visible {
            // ContainerVariables by the job or the image: no GPU, whatever Slurm gave.
            Some((Visible::Nothing, _)) => got = true,
            Some((visible, whose)) => {
                let found = match self.visible(&visible) {
                    Err(error) if self.is_of_no_gpu(whose) => {
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
    fn is_of_no_gpu(&self, whose: Author) -> bool {
        whose == Author::Image
            && self.given.is_none()
            && self.driver.is_none()
            && !self.registry.has(Visible::kind())
    }
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
