//! Builds that must not be loaded into slurmd, each with the line that says why.

mod common;

use common::{B24, B25, Build, Tree};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Nothing is loaded, and the line holds these words.
fn refused(tree: &Tree, words: &str) {
    let text = tree.load(42);
    assert!(text.contains("version 0\n") && !text.contains("returns"), "{text}");
    let line = text.lines().find(|line| line.starts_with("error: pyxis: ")).expect("a line");
    assert!(line.contains(words), "{line}\nnot: {words}");
}

#[test]
fn a_truncated_file() {
    let tree = Tree::new(&[B24, B25]);
    let file = File::options().write(true).open(tree.build("24.11")).unwrap();
    let whole = file.metadata().unwrap().len();
    // At every length, also where no table of sections is left: never a signal.
    for length in [whole - 1, whole / 2, 4096, 100, 63, 1, 0] {
        file.set_len(length).unwrap();
        refused(&tree, "pyxis-slurm24.11; installed: 25.05; not usable: 24.11 (");
    }
}

#[test]
fn a_file_or_directory_that_others_can_write() {
    let tree = Tree::new(&[B24]);
    let (file, lib) = (tree.build("24.11"), tree.dir.path().join("lib/pyxis"));
    for path in [file.as_path(), file.parent().unwrap(), &lib] {
        let before = fs::metadata(path).unwrap().permissions();
        for mode in [0o777, 0o775] {
            chmod(path, mode);
            refused(&tree, "24.11/spank_pyxis.so, is refused: it or its directory can be written");
        }
        fs::set_permissions(path, before).unwrap();
    }
    assert!(tree.load(42).contains("version 0x180b07\n"));
}

#[test]
#[ignore = "needs root, who alone can give a file away"]
fn a_file_of_somebody_else() {
    let tree = Tree::new(&[B24]);
    chown(tree.build("24.11"), Some(12345), None).unwrap();
    refused(&tree, "belongs to somebody else than root");
    // Who owns the loader is in the process already.
    chown(tree.loader(), Some(12345), None).unwrap();
    assert!(tree.load(42).contains("version 0x180b07\n"));
}

#[test]
fn a_stamp_that_lies() {
    let tree = Tree::new(&[Build { options: &["-DVERSION=0x160508"], ..B24 }]);
    refused(&tree, "is refused: its plugin_version is not that of its stamp");
}

#[test]
fn something_without_our_stamp() {
    let tree = Tree::new(&[Build { options: &["-DSTAMP=\"other\""], ..B24 }]);
    refused(&tree, "24.11 (without the stamp of a build of pyxis)");
    fs::write(
        tree.build("24.11"),
        "#!/bin/sh\n# not a library, and longer than an ELF header is\n#\n",
    )
    .unwrap();
    refused(&tree, "24.11 (without the stamp of a build of pyxis)");
}

#[test]
fn what_is_no_file() {
    let tree = Tree::new(&[]);
    let file = tree.build("24.11");
    fs::create_dir_all(&file).unwrap();
    refused(&tree, "24.11 (not a regular file)");
    fs::remove_dir(&file).unwrap();
    // Nobody writes to it: opening it must not wait.
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    refused(&tree, "24.11 (not a regular file)");
}

#[test]
fn a_build_for_another_processor() {
    let tree = Tree::new(&[B24]);
    let mut bytes = fs::read(tree.build("24.11")).unwrap();
    bytes[0x12] = 8; // MIPS
    fs::write(tree.build("24.11"), bytes).unwrap();
    refused(&tree, "24.11 (for another processor)");
}

#[test]
fn a_build_that_wants_what_is_not_there() {
    let tree = Tree::new(&[Build { options: &["-DMISSING", "-Wl,-z,now"], ..B24 }]);
    refused(&tree, "undefined symbol: pyxis_test_missing");
}
