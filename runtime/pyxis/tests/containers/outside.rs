//! What is put into a container's directory from outside of it.

use std::fs;
use std::process::Command;

use super::place;

#[test]
fn files_put_beside_a_containers_own_are_named_with_the_ways_that_there_are() {
    let place = place();
    place.ok(&["create", "-n", "c", "image.sqsh"]);
    let said = |arguments: &[&str]| {
        let done = place.pyxis(arguments).output().unwrap();
        assert!(done.status.success(), "{arguments:?}: {done:?}");
        String::from_utf8(done.stderr).unwrap()
    };
    let written = ["start", "-w", "c", "touch", "/x"];
    assert_eq!(said(&written), "");
    // All that a container comes to have itself.
    assert_eq!(said(&["export", "-o", "1.sqsh", "c"]), "");
    // As scripts do it with enroot's, from outside. NFS has names of its own for what is open.
    let directory = place.path("data/c");
    fs::create_dir(directory.join("opt")).unwrap();
    fs::create_dir(directory.join("etc")).unwrap();
    fs::write(directory.join(".nfs0123"), "").unwrap();
    place.give(&directory);
    for words in [&written[..], &["export", "-o", "2.sqsh", "c"]] {
        let line = said(words);
        let expected =
            format!("pyxis: not in the container: etc, opt in {}, ", directory.display());
        assert!(line.starts_with(&expected) && line.lines().count() == 1, "{line}");
        assert!(
            line.contains("start --rw") && line.contains("unsquashfs -user-xattrs -d"),
            "{line}"
        );
    }
    // The way that is named.
    place.ok(&["remove", "-f", "c"]);
    let mut made = Command::new("unsquashfs");
    made.args(["-q", "-n", "-user-xattrs", "-d"])
        .args([&directory, &place.path("work/image.sqsh")]);
    assert!(made.status().unwrap().success());
    fs::write(directory.join("put"), "there").unwrap();
    place.give(&directory);
    assert_eq!(said(&["start", "c", "cat", "/put"]), "");
    assert_eq!(place.ok(&["start", "c", "cat", "/put"]), "there");
}
