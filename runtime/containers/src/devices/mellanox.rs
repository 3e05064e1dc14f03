//! Host channel adapters of Mellanox's that a container is to see: `MELLANOX_VISIBLE_DEVICES`. The others
//! are not in its `/sys/class`, where libraries look for them.

use super::DeviceError;
use super::host::{Host, base};
use super::variables::Variables;
use crate::cdi::{Action, DeviceNode, Edits, Mount};

/// The one that names adapters.
const VISIBLE: &str = "MELLANOX_VISIBLE_DEVICES";
const DRIVERS: &str = "/sys/bus/pci/drivers";
/// Folders of `/sys/class` that are hidden.
const CLASSES: [&str; 4] = ["infiniband", "infiniband_verbs", "infiniband_cm", "infiniband_mad"];
/// A file in them that is about no adapter.
const VERSION: &str = "abi_version";
/// By which connections are made, whatever the adapter.
const CONNECTIONS: &str = "/dev/infiniband/rdma_cm";

/// One function of an adapter on the PCI bus.
#[derive(Debug, Default)]
struct Adapter {
    /// Names in `/sys/class/infiniband`.
    interfaces: Vec<String>,
    /// Nodes by which programs use it.
    verbs: Vec<String>,
    /// Nodes by which the subnet is managed.
    management: Vec<String>,
}

/// What the container needs for the adapters that it is to see; nothing where nobody names any.
pub(super) fn choose(
    host: &Host,
    variables: &Variables<'_>,
    superuser: bool,
) -> Result<Edits, DeviceError> {
    let wanted = variables.value(VISIBLE).unwrap_or_default();
    let wanted = wanted.trim();
    if matches!(wanted, "" | "void" | "none") {
        return Ok(Edits::default());
    }
    let adapters = adapters(host);
    let all = wanted == "all";
    if all && adapters.is_empty() {
        return Ok(Edits::default());
    }
    let mut chosen = Vec::new();
    if all {
        chosen.extend(0..adapters.len());
    }
    for id in wanted.split([',', ' ']).filter(|id| !all && !id.is_empty()) {
        let place = id.parse::<usize>().ok().filter(|place| *place < adapters.len());
        chosen.push(place.ok_or_else(|| {
            DeviceError::Node(format!(
                "Unknown MELLANOX device id: {id} ({VISIBLE}; this node has {} of them, counted from 0)",
                adapters.len()
            ))
        })?);
    }
    let mut edits = hidden(host);
    for place in chosen {
        edits.add(shown(host, &adapters[place], superuser));
    }
    Ok(edits)
}

/// In the order of their places on the bus.
fn adapters(host: &Host) -> Vec<Adapter> {
    let is_ours = |name: &str| {
        let number = name.strip_prefix("mlx").and_then(|rest| rest.strip_suffix("_core"));
        number.is_some_and(|number| number.len() == 1)
    };
    let mut found = Vec::new();
    for driver in host.names_where(DRIVERS, is_ours) {
        let driver = format!("{DRIVERS}/{driver}");
        for function in host.names(&driver) {
            let said = |class: &str, key: &str| -> Vec<String> {
                let folder = format!("{driver}/{function}/{class}");
                let names = host.names(&folder).into_iter();
                names.filter_map(|name| uevent(host, &format!("{folder}/{name}"), key)).collect()
            };
            let node = |name: String| format!("/dev/{name}");
            let adapter = Adapter {
                interfaces: said("infiniband", "NAME"),
                verbs: said("infiniband_verbs", "DEVNAME").into_iter().map(node).collect(),
                management: said("infiniband_mad", "DEVNAME").into_iter().map(node).collect(),
            };
            if !adapter.verbs.is_empty() {
                found.push(adapter);
            }
        }
    }
    found
}

/// What the kernel says of a device in its `uevent`.
fn uevent(host: &Host, device: &str, key: &str) -> Option<String> {
    let text = host.text(&format!("{device}/uevent"))?;
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    // It becomes a part of a path.
    let is_plain =
        !value.is_empty() && !value.split('/').any(|part| matches!(part, "" | "." | ".."));
    is_plain.then(|| value.to_owned())
}

/// Empty folders in place of those in which all adapters are.
fn hidden(host: &Host) -> Edits {
    let mut edits = Edits::default();
    let options = |text: &str| text.split(',').map(str::to_owned).collect();
    for class in CLASSES.map(|class| format!("/sys/class/{class}")) {
        if !host.has(&class) {
            continue;
        }
        edits.mounts.push(Mount {
            source: "tmpfs".to_owned(),
            target: class.clone(),
            fstype: Some("tmpfs".to_owned()),
            options: options("nosuid,noexec,nodev,mode=755,private"),
        });
        let version = format!("{class}/{VERSION}");
        if host.has(&version) {
            edits.mounts.push(Mount {
                source: host.outside(&version).to_string_lossy().into_owned(),
                target: version,
                fstype: None,
                options: options("bind,ro,nosuid,noexec,nodev,private"),
            });
        }
    }
    edits.nodes.extend(node(host, CONNECTIONS));
    edits
}

fn shown(host: &Host, adapter: &Adapter, superuser: bool) -> Edits {
    let mut edits = Edits::default();
    let management = adapter.management.iter().filter(|_| superuser);
    let nodes = adapter.verbs.iter().chain(management.clone());
    edits.nodes.extend(nodes.filter_map(|path| node(host, path)));
    let links = [
        ("infiniband", adapter.interfaces.iter().map(String::as_str).collect::<Vec<_>>()),
        ("infiniband_verbs", adapter.verbs.iter().map(|path| base(path)).collect()),
        ("infiniband_mad", management.map(|path| base(path)).collect()),
    ];
    for (class, names) in links {
        for link in names.into_iter().map(|name| format!("/sys/class/{class}/{name}")) {
            let target = host.resolve(&link);
            edits.actions.extend(target.map(|target| Action::Link { target, link }));
        }
    }
    edits
}

fn node(host: &Host, path: &str) -> Option<DeviceNode> {
    let mut node = DeviceNode::at(path);
    node.host_path = host.outside(path).to_string_lossy().into_owned();
    host.has(path).then_some(node)
}

#[cfg(test)]
mod tests {
    use super::super::tree::Tree;
    use super::super::{ContainerVariables, Wanted, choose};
    use super::*;
    use linux::environ::Environ;

    /// Two adapters, on the bus in this order, though the kernel has found the second one first.
    fn tree() -> Tree {
        let tree = Tree::empty();
        for (bus, driver, number) in [("0000:81:00.0", "mlx5", 0), ("0000:21:00.0", "mlx5", 1)] {
            let device = format!("/sys/devices/pci0000:00/{bus}");
            tree.link(
                &format!("{DRIVERS}/{driver}_core/{bus}"),
                &format!("../../../../devices/pci0000:00/{bus}"),
            );
            for (class, name, said) in [
                ("infiniband", format!("{driver}_{number}"), format!("NAME={driver}_{number}\n")),
                (
                    "infiniband_verbs",
                    format!("uverbs{number}"),
                    format!("MAJOR=231\nMINOR=192\nDEVNAME=infiniband/uverbs{number}\n"),
                ),
                (
                    "infiniband_mad",
                    format!("issm{number}"),
                    format!("DEVNAME=infiniband/issm{number}\n"),
                ),
                (
                    "infiniband_mad",
                    format!("umad{number}"),
                    format!("DEVNAME=infiniband/umad{number}\n"),
                ),
            ] {
                tree.put(&format!("{device}/{class}/{name}/uevent"), said.as_bytes());
                tree.link(
                    &format!("/sys/class/{class}/{name}"),
                    &format!("../../devices/pci0000:00/{bus}/{class}/{name}"),
                );
            }
            for node in ["uverbs", "issm", "umad"] {
                tree.put(&format!("/dev/infiniband/{node}{number}"), b"");
            }
        }
        tree.put(CONNECTIONS, b"");
        for class in ["infiniband_verbs", "infiniband_mad"] {
            tree.put(&format!("/sys/class/{class}/{VERSION}"), b"6\n");
        }
        tree.put(&format!("{DRIVERS}/mlx5_core/bind"), b"");
        tree.put(
            &format!("{DRIVERS}/mlxsw_core/0000:99:00.0/infiniband_verbs/x/uevent"),
            b"DEVNAME=x\n",
        );
        tree
    }

    fn wanted(tree: &Tree) -> Wanted {
        Wanted { mellanox: true, ..tree.wanted() }
    }

    fn chosen(tree: &Tree, value: &str) -> Result<Edits, String> {
        let host = Environ::from([(VISIBLE.into(), value.into())]);
        choose(&wanted(tree), &host, ContainerVariables::default())
            .map_err(|error| error.to_string())
    }

    fn nodes(edits: &Edits) -> Vec<&str> {
        edits.nodes.iter().map(|node| base(&node.path)).collect()
    }

    fn links(edits: &Edits) -> Vec<(&str, &str)> {
        let links = edits.actions.iter().map(|action| match action {
            Action::Link { target, link } => (link.as_str(), target.as_str()),
            other => panic!("{other:?}"),
        });
        links.collect()
    }

    #[test]
    fn some_of_the_adapters_are_seen() {
        let tree = tree();
        let first = chosen(&tree, "0").unwrap();
        assert_eq!(nodes(&first), ["rdma_cm", "uverbs1"]);
        let device = "/sys/devices/pci0000:00/0000:21:00.0";
        assert_eq!(
            links(&first),
            [
                ("/sys/class/infiniband/mlx5_1", &*format!("{device}/infiniband/mlx5_1")),
                (
                    "/sys/class/infiniband_verbs/uverbs1",
                    &format!("{device}/infiniband_verbs/uverbs1")
                ),
            ]
        );
        let targets: Vec<&str> = first.mounts.iter().map(|mount| &*mount.target).collect();
        assert_eq!(
            targets,
            [
                "/sys/class/infiniband",
                "/sys/class/infiniband_verbs",
                "/sys/class/infiniband_verbs/abi_version",
                "/sys/class/infiniband_mad",
                "/sys/class/infiniband_mad/abi_version",
            ]
        );
        for all in ["all", "0,1", "1 0", " 1,,0 "] {
            let mut seen = chosen(&tree, all).unwrap();
            seen.nodes.sort_by(|a, b| a.path.cmp(&b.path));
            assert_eq!(nodes(&seen), ["rdma_cm", "uverbs0", "uverbs1"], "{all}");
        }
        for nothing in ["", "void", "none"] {
            assert_eq!(chosen(&tree, nothing), Ok(Edits::default()), "{nothing}");
        }
        let off = Wanted { mellanox: false, ..wanted(&tree) };
        let host = Environ::from([(VISIBLE.into(), "all".into())]);
        assert!(choose(&off, &host, ContainerVariables::default()).unwrap().is_empty());
    }

    #[test]
    fn root_manages_the_subnet() {
        let tree = tree();
        let superuser = Wanted { superuser: true, ..wanted(&tree) };
        let host = Environ::from([(VISIBLE.into(), "1".into())]);
        let edits = choose(&superuser, &host, ContainerVariables::default()).unwrap();
        assert_eq!(nodes(&edits), ["rdma_cm", "uverbs0", "issm0", "umad0"]);
        assert_eq!(links(&edits)[3].0, "/sys/class/infiniband_mad/umad0");
    }

    #[test]
    fn the_image_may_ask_and_the_job_decides() {
        let tree = tree();
        let image = ContainerVariables { image: b"MELLANOX_VISIBLE_DEVICES=1\n", others: b"" };
        let of_image = choose(&wanted(&tree), &Environ::new(), image).unwrap();
        assert_eq!(nodes(&of_image), ["rdma_cm", "uverbs0"]);
        let host = Environ::from([(VISIBLE.into(), "void".into())]);
        assert!(choose(&wanted(&tree), &host, image).unwrap().is_empty());
    }

    #[test]
    fn an_adapter_that_is_not_there_is_an_error_and_a_node_without_any_is_none() {
        let error = chosen(&tree(), "0,2").unwrap_err();
        let expected =
            "Unknown MELLANOX device id: 2 (MELLANOX_VISIBLE_DEVICES; this node has 2 of them";
        assert!(error.starts_with(expected), "{error}");
        assert!(chosen(&tree(), "-1").is_err() && chosen(&tree(), "mlx5_0").is_err());
        let none = Tree::empty();
        assert_eq!(chosen(&none, "all"), Ok(Edits::default()));
        assert!(chosen(&none, "0").unwrap_err().contains("has 0 of them"));
    }

    #[test]
    fn what_a_device_says_leads_nowhere_else() {
        let tree = tree();
        let uevent = "/sys/devices/pci0000:00/0000:21:00.0/infiniband_verbs/uverbs1/uevent";
        for said in ["DEVNAME=../etc/shadow", "DEVNAME=", "DEVNAME=/etc/shadow", "NODEVNAME=x"] {
            tree.put(uevent, said.as_bytes());
            assert_eq!(nodes(&chosen(&tree, "all").unwrap()), ["rdma_cm", "uverbs0"], "{said}");
        }
    }
}
