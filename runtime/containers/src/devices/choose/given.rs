//! Devices by numbers: GPUs that Slurm gave the step, of whatever vendor, and those that other vendors' variables count.

use std::ffi::OsStr;

use super::{DeviceError, Finder};
use crate::cdi::{Edits, Name, Visible};
use crate::devices::others::{VENDORS, Vendor, VendorGpus};
use crate::devices::slurm::{self, Number, StepGpus};

impl Finder<'_> {
    /// The GPUs that Slurm gave the step; `None` if the node has no GPU that is known.
    pub(super) fn given(&self, given: &StepGpus) -> Result<Option<Edits>, DeviceError> {
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

    /// Whether the step has a variable that Slurm sets for one vendor's GPUs.
    fn of_slurm(&self, variable: &str) -> bool {
        self.variables.host.get(OsStr::new(variable)).is_some_and(|value| !value.is_empty())
    }

    /// What a vendor's variable asks for; `None` if the node has none of its GPUs.
    pub(super) fn of_vendor(
        &self,
        vendor: Vendor,
        value: &str,
    ) -> Result<Option<Edits>, DeviceError> {
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

    pub(super) fn outside(&self, path: &str) -> String {
        self.wanted.host.outside(path).to_string_lossy().into_owned()
    }
}
