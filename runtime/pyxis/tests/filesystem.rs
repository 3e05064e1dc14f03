//! `pyxis doctor --store`: what is assumed of a file system is tried, and what does not hold is said. A
//! filter lets this kernel answer as one whose file system lacks something.

mod common;

use std::fs;
use std::process::Command;

use common::{Place, without};
use nix::libc;
use nix::unistd::geteuid;

/// Whether all is well, and the findings that are not: level and check.
fn examined(mut command: Command) -> (bool, Vec<(String, String)>) {
    let output = command.output().unwrap();
    let document: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let word = |finding: &serde_json::Value, key: &str| finding[key].as_str().unwrap().to_owned();
    let all = document["findings"].as_array().unwrap();
    let bad = all.iter().map(|finding| (word(finding, "level"), word(finding, "check")));
    (output.status.success(), bad.filter(|(level, _)| level != "ok").collect())
}

fn store(place: &Place) -> std::path::PathBuf {
    let store = place.path("work/store");
    fs::create_dir(&store).unwrap();
    place.give(&store);
    store
}

#[test]
fn what_a_file_system_lacks_is_said_and_nothing_is_left_there() {
    let place = Place::new();
    let store = store(&place);
    let doctor = || place.pyxis(["doctor", "--json", "--store", store.to_str().unwrap()]);
    let (_, usual) = examined(doctor());
    assert!(usual.iter().all(|(level, _)| level == "warning"), "{usual:?}");
    for (call, level, check) in [
        (libc::SYS_flock, "warning", "store-lock"),
        (libc::SYS_linkat, "error", "store-link"),
        (libc::SYS_renameat2, "warning", "store-exclusive-rename"),
        (libc::SYS_utimensat, "error", "store-time"),
        (libc::SYS_fsetxattr, "warning", "store-attribute"),
        (libc::SYS_mkdir, "error", "store-write"),
    ] {
        let mut command = doctor();
        without(&mut command, &[call]);
        let (well, found) = examined(command);
        assert!(!well, "{check}");
        assert!(found.contains(&(level.to_owned(), check.to_owned())), "{check}: {found:?}");
        assert_eq!(fs::read_dir(&store).unwrap().count(), 0, "{check}");
    }
}

#[test]
fn a_place_that_is_no_directory_is_an_error_with_its_name() {
    let place = Place::new();
    for path in ["absent", "file"] {
        let path = store(&place).join(path);
        if path.ends_with("file") {
            fs::write(&path, "").unwrap();
        }
        let output = place.pyxis(["doctor", "--store", path.to_str().unwrap()]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(&format!("{}: no directory can be made in it", path.display())));
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }
}

#[test]
#[ignore = "needs root"]
fn root_makes_nothing_where_a_user_could_exchange_it() {
    assert!(geteuid().is_root());
    let place = Place::new();
    let store = store(&place);
    let before = fs::metadata(&store).unwrap().modified().unwrap();
    let pyxis = env!("CARGO_BIN_EXE_pyxis");
    let output = Command::new(pyxis).args(["doctor", "--store"]).arg(&store).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("root does not try what others could change"), "{text}");
    assert_eq!(fs::metadata(&store).unwrap().modified().unwrap(), before);
}
