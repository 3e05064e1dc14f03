//! The command where it is called in a user namespace, in which the node's root is nobody.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use common::Place;

fn executable(path: &std::path::Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A site's folder of enroot in a mount namespace, and words that are run there as the user.
fn on_a_node_with_enroots_folder(place: &Place, program: &str, words: &[&str]) -> (String, String) {
    let script =
        "mount -t tmpfs -o mode=755 none /etc && cp -a \"$1/node/.\" /etc && shift && exec \"$@\"";
    let inner = place.command(program, words);
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(place.path(""));
    command.arg(inner.get_program()).args(inner.get_args()).current_dir(place.path(""));
    command.env_clear().envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let done = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    assert!(done.status.success(), "{words:?}: {done:?}");
    (text(&done.stdout), text(&done.stderr))
}

#[test]
fn the_nodes_folder_of_enroot_holds_in_a_user_namespace() {
    assert!(nix::unistd::geteuid().is_root(), "this test has to be run as root");
    let place = Place::new();
    place.image("image", |_| {});
    let node = place.path("node/enroot");
    for folder in ["mounts.d", "environ.d", "hooks.d"] {
        fs::create_dir_all(node.join(folder)).unwrap();
    }
    fs::write(node.join("enroot.conf"), "ENROOT_ROOTFS_WRITABLE yes\n").unwrap();
    fs::write(node.join("mounts.d/50-site.fstab"), "/etc/enroot /site none x-create=dir,bind\n")
        .unwrap();
    fs::write(node.join("environ.d/50-site.env"), "SITE=here\n").unwrap();
    executable(
        &node.join("hooks.d/50-site.sh"),
        "#!/bin/sh\necho HOOK=ran >> \"$ENROOT_ENVIRON\"\n",
    );
    let pyxis = place.path("pyxis").display().to_string();
    let inside = |options: &str, words: &[&str]| {
        let script = format!("#!/bin/sh\nexec unshare {options} {pyxis} \"$@\"\n");
        executable(&place.path("inside"), &script);
        on_a_node_with_enroots_folder(&place, "inside", words)
    };
    let show = ["start", "image.sqsh", "sh", "-c", "touch /w && ls /site && echo $SITE $HOOK"];
    let all = "enroot.conf\nenviron.d\nhooks.d\nmounts.d\nhere ran\n";
    let own = "--user --map-root-user --mount";
    for options in [own, "--user --map-current-user --mount", &format!("{own} unshare {own}")] {
        assert_eq!(inside(options, &show), (all.to_owned(), String::new()), "{options}");
    }
    // In a container that has the command and the folder.
    let (home, image) = (place.path("home"), place.path("work/image.sqsh"));
    let (home, image) = (home.display(), image.display());
    let again = format!("HOME={home} {pyxis} start {image} sh -c '{}'", show[4]);
    let all_of_it = place.path("").display().to_string();
    let mounts = ["/etc/enroot", "/lib", "/lib64", "/usr/lib", &all_of_it]
        .map(|path| format!("--mount={path}:{path}"));
    let mounts = mounts.each_ref().map(String::as_str);
    for root in [&[][..], &["--root"]] {
        let words = [&["start"], &mounts[..], root, &["image.sqsh", "sh", "-c", &again]].concat();
        let (said, _) = on_a_node_with_enroots_folder(&place, "pyxis", &words);
        assert_eq!(said, all, "{root:?}");
    }
    // What others than its owner may write to is nobody's word, there as well.
    fs::set_permissions(node.join("environ.d"), fs::Permissions::from_mode(0o775)).unwrap();
    fs::set_permissions(node.join("enroot.conf"), fs::Permissions::from_mode(0o666)).unwrap();
    let words = ["start", "image.sqsh", "sh", "-c", "echo $SITE $HOOK"];
    let (said, told) = inside(own, &words);
    assert_eq!(said, "ran\n");
    assert!(told.contains("/etc/enroot/environ.d is left out: "), "{told}");
    assert!(told.contains("enroot.conf: it is not believed: "), "{told}");
}
