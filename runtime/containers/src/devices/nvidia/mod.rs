//! NVIDIA's GPUs with nothing but the driver: what `nvidia-ctk cdi generate` would write, found out
//! at the start by reading `/proc`, `/sys` and the dynamic linker's cache. No program is executed.

mod capabilities;
mod files;
mod libraries;
pub(crate) mod proc;
mod require;
pub(crate) mod select;
#[cfg(test)]
mod tests;

use super::host::{Host, folder};
use crate::cdi::{Action, DeviceNode, Edits};
pub(crate) use capabilities::Capabilities;
use capabilities::Capability;
pub(crate) use files::read_only;
use proc::{Gpu, cap_node};
pub(crate) use require::cuda_of;
use select::Selection;

const COMPAT: &str = "/usr/local/cuda/compat";

/// What a container asks for beside its GPUs, by variables.
#[derive(Clone, Debug, Default)]
pub(crate) struct NvidiaRequest {
    /// `NVIDIA_DRIVER_CAPABILITIES`.
    pub(crate) capabilities: Option<String>,
    /// `NVIDIA_REQUIRE_*`, unless they are not to count.
    pub(crate) requirements: Vec<(String, String)>,
    /// `NVIDIA_IMEX_CHANNELS`.
    pub(crate) channels: Option<String>,
    /// `NVIDIA_MIG_CONFIG_DEVICES` and `NVIDIA_MIG_MONITOR_DEVICES`.
    pub(crate) mig_config: bool,
    pub(crate) mig_monitor: bool,
    /// `NVIDIA_GDS`, `NVIDIA_GDRCOPY`, `NVIDIA_MOFED`, `NVIDIA_NVSWITCH`.
    pub(crate) gds: bool,
    pub(crate) gdrcopy: bool,
    pub(crate) mofed: bool,
    pub(crate) nvswitch: bool,
}

/// A driver that was looked up.
#[derive(Debug)]
pub(crate) struct Driver<'a> {
    host: &'a Host,
    pub(crate) version: String,
    pub(crate) gpus: Vec<Gpu>,
}

impl<'a> Driver<'a> {
    /// `None` where there is none.
    pub(crate) fn find(host: &'a Host) -> Option<Driver<'a>> {
        if !proc::is_there(host) {
            return None;
        }
        Some(Driver { host, version: proc::version(host)?, gpus: proc::gpus(host) })
    }

    /// What a container needs for these GPUs; for none of them, the driver alone.
    pub(crate) fn edits(
        &self,
        selection: &Selection,
        asked: &NvidiaRequest,
    ) -> Result<Edits, String> {
        let wanted = Capabilities::parse(asked.capabilities.as_deref())?;
        let gpus = selection.0.iter().filter_map(|(place, _)| self.gpus.get(*place)).collect();
        require::check(&require::NodeFacts { driver: &self.version, gpus }, &asked.requirements)?;
        let mut edits = Edits::default();
        self.add_control_nodes(&mut edits, &wanted);
        self.add_gpus(&mut edits, selection, &wanted);
        self.add_rights(&mut edits, asked)?;
        self.add_extras(&mut edits, asked, &wanted);
        self.add_files(&mut edits, &wanted)?;
        Ok(edits)
    }

    /// What `nvidia.com/CLASS=NAME` means, if it is no GPU.
    pub(crate) fn extra(&self, kind: &str, name: &str) -> Option<Result<Edits, String>> {
        let mut asked = NvidiaRequest::default();
        match kind {
            "nvidia.com/gds" => asked.gds = true,
            "nvidia.com/gdrcopy" => asked.gdrcopy = true,
            "nvidia.com/mofed" => asked.mofed = true,
            "nvidia.com/nvswitch" => asked.nvswitch = true,
            "nvidia.com/imex-channel" => asked.channels = Some(name.to_owned()),
            _ => return None,
        }
        if asked.channels.is_none() && name != "all" {
            return Some(Err(format!("no device {kind}={name} on this node: there is all")));
        }
        let mut edits = Edits::default();
        if let Err(error) = self.add_rights(&mut edits, &asked) {
            return Some(Err(error));
        }
        self.add_extras(&mut edits, &asked, &Capabilities::none());
        for mount in &mut edits.mounts {
            mount.source = self.outside(&mount.source);
        }
        let absent =
            || format!("no device {kind}={name} on this node: its kernel module is not loaded");
        Some(if edits.is_empty() { Err(absent()) } else { Ok(edits) })
    }

    /// Adds a node that there is.
    fn add_node(&self, edits: &mut Edits, path: &str) -> bool {
        let there = self.host.has(path);
        if there && edits.nodes.iter().all(|node| node.path != path) {
            let mut node = DeviceNode::at(path);
            node.host_path = self.outside(path);
            edits.nodes.push(node);
        }
        there
    }

    fn outside(&self, path: &str) -> String {
        self.host.outside(path).to_string_lossy().into_owned()
    }

    fn add_control_nodes(&self, edits: &mut Edits, wanted: &Capabilities) {
        let all: [(&str, &[Capability]); 3] = [
            ("/dev/nvidia-modeset", &[Capability::Display, Capability::Graphics]),
            ("/dev/nvidia-uvm-tools", &[Capability::Compute]),
            ("/dev/nvidia-uvm", &[Capability::Compute]),
        ];
        for (path, capabilities) in all {
            if wanted.has(capabilities) {
                self.add_node(edits, path);
            }
        }
        self.add_node(edits, "/dev/nvidiactl");
    }

    fn add_gpus(&self, edits: &mut Edits, selection: &Selection, wanted: &Capabilities) {
        for (place, parts) in &selection.0 {
            let Some(gpu) = self.gpus.get(*place) else { continue };
            self.add_node(edits, &gpu.node());
            for part in parts.iter().filter_map(|part| gpu.parts.get(*part)) {
                for cap in part.caps {
                    self.add_node(edits, &cap_node(cap));
                }
            }
            if parts.is_empty() && wanted.graphics() {
                self.add_drm(edits, gpu);
            }
        }
    }

    /// The nodes by which others than CUDA draw, and the links to them by their places on the bus.
    fn add_drm(&self, edits: &mut Edits, gpu: &Gpu) {
        let bus = gpu.bus.to_ascii_lowercase();
        for name in self.host.names(&format!("/sys/bus/pci/devices/{bus}/drm")) {
            self.add_node(edits, &format!("/dev/dri/{name}"));
        }
        for kind in ["card", "render"] {
            let link = format!("/dev/dri/by-path/pci-{bus}-{kind}");
            let target = self.host.link(&link);
            let leads = |target: &String| {
                let node = self.host.resolve(&link);
                let node = node.filter(|node| edits.nodes.iter().any(|have| have.path == *node));
                node.map(|_| target.clone())
            };
            if let Some(target) = target.as_ref().and_then(leads) {
                edits.actions.push(Action::Link { target, link });
            }
        }
    }

    /// Nodes that stand for rights: over divisions of GPUs, and channels between nodes.
    fn add_rights(&self, edits: &mut Edits, asked: &NvidiaRequest) -> Result<(), String> {
        for (wanted, right) in [(asked.mig_config, "config"), (asked.mig_monitor, "monitor")] {
            if let (true, Some(node)) = (wanted, proc::mig_right(self.host, right)) {
                self.add_node(edits, &node);
            }
        }
        let channels = asked.channels.as_deref().unwrap_or_default().split(',').map(str::trim);
        for name in channels.filter(|name| !matches!(*name, "" | "void" | "none")) {
            let directory = "/dev/nvidia-caps-imex-channels";
            if name == "all" {
                for name in self.host.names(directory) {
                    self.add_node(edits, &format!("{directory}/{name}"));
                }
                continue;
            }
            let number = name.strip_prefix("channel").unwrap_or(name);
            // 20 bits, as a minor number has.
            let number = number.parse::<u32>().ok().filter(|number| *number < 1 << 20);
            let number = number.ok_or_else(|| {
                format!("NVIDIA_IMEX_CHANNELS: {name:?} is no number of a channel")
            })?;
            if !self.add_node(edits, &format!("{directory}/channel{number}")) {
                return Err(format!("NVIDIA_IMEX_CHANNELS: no channel {number} on this node"));
            }
        }
        Ok(())
    }

    /// What other kernel modules of NVIDIA's have.
    fn add_extras(&self, edits: &mut Edits, asked: &NvidiaRequest, wanted: &Capabilities) {
        let named = |directory: &str, prefix: &str| -> Vec<String> {
            let names = self.host.names(directory);
            let names = names.into_iter().filter(|name| name.starts_with(prefix));
            names.map(|name| format!("{directory}/{name}")).collect()
        };
        // Of use to whoever computes, and in nobody's way.
        if asked.gdrcopy || wanted.has(&[Capability::Compute]) {
            self.add_node(edits, "/dev/gdrdrv");
        }
        if asked.gds {
            let nodes = named("/dev", "nvidia-fs");
            nodes.iter().for_each(|node| _ = self.add_node(edits, node));
            let files = ["/run/udev", "/etc/cufile.json"].into_iter();
            for path in files.filter(|path| !nodes.is_empty() && self.host.has(path)) {
                edits.mounts.push(files::read_only(path));
            }
        }
        if asked.mofed {
            for node in named("/dev/infiniband", "uverbs") {
                self.add_node(edits, &node);
            }
            self.add_node(edits, "/dev/infiniband/rdma_cm");
        }
        if asked.nvswitch {
            for node in named("/dev", "nvidia-nvswitch") {
                self.add_node(edits, &node);
            }
        }
    }

    fn add_files(&self, edits: &mut Edits, wanted: &Capabilities) -> Result<(), String> {
        let libraries = libraries::find(self.host, &self.version, wanted);
        if libraries.folders.is_empty() {
            return Err(format!(
                "the kernel has the NVIDIA driver {}, and this node has no libraries of that version; \
                 was the driver updated, and the node not rebooted?",
                self.version
            ));
        }
        let kernel = nix::sys::utsname::uname();
        let kernel = kernel.as_ref().ok().and_then(|uname| uname.release().to_str());
        for path in libraries.files.iter().chain(&libraries.narrow) {
            edits.mounts.push(files::read_only(path));
        }
        let folders = &libraries.folders;
        let kernel = kernel.unwrap_or_default();
        edits.mounts.extend(files::find(self.host, &self.version, wanted, folders, kernel));
        let mut cached: Vec<String> = Vec::new();
        let mut links: Vec<Action> = Vec::new();
        for mount in edits.mounts.iter().filter(|mount| files::is_library(&mount.target)) {
            let folder = folder(&mount.target).to_owned();
            if !cached.contains(&folder) {
                cached.push(folder);
            }
            for link in libraries::links(self.host, &mount.source, &self.version) {
                if !links.contains(&link) {
                    links.push(link);
                }
            }
        }
        for mount in &mut edits.mounts {
            mount.source = self.outside(&mount.source);
        }
        edits.actions.extend(links);
        edits.actions.push(Action::Compat {
            driver: Some(self.version.clone()),
            cuda: None,
            folder: COMPAT.to_owned(),
        });
        edits.actions.push(Action::Cache { folders: cached });
        if wanted.graphics() {
            edits.actions.push(Action::Profile);
        }
        edits.env.push(format!("NVIDIA_CTK_LIBCUDA_DIR={}", libraries.folders.join(":")));
        Ok(())
    }
}
