//! What the NVIDIA driver's kernel part says: its version, the GPUs, and what they are divided into.

use super::super::host::Host;

const DRIVER: &str = "/proc/driver/nvidia";

/// A GPU. Their order is that of their places on the PCI bus, as `nvidia-smi` counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gpu {
    /// `DOMAIN:BUS:DEVICE.FUNCTION`.
    pub(crate) bus: String,
    /// Of `/dev/nvidiaN`.
    pub(crate) minor: u32,
    pub(crate) uuid: Option<String>,
    /// The name on the box.
    pub(crate) model: String,
    /// Parts of it, in the order in which `nvidia-smi` counts them.
    pub(crate) parts: Vec<Part>,
    /// Whether this process may use it.
    pub(crate) usable: bool,
}

/// A MIG device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// The GPU instance.
    pub(crate) gi: u32,
    /// The compute instance in it.
    pub(crate) ci: u32,
    /// Of `/dev/nvidia-caps/nvidia-capN`, of both.
    pub(crate) caps: [u32; 2],
    /// Whether this process may use it.
    pub(crate) usable: bool,
}

/// The node of a capability.
pub(super) fn cap_node(minor: u32) -> String {
    format!("/dev/nvidia-caps/nvidia-cap{minor}")
}

impl Gpu {
    /// Its own node.
    pub(crate) fn node(&self) -> String {
        format!("/dev/nvidia{}", self.minor)
    }
}

/// Whether there is such a driver. All that a node without one is asked.
pub(crate) fn is_there(host: &Host) -> bool {
    host.outside(DRIVER).exists()
}

/// The version of the kernel part, to which all files must belong.
pub(super) fn version(host: &Host) -> Option<String> {
    let of_proc = host.text(&format!("{DRIVER}/version"));
    let of_proc = of_proc.as_deref().and_then(|text| text.split_whitespace().find(is_version));
    let found = of_proc.map(str::to_owned);
    found.or_else(|| {
        let text = host.text("/sys/module/nvidia/version")?;
        Some(text.trim().to_owned()).filter(|text| is_version(&text.as_str()))
    })
}

fn is_version(word: &&str) -> bool {
    let parts: Vec<&str> = word.split('.').collect();
    let number = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    matches!(parts.len(), 2 | 3) && parts.iter().all(number)
}

/// All GPUs that the driver gives anybody.
pub(crate) fn gpus(host: &Host) -> Vec<Gpu> {
    let directory = format!("{DRIVER}/gpus");
    let read = |bus: &String| {
        let text = host.text(&format!("{directory}/{bus}/information"))?;
        let field = |name: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once(':'));
            lines.find_map(|(key, value)| (key.trim() == name).then_some(value.trim()))
        };
        if field("GPU Excluded") == Some("Yes") {
            return None;
        }
        let mut gpu = Gpu {
            bus: field("Bus Location").unwrap_or(bus).to_owned(),
            minor: field("Device Minor")?.parse().ok()?,
            // Unknown ("GPU-????????-...") until the GPU has been used for the first time.
            uuid: field("GPU UUID").filter(|uuid| !uuid.contains('?')).map(str::to_owned),
            model: field("Model").unwrap_or_default().to_owned(),
            ..Gpu::default()
        };
        gpu.usable = host.may_use(&gpu.node());
        gpu.parts = parts(host, gpu.minor);
        Some(gpu)
    };
    let mut gpus: Vec<Gpu> = host.names(&directory).iter().filter_map(read).collect();
    gpus.sort_by_key(|gpu| place(&gpu.bus));
    gpus
}

/// The place on the bus as numbers.
fn place(bus: &str) -> Vec<u32> {
    bus.split([':', '.']).map(|part| u32::from_str_radix(part, 16).unwrap_or(u32::MAX)).collect()
}

/// What the GPU with this minor number is divided into.
fn parts(host: &Host, gpu: u32) -> Vec<Part> {
    let mig = format!("{DRIVER}/capabilities/gpu{gpu}/mig");
    let numbered = |directory: &str, prefix: &str| {
        let names = host.names(directory);
        let number = |name: &String| name.strip_prefix(prefix)?.parse::<u32>().ok();
        let mut numbers: Vec<u32> = names.iter().filter_map(number).collect();
        numbers.sort_unstable();
        numbers
    };
    let mut parts = Vec::new();
    for gi in numbered(&mig, "gi") {
        let instance = format!("{mig}/gi{gi}");
        for ci in numbered(&instance, "ci") {
            let caps = (cap(host, &instance), cap(host, &format!("{instance}/ci{ci}")));
            if let (Some(of_gi), Some(of_ci)) = caps {
                let caps = [of_gi, of_ci];
                // Nobody needs to write to one.
                let usable = caps.iter().all(|cap| host.may_read(&cap_node(*cap)));
                parts.push(Part { gi, ci, caps, usable });
            }
        }
    }
    parts
}

/// The minor number of the node that stands for an entry's right.
fn cap(host: &Host, entry: &str) -> Option<u32> {
    minor_of(&host.text(&format!("{entry}/access"))?)
}

fn minor_of(text: &str) -> Option<u32> {
    text.lines().find_map(|line| line.strip_prefix("DeviceFileMinor:")?.trim().parse().ok())
}

/// The node for `config` or `monitor`, the rights over all divisions.
pub(super) fn mig_right(host: &Host, right: &str) -> Option<String> {
    let text = host.text(&format!("{DRIVER}/capabilities/mig/{right}"))?;
    Some(cap_node(minor_of(&text)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn versions_of_all_kinds_of_drivers() {
        for (text, expected) in [
            (
                "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.216.01  Tue Sep 17\nGCC version:  gcc version 12.2.0 (Debian 12.2.0-14)\n",
                Some("535.216.01"),
            ),
            (
                "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (root@x)  Sun\n",
                Some("580.65.06"),
            ),
            (
                "NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  550.54  Release\n",
                Some("550.54"),
            ),
            ("something else\n", None),
        ] {
            let top = tempfile::tempdir().unwrap();
            let directory = top.path().join("proc/driver/nvidia");
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("version"), text).unwrap();
            let host = Host::below(top.path());
            assert_eq!(version(&host).as_deref(), expected, "{text}");
            assert!(is_there(&host));
        }
        let none = tempfile::tempdir().unwrap();
        assert!(!is_there(&Host::below(none.path())));
        assert_eq!(version(&Host::below(none.path())), None);
    }

    #[test]
    fn the_order_is_that_of_the_bus() {
        let mut buses =
            ["0000:c1:00.0", "0000:07:00.0", "0001:01:00.0", "0000:0f:00.0", "10000:01:00.0"];
        buses.sort_by_key(|bus| place(bus));
        assert_eq!(
            buses,
            ["0000:07:00.0", "0000:0f:00.0", "0000:c1:00.0", "0001:01:00.0", "10000:01:00.0"]
        );
    }
}
