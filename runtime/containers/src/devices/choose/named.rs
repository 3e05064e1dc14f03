//! Devices that are asked for by name: of specifications, or by what the driver says of itself.

use std::path::Path;

use hygiene::console;

use super::{DeviceError, Finder};
use crate::cdi::{CdiError, Edits, Name, Visible};
use crate::devices::nvidia::Driver;
use crate::devices::nvidia::select::{Counted, NamedGpu, Names, Selection, select};

impl Finder<'_> {
    /// What `NVIDIA_VISIBLE_DEVICES` asks for; `None` if the node has no such thing.
    pub(super) fn visible(&self, visible: &Visible) -> Result<Option<Edits>, DeviceError> {
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

    /// Devices by their names; `None` if they are GPUs of NVIDIA's and the node has none.
    pub(super) fn named(&self, names: &[Name]) -> Result<Option<Edits>, DeviceError> {
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
        let selection = match &self.driver {
            Some(driver) => select(&driver.gpus, &devices, Counted::Usable),
            None => Ok(Selection::default()),
        };
        if let (Some(given), Some(driver), Ok(chosen)) = (self.given, &self.driver, &selection) {
            given.check(&driver.gpus, chosen).map_err(DeviceError::Node)?;
        }
        if let Some(names) = self.in_specifications(&gpus, &devices) {
            edits.add(self.usable(self.registry.devices(&names), || selection)?);
            return Ok(Some(edits));
        }
        let found = self.of_driver(|_| selection)?;
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

    /// These GPUs by their names in specifications, whose numbers count all of the node's; `None` if there are
    /// none, or none has a GPU that is meant.
    fn in_specifications(&self, gpus: &[Name], devices: &[&str]) -> Option<Vec<Name>> {
        if !self.has_specification() {
            return None;
        }
        let Some(driver) = &self.driver else { return Some(gpus.to_vec()) };
        let all = Names { gpus: &driver.gpus, names: devices, counted: Counted::Usable };
        let name_of = |name: &Name| match all.find(&name.device) {
            Some(NamedGpu::Gpu(place)) if name.device.parse().is_ok_and(|n: usize| n != place) => {
                self.registry.of_node(&name.kind, &self.outside(&driver.gpus[place].node()))
            }
            Some(NamedGpu::Part(place, part)) if name.device.contains(':') => {
                (name.device == format!("{place}:{part}")).then(|| name.clone())
            }
            _ => Some(name.clone()),
        };
        gpus.iter().map(name_of).collect()
    }

    /// What a specification says, unless it is not true any more, or cannot be read, and the node has the
    /// driver.
    pub(super) fn usable(
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

    pub(super) fn of_driver(
        &self,
        selection: impl FnOnce(&Driver<'_>) -> Result<Selection, String>,
    ) -> Result<Option<Edits>, DeviceError> {
        let Some(driver) = &self.driver else { return Ok(None) };
        let edits = selection(driver).and_then(|some| driver.edits(&some, &self.variables.asked()));
        edits.map(Some).map_err(DeviceError::Node)
    }

    pub(super) fn has_specification(&self) -> bool {
        self.registry.may_have(Visible::kind())
    }
}

/// A file that a specification names and the node has not.
fn stale(edits: &Edits) -> Option<String> {
    let bound = edits.mounts.iter().filter(|mount| mount.fstype.is_none());
    let nodes = edits.nodes.iter().map(|node| &node.host_path);
    bound.map(|mount| &mount.source).chain(nodes).find(|path| !Path::new(path).exists()).cloned()
}
