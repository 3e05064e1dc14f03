//! Host channel adapters, on a node that is made up.

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Output};

use common::Place;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

/// A node with two adapters, whose device nodes are those of /dev/null.
fn node_with_adapters(place: &Place) {
    assert!(nix::unistd::geteuid().is_root(), "to make device nodes, this test must run as root");
    let put = |path: &str, text: &str| {
        let at = place.path("node").join(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, text).unwrap();
    };
    let link = |path: &str, target: &str| {
        let at = place.path("node").join(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        symlink(target, at).unwrap();
    };
    for number in 0..2 {
        let device = format!("devices/pci0000:00/0000:{number}1:00.0");
        link(
            &format!("sys/bus/pci/drivers/mlx5_core/0000:{number}1:00.0"),
            &format!("../../../../{device}"),
        );
        for (class, name, said) in [
            ("infiniband", format!("mlx5_{number}"), format!("NAME=mlx5_{number}\n")),
            (
                "infiniband_verbs",
                format!("uverbs{number}"),
                format!("DEVNAME=infiniband/uverbs{number}\n"),
            ),
        ] {
            put(&format!("sys/{device}/{class}/{name}/uevent"), &said);
            link(&format!("sys/class/{class}/{name}"), &format!("../../{device}/{class}/{name}"));
        }
    }
    put("sys/class/infiniband_verbs/abi_version", "6\n");
    fs::create_dir_all(place.path("node/dev/infiniband")).unwrap();
    for name in ["rdma_cm", "uverbs0", "uverbs1"] {
        let at = place.path("node/dev/infiniband").join(name);
        mknod(&at, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 3)).unwrap();
        fs::set_permissions(&at, fs::Permissions::from_mode(0o666)).unwrap();
    }
}

/// A start where the node's `/sys` is the one that was made up.
fn start(place: &Place, variables: &[(&str, &str)], script: &str) -> Output {
    let inner = place.pyxis(["start", "./image.sqsh", "sh", "-c", script]);
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "/bin/sh", "-c"]);
    command.args(["mount --bind node/sys /sys && exec \"$@\"", "sh"]);
    command.arg(inner.get_program()).args(inner.get_args()).current_dir(place.path(""));
    command.env_clear().envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("PYXIS_CDI_ROOT", place.path("node")).env("PYXIS_CDI_PATH", place.path("absent"));
    command.envs(variables.iter().copied()).output().unwrap()
}

fn says(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

const SHOW: &str = "cd /sys/class; ls infiniband infiniband_verbs; cat infiniband_verbs/abi_version; \
    cat infiniband/mlx5_1/uevent; for f in /dev/infiniband/*; do [ -c $f ] && echo $f; done; true";

#[test]
fn a_container_with_few_devices_has_the_adapters_that_are_named() {
    let place = Place::new();
    place.image("image", |_| {});
    node_with_adapters(&place);
    let few = ("ENROOT_RESTRICT_DEV", "y");
    let both = "infiniband:\nmlx5_0\nmlx5_1\n\ninfiniband_verbs:\nabi_version\nuverbs0\nuverbs1\n6\nNAME=mlx5_1\n";
    assert_eq!(says(&start(&place, &[few], SHOW)), both);

    let one = says(&start(&place, &[few, ("MELLANOX_VISIBLE_DEVICES", "1")], SHOW));
    let shown = "infiniband:\nmlx5_1\n\ninfiniband_verbs:\nabi_version\nuverbs1\n6\nNAME=mlx5_1\n";
    assert_eq!(one, format!("{shown}/dev/infiniband/rdma_cm\n/dev/infiniband/uverbs1\n"));

    let all = says(&start(&place, &[few, ("MELLANOX_VISIBLE_DEVICES", "all")], SHOW));
    let nodes = ["rdma_cm", "uverbs0", "uverbs1"].map(|name| format!("/dev/infiniband/{name}\n"));
    assert_eq!(all, format!("{both}{}", nodes.concat()));

    let error = start(&place, &[few, ("MELLANOX_VISIBLE_DEVICES", "2")], "true");
    let words = String::from_utf8(error.stderr).unwrap();
    assert!(
        words.contains("Unknown MELLANOX device id: 2") && words.lines().count() == 1,
        "{words}"
    );
}

#[test]
fn a_nodes_configuration_of_enroot_names_them_and_its_own_hook_does_it_otherwise() {
    let place = Place::new();
    place.image("image", |_| {});
    node_with_adapters(&place);
    let node = place.path("etc/enroot");
    fs::create_dir_all(node.join("hooks.d")).unwrap();
    let conf = "ENROOT_RESTRICT_DEV yes\nMELLANOX_VISIBLE_DEVICES 0\n";
    fs::write(node.join("enroot.conf"), conf).unwrap();
    let sysconf = node.to_string_lossy().into_owned();
    let sysconf = ("ENROOT_SYSCONF_PATH", &*sysconf);
    let show = "ls /sys/class/infiniband /dev/infiniband || true";
    let said = says(&start(&place, &[sysconf], show));
    assert_eq!(said, "/dev/infiniband:\nrdma_cm\nuverbs0\n\n/sys/class/infiniband:\nmlx5_0\n");
    let hook = node.join("hooks.d/99-mellanox.sh");
    fs::write(&hook, "#!/bin/sh\nexit 0\n").unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let own = "/sys/class/infiniband:\nmlx5_0\nmlx5_1\n";
    assert_eq!(says(&start(&place, &[sysconf], show)), own);
    // As recipes switch one off.
    fs::rename(&hook, node.join("hooks.d/99-mellanox.sh.disabled")).unwrap();
    assert_eq!(says(&start(&place, &[sysconf], show)), own);
}

#[test]
fn a_hook_says_which_devices_there_are_and_a_later_one_sees_them() {
    let place = Place::new();
    place.image("image", |root| {
        fs::write(root.join("etc/environment"), "MELLANOX_VISIBLE_DEVICES=all\n").unwrap();
    });
    node_with_adapters(&place);
    let hooks = place.path("etc/enroot/hooks.d");
    fs::create_dir_all(&hooks).unwrap();
    let hook = |name: &str, text: &str| {
        fs::write(hooks.join(name), format!("#!/bin/bash\nset -eu\n{text}\n")).unwrap();
        fs::set_permissions(hooks.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    };
    // A site's own list of devices, in place of ours.
    hook(
        "10-devices.sh",
        "enroot-mount --root ${ENROOT_ROOTFS} - << END\n\
         none /dev none x-detach\n\
         tmpfs /dev tmpfs x-create=dir,mode=755\n\
         /dev/null /dev/null none x-create=file,bind\nEND",
    );
    hook("50-own.sh", "echo MELLANOX_VISIBLE_DEVICES=1 >> ${ENROOT_ENVIRON}");
    hook(
        "99-own.sh",
        "echo SEEN=$(cd ${ENROOT_ROOTFS}/dev/infiniband && echo *) >> ${ENROOT_ENVIRON}",
    );
    let sysconf = place.path("etc/enroot").to_string_lossy().into_owned();
    let variables = [("ENROOT_SYSCONF_PATH", &*sysconf), ("ENROOT_RESTRICT_DEV", "y")];
    let show = "echo $SEEN; ls /dev; cd /sys/class/infiniband && echo *";
    let said = says(&start(&place, &variables, show));
    assert_eq!(said, "rdma_cm uverbs1\ninfiniband\nnull\nmlx5_1\n");
}
