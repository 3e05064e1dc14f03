//! A place for containers that several nodes have together: a home, say. The other node is one that a
//! container's record names.

use std::fs;
use std::process::Command;

use super::{Place, place};

/// The command in a step of several nodes.
fn apart(place: &Place, words: &[&str]) -> Command {
    let mut command = place.pyxis(words);
    command.env("PYXIS_PER_NODE", "y");
    command
}

fn ok(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Makes the container another node's.
fn give_to_another(place: &Place, name: &str) {
    let record = place.path("data").join(name).join("container.toml");
    let text = fs::read_to_string(&record).unwrap();
    let lines = text.lines().map(|line| match line.starts_with("node = ") {
        true => "node = \"elsewhere\"",
        false => line,
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    assert!(text.contains("elsewhere"), "{text}");
    fs::write(record, text).unwrap();
}

#[test]
fn each_node_has_containers_of_its_own() {
    let place = place();
    place.ok(&["create", "-n", "one", "image.sqsh"]);
    give_to_another(&place, "one");
    let start = |command: Command| {
        let mut command = command;
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    // Where nothing is said, it is everybody's, and the error says what to set.
    assert_eq!(place.ok(&["list"]), "one\n");
    let taken = place.run(&["create", "-n", "one", "image.sqsh"]).fails(1);
    assert!(taken.contains("made on elsewhere") && taken.contains("per_node"), "{taken}");
    // In a step of several nodes it is the other one's.
    assert_eq!(ok(apart(&place, &["list"])), "");
    assert!(!start(apart(&place, &["start", "one", "true"])).0);
    assert!(!start(apart(&place, &["remove", "-f", "one"])).0);
    ok(apart(&place, &["create", "-n", "one", "image.sqsh"]));
    assert_eq!(ok(apart(&place, &["list"])), "one\n");
    ok(apart(&place, &["start", "-w", "one", "touch", "/own"]));
    // From then on this node has it, whoever asks, and the other's is as it was.
    assert!(start(place.pyxis(["start", "one", "ls", "/own"])).0);
    assert!(!place.path("data/one/upper/own").exists());
    assert_eq!(place.ok(&["list"]), "one\n");
    let exists = apart(&place, &["create", "-n", "one", "image.sqsh"]).output().unwrap();
    assert_eq!(exists.status.code(), Some(1));
    ok(apart(&place, &["remove", "-f", "one"]));
    assert!(place.path("data/one").is_dir());
    assert!(!place.path("data/.nodes").exists());
    ok(apart(&place, &["create", "-n", "two", "image.sqsh"]));
    assert!(place.path("data/two").is_dir(), "alone there, it is where it always was");
}

#[test]
fn what_lies_there_unpacked_is_everybodys() {
    let place = place();
    let mut command = place.pyxis(["create", "-n", "plain", "image.sqsh"]);
    command.env("ENROOT_NATIVE_OVERLAYFS", "n");
    ok(command);
    assert_eq!(ok(apart(&place, &["list"])), "plain\n");
    ok(apart(&place, &["start", "plain", "true"]));
}
