//! Real drivers' files, by their names, on nodes that are made up.

use std::collections::BTreeSet;

use super::super::choose::Wanted;
use super::super::tree::{DRIVERS, Tree};
use super::Driver;
use super::select::Selection;
use crate::cdi::Action;

/// A node with this driver and GPUs by their minor numbers, in the order of the bus.
fn node(driver: usize, minors: &[u32]) -> Tree {
    let (version, files, _) = DRIVERS[driver];
    let tree = Tree::of_driver(version, files);
    for (place, minor) in minors.iter().enumerate() {
        tree.gpu(&format!("0000:{:02x}:00.0", place * 16 + 7), *minor, "NVIDIA H100 80GB HBM3");
    }
    tree
}

fn links(actions: &[Action]) -> BTreeSet<(String, String)> {
    let link = |action: &Action| match action {
        Action::Link { target, link } => Some((link.clone(), target.clone())),
        _ => None,
    };
    actions.iter().filter_map(link).collect()
}

const CAPABILITIES: [&str; 7] =
    ["compute", "utility", "graphics", "display", "video", "ngx", "all"];

fn of_capability(tree: &Tree, capability: &str) -> crate::cdi::Edits {
    let variables = [("NVIDIA_VISIBLE_DEVICES", "0"), ("NVIDIA_DRIVER_CAPABILITIES", capability)];
    tree.choose(&variables, "").unwrap()
}

/// Compares what each capability gets with what the toolkit gives.
fn compare(tree: &Tree, version: &str, expected: &str) {
    for capability in CAPABILITIES {
        let lines = expected.lines().filter_map(|line| line.split_once(' '));
        let lines = lines.filter(|(of, _)| *of == capability);
        let expected: BTreeSet<String> = lines.map(|(_, path)| path.to_owned()).collect();
        assert!(!expected.is_empty());
        let edits = of_capability(tree, capability);
        let got: BTreeSet<String> = edits.mounts.iter().map(|mount| mount.target.clone()).collect();
        let more: Vec<&String> = got.difference(&expected).collect();
        let less: Vec<&String> = expected.difference(&got).collect();
        assert!(
            more.is_empty() && less.is_empty(),
            "{version} {capability}: more {more:?}, less {less:?}"
        );
    }
}

#[test]
fn each_capability_gets_the_files_that_the_toolkit_gives() {
    for (at, (version, _, expected)) in DRIVERS.into_iter().enumerate() {
        compare(&node(at, &[0]), version, expected);
    }
}

/// `tests/drivers` downloads and unpacks them.
#[test]
#[ignore = "wants the packages: tests/drivers"]
#[expect(clippy::disallowed_methods, reason = "a test is told where they are")]
fn real_packages_have_what_the_lists_say() {
    let packages =
        std::path::PathBuf::from(std::env::var_os("PYXIS_DRIVERS").expect("PYXIS_DRIVERS"));
    for (at, name) in ["debian-535", "debian-550", "debian-tesla-470"].into_iter().enumerate() {
        let (listed, files, expected) = DRIVERS[at];
        let (tree, version) = Tree::of_packages(&packages.join(name), listed, files);
        tree.gpu("0000:07:00.0", 0, "NVIDIA H100 80GB HBM3");
        compare(&tree, &version, &expected.replace(listed, &version));
        // The names that libraries have for programs are those that the links beside them tell.
        let of_names = links(&of_capability(&node(at, &[0]), "all").actions);
        let of_names: BTreeSet<(String, String)> = of_names
            .into_iter()
            .map(|(link, target)| {
                (link.replace(listed, &version), target.replace(listed, &version))
            })
            .collect();
        assert_eq!(links(&of_capability(&tree, "all").actions), of_names, "{name}");
    }
}

#[test]
fn links_and_folders_are_those_that_the_toolkits_hooks_make() {
    let tree = node(0, &[0]);
    let edits = of_capability(&tree, "all");
    for source in tree.sources(&edits).values() {
        assert!(tree.wanted().host.has(source), "{source}");
    }
    let lib = "/usr/lib/x86_64-linux-gnu/nvidia/current";
    let links = links(&edits.actions);
    for (link, target) in [
        (format!("{lib}/libcuda.so"), "libcuda.so.1"),
        (format!("{lib}/libcuda.so.1"), "libcuda.so.535.261.03"),
        (format!("{lib}/libnvidia-ml.so.1"), "libnvidia-ml.so.535.261.03"),
        (format!("{lib}/libnvidia-ml.so"), "libnvidia-ml.so.1"),
        (format!("{lib}/libGLX_indirect.so.0"), "libGLX_nvidia.so.535.261.03"),
        (format!("{lib}/libnvidia-opticalflow.so"), "libnvidia-opticalflow.so.1"),
        (format!("{lib}/gbm/nvidia-drm_gbm.so"), "../libnvidia-allocator.so.1"),
        (format!("{lib}/libnvidia-vulkan-producer.so"), "libnvidia-vulkan-producer.so.535.261.03"),
        ("/dev/dri/by-path/pci-0000:07:00.0-card".to_owned(), "../card1"),
        ("/dev/dri/by-path/pci-0000:07:00.0-render".to_owned(), "../renderD128"),
    ] {
        assert!(
            links.contains(&(link.clone(), target.to_owned())),
            "{link} -> {target}: {links:?}"
        );
    }
    // None that the node has not: the library's own name is enough.
    assert!(!links.iter().any(|(link, _)| link.ends_with("/libnvidia-cfg.so")), "{links:?}");
    let folders = edits.actions.iter().find_map(|action| match action {
        Action::Cache { folders } => Some(folders.clone()),
        _ => None,
    });
    assert_eq!(folders.unwrap(), ["/usr/lib/x86_64-linux-gnu", lib]);
    let compat = Action::Compat {
        driver: Some("535.261.03".into()),
        cuda: None,
        folder: "/usr/local/cuda/compat".into(),
    };
    assert!(edits.actions.contains(&compat) && edits.actions.contains(&Action::Profile));
    assert!(edits.hooks.is_empty());
    assert_eq!(edits.env, [format!("NVIDIA_CTK_LIBCUDA_DIR=/usr/lib/x86_64-linux-gnu:{lib}")]);
}

#[test]
fn nodes_by_capability() {
    let tree = node(1, &[0, 1]);
    tree.put("/dev/gdrdrv", b"");
    let nodes = |capability: &str| {
        let variables =
            [("NVIDIA_VISIBLE_DEVICES", "1"), ("NVIDIA_DRIVER_CAPABILITIES", capability)];
        tree.nodes(&variables, "").unwrap().join(" ")
    };
    assert_eq!(nodes("utility"), "nvidia1 nvidiactl");
    assert_eq!(nodes("compute"), "gdrdrv nvidia-uvm nvidia-uvm-tools nvidia1 nvidiactl");
    assert_eq!(nodes("graphics"), "dri/card2 dri/renderD129 nvidia-modeset nvidia1 nvidiactl");
    assert_eq!(
        nodes("all"),
        "dri/card2 dri/renderD129 gdrdrv nvidia-modeset nvidia-uvm nvidia-uvm-tools nvidia1 nvidiactl"
    );
}

#[test]
fn eight_gpus_in_another_order() {
    let tree = node(1, &[5, 4, 7, 6, 1, 0, 3, 2]);
    let gpus = |host: &[(&str, &str)], lines: &str| {
        let utility = [host, &[("NVIDIA_DRIVER_CAPABILITIES", "utility")]].concat();
        tree.nodes(&utility, lines).map(|nodes| nodes.join(" "))
    };
    let by = |value| gpus(&[("NVIDIA_VISIBLE_DEVICES", value)], "").unwrap();
    assert_eq!(by("0"), "nvidia5 nvidiactl");
    assert_eq!(by("0,7"), "nvidia2 nvidia5 nvidiactl");
    assert_eq!(by("GPU-00000003-1111-2222-3333-444444444444"), "nvidia3 nvidiactl");
    assert_eq!(by("none"), "nvidiactl");
    assert_eq!(by("void"), "");
    assert_eq!(by("all").matches("nvidia").count(), 9);
    assert!(
        gpus(&[("NVIDIA_VISIBLE_DEVICES", "8")], "")
            .unwrap_err()
            .starts_with("no GPU 8 on this node: there are 0, ")
    );
    // An image's word counts where the job says nothing; Slurm's where nobody says anything.
    assert_eq!(gpus(&[], "NVIDIA_VISIBLE_DEVICES=2\n").unwrap(), "nvidia7 nvidiactl");
    assert_eq!(gpus(&[], "").unwrap(), "");
    let uuid = "GPU-00000001-1111-2222-3333-444444444444";
    let slurm = [("SLURM_STEP_GPUS", "4"), ("CUDA_VISIBLE_DEVICES", uuid)];
    assert_eq!(gpus(&slurm, "").unwrap(), "nvidia1 nvidiactl");
    // 20.11, whose numbers are the files'.
    let wanted = Wanted { slurm_numbers_files: true, ..tree.wanted() };
    let slurm = [("SLURM_STEP_GPUS", "4"), ("NVIDIA_DRIVER_CAPABILITIES", "utility")];
    let of_20_11 = tree.choose_for(&wanted, &slurm, "").unwrap();
    assert!(of_20_11.nodes.iter().any(|node| node.path == "/dev/nvidia4"), "{of_20_11:?}");
    assert!(of_20_11.nodes.iter().all(|node| node.path != "/dev/nvidia1"), "{of_20_11:?}");
}

#[test]
fn slurms_numbers_are_read_as_gres_conf_has_them() {
    let tree = node(1, &[5, 4, 7, 6, 1, 0, 3, 2]);
    let conf = tree.at("/slurm/slurm.conf").display().to_string();
    for (gres, expected) in [
        ("AutoDetect=nvml\n", "nvidia1"),
        ("Name=gpu File=/dev/nvidia[0-7]\n", "nvidia4"),
        ("AutoDetect=nvidia\n", "nvidia4"),
    ] {
        tree.put("/slurm/gres.conf", gres.as_bytes());
        let variables = [
            ("SLURM_STEP_GPUS", "4"),
            ("SLURM_CONF", conf.as_str()),
            ("NVIDIA_DRIVER_CAPABILITIES", "utility"),
        ];
        assert_eq!(tree.nodes(&variables, "").unwrap(), [expected, "nvidiactl"], "{gres}");
    }
}

#[test]
fn divided_gpus() {
    let tree = node(1, &[1, 0]);
    tree.part(0, (1, 0), [12, 13]);
    tree.part(0, (2, 0), [21, 22]);
    tree.part(0, (2, 1), [21, 23]);
    let nodes = |variables: &[(&str, &str)]| {
        let utility = [variables, &[("NVIDIA_DRIVER_CAPABILITIES", "utility")]].concat();
        tree.nodes(&utility, "").map(|nodes| nodes.join(" "))
    };
    let by = |value| nodes(&[("NVIDIA_VISIBLE_DEVICES", value)]);
    let cap = |numbers: &[u32]| {
        numbers.iter().map(|number| format!("nvidia-caps/nvidia-cap{number} ")).collect::<String>()
    };
    assert_eq!(by("1:0").unwrap(), cap(&[12, 13]) + "nvidia0 nvidiactl");
    assert_eq!(by("1:2").unwrap(), cap(&[21, 23]) + "nvidia0 nvidiactl");
    assert_eq!(by("1").unwrap(), cap(&[12, 13, 21, 22, 23]) + "nvidia0 nvidiactl");
    assert_eq!(by("0").unwrap(), "nvidia1 nvidiactl");
    assert_eq!(by("all").unwrap(), cap(&[12, 13, 21, 22, 23]) + "nvidia0 nvidia1 nvidiactl");
    let uuid = "MIG-GPU-00000000-1111-2222-3333-444444444444/2/1";
    assert_eq!(by(uuid).unwrap(), cap(&[21, 23]) + "nvidia0 nvidiactl");
    assert!(by("1:3").unwrap_err().contains("no GPU 1:3 on this node"));
    let hidden = "MIG-3d5d7a0e-1a4c-5a8b-9abc-000000000001";
    assert!(by(hidden).unwrap_err().contains("name it as GPU:DEVICE"));
    // Slurm's numbers count MIG devices then; its UUIDs are what is meant.
    let three = "MIG-aaaa0000-1a4c-5a8b-9abc-000000000001,MIG-bbbb0000-1a4c-5a8b-9abc-000000000001,MIG-cccc0000-1a4c-5a8b-9abc-000000000001";
    let slurm = [("SLURM_STEP_GPUS", "1,2,3"), ("CUDA_VISIBLE_DEVICES", three)];
    assert_eq!(nodes(&slurm).unwrap(), cap(&[12, 13, 21, 22, 23]) + "nvidia0 nvidiactl");

    for right in ["config", "monitor"] {
        let cap = if right == "config" { 1 } else { 2 };
        let text = format!("DeviceFileMinor: {cap}\n");
        tree.put(&format!("/proc/driver/nvidia/capabilities/mig/{right}"), text.as_bytes());
        tree.put(&format!("/dev/nvidia-caps/nvidia-cap{cap}"), b"");
    }
    let all = [
        ("NVIDIA_VISIBLE_DEVICES", "0"),
        ("NVIDIA_MIG_CONFIG_DEVICES", "all"),
        ("NVIDIA_MIG_MONITOR_DEVICES", "all"),
    ];
    assert_eq!(nodes(&all).unwrap(), cap(&[1, 2]) + "nvidia1 nvidiactl");
}

/// A node that has all that NVIDIA's other kernel modules and daemons have.
fn node_with_all() -> Tree {
    let tree = node(0, &[0]);
    for file in [
        "dev/nvidia-caps-imex-channels/channel0",
        "dev/nvidia-caps-imex-channels/channel7",
        "dev/nvidia-fs0",
        "dev/nvidia-fs1",
        "dev/nvidia-nvswitch0",
        "dev/nvidia-nvswitchctl",
        "dev/infiniband/uverbs0",
        "dev/infiniband/rdma_cm",
        "run/nvidia-persistenced/socket",
        "run/nvidia-fabricmanager/socket",
        "run/udev/data",
        "tmp/nvidia-mps/control",
        "etc/cufile.json",
    ] {
        tree.put(file, b"");
    }
    tree
}

/// What the first GPU of that node comes with.
fn with(tree: &Tree, more: &[(&str, &str)]) -> Result<crate::cdi::Edits, String> {
    let utility = [("NVIDIA_VISIBLE_DEVICES", "0"), ("NVIDIA_DRIVER_CAPABILITIES", "utility")];
    tree.choose(&[&utility, more].concat(), "").map_err(|error| error.to_string())
}

#[test]
fn channels_and_nodes_of_other_modules() {
    let tree = node_with_all();
    let nodes = |more: &[(&str, &str)]| -> Vec<String> {
        let nodes = with(&tree, more).unwrap().nodes.into_iter().map(|node| node.path);
        let nodes =
            nodes.filter(|path| !matches!(path.as_str(), "/dev/nvidia0" | "/dev/nvidiactl"));
        nodes.map(|path| path.trim_start_matches("/dev/").to_owned()).collect()
    };
    assert!(nodes(&[]).is_empty());
    let channels = "nvidia-caps-imex-channels/channel";
    assert_eq!(
        nodes(&[("NVIDIA_IMEX_CHANNELS", "7,channel0")]),
        [format!("{channels}7"), format!("{channels}0")]
    );
    assert_eq!(nodes(&[("NVIDIA_IMEX_CHANNELS", "all")]).len(), 2);
    let error = with(&tree, &[("NVIDIA_IMEX_CHANNELS", "1")]).unwrap_err();
    assert!(error.contains("no channel 1 on this node"), "{error}");
    for wrong in ["x", "../0", "1048576"] {
        let error = with(&tree, &[("NVIDIA_IMEX_CHANNELS", wrong)]).unwrap_err();
        assert!(error.contains("is no number of a channel"), "{error}");
    }
    assert_eq!(nodes(&[("NVIDIA_GDS", "enabled")]), ["nvidia-fs0", "nvidia-fs1"]);
    assert_eq!(
        nodes(&[("NVIDIA_NVSWITCH", "enabled")]),
        ["nvidia-nvswitch0", "nvidia-nvswitchctl"]
    );
    assert_eq!(nodes(&[("NVIDIA_MOFED", "enabled")]), ["infiniband/uverbs0", "infiniband/rdma_cm"]);
}

#[test]
fn sockets_and_what_belongs_to_other_modules() {
    let tree = node_with_all();
    let targets = |more: &[(&str, &str)]| -> Vec<String> {
        let mounts = with(&tree, more).unwrap().mounts.into_iter();
        let mounts = mounts.filter(|mount| {
            let target = &mount.target;
            target.starts_with("/run") || target.starts_with("/tmp") || target == "/etc/cufile.json"
        });
        // What is written to is not read-only.
        let show = |mount: crate::cdi::Mount| {
            let kind = if mount.options.iter().any(|option| option == "ro") { "ro" } else { "rw" };
            format!("{kind} {}", mount.target)
        };
        mounts.map(show).collect()
    };
    assert_eq!(
        targets(&[]),
        ["rw /run/nvidia-persistenced/socket", "rw /run/nvidia-fabricmanager/socket"]
    );
    let compute = ("NVIDIA_DRIVER_CAPABILITIES", "compute");
    assert_eq!(targets(&[compute]), ["rw /tmp/nvidia-mps"]);
    assert_eq!(
        targets(&[compute, ("NVIDIA_GDS", "enabled")]),
        ["ro /run/udev", "ro /etc/cufile.json", "rw /tmp/nvidia-mps"]
    );
}

#[test]
fn other_modules_by_the_names_that_specifications_have() {
    let tree = node_with_all();
    let mut wanted = tree.wanted();
    let mut named = |name: &str| {
        wanted.names = vec![name.parse().unwrap()];
        super::super::choose(&wanted, &Default::default(), Default::default())
    };
    for (name, expected) in [
        ("nvidia.com/gds=all", 2),
        ("nvidia.com/imex-channel=7", 1),
        ("nvidia.com/mofed=all", 2),
        ("nvidia.com/nvswitch=all", 2),
        ("nvidia.com/gpu=0", 4),
    ] {
        assert_eq!(named(name).unwrap().nodes.len(), expected, "{name}");
    }
    let error = named("nvidia.com/gdrcopy=all").unwrap_err().to_string();
    assert!(error.contains("its kernel module is not loaded"), "{error}");
    assert!(named("nvidia.com/gpu=7").unwrap_err().to_string().contains("no GPU 7 on this node"));
    assert!(named("nvidia.com/other=0").is_err());
}

#[test]
fn an_image_that_needs_a_newer_driver_is_refused() {
    let tree = node(0, &[0]);
    let image = "NVIDIA_VISIBLE_DEVICES=all\nNVIDIA_REQUIRE_CUDA=cuda>=12.4 brand=tesla,driver>=470,driver<471\n";
    let error = tree.choose(&[], image).unwrap_err().to_string();
    assert!(error.contains("the driver of this node is 535.261.03 (CUDA 12.2)"), "{error}");
    assert!(tree.choose(&[("NVIDIA_DISABLE_REQUIRE", "1")], image).is_ok());
    assert!(node(1, &[0]).choose(&[], image).is_ok());
    assert!(node(2, &[0]).choose(&[], image).is_ok());
    let unknown = tree.choose(&[("NVIDIA_DRIVER_CAPABILITIES", "gaming")], image).unwrap_err();
    assert!(unknown.to_string().contains("there is no \"gaming\""));
}

#[test]
fn files_of_another_version_are_not_the_drivers() {
    let tree = node(0, &[0]);
    let newer = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.163.01  x\n";
    tree.put("/proc/driver/nvidia/version", newer.as_bytes());
    let error = tree.choose(&[("NVIDIA_VISIBLE_DEVICES", "0")], "").unwrap_err().to_string();
    assert!(error.contains("the kernel has the NVIDIA driver 550.163.01, and this node has no libraries of that version"), "{error}");
}

#[test]
fn a_specification_counts_before_the_driver_while_it_is_true() {
    let tree = node(0, &[3, 2]);
    let spec = |library: &str| {
        format!(
            "cdiVersion: 0.6.0\nkind: nvidia.com/gpu\ncontainerEdits: {{env: [BY=file], mounts: [{{hostPath: {library}, containerPath: /x}}]}}\n\
             devices:\n- {{name: '0', containerEdits: {{deviceNodes: [{{path: /dev/nvidia3, hostPath: /dev/nvidia3}}], env: [GPU=3]}}}}\n\
             - {{name: '1', containerEdits: {{deviceNodes: [{{path: /dev/nvidia2, hostPath: /dev/nvidia2}}], env: [GPU=2]}}}}\n"
        )
        .replace("hostPath: /dev/", &format!("hostPath: {}/", tree.at("/dev").display()))
    };
    let there = tree.at("/etc/ld.so.cache").display().to_string();
    let env = |variables: &[(&str, &str)]| tree.choose(variables, "").unwrap().env.join(" ");
    let visible = [("NVIDIA_VISIBLE_DEVICES", "1")];
    tree.put("/etc/cdi/nvidia.yaml", spec(&there).as_bytes());
    assert_eq!(env(&visible), "BY=file GPU=2");
    let by_driver = "NVIDIA_CTK_LIBCUDA_DIR=";
    for (what, text) in [
        ("the old driver's", spec("/usr/lib/libcuda.so.1.2.3")),
        ("broken", "cdiVersion: [\n".to_owned()),
        ("without devices", "cdiVersion: 0.6.0\nkind: nvidia.com/gpu\n".to_owned()),
    ] {
        tree.put("/etc/cdi/nvidia.yaml", text.as_bytes());
        assert!(env(&visible).starts_with(by_driver), "{what}");
        assert!(env(&[("NVIDIA_VISIBLE_DEVICES", "none")]).starts_with(by_driver), "{what}");
        assert!(env(&[("SLURM_STEP_GPUS", "0")]).starts_with(by_driver), "{what}");
    }
}

#[test]
fn slurms_numbers_find_the_device_in_a_specification_by_its_node() {
    let tree = node(0, &[3, 2, 1, 0]);
    let mut text = "cdiVersion: 0.6.0\nkind: nvidia.com/gpu\ndevices:\n".to_owned();
    for (place, minor) in [3, 2, 1, 0].iter().enumerate() {
        let node = tree.at(&format!("/dev/nvidia{minor}")).display().to_string();
        // As nvidia-ctk names them: by their places, and all of them.
        text += &format!(
            "- {{name: '{place}', containerEdits: {{deviceNodes: [{{path: /dev/nvidia{minor}, hostPath: {node}}}], env: [GPU={minor}]}}}}\n"
        );
    }
    tree.put("/etc/cdi/nvidia.yaml", text.as_bytes());
    // The specification's nodes are the node's own paths.
    let of_20_11 = Wanted { slurm_numbers_files: true, ..tree.wanted() };
    let edits = tree.choose_for(&of_20_11, &[("SLURM_STEP_GPUS", "0")], "").unwrap();
    assert_eq!(edits.env, ["GPU=0"]);
    let uuid = ("CUDA_VISIBLE_DEVICES", "GPU-00000001-1111-2222-3333-444444444444");
    let edits = tree.choose(&[("SLURM_STEP_GPUS", "2"), uuid], "").unwrap();
    assert_eq!(edits.env, ["GPU=1"]);
}

#[test]
fn numbers_among_the_steps_gpus_find_the_device_in_a_specification_by_its_node() {
    let tree = node(1, &[3, 2, 1, 0]);
    let shut = ["/dev/nvidia3", "/dev/nvidia1"];
    shut.iter().for_each(|node| std::fs::remove_file(tree.at(node)).unwrap());
    let chosen = |value| {
        let variables =
            [("NVIDIA_VISIBLE_DEVICES", value), ("NVIDIA_DRIVER_CAPABILITIES", "utility")];
        tree.choose(&variables, "").unwrap()
    };
    let has = |edits: &crate::cdi::Edits, node: &str| edits.nodes.iter().any(|it| it.path == node);
    // The second of the two is the last on the bus.
    assert!(has(&chosen("1"), "/dev/nvidia0"));
    let mut text = "cdiVersion: 0.6.0\nkind: nvidia.com/gpu\ndevices:\n".to_owned();
    for (place, minor) in [3, 2, 1, 0].iter().enumerate().take(3) {
        let node = tree.at(&format!("/dev/nvidia{minor}")).display().to_string();
        text += &format!(
            "- {{name: '{place}', containerEdits: {{deviceNodes: [{{path: /dev/nvidia{minor}, hostPath: {node}}}], env: [GPU={minor}]}}}}\n"
        );
    }
    tree.put("/etc/cdi/nvidia.yaml", text.as_bytes());
    assert_eq!(chosen("0").env, ["GPU=2"]);
    // The file does not have it, but another under that number.
    assert!(has(&chosen("1"), "/dev/nvidia0"));
    assert!(!has(&chosen("1"), "/dev/nvidia2"));
}

#[test]
fn a_step_that_was_given_gpus_does_not_get_only_those_that_it_may_not_use() {
    let tree = node(1, &[0, 1, 2, 3]);
    let remove = |minor| std::fs::remove_file(tree.at(&format!("/dev/nvidia{minor}"))).unwrap();
    (2..4).for_each(remove);
    let (slurm, utility) = (("SLURM_STEP_GPUS", "0,1"), ("NVIDIA_DRIVER_CAPABILITIES", "utility"));
    let nodes = |value| {
        tree.nodes(&[slurm, utility, ("NVIDIA_VISIBLE_DEVICES", value)], "")
            .map(|nodes| nodes.join(" "))
    };
    assert_eq!(nodes("1,2").unwrap(), "nvidia1 nvidiactl");
    assert_eq!(
        nodes("3").unwrap_err(),
        "Slurm gave this step the GPUs 0,1, and the container would get none that the step may use \
         (2 of this node's 4); NVIDIA_VISIBLE_DEVICES=void starts without one"
    );
    let uuid = "GPU-00000003-1111-2222-3333-444444444444";
    assert!(nodes(uuid).unwrap_err().contains("none that the step may use"));
    assert_eq!(nodes("none").unwrap(), "nvidiactl");
    // Who asks outside of a step is not told that it would be.
    assert!(tree.nodes(&[utility, ("NVIDIA_VISIBLE_DEVICES", "3")], "").is_ok());
    // A driver that names none, beside a specification that does.
    let bare = node(1, &[]);
    let text = format!(
        "cdiVersion: 0.6.0\nkind: nvidia.com/gpu\ndevices: [{{name: all, containerEdits: {{deviceNodes: [{{path: /dev/gpu, hostPath: {}}}]}}}}]\n",
        bare.at("/dev/nvidiactl").display()
    );
    bare.put("/etc/cdi/nvidia.yaml", text.as_bytes());
    assert_eq!(bare.nodes(&[slurm, ("NVIDIA_VISIBLE_DEVICES", "all")], "").unwrap(), ["gpu"]);
    (0..2).for_each(remove);
    for host in [&[slurm][..], &[slurm, ("NVIDIA_VISIBLE_DEVICES", "all")]] {
        let error = tree.choose(host, "").unwrap_err().to_string();
        assert!(error.contains("(0 of this node's 4)"), "{error}");
    }
}

#[test]
fn a_step_that_was_given_gpus_does_not_go_without() {
    let empty = Tree::empty();
    let slurm = ("SLURM_STEP_GPUS", "0,1");
    let error = empty.choose(&[slurm], "").unwrap_err().to_string();
    assert!(
        error.starts_with("Slurm gave this step the GPUs 0,1, and the container would get none: "),
        "{error}"
    );
    assert_eq!(error.lines().count(), 1);
    // The image can use a GPU, and there is none.
    assert!(empty.choose(&[slurm], "NVIDIA_VISIBLE_DEVICES=all\n").is_err());
    for void in ["void", ""] {
        let edits = empty.choose(&[slurm, ("NVIDIA_VISIBLE_DEVICES", void)], "").unwrap();
        assert!(edits.is_empty());
    }
    assert!(empty.choose(&[], "NVIDIA_VISIBLE_DEVICES=all\n").unwrap().is_empty());
    // A specification of something else is none of a GPU.
    empty.put(
        "/etc/cdi/nic.yaml",
        b"cdiVersion: 0.6.0\nkind: v/nic\ndevices: [{name: x, containerEdits: {env: [A=1]}}]\n",
    );
    assert!(empty.choose(&[slurm], "").is_err());
    let few = node(0, &[0]);
    let error = few.choose(&[("SLURM_STEP_GPUS", "5")], "").unwrap_err().to_string();
    assert!(error.contains("none of such numbers"), "{error}");
    let mut off = empty.wanted();
    off.nvidia = false;
    let host = [("SLURM_STEP_GPUS".into(), "0".into())].into();
    assert!(super::super::choose(&off, &host, Default::default()).unwrap().is_empty());
}

#[test]
fn eight_gpus_cost_less_than_five_milliseconds() {
    let tree = node(1, &[5, 4, 7, 6, 1, 0, 3, 2]);
    // As large as a node's.
    for number in 0..3000 {
        tree.put(&format!("/usr/lib/x86_64-linux-gnu/libother{number}.so.1"), b"");
    }
    let wanted = tree.wanted();
    let host = [
        ("NVIDIA_VISIBLE_DEVICES".into(), "all".into()),
        ("NVIDIA_DRIVER_CAPABILITIES".into(), "all".into()),
    ]
    .into();
    // Of the processor, whatever else runs on the machine.
    let spent = || -> u64 {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        text.split(' ').next().unwrap().parse().unwrap()
    };
    let mut best = u64::MAX;
    for _ in 0..20 {
        let begun = spent();
        let edits = super::super::choose(&wanted, &host, Default::default()).unwrap();
        best = best.min(spent() - begun);
        assert!(edits.nodes.len() > 8);
    }
    let milliseconds = if cfg!(debug_assertions) { 10 } else { 5 };
    assert!(best < milliseconds * 1_000_000, "{best} ns");
}

#[test]
fn a_node_without_nvidia_is_asked_once() {
    let empty = Tree::empty();
    assert!(Driver::find(&empty.wanted().host).is_none());
    let driver = node(0, &[0]);
    let host = driver.wanted().host;
    let found = Driver::find(&host).unwrap();
    assert!(found.edits(&Selection::default(), &Default::default()).is_ok());
}
