//! What hooks and configuration scripts of a site's own find, as enroot has it.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::Place;

fn executable(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn hook(place: &Place, text: &str) {
    executable(&place.path("home/.config/enroot/hooks.d/10.sh"), text);
}

fn conf(place: &Place, text: &str) {
    fs::write(place.path("work/conf"), text).unwrap();
}

/// An image, and a named container of it.
fn place() -> Place {
    let place = Place::new();
    place.image("image", |_| {});
    place.ok(&["create", "-n", "c", "image.sqsh"]);
    place
}

#[test]
fn a_configuration_script_says_what_the_command_exits_with() {
    let place = place();
    for (script, code) in [
        ("environ() { return 3; }", 3),
        ("hooks() { return 5; }", 5),
        ("exit 4", 4),
        ("false", 1),
        ("kill -9 $$", 137),
        // One that cannot be read, and one that ends before it is followed.
        ("environ() {", 1),
        ("exit 0", 1),
    ] {
        conf(&place, script);
        let words = place.run(&["start", "-c", "conf", "c", "true"]).fails(code);
        assert!(words.contains("configuration script "), "{script}: {words}");
    }
}

/// What its functions print is what they say; the script's own is the caller's to read.
#[test]
fn a_configuration_script_has_the_commands_words_and_its_output() {
    let place = place();
    conf(
        &place,
        "echo \"top $# [$*] ${0##*/}\"\nenviron() { echo \"FROM=$#\"; }\nhooks() { echo nobody; }\n",
    );
    let start = |words: &[&str]| place.ok(&[&["start", "-c", "conf", "c"], words].concat());
    assert_eq!(start(&["echo", "a b"]), "top 2 [echo a b] conf\na b\n");
    assert_eq!(start(&["sh", "-c", "echo $FROM"]), "top 3 [sh -c echo $FROM] conf\n0\n");
    conf(&place, "#ENROOT_ROOTFS=c\necho \"top $#\"\n");
    assert_eq!(place.ok(&["batch", "conf", "echo", "x"]), "top 2\nx\n");
}

#[test]
fn the_root_that_hooks_see_is_called_as_the_container() {
    let place = place();
    place.ok(&["create", "-n", "lib", "image.sqsh"]);
    let name = "\"${ENROOT_ROOTFS##*/}\"";
    hook(
        &place,
        &format!(
            "test -x $ENROOT_ROOTFS/bin/busybox\nprintf 'HOOK=%s\\n' {name} >> $ENROOT_ENVIRON\n"
        ),
    );
    conf(&place, &format!("environ() {{ printf 'CONF=%s\\n' {name}; }}\n"));
    let words = ["sh", "-c", "echo $HOOK $CONF"];
    for (container, called) in [("c", "c"), ("lib", "lib"), ("./image.sqsh", "overlay")] {
        let said = place.ok(&[&["start", "-c", "conf", container], &words[..]].concat());
        assert_eq!(said, format!("{called} {called}\n"));
    }
}

#[test]
fn lists_of_variables_have_the_places_that_hooks_have() {
    let place = place();
    let folder = place.path("home/.config/enroot/environ.d");
    fs::create_dir_all(&folder).unwrap();
    let list = "N=${ENROOT_ROOTFS}\nE=${ENROOT_ENVIRON}\nM=${ENROOT_MOUNTS}\nP=${ENROOT_PID}\n";
    fs::write(folder.join("1.env"), list).unwrap();
    let words = ["start", "c", "sh", "-c", "echo $N $E $M; echo $P $HOOKED"];
    let run = place.path("run");
    let at = |run: &Path| {
        let run = run.display();
        format!("{run}/rootfs/c {run}/environment {run}/fstab\n")
    };
    // Where they would see the container, if there were any.
    let said = place.ok(&words);
    let pid = said.strip_prefix(&at(&run)).unwrap_or_else(|| panic!("{said}"));
    assert!(pid.trim().parse::<u32>().is_ok(), "{said}");

    let same = "for line in N=$ENROOT_ROOTFS E=$ENROOT_ENVIRON M=$ENROOT_MOUNTS P=$ENROOT_PID; do\n\
                grep -qxF \"$line\" $ENROOT_ENVIRON || exit 7\ndone\necho HOOKED=yes >> $ENROOT_ENVIRON\n";
    hook(&place, same);
    let said = place.ok(&words);
    assert!(said.starts_with(&at(&run)) && said.ends_with(" yes\n"), "{said}");
    // Also where nobody has made a place for them.
    let mut command = place.pyxis(words);
    command.env_remove("ENROOT_RUNTIME_PATH").env("XDG_RUNTIME_DIR", "/proc/none");
    let done = command.output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(!said.starts_with("/proc/") && said.ends_with(" yes\n"), "{done:?}");
}

#[test]
fn a_target_below_the_containers_root_is_one_of_the_container() {
    let place = place();
    let folder = place.path("home/.config/enroot/mounts.d");
    fs::create_dir_all(&folder).unwrap();
    fs::write(place.path("home/file"), "text\n").unwrap();
    let list = "${HOME}/file ${ENROOT_ROOTFS}/mnt/f none x-create=file,bind\n";
    fs::write(folder.join("1.fstab"), list).unwrap();
    assert_eq!(place.ok(&["start", "c", "cat", "/mnt/f"]), "text\n");
}
