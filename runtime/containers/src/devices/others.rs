//! GPUs of AMD, Intel and Habana: their nodes. The libraries are the image's, as these vendors do it.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::host::{Host, base};
use super::nvidia::proc::Gpu;
use super::nvidia::select::{Counted, select};
use super::slurm::{Number, StepGpus};
use crate::cdi::{Action, DeviceNode, Edits};

/// Who made a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vendor {
    Amd,
    Intel,
    Habana,
}

pub(crate) const VENDORS: [Vendor; 3] = [Vendor::Amd, Vendor::Intel, Vendor::Habana];

impl Vendor {
    /// Of specifications. Habana is Intel's, whose generators write the later ones.
    pub(crate) fn kinds(self) -> &'static [&'static str] {
        match self {
            Vendor::Amd => &["amd.com/gpu"],
            Vendor::Intel => &["intel.com/gpu", "intel.cdi.k8s.io/gpu"],
            Vendor::Habana => &["habana.ai/gaudi", "intel.com/gaudi"],
        }
    }

    /// Variables that name GPUs, the strongest first.
    pub(crate) fn variables(self) -> &'static [&'static str] {
        match self {
            Vendor::Amd => &["AMD_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"],
            Vendor::Intel => &["ZE_AFFINITY_MASK"],
            Vendor::Habana => &["HABANA_VISIBLE_DEVICES"],
        }
    }

    /// What numbers in these variables count: ROCm and Level Zero open what they may, Habana's hook for containers
    /// goes by the files.
    fn counted(self) -> Counted {
        match self {
            Vendor::Amd | Vendor::Intel => Counted::Usable,
            Vendor::Habana => Counted::All,
        }
    }

    /// The one that Slurm sets for its GPUs.
    pub(crate) fn of_slurm(self) -> Option<&'static str> {
        match self {
            Vendor::Amd => Some("ROCR_VISIBLE_DEVICES"),
            Vendor::Intel => Some("ZE_AFFINITY_MASK"),
            Vendor::Habana => None,
        }
    }
}

/// GPUs of one vendor, in the order in which its library counts them.
#[derive(Debug)]
pub(crate) struct VendorGpus {
    vendor: Vendor,
    pub(crate) gpus: Vec<Gpu>,
    /// The nodes of each.
    nodes: Vec<Vec<String>>,
}

impl VendorGpus {
    /// `None` where there is no GPU of this vendor.
    pub(crate) fn of(host: &Host, vendor: Vendor) -> Option<VendorGpus> {
        let all = match vendor {
            Vendor::Amd => amd(host),
            Vendor::Intel => intel(host),
            Vendor::Habana => habana(host),
        };
        let (gpus, nodes) = all.into_iter().unzip();
        let found = VendorGpus { vendor, gpus, nodes };
        (!found.gpus.is_empty()).then_some(found)
    }

    pub(crate) fn vendor(&self) -> Vendor {
        self.vendor
    }

    /// Whether one can be used by this process.
    pub(crate) fn is_usable(&self) -> bool {
        self.gpus.iter().any(|gpu| gpu.usable)
    }

    /// The places that a variable's value names: `all`, or a list of places, of ranges of them, of UUIDs, of nodes.
    pub(crate) fn named(&self, value: &str) -> Result<Vec<usize>, String> {
        let mut names: Vec<String> = Vec::new();
        for word in value.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            // Level Zero's parts of a GPU: 0.1 is one of 0.
            let whole = if self.vendor == Vendor::Intel { word.split('.').next() } else { None };
            let word = whole.unwrap_or(word);
            let range = word.split_once('-').and_then(|(first, last)| {
                Some((first.parse::<usize>().ok()?, last.parse::<usize>().ok()?))
            });
            match range {
                Some((first, last)) if last < self.gpus.len() => {
                    names.extend((first..=last).map(|place| place.to_string()));
                }
                _ => names.push(word.to_owned()),
            }
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let selection = select(&self.gpus, &names, self.vendor.counted())?;
        Ok(selection.0.into_iter().map(|(place, _)| place).collect())
    }

    /// The places that Slurm gave the step.
    pub(crate) fn given(&self, given: &StepGpus, order: Number) -> Result<Vec<usize>, String> {
        Ok(given.among(&self.gpus, order)?.0.into_iter().map(|(place, _)| place).collect())
    }

    /// A node by which specifications know the GPU.
    pub(crate) fn node(&self, place: usize) -> Option<&str> {
        self.nodes.get(place)?.iter().max().map(String::as_str)
    }

    /// What a container needs for these.
    pub(crate) fn edits(&self, host: &Host, places: &[usize]) -> Edits {
        let mut edits = Edits::default();
        let common = if self.vendor == Vendor::Amd { Some("/dev/kfd".to_owned()) } else { None };
        let nodes = places.iter().filter_map(|place| self.nodes.get(*place)).flatten();
        for path in common.iter().chain(nodes).filter(|path| host.has(path)) {
            let mut node = DeviceNode::at(path.as_str());
            node.host_path = host.outside(path).to_string_lossy().into_owned();
            edits.nodes.push(node);
            // Groups such as video and render have the nodes.
            let found = host.metadata(path);
            edits.gids.extend(found.and_then(|found| {
                let open = found.permissions().mode() & 0o6 == 0o6;
                (!open && found.gid() != 0).then_some(found.gid())
            }));
        }
        edits.gids.sort_unstable();
        edits.gids.dedup();
        for bus in places.iter().filter_map(|place| self.gpus.get(*place)).map(|gpu| &gpu.bus) {
            for kind in ["card", "render"] {
                let link = format!("/dev/dri/by-path/pci-{bus}-{kind}");
                let target = host.link(&link);
                edits.actions.extend(target.map(|target| Action::Link { target, link }));
            }
        }
        edits
    }
}

/// A GPU by its DRM nodes.
fn of_nodes(host: &Host, bus: &str, render: u32, uuid: Option<String>) -> (Gpu, Vec<String>) {
    let mut names = host.names(&format!("/sys/bus/pci/devices/{bus}/drm"));
    let is_node = |name: &String| name.starts_with("card") || name.starts_with("renderD");
    if !names.contains(&format!("renderD{render}")) {
        // A part of a GPU that is divided: a device of its own, with nodes of its own. The others at
        // this place on the bus are the first part's.
        names = host.names(&format!("/sys/class/drm/renderD{render}/device/drm"));
    }
    let mut nodes: Vec<String> =
        names.iter().filter(|name| is_node(name)).map(|name| format!("/dev/dri/{name}")).collect();
    let node = format!("/dev/dri/renderD{render}");
    if !nodes.contains(&node) {
        nodes.push(node.clone());
    }
    let usable = host.may_use(&node);
    let gpu = Gpu { bus: bus.to_owned(), minor: render, uuid, usable, ..Gpu::default() };
    (gpu, nodes)
}

/// ROCm counts the nodes of the kernel's topology that can compute.
fn amd(host: &Host) -> Vec<(Gpu, Vec<String>)> {
    if !host.has("/dev/kfd") {
        return Vec::new();
    }
    let topology = "/sys/class/kfd/kfd/topology/nodes";
    let mut numbers: Vec<u32> =
        host.names(topology).iter().filter_map(|name| name.parse().ok()).collect();
    numbers.sort_unstable();
    let read = |number: u32| {
        let text = host.text(&format!("{topology}/{number}/properties"))?;
        let field = |name: &str| {
            let mut fields = text.lines().filter_map(|line| line.split_once(' '));
            fields
                .find_map(|(key, value)| (key == name).then(|| value.trim().parse::<u64>().ok()))?
        };
        let render = field("drm_render_minor").filter(|minor| *minor > 0)? as u32;
        let (location, domain) = (field("location_id")?, field("domain").unwrap_or(0));
        let (bus, device) = (location >> 8 & 0xff, location >> 3 & 0x1f);
        let bus = format!("{domain:04x}:{bus:02x}:{device:02x}.{:x}", location & 7);
        let uuid = field("unique_id").filter(|id| *id > 0).map(|id| format!("GPU-{id:016x}"));
        Some(of_nodes(host, &bus, render, uuid))
    };
    numbers.into_iter().filter_map(read).collect()
}

/// Level Zero counts by the place on the bus.
fn intel(host: &Host) -> Vec<(Gpu, Vec<String>)> {
    let class = "/sys/class/drm";
    let names = host.names(class);
    let renders = names.iter().filter_map(|name| name.strip_prefix("renderD")?.parse::<u32>().ok());
    let read = |render: u32| {
        let device = host.resolve(&format!("{class}/renderD{render}/device"))?;
        let vendor = host.text(&format!("{device}/vendor"))?;
        (vendor.trim() == "0x8086").then(|| of_nodes(host, base(&device), render, None))
    };
    let mut found: Vec<(Gpu, Vec<String>)> = renders.filter_map(read).collect();
    found.sort_by(|(one, _), (other, _)| one.bus.cmp(&other.bus));
    found
}

/// Gaudi: `/dev/accel/accelN`, or `/dev/hlN` with older drivers, each with a node for control.
fn habana(host: &Host) -> Vec<(Gpu, Vec<String>)> {
    let number = |name: &String, prefix: &str| name.strip_prefix(prefix)?.parse::<u32>().ok();
    let of_habana = |class: &str, name: &str| {
        let vendor = host.text(&format!("/sys/class/{class}/{name}/device/vendor"));
        vendor.is_some_and(|vendor| vendor.trim() == "0x1da3")
    };
    let mut found = Vec::new();
    for (directory, prefix, control, class) in [
        ("/dev/accel", "accel", "/dev/accel/accel_controlD", "accel"),
        ("/dev", "hl", "/dev/hl_controlD", "habanalabs"),
    ] {
        for minor in host.names(directory).iter().filter_map(|name| number(name, prefix)) {
            let name = format!("{prefix}{minor}");
            // Others have accelerators in /dev/accel.
            if class == "accel" && !of_habana(class, &name) {
                continue;
            }
            let node = format!("{directory}/{name}");
            let gpu = Gpu { minor, usable: host.may_use(&node), ..Gpu::default() };
            found.push((gpu, vec![node, format!("{control}{minor}")]));
        }
    }
    found.sort_by_key(|(gpu, _)| gpu.minor);
    found
}

#[cfg(test)]
mod tests {
    use super::super::tree::{DRIVERS, Tree};

    /// GPUs by their places on the bus, in the order in which the kernel found them: the first node
    /// of the topology is the processor.
    fn amd(tree: &Tree, buses: &[u8], first: u32) {
        tree.put("/dev/kfd", b"");
        let topology = "/sys/class/kfd/kfd/topology/nodes";
        tree.put(&format!("{topology}/0/properties"), b"cpu_cores_count 64\ndrm_render_minor 0\n");
        for (place, bus) in buses.iter().enumerate() {
            let render = 128 + first + place as u32;
            tree.drm(&format!("0000:{bus:02x}:00.0"), first + place as u32, render);
            let text = format!(
                "simd_count 440\nlocation_id {}\ndomain 0\ndrm_render_minor {render}\nunique_id {}\n",
                u32::from(*bus) << 8,
                0xabc0 + place
            );
            tree.put(&format!("{topology}/{}/properties", place + 1), text.as_bytes());
        }
    }

    #[test]
    fn amds_gpus_by_their_variables_and_by_slurm() {
        let tree = Tree::empty();
        amd(&tree, &[0x83, 0x43, 0x03], 0);
        let nodes =
            |variables: &[(&str, &str)]| tree.nodes(variables, "").map(|nodes| nodes.join(" "));
        let second = "dri/card1 dri/renderD129 kfd";
        for variables in [
            [("AMD_VISIBLE_DEVICES", "1")],
            [("ROCR_VISIBLE_DEVICES", "1")],
            [("AMD_VISIBLE_DEVICES", "GPU-000000000000abc1")],
            [("SLURM_STEP_GPUS", "1")],
            // 20.11 numbers by files, and renderD129 is one.
            [("SLURM_STEP_GPUS", "129")],
        ] {
            assert_eq!(nodes(&variables).unwrap(), second, "{variables:?}");
        }
        // Places in the step, where Slurm gave the step something.
        assert_eq!(
            nodes(&[("SLURM_STEP_GPUS", "1"), ("ROCR_VISIBLE_DEVICES", "0")]).unwrap(),
            second
        );
        let all = "dri/card0 dri/card1 dri/card2 dri/renderD128 dri/renderD129 dri/renderD130 kfd";
        assert_eq!(nodes(&[("AMD_VISIBLE_DEVICES", "all")]).unwrap(), all);
        assert_eq!(nodes(&[("AMD_VISIBLE_DEVICES", "0-2")]).unwrap(), all);
        for none in ["none", "void", ""] {
            assert_eq!(nodes(&[("AMD_VISIBLE_DEVICES", none)]).unwrap(), "");
        }
        assert!(
            nodes(&[("AMD_VISIBLE_DEVICES", "3")])
                .unwrap_err()
                .contains("no GPU 3 on this node: there are 0")
        );
        assert!(nodes(&[("SLURM_STEP_GPUS", "7")]).unwrap_err().contains("none of such numbers"));
        // The job says that it wants no GPU.
        assert_eq!(
            nodes(&[("SLURM_STEP_GPUS", "1"), ("NVIDIA_VISIBLE_DEVICES", "void")]).unwrap(),
            ""
        );
        let edits = tree.choose(&[("AMD_VISIBLE_DEVICES", "1")], "").unwrap();
        assert!(edits.mounts.is_empty() && edits.env.is_empty());
        assert_eq!(edits.actions.len(), 2); // the links by their places on the bus
        // The image's word, as everywhere.
        assert_eq!(tree.nodes(&[], "AMD_VISIBLE_DEVICES=1\n").unwrap().join(" "), second);
    }

    /// A part of a GPU that is divided, as the kernel shows it: on the topology at the same place.
    fn amd_part(tree: &Tree, number: u32, bus: u8, card: u32) {
        let (node, render) = (format!("/sys/class/kfd/kfd/topology/nodes/{number}"), card + 128);
        let text = format!(
            "location_id {}\ndomain 0\ndrm_render_minor {render}\nunique_id 43969\n",
            u32::from(bus) << 8
        );
        tree.put(&format!("{node}/properties"), text.as_bytes());
        let device = format!("/sys/devices/platform/amdgpu_xcp_{number}");
        for name in [format!("card{card}"), format!("renderD{render}")] {
            tree.put(&format!("{device}/drm/{name}/dev"), b"");
            tree.put(&format!("/dev/dri/{name}"), b"");
            tree.link(
                &format!("/sys/class/drm/{name}"),
                &format!("../../devices/platform/amdgpu_xcp_{number}/drm/{name}"),
            );
            tree.link(&format!("{device}/drm/{name}/device"), "../..");
        }
    }

    #[test]
    fn a_part_of_amds_has_its_own_nodes_alone() {
        let tree = Tree::empty();
        amd(&tree, &[0x43, 0xc1], 0);
        amd_part(&tree, 3, 0x43, 9);
        let nodes = |place: &str| tree.nodes(&[("AMD_VISIBLE_DEVICES", place)], "").unwrap();
        assert_eq!(nodes("0"), ["dri/card0", "dri/renderD128", "kfd"]);
        assert_eq!(nodes("1"), ["dri/card1", "dri/renderD129", "kfd"]);
        assert_eq!(nodes("2"), ["dri/card9", "dri/renderD137", "kfd"]);
    }

    /// As amd-ctk writes it: by places on the bus, whatever the topology's order.
    fn by_amd_ctk(tree: &Tree, cards: &[u32]) -> String {
        let node = |path: String, (major, minor): (u32, u32), gid: u32| {
            format!(
                "{{\"path\": {path:?}, \"hostPath\": {:?}, \"type\": \"c\", \"major\": {major}, \"minor\": {minor}, \
                 \"fileMode\": 432, \"permissions\": \"rwm\", \"uid\": 0, \"gid\": {gid}}}",
                tree.at(&path)
            )
        };
        let kfd = node("/dev/kfd".to_owned(), (510, 0), 44);
        let of = |card: &u32| {
            let render = card + 128;
            let both = [
                node(format!("/dev/dri/card{card}"), (226, *card), 44),
                node(format!("/dev/dri/renderD{render}"), (226, render), 110),
            ];
            both.join(", ")
        };
        let device = |name: &str, nodes: &str| {
            format!(
                "{{\"name\": {name:?}, \"containerEdits\": {{\"deviceNodes\": [{nodes}, {kfd}]}}}}"
            )
        };
        let mut devices: Vec<String> = cards
            .iter()
            .enumerate()
            .map(|(place, card)| device(&place.to_string(), &of(card)))
            .collect();
        let all: Vec<String> = cards.iter().map(of).collect();
        devices.push(device("all", &all.join(", ")));
        format!(
            "{{\"cdiVersion\": \"0.6.0\", \"kind\": \"amd.com/gpu\", \"devices\": [{}], \"containerEdits\": {{}}}}\n",
            devices.join(", ")
        )
    }

    #[test]
    fn amd_ctks_numbers_and_rocms_are_not_the_same() {
        let tree = Tree::empty();
        amd(&tree, &[0xc1, 0x83, 0x43], 0);
        tree.put("/etc/cdi/amd.json", by_amd_ctk(&tree, &[2, 1, 0]).as_bytes());
        let nodes = |variables: &[(&str, &str)]| tree.nodes(variables, "").unwrap().join(" ");
        // ROCm's first is at c1, which is the file's third.
        assert_eq!(nodes(&[("AMD_VISIBLE_DEVICES", "0")]), "dri/card0 dri/renderD128 kfd");
        assert_eq!(nodes(&[("SLURM_STEP_GPUS", "2")]), "dri/card2 dri/renderD130 kfd");
        let all = "dri/card0 dri/card1 dri/card2 dri/renderD128 dri/renderD129 dri/renderD130 kfd";
        assert_eq!(nodes(&[("AMD_VISIBLE_DEVICES", "all")]), all);
        let named = |name: &str| nodes(&[("NVIDIA_VISIBLE_DEVICES", name)]);
        assert_eq!(named("amd.com/gpu=0"), "dri/card2 dri/renderD130 kfd");
        assert_eq!(named("amd.com/gpu=all"), all);
    }

    #[test]
    fn what_intels_generators_write_counts_for_gaudi_and_gpus() {
        let tree = Tree::empty();
        for number in 0..2 {
            for name in [format!("accel{number}"), format!("accel_controlD{number}")] {
                tree.put(&format!("/dev/accel/{name}"), b"");
            }
            tree.put(&format!("/dev/infiniband/uverbs{number}"), b"");
            tree.put(&format!("/sys/class/accel/accel{number}/device/vendor"), b"0x1da3\n");
        }
        let device = |number: u32| {
            let node = |path: String| {
                format!("{{path: {path}, hostPath: {}, type: c}}", tree.at(&path).display())
            };
            format!(
                "- name: accel{number}\n  containerEdits:\n    deviceNodes: [{}, {}, {}]\n",
                node(format!("/dev/accel/accel{number}")),
                node(format!("/dev/accel/accel_controlD{number}")),
                node(format!("/dev/infiniband/uverbs{number}")),
            )
        };
        // In whatever order: they are written as a table of Go's gives them.
        let text = format!(
            "cdiVersion: 0.5.0\ncontainerEdits: {{}}\ndevices:\n{}{}kind: intel.com/gaudi\n",
            device(1),
            device(0)
        );
        tree.put("/etc/cdi/intel.com-gaudi.yaml", text.as_bytes());
        for variables in [[("HABANA_VISIBLE_DEVICES", "0")], [("SLURM_STEP_GPUS", "0")]] {
            let nodes = tree.nodes(&variables, "").unwrap().join(" ");
            assert_eq!(nodes, "accel/accel0 accel/accel_controlD0 infiniband/uverbs0");
        }
    }

    #[test]
    fn another_vendors_unreadable_file_is_no_matter_to_an_image() {
        let tree = Tree::empty();
        amd(&tree, &[0x43], 0);
        let broken = b"cdiVersion: 0.5.0\nkind: intel.com/gpu\ndevices: {}\n";
        let image = "NVIDIA_VISIBLE_DEVICES=all\n";
        for name in ["intel.com-gpu.yaml", "own.yaml"] {
            tree.put(&format!("/etc/cdi/{name}"), broken);
            assert!(tree.choose(&[], image).unwrap().is_empty(), "{name}");
            assert_eq!(tree.nodes(&[("AMD_VISIBLE_DEVICES", "0")], image).unwrap().len(), 3);
            std::fs::remove_file(tree.at(&format!("/etc/cdi/{name}"))).unwrap();
        }
        // Of what it is about nobody knows. The image starts; who asked for a GPU is told.
        tree.put("/etc/cdi/own.yaml", b"[\n");
        assert!(tree.choose(&[], image).unwrap().is_empty());
        let error = tree.choose(&[("NVIDIA_VISIBLE_DEVICES", "all")], "").unwrap_err().to_string();
        assert!(error.contains("/etc/cdi/own.yaml:"), "{error}");
    }

    #[test]
    fn amds_specification_counts_first() {
        let tree = Tree::empty();
        amd(&tree, &[0x03, 0x43], 0);
        let node = tree.at("/dev/dri/renderD129").display().to_string();
        let text = format!(
            "{{\"cdiVersion\": \"0.6.0\", \"kind\": \"amd.com/gpu\", \"devices\": [{{\"name\": \"1\", \"containerEdits\": \
             {{\"env\": [\"BY=file\"], \"deviceNodes\": [{{\"path\": \"/dev/dri/renderD129\", \"hostPath\": \"{node}\"}}]}}}}]}}"
        );
        tree.put("/etc/cdi/amd.json", text.as_bytes());
        for variables in [[("AMD_VISIBLE_DEVICES", "1")], [("SLURM_STEP_GPUS", "1")]] {
            assert_eq!(tree.choose(&variables, "").unwrap().env, ["BY=file"], "{variables:?}");
        }
        // The file does not have it.
        assert!(tree.choose(&[("AMD_VISIBLE_DEVICES", "0")], "").unwrap().env.is_empty());
    }

    #[test]
    fn intels_gpus_in_the_order_of_the_bus() {
        let tree = Tree::empty();
        for (bus, card, vendor) in [
            ("0000:9a:00.0", 1, "0x8086"),
            ("0000:03:00.0", 0, "0x1a03"),
            ("0000:29:00.0", 2, "0x8086"),
        ] {
            tree.drm(bus, card, card + 128);
            tree.put(
                &format!("/sys/bus/pci/devices/{bus}/vendor"),
                format!("{vendor}\n").as_bytes(),
            );
        }
        let nodes =
            |variables: &[(&str, &str)]| tree.nodes(variables, "").map(|nodes| nodes.join(" "));
        assert_eq!(nodes(&[("ZE_AFFINITY_MASK", "0")]).unwrap(), "dri/card2 dri/renderD130");
        assert_eq!(nodes(&[("ZE_AFFINITY_MASK", "1.0,1.1")]).unwrap(), "dri/card1 dri/renderD129");
        assert_eq!(nodes(&[("SLURM_STEP_GPUS", "1")]).unwrap(), "dri/card1 dri/renderD129");
        assert!(nodes(&[("ZE_AFFINITY_MASK", "2")]).is_err());
    }

    #[test]
    fn gaudi_with_both_kinds_of_nodes() {
        for (directory, class, name, control) in [
            ("/dev/accel/", "accel", "accel", "accel_controlD"),
            ("/dev/", "habanalabs", "hl", "hl_controlD"),
        ] {
            let tree = Tree::empty();
            for number in 0..3 {
                tree.put(&format!("{directory}{name}{number}"), b"");
                tree.put(&format!("{directory}{control}{number}"), b"");
                let vendor = format!("/sys/class/{class}/{name}{number}/device/vendor");
                tree.put(
                    &vendor,
                    if number == 2 && class == "accel" { b"0x8086\n" } else { b"0x1da3\n" },
                );
            }
            let prefix = directory.trim_start_matches("/dev/");
            let second = [format!("{prefix}{name}1"), format!("{prefix}{control}1")];
            for variables in [[("HABANA_VISIBLE_DEVICES", "1")], [("SLURM_STEP_GPUS", "1")]] {
                let mut got = tree.nodes(&variables, "").unwrap();
                got.sort();
                let mut expected = second.to_vec();
                expected.sort();
                assert_eq!(got, expected);
            }
            let all = tree.nodes(&[("HABANA_VISIBLE_DEVICES", "all")], "").unwrap();
            assert_eq!(all.len(), if class == "accel" { 4 } else { 6 });
        }
    }

    #[test]
    fn what_a_number_counts_where_some_may_not_be_used() {
        let tree = Tree::empty();
        for (card, bus) in ["0000:03:00.0", "0000:29:00.0"].into_iter().enumerate() {
            tree.drm(bus, card as u32, card as u32 + 128);
            tree.put(&format!("/sys/bus/pci/devices/{bus}/vendor"), b"0x8086\n");
            tree.put(&format!("/dev/hl{}", card + 1), b"");
        }
        std::fs::remove_file(tree.at("/dev/dri/renderD128")).unwrap();
        tree.link("/dev/hl0", "gone");
        let nodes = |variables| tree.nodes(&[variables], "").unwrap().join(" ");
        assert_eq!(nodes(("ZE_AFFINITY_MASK", "0")), "dri/card1 dri/renderD129");
        assert_eq!(nodes(("HABANA_VISIBLE_DEVICES", "1")), "hl1");
    }

    #[test]
    fn two_vendors_on_a_node() {
        let (version, files, _) = DRIVERS[1];
        let tree = Tree::of_driver(version, files);
        tree.gpu("0000:c1:00.0", 0, "NVIDIA H100");
        amd(&tree, &[0x43], 7);
        let nodes = |variables: &[(&str, &str)]| {
            let utility = [variables, &[("NVIDIA_DRIVER_CAPABILITIES", "utility")]].concat();
            tree.nodes(&utility, "").unwrap().join(" ")
        };
        let (amds, nvidias) = ("dri/card7 dri/renderD135 kfd", "nvidia0 nvidiactl");
        let given = ("SLURM_STEP_GPUS", "0");
        assert_eq!(nodes(&[given, ("CUDA_VISIBLE_DEVICES", "0")]), nvidias);
        assert_eq!(nodes(&[given, ("ROCR_VISIBLE_DEVICES", "0")]), amds);
        assert_eq!(nodes(&[given]), nvidias);
        assert_eq!(
            nodes(&[("NVIDIA_VISIBLE_DEVICES", "0"), ("AMD_VISIBLE_DEVICES", "0")]),
            format!("{amds} {nvidias}")
        );
    }
}
