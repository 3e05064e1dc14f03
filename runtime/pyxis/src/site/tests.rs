use super::*;
use crate::settings::{EnrootConf, variables as v};
use std::os::unix::fs::{PermissionsExt, chown, symlink};

const SYSTEM: &str = "10-system.fstab";

struct Node(tempfile::TempDir);

impl Node {
    fn new() -> Node {
        let top = tempfile::tempdir().unwrap();
        for folder in ["mounts.d", "environ.d", "hooks.d"] {
            fs::create_dir_all(top.path().join("etc").join(folder)).unwrap();
            fs::create_dir_all(top.path().join("user").join(folder)).unwrap();
        }
        let node = Node(top);
        for directory in ["etc", "user"] {
            mode(&node.path(directory), 0o755);
            for folder in ["mounts.d", "environ.d", "hooks.d"] {
                mode(&node.path(&format!("{directory}/{folder}")), 0o755);
            }
        }
        node
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    fn put(&self, below: &str, text: &str) -> PathBuf {
        let path = self.path(below);
        fs::write(&path, text).unwrap();
        mode(&path, if below.ends_with(".sh") { 0o755 } else { 0o644 });
        path
    }

    fn site(&self) -> Site {
        let variables = [
            (v::HOME, self.path("home")),
            (v::SYSCONF_PATH, self.path("etc")),
            (v::CONFIG_PATH, self.path("user")),
        ];
        let environ = variables.map(|(name, path)| (name.into(), path.into())).into();
        find(&Settings::new(environ, EnrootConf::default(), None).unwrap()).unwrap()
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn paths(lists: &[SiteFile]) -> Vec<&Path> {
    lists.iter().map(|list| &*list.path).collect()
}

#[test]
fn lists_of_another_systems_editor_are_read() {
    let node = Node::new();
    node.put("etc/mounts.d/30-a.fstab", "\u{feff}/a /b none bind\r\n");
    node.put("etc/environ.d/30-a.env", "A=1\r\nB=2\r");
    let site = node.site();
    assert_eq!(site.mounts[0].text, b"/a /b none bind\n");
    assert_eq!(site.environ[0].text, b"A=1\nB=2");
}

#[test]
fn the_sites_folders_come_first_and_are_read_without_being_named() {
    let node = Node::new();
    let mounts = [
        node.put("etc/mounts.d/30-b.fstab", "/b\n"),
        node.put("etc/mounts.d/40-a.fstab", "/a\n"),
        node.put("user/mounts.d/10-u.fstab", "/u\n"),
    ];
    for ignored in ["etc/mounts.d/.1.fstab", "etc/mounts.d/2.fstab~", "etc/environ.d/2.other"] {
        node.put(ignored, "/never\n");
    }
    let environ = node.put("etc/environ.d/1.env", "A=1\n");
    let hook = node.put("etc/hooks.d/1.sh", "#!/bin/sh\n");
    mode(&node.put("etc/hooks.d/2.sh", "#!/bin/sh\n"), 0o644);
    let site = node.site();
    assert_eq!(paths(&site.mounts), mounts);
    assert_eq!(site.mounts[0].text, b"/b\n");
    assert_eq!(paths(&site.environ), [environ]);
    assert_eq!(site.hooks, [hook]);
    assert!(site.replaced.is_empty());
    let variable = |name: &str| site.variables.get(std::ffi::OsStr::new(name)).cloned();
    assert_eq!(variable(v::SYSCONF_PATH), Some(node.path("etc").into()));
    assert_eq!(variable(v::CONFIG_PATH), Some(node.path("user").into()));
}

#[test]
fn what_enroot_comes_with_is_known_under_any_name() {
    let node = Node::new();
    node.put("etc/environ.d/10-terminal.env", "TERM=${TERM}\n");
    node.put("etc/environ.d/x.env", "TERM=${TERM}\n");
    assert_eq!(node.site().environ, []);
    let changed = node.put("etc/environ.d/10-terminal.env", "TERM=${TERM}\nMORE=1\n");
    assert_eq!(paths(&node.site().environ), [changed]);
}

#[test]
fn hooks_that_enroot_comes_with_are_not_run() {
    // A table of a made-up hook: those of enroot's are not ours to have here.
    let text = "#!/bin/sh\nexit 1\n";
    let digest = "275239824e00e61b0a220e61a41791c7e9b4bd726f8b0c27077a338f8131c9dc";
    let table = format!("# Comment\n{digest} hooks/10-home.sh\n");
    let node = Node::new();
    let folder = [node.path("etc/hooks.d"), node.path("user/hooks.d")];
    node.put("etc/hooks.d/10-home.sh", text);
    let changed = node.put("etc/hooks.d/10-shadow.sh", "#!/bin/sh\nexit 2\n");
    let users = node.put("user/hooks.d/10-home.sh", "#!/bin/sh\nexit 3\n");
    let mut found = SiteFolders::new(&table, None);
    assert_eq!(found.hooks(&folder), [changed, users]);
    assert_eq!(found.known, [Standard::Home]);
    assert_eq!(found.own, [Standard::Shadow, Standard::Home]);
}

#[test]
fn hooks_that_do_something_for_few_steps_are_run_for_these() {
    let node = Node::new();
    let needed = |variables: &[(&str, &str)]| {
        let own = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let root = (v::CDI_ROOT.into(), node.path("node").into());
        let environ = own.chain([root]).collect();
        needed(&Settings::new(environ, EnrootConf::default(), None).unwrap())
    };
    assert!(needed(&[("SLURM_NETWORK", "us,sn_all")]).is_empty());
    assert_eq!(needed(&[("SLURM_NETWORK", "sharp")]), ["50-sharp.sh"]);
    fs::create_dir_all(node.path("node/proc/driver/nvidia")).unwrap();
    fs::write(node.path("node/proc/driver/nvidia/version"), "").unwrap();
    assert_eq!(needed(&[]), ["50-mig-config.sh"]);
    assert!(needed(&[("NVIDIA_VISIBLE_DEVICES", "void")]).is_empty());

    // A table of made-up hooks, as above.
    let text = "#!/bin/sh\nexit 1\n";
    let table =
        "275239824e00e61b0a220e61a41791c7e9b4bd726f8b0c27077a338f8131c9dc hooks/50-sharp.sh\n";
    let hook = node.put("etc/hooks.d/50-sharp.sh", text);
    let folder = [node.path("etc/hooks.d")];
    let mut found = SiteFolders::new(table, None);
    assert!(found.hooks(&folder).is_empty());
    found.needed = vec!["50-sharp.sh"];
    assert_eq!(found.hooks(&folder), [hook]);
}

#[test]
fn a_file_of_the_sites_own_replaces_enroots_and_a_users_does_not() {
    let node = Node::new();
    node.put("user/mounts.d/10-system.fstab", "/u\n");
    assert_eq!(node.site().replaced, []);
    node.put("etc/hooks.d/10-shadow.sh", "#!/bin/sh\n");
    node.put(&format!("etc/mounts.d/{SYSTEM}"), "/proc /proc none rbind 0 -1\n");
    assert_eq!(node.site().replaced, [Standard::System, Standard::Shadow]);
}

/// With enroot a hook that is not there does nothing.
#[test]
fn hooks_for_devices_that_a_site_has_taken_away_are_switched_off() {
    let node = Node::new();
    let off = |node: &Node| {
        let site = node.site();
        [Standard::Nvidia, Standard::Mellanox].map(|standard| site.replaces(standard))
    };
    // Nothing says that there ever was one.
    assert_eq!(off(&node), [false, false]);
    node.put("etc/hooks.d/60-site.sh", "#!/bin/sh\n");
    node.put("etc/hooks.d/README", "of the site\n");
    assert_eq!(off(&node), [false, false]);

    // As `pyxis-enroot` has them.
    for name in ["README", "98-nvidia.sh", "99-mellanox.sh"] {
        node.put(&format!("etc/hooks.d/{name}"), &shared(name));
    }
    assert_eq!(off(&node), [false, false]);
    assert_eq!(node.site().hooks, [node.path("etc/hooks.d/60-site.sh")]);
    let hook = |name: &str| node.path("etc/hooks.d").join(name);
    fs::rename(hook("98-nvidia.sh"), hook("98-nvidia.sh.disabled")).unwrap();
    assert_eq!(off(&node), [true, false]);
    fs::remove_file(hook("README")).unwrap();
    assert_eq!(off(&node), [true, false]);
    fs::remove_file(hook("98-nvidia.sh.disabled")).unwrap();
    // The other one is still there.
    assert_eq!(off(&node), [true, false]);
    node.put("etc/hooks.d/README", &shared("README"));
    fs::remove_file(hook("99-mellanox.sh")).unwrap();
    assert_eq!(off(&node), [true, true]);
    // A user's own copy is none of the site's; one under another name does what it did.
    node.put("user/hooks.d/98-nvidia.sh", &shared("98-nvidia.sh"));
    assert_eq!(off(&node), [false, true]);
    node.put("etc/hooks.d/97-adapters.sh", &shared("99-mellanox.sh"));
    assert_eq!(off(&node), [false, false]);
}

#[test]
fn a_hook_for_devices_that_is_no_longer_executable_is_switched_off() {
    let node = Node::new();
    let hook = node.put("etc/hooks.d/98-nvidia.sh", &shared("98-nvidia.sh"));
    mode(&hook, 0o644);
    assert!(node.site().replaces(Standard::Nvidia));
    assert!(!node.site().replaces(Standard::Mellanox));
    // One that others can write is left out, which a line says, and that is no word of the site's.
    mode(&hook, 0o777);
    assert!(!node.site().replaces(Standard::Nvidia));
    // rpm has put it aside, not the site.
    mode(&hook, 0o755);
    fs::rename(&hook, hook.with_extension("sh.rpmsave")).unwrap();
    assert!(!node.site().replaces(Standard::Nvidia));
}

/// What the package `pyxis-enroot` puts into hooks.d.
fn shared(name: &str) -> String {
    let share = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging/enroot/share/devices");
    fs::read_to_string(Path::new(share).join(name)).unwrap()
}

#[test]
fn hooks_before_enroots_own_for_devices_have_a_say_in_them() {
    let node = Node::new();
    assert_eq!(node.site().before_devices, 0);
    node.put("user/hooks.d/10-mine.sh", "#!/bin/sh\n");
    node.put("etc/hooks.d/98-nvidia.sh", "#!/bin/sh\n");
    node.put("etc/hooks.d/99-last.sh", "#!/bin/sh\n");
    assert_eq!((node.site().before_devices, node.site().hooks.len()), (0, 3));
    node.put("etc/hooks.d/50-own.sh", "#!/bin/sh\n");
    assert_eq!((node.site().before_devices, node.site().hooks.len()), (1, 4));
}

#[test]
fn a_list_that_cannot_be_read_is_an_error() {
    let node = Node::new();
    let list = node.put("etc/mounts.d/1.fstab", "");
    fs::File::options().write(true).open(&list).unwrap().set_len(1 << 40).unwrap();
    let environ = [(v::SYSCONF_PATH.into(), node.path("etc").into())].into();
    let error = find(&Settings::new(environ, EnrootConf::default(), None).unwrap())
        .unwrap_err()
        .to_string();
    assert!(error.starts_with(&format!("cannot read {}: it is larger", list.display())), "{error}");
}

#[test]
fn what_others_can_write_is_not_believed() {
    let node = Node::new();
    let hook = node.put("etc/hooks.d/1.sh", "#!/bin/sh\n");
    assert_eq!(node.site().hooks, [hook.as_path()]);
    mode(&hook, 0o757);
    assert!(node.site().hooks.is_empty());
    mode(&hook, 0o755);
    mode(&node.path("etc/hooks.d"), 0o777);
    assert!(node.site().hooks.is_empty());
    mode(&node.path("etc/hooks.d"), 0o755);
    assert!(geteuid().is_root(), "to give files away, this test must run as root");
    // Another user's: the file, the folder, and what a link of root's leads to.
    chown(&hook, Some(1234), None).unwrap();
    assert!(node.site().hooks.is_empty());
    chown(&hook, Some(0), None).unwrap();
    chown(node.path("etc/hooks.d"), Some(1234), None).unwrap();
    assert!(node.site().hooks.is_empty());
    chown(node.path("etc/hooks.d"), Some(0), None).unwrap();
    let theirs = node.path("theirs");
    fs::create_dir(&theirs).unwrap();
    chown(&theirs, Some(1234), None).unwrap();
    node.put("theirs/2.sh", "#!/bin/sh\n");
    symlink(theirs.join("2.sh"), node.path("etc/hooks.d/2.sh")).unwrap();
    assert_eq!(node.site().hooks, [hook.as_path()]);
    // As a site links enroot's extra ones.
    let extra = node.put("3.sh", "#!/bin/sh\n");
    symlink(extra, node.path("etc/hooks.d/3.sh")).unwrap();
    assert_eq!(node.site().hooks, [hook, node.path("etc/hooks.d/3.sh")]);
}
