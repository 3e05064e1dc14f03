//! The process that the command is: what it loads, and how it takes what it was given.

mod common;

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use common::Place;
use nix::unistd::pipe;
use slurm_releases::elf::Library;

const PYXIS: &str = env!("CARGO_BIN_EXE_pyxis");

/// Each more costs every start of a container a tenth of a millisecond.
#[test]
fn no_other_library_is_loaded_than_those_of_libc() {
    let library = Library::read(&std::fs::read(PYXIS).unwrap()).unwrap();
    let mut others = library.needed;
    others.retain(|name| !name.starts_with("ld-linux"));
    others.retain(|name| !["libc.so.6", "libm.so.6"].contains(&name.as_str()));
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn a_pipe_that_nobody_reads_does_not_kill_it() {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let status = Command::new(PYXIS).arg("config").stdout(Stdio::from(writer)).status().unwrap();
    assert_eq!(status.signal(), None);
}

/// A file that is opened in place of standard error would be written into.
#[test]
fn standard_files_that_are_closed_are_no_places_for_others() {
    let place = Place::new();
    place.image("image", |_| {});
    let inside = "for n in 0 1 2; do seen=\"$seen $(readlink /proc/$$/fd/$n)\"; done; echo $seen > /out/seen";
    let script = "exec 0<&- 1>&- 2>&-; exec \"$0\" start --mount .:/out ./image.sqsh sh -c \"$1\"";
    let pyxis = place.path("pyxis");
    let arguments = ["-c", script, pyxis.to_str().unwrap(), inside];
    assert!(place.command("/bin/sh", arguments).status().unwrap().success());
    assert_eq!(place.read("work/seen"), "/dev/null /dev/null /dev/null\n");
}
