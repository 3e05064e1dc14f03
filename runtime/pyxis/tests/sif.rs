//! SIF files, as Singularity and Apptainer build them, as images: their squashfs is read where it is.

mod common;

use std::fs;
use std::os::unix::fs::chown;
use std::path::PathBuf;

use common::Place;

/// Where Apptainer puts the data of its files.
const TABLE: u64 = 4096;
const DATA: u64 = 32768;
/// Kinds, by Apptainer's numbers.
const DEFINITION: u32 = 0x4001;
const PARTITION: u32 = 0x4004;
const SIGNATURE: u32 = 0x4005;
const SQUASHFS: u32 = 1;
const EXT3: u32 = 2;
const ENCRYPTED: u32 = 5;

struct Part {
    kind: u32,
    file_system: u32,
    bytes: Vec<u8>,
}

fn part(kind: u32, bytes: &[u8]) -> Part {
    Part { kind, file_system: 0, bytes: bytes.to_vec() }
}

fn root(file_system: u32, bytes: Vec<u8>) -> Part {
    Part { kind: PARTITION, file_system, bytes }
}

/// A file of these parts, each on a page of its own.
fn sif(parts: &[Part]) -> Vec<u8> {
    let mut bytes = vec![0; DATA as usize];
    bytes[..31].copy_from_slice(b"#!/usr/bin/env run-singularity\n");
    bytes[32..48].copy_from_slice(b"SIF_MAGIC\x0001\x0002\0");
    for (at, number) in [(80, 44), (88, 48), (96, TABLE), (104, 48 * 585), (112, DATA)] {
        bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
    }
    for (number, Part { kind, file_system, bytes: data }) in parts.iter().enumerate() {
        bytes.resize(bytes.len().next_multiple_of(4096), 0);
        let start = bytes.len() as u64;
        bytes.extend(data);
        let row = &mut bytes[TABLE as usize + number * 585..][..585];
        row[..4].copy_from_slice(&kind.to_le_bytes());
        row[4] = 1;
        row[5] = number as u8 + 1;
        row[17..25].copy_from_slice(&start.to_le_bytes());
        row[25..33].copy_from_slice(&(data.len() as u64).to_le_bytes());
        row[201..205].copy_from_slice(&file_system.to_le_bytes());
        row[205] = 2;
        row[209..211].copy_from_slice(b"02");
    }
    bytes
}

/// Puts the file where the user has it.
fn write(place: &Place, name: &str, bytes: &[u8]) -> PathBuf {
    let path = place.path("work").join(name);
    fs::write(&path, bytes).unwrap();
    chown(&path, Some(place.uid), Some(place.uid)).unwrap();
    path
}

fn image(place: &Place, packed_with: &str) -> Vec<u8> {
    let file = place.packed(packed_with, packed_with, |root| {
        fs::write(root.join("big"), vec![b'x'; 300_000]).unwrap();
        fs::create_dir_all(root.join(".singularity.d/env")).unwrap();
        let script =
            "#!/bin/sh\nexport PATH=\"/opt/bin:/bin\"\nexport A=\"${A:-\"of \\$image\"}\"\n";
        fs::write(root.join(".singularity.d/env/10-docker2singularity.sh"), script).unwrap();
    });
    let bytes = fs::read(&file).unwrap();
    fs::remove_file(file).unwrap();
    bytes
}

fn signed(squashfs: Vec<u8>) -> Vec<u8> {
    let definition = part(DEFINITION, b"bootstrap: docker\nfrom: x\n");
    sif(&[definition, root(SQUASHFS, squashfs), part(SIGNATURE, b"signed")])
}

#[test]
fn the_squashfs_of_a_sif_file_is_the_image() {
    let place = Place::new();
    // What pyxis reads itself, and what it leaves to other programs.
    for with in ["gzip", "zstd", "xz"] {
        let name = format!("{with}.sif");
        write(&place, &name, &signed(image(&place, with)));
        let script = "cat /big | wc -c; echo $A; echo $PATH; touch /f 2>/dev/null || echo no";
        for words in [vec!["start", &*name], vec!["start", "-w", &*name]] {
            let output = place.ok(&[&words[..], &["/bin/busybox", "sh", "-c", script]].concat());
            let end = if words.len() == 2 { "no\n" } else { "" };
            assert_eq!(output, format!("300000\nof $image\n/opt/bin:/bin\n{end}"), "{with}");
        }
    }
}

#[test]
fn a_named_container_is_made_of_a_sif_file() {
    let place = Place::new();
    for with in ["gzip", "xz"] {
        let name = format!("{with}.sif");
        write(&place, &name, &signed(image(&place, with)));
        place.ok(&["create", "-n", with, &name]);
        fs::remove_file(place.path("work").join(&name)).unwrap();
        place.ok(&["start", "-w", with, "touch", "/kept"]);
        assert_eq!(place.ok(&["start", with, "ls", "/kept"]), "/kept\n");
        assert_eq!(place.ok(&["start", with, "sh", "-c", "echo $A"]), "of $image\n");
        place.ok(&["remove", "-f", with]);
    }
}

#[test]
fn what_is_not_served_is_refused_by_name() {
    let place = Place::new();
    let ext3 = sif(&[root(EXT3, vec![0; 8192])]);
    let encrypted = sif(&[root(ENCRYPTED, vec![1; 8192])]);
    let none = sif(&[part(DEFINITION, b"x")]);
    let mut cut = signed(image(&place, "gzip"));
    cut.truncate(cut.len() / 2);
    for (name, bytes, word) in [
        ("ext3.sif", &ext3, "ext3.sif is a SIF file whose root is ext3"),
        ("encrypted.sif", &encrypted, "encrypted.sif is a SIF file whose root is encrypted"),
        ("none.sif", &none, "without a primary system partition"),
        ("cut.sif", &cut, "cut.sif is a damaged SIF file: its partition is not within the file"),
    ] {
        write(&place, name, bytes);
        for words in [vec!["start", "-w"], vec!["create", "-n", "x"]] {
            let path = format!("./{name}");
            let error = place.run(&[&words[..], &[&*path]].concat()).fails(1);
            assert!(error.contains(word) && error.trim_end().lines().count() == 1, "{error}");
        }
    }
}

/// A partition that says it is longer than it is has nothing of what is behind it.
#[test]
fn nothing_behind_the_partition_is_read() {
    let place = Place::new();
    let squashfs = image(&place, "gzip");
    let length = squashfs.len() as u64;
    let mut bytes = signed(squashfs);
    // The second row's length: a page less than the superblock wants.
    let at = TABLE as usize + 585 + 25;
    bytes[at..at + 8].copy_from_slice(&(length - 4096).to_le_bytes());
    write(&place, "short.sif", &bytes);
    let error = place.run(&["start", "./short.sif", "true"]).fails(1);
    assert!(error.contains("is truncated"), "{error}");
}
