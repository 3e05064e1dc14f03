//! Kernels whose overlay is not for users, as before Linux 5.11, where fuse-overlayfs is installed: an image is unpacked once and
//! kept. Here a setting says that there is no overlay.

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use common::Place;

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

fn command(place: &Place, arguments: &[&str]) -> Command {
    let mut command = place.pyxis(arguments);
    command.env("ENROOT_NATIVE_OVERLAYFS", "n").env("PYXIS_LAYER_PATH", place.path("work/scratch"));
    command
}

fn run(place: &Place, arguments: &[&str]) -> (String, String) {
    let Output { status, stdout, stderr } = command(place, arguments).output().unwrap();
    let [out, err] = [stdout, stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(status.success(), "{arguments:?}: {out}{err}");
    (out, err)
}

/// One that runs until its standard input ends, and the process that merges for it.
fn running(place: &Place) -> (Child, PathBuf) {
    let script = "echo ready; cat > /dev/null";
    let mut command = command(place, &["start", "-w", "./image.sqsh", "sh", "-c", script]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|process| process.path());
    let merges = |process: &PathBuf| {
        let scratch = |line: &str| line.split(' ').nth(4) == Some("/layer");
        fs::read_to_string(process.join("comm")).is_ok_and(|name| name == "fuse-overlayfs\n")
            && fs::read_to_string(process.join("mountinfo")).is_ok_and(|table| {
                table.lines().any(|line| scratch(line) && line.contains(&layer_of(place)))
            })
    };
    let merging = processes.into_iter().find(merges).expect("nothing merges");
    (child, merging)
}

/// As its mount shows it.
fn layer_of(place: &Place) -> String {
    let name = place.path("").file_name().unwrap().to_string_lossy().into_owned();
    format!("{name}/work/scratch/.pyxis.layer.")
}

fn end(mut child: Child) {
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn kept(place: &Place) -> Vec<String> {
    let mut kept = names(&place.path("home/.cache/pyxis-unpacked"));
    kept.retain(|name| name != "lock");
    kept
}

#[test]
fn an_image_is_unpacked_once_and_every_container_has_changes_of_its_own() {
    let place = place();
    let script = "rm -r /full && mkdir /full && busybox mv /full /moved && touch /etc/made && ls -d /moved /etc/made && id -u";
    for (options, uid) in [(&["-w"][..], place.uid), (&["-w", "-r"], 0)] {
        let arguments = [&["start"], options, &["./image.sqsh", "sh", "-c", script]].concat();
        let (out, err) = run(&place, &arguments);
        assert_eq!(out, format!("/etc/made\n/moved\n{uid}\n"), "{err}");
        assert_eq!(err.contains("is unpacked once"), uid != 0, "{err}");
    }
    let (out, err) = run(
        &place,
        &["start", "./image.sqsh", "sh", "-c", "touch /x || ls -d /full /etc/passwd; id -un"],
    );
    assert_eq!(out, format!("/etc/passwd\n/full\nuser{}\n", place.uid), "{err}");
    let words = "touch: /x: Read-only file system\n";
    assert_eq!(err, words);
    assert_eq!(kept(&place).len(), 1);
    // Its server deletes it when nobody waits any more.
    for _ in 0..1000 {
        if names(&place.path("work/scratch")).is_empty() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("left: {:?}", names(&place.path("work/scratch")));
}

#[test]
fn gc_removes_what_no_container_uses() {
    let place = place();
    let (child, _) = running(&place);
    run(&place, &["gc"]);
    assert_eq!(kept(&place).len(), 1);
    end(child);
    run(&place, &["gc", "--dry-run"]);
    assert_eq!(kept(&place).len(), 1);
    // The program that merges may need a moment to end.
    for _ in 0..1000 {
        let (out, _) = run(&place, &["gc"]);
        if kept(&place).is_empty() {
            assert!(out.contains("/pyxis-unpacked/image."), "{out}");
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("{:?} stays", kept(&place));
}

/// An image, and programs of the container, may send it wherever it can go.
#[test]
fn what_merges_sees_nothing_of_the_host_but_what_it_needs() {
    let place = place();
    let (child, merging) = running(&place);
    let root = merging.join("root");
    let libraries = ["bin", "lib", "lib32", "lib64", "usr"];
    let others: Vec<_> =
        names(&root).into_iter().filter(|name| !libraries.contains(&&**name)).collect();
    assert_eq!(others, ["layer", "proc", "tree"]);
    assert_eq!(names(&root.join("proc")), ["self", "sys"]);
    assert_eq!(names(&root.join("layer")), ["upper", "used", "work"]);
    let refused = fs::write(root.join("tree/etc/passwd"), "x").unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    let status = fs::read_to_string(merging.join("status")).unwrap();
    assert!(status.contains("NoNewPrivs:\t1\n"), "{status}");
    end(child);
}

#[test]
fn where_it_is_not_installed_or_nothing_can_be_kept_an_image_is_unpacked_into_memory() {
    let place = place();
    let arguments = ["start", "-w", "./image.sqsh", "touch", "/x"];
    let said = |command: &mut Command| {
        let done = command.output().unwrap();
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stderr).unwrap()
    };
    let words = said(command(&place, &arguments).env("PATH", place.few_programs()));
    assert!(words.contains("extracting ./image.sqsh into memory"), "{words}");
    assert!(words.contains("with fuse-overlayfs"), "{words}");
    // A place that others can see into.
    fs::create_dir_all(place.path("home/.cache/pyxis-unpacked")).unwrap();
    place.give(&place.path("home/.cache/pyxis-unpacked"));
    let words = said(&mut command(&place, &arguments));
    assert!(words.contains("cannot keep an unpacked image below"), "{words}");
    assert!(words.contains("extracting ./image.sqsh into memory"), "{words}");
    assert!(names(&place.path("work/scratch")).is_empty());
}
