//! What a container would get, and of what, for whoever wants to know before it is started.

use super::nvidia::{Driver, cuda_of};
use super::{ContainerVariables, DeviceError, Wanted, choose};
use crate::cdi::Edits;
use linux::environ::Environ;

/// A node's driver, and what a container would get of it.
#[derive(Debug)]
pub struct NodeDevices {
    /// NVIDIA's driver, if the node has it.
    pub driver: Option<DriverSummary>,
    /// What the container would get.
    pub chosen: Result<Edits, DeviceError>,
}

/// NVIDIA's driver, in a few words.
#[derive(Debug)]
pub struct DriverSummary {
    /// Of the kernel part.
    pub version: String,
    /// The newest CUDA that it has, if that is known.
    pub cuda: Option<&'static str>,
    /// In the order in which `nvidia-smi` counts them.
    pub gpus: Vec<GpuSummary>,
}

/// A GPU.
#[derive(Debug)]
pub struct GpuSummary {
    /// Such as `/dev/nvidia0`.
    pub node: String,
    /// The name on the box.
    pub model: String,
    /// Unknown until it is first used.
    pub uuid: Option<String>,
    /// MIG devices that it is divided into.
    pub parts: usize,
    /// Whether this process may use it.
    pub usable: bool,
}

/// Looks. `host` are the step's variables.
pub fn look(wanted: &Wanted, host: &Environ, said: ContainerVariables<'_>) -> NodeDevices {
    let driver = Driver::find(&wanted.host).map(|driver| DriverSummary {
        cuda: cuda_of(&driver.version),
        gpus: driver
            .gpus
            .iter()
            .map(|gpu| GpuSummary {
                node: gpu.node(),
                model: gpu.model.clone(),
                uuid: gpu.uuid.clone(),
                parts: gpu.parts.len(),
                usable: gpu.usable,
            })
            .collect(),
        version: driver.version,
    });
    NodeDevices { driver, chosen: choose(wanted, host, said) }
}
