//! Where changes of containers without a name are kept on kernels whose tmpfs has no attributes of
//! users, as before Linux 6.6: a filter lets this kernel answer as those do.

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use common::{Place, without};
use nix::libc;

/// What only works where attributes say that a directory is the image's no longer.
const SCRIPT: &str = "rm -r /full && mkdir /full && busybox mv /full /moved && mkdir /new && \
                      busybox mv /new /etc/new && ls /moved && ls -d /etc/new && echo done";

fn place() -> Place {
    let place = Place::new();
    place.image("image", |root| {
        fs::create_dir_all(root.join("full/of/directories")).unwrap();
    });
    let scratch = place.path("work/scratch");
    fs::create_dir(&scratch).unwrap();
    place.give(&scratch);
    place
}

/// tmpfs alone has none; the only places are the scratch directory and the data path.
const MEMORY: &[libc::c_long] = &[libc::SYS_fsetxattr];
const ALL: &[libc::c_long] = &[libc::SYS_fsetxattr, libc::SYS_setxattr];

fn start(place: &Place, calls: &'static [libc::c_long], arguments: &[&str]) -> Command {
    let mut command = place.pyxis([&["start"], arguments].concat());
    command.env("PYXIS_LAYER_PATH", place.path("work/scratch"));
    without(&mut command, calls);
    command
}

fn words(command: &mut Command) -> (String, String) {
    let done = command.output().unwrap();
    let [out, err] = [done.stdout, done.stderr].map(|text| String::from_utf8(text).unwrap());
    (out, err)
}

fn layers(place: &Place) -> Vec<PathBuf> {
    let entries = fs::read_dir(place.path("work/scratch")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Waits for the line "ready".
fn running(command: &mut Command) -> Child {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    child
}

#[test]
fn changes_are_kept_on_disk_and_go_with_the_container() {
    let place = place();
    let script = format!("{SCRIPT} && echo changed > /changed && echo ready; cat > /dev/null");
    let mut command = start(&place, MEMORY, &["-w", "./image.sqsh", "sh", "-c", SCRIPT]);
    let (out, err) = words(&mut command);
    assert_eq!(out, "/etc/new\ndone\n", "{err}");
    let line = format!("changes are kept in {}", place.path("work/scratch").display());
    assert!(err.contains(&line), "{err}");
    until_empty(&place);

    let mut command = start(&place, MEMORY, &["-w", "./image.sqsh", "sh", "-c", &script]);
    let mut child = {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(
            lines.map(Result::unwrap).find(|line| line == "ready").as_deref(),
            Some("ready")
        );
        child
    };
    let all = layers(&place);
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(fs::read_to_string(all[0].join("upper/changed")).unwrap(), "changed\n");
    // Whoever looks around leaves it alone.
    place.ok(&["list"]);
    assert_eq!(layers(&place), all);
    drop(child.stdin.take());
    let ended = child.wait().unwrap();
    assert_eq!(format!("{ended}"), "exit status: 0");
    until_empty(&place);
}

/// The image's server ends a moment after the program.
fn until_empty(place: &Place) {
    for _ in 0..6000 {
        if layers(place).is_empty() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("left: {:?}", layers(place));
}

#[test]
fn what_is_left_when_all_are_killed_goes_with_the_next_look() {
    let place = place();
    let mut command =
        start(&place, MEMORY, &["-w", "./image.sqsh", "sh", "-c", "echo ready; cat > /dev/null"]);
    let mut child = running(&mut command);
    let wanted = format!("{:#?}", layers(&place));
    for process in fs::read_dir("/proc").unwrap().flatten() {
        use std::os::unix::fs::MetadataExt;
        let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        if name == "pyxis-image\n" && process.metadata().is_ok_and(|stat| stat.uid() == place.uid) {
            let pid = process.file_name().to_str().unwrap().parse().unwrap();
            let pid = nix::unistd::Pid::from_raw(pid);
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(format!("{:#?}", layers(&place)), wanted);
    assert_eq!(layers(&place).len(), 1);
    // Those who were killed need a moment to be gone.
    for _ in 0..3000 {
        let mut list = place.pyxis(["list"]);
        let listed = list.env("PYXIS_LAYER_PATH", place.path("work/scratch")).output().unwrap();
        assert!(listed.status.success(), "{listed:?}");
        if layers(&place).is_empty() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("left: {:?}", layers(&place));
}

#[test]
fn a_container_that_is_not_written_to_needs_no_layer_on_disk() {
    let place = place();
    let (out, err) = words(&mut start(&place, MEMORY, &["./image.sqsh", "echo", "x"]));
    assert_eq!((out.as_str(), err.as_str()), ("x\n", ""));
    assert_eq!(layers(&place), Vec::<PathBuf>::new());
}

#[test]
fn where_no_directory_takes_a_layer_a_small_image_is_unpacked() {
    let place = place();
    let mut command = start(&place, ALL, &["-w", "./image.sqsh", "sh", "-c", SCRIPT]);
    let (out, err) = words(&mut command);
    assert_eq!(out, "/etc/new\ndone\n", "{err}");
    assert!(err.contains("; extracting ./image.sqsh into memory"), "{err}");
    assert_eq!(layers(&place), Vec::<PathBuf>::new());
}

/// As on NFS.
#[test]
fn a_named_container_where_no_layer_can_be_is_whole_and_a_line_names_the_setting() {
    let place = place();
    let mut create = place.pyxis(["create", "--name", "whole", "./image.sqsh"]);
    without(&mut create, ALL);
    let (_, err) = words(&mut create);
    assert!(
        err.contains(" takes no overlay (") && err.contains("; extracting ./image.sqsh"),
        "{err}"
    );
    assert!(err.contains("ENROOT_DATA_PATH, or data in [paths] of pyxis.toml"), "{err}");
    assert_eq!(place.ok(&["start", "whole", "echo", "x"]), "x\n");
    // Without overlays at all no other place is better.
    let mut create = place.pyxis(["create", "--name", "other", "./image.sqsh"]);
    let (_, err) = words(create.env("ENROOT_NATIVE_OVERLAYFS", "n"));
    assert!(
        err.contains("; extracting ./image.sqsh") && !err.contains("ENROOT_DATA_PATH"),
        "{err}"
    );
}

#[test]
fn where_no_directory_takes_a_layer_a_large_image_starts_with_a_line() {
    let place = place();
    let image = fs::OpenOptions::new().write(true).open(place.path("work/image.sqsh")).unwrap();
    image.set_len((64 << 20) + 1).unwrap();
    let (out, err) = words(&mut start(&place, ALL, &["-w", "./image.sqsh", "echo", "x"]));
    assert_eq!(out, "x\n", "{err}");
    assert!(err.contains("neither renamed nor removed: set PYXIS_LAYER_PATH"), "{err}");
    assert_eq!(layers(&place), Vec::<PathBuf>::new());
}

#[test]
fn an_image_that_is_unpacked_shows_the_containers_name_and_leaves_no_layer() {
    let place = place();
    let script = "grep ' / / ' /proc/self/mountinfo";
    let mut command = start(&place, MEMORY, &["-w", "./image.sqsh", "sh", "-c", script]);
    command.env("ENROOT_NATIVE_OVERLAYFS", "n").env("PATH", place.few_programs());
    let (out, err) = words(&mut command);
    assert!(out.contains(" - tmpfs pyxis "), "{out} {err}");
    assert_eq!(layers(&place), Vec::<PathBuf>::new());
}
