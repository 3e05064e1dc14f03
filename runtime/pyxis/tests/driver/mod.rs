//! A driver's files, and what is found of them in a container.

#![allow(dead_code, reason = "each test crate uses its part")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use crate::common::Place;

pub(crate) fn says(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn fails(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The smallest 64-bit library of this machine with a name.
pub(crate) fn library(soname: &str) -> Vec<u8> {
    let strings = format!("\0{soname}\0");
    let machine: u16 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };
    let mut out = b"\x7fELF\x02\x01\x01".to_vec();
    out.resize(16, 0);
    out.extend_from_slice(&[3, 0]);
    out.extend_from_slice(&machine.to_le_bytes());
    out.extend_from_slice(&[1, 0, 0, 0]);
    let put = |out: &mut Vec<u8>, values: &[u64]| {
        values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
    };
    put(&mut out, &[0, 64, 0]);
    out.extend_from_slice(&[0, 0, 0, 0, 64, 0, 56, 0, 2, 0, 64, 0, 0, 0, 0, 0]);
    let size = (176 + 48 + strings.len()) as u64;
    for (kind, at, size) in [(1_u32, 0, size), (2, 176, 48)] {
        out.extend_from_slice(&kind.to_le_bytes());
        out.extend_from_slice(&[4, 0, 0, 0]);
        put(&mut out, &[at, at, at, size, size, 8]);
    }
    put(&mut out, &[5, 176 + 48, 14, 1, 0, 0]);
    out.extend_from_slice(strings.as_bytes());
    out
}

/// What ldconfig reads in a cache that a container printed.
pub(crate) fn cached(output: &Output) -> Vec<String> {
    assert!(output.status.success(), "{output:?}");
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), &output.stdout).unwrap();
    let mut ldconfig = std::process::Command::new("/sbin/ldconfig");
    let read = ldconfig.arg("-p").arg("-C").arg(file.path()).output().unwrap();
    assert!(read.status.success(), "{read:?}");
    let text = String::from_utf8(read.stdout).unwrap();
    text.lines()
        .filter(|line| line.contains(" => "))
        .filter_map(|line| {
            line.trim()
                .split_once(" (")
                .map(|(name, rest)| format!("{name} {}", rest.rsplit(" => ").next().unwrap()))
        })
        .collect()
}

/// A node with two GPUs and a driver of three files, whose device nodes are those of /dev/null.
pub(crate) fn node_with_driver(place: &Place) {
    let put = |path: &str, contents: &[u8], mode: u32| {
        let at = place.path("node").join(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(&at, contents).unwrap();
        fs::set_permissions(&at, fs::Permissions::from_mode(mode)).unwrap();
    };
    put("usr/lib64/libcuda.so.550.1", &library("libcuda.so.1"), 0o755);
    put("usr/lib64/libnvidia-ml.so.550.1", &library("libnvidia-ml.so.1"), 0o755);
    put("usr/bin/nvidia-smi", b"#!/bin/sh\necho $0 $1\n", 0o755);
    let version = b"NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.1  Thu Jan  1\n";
    put("proc/driver/nvidia/version", version, 0o444);
    for (bus, minor) in [("0000:07:00.0", 1), ("0000:17:00.0", 0)] {
        let text = format!("Model: NVIDIA H100\nGPU UUID: GPU-{minor}\nDevice Minor: {minor}\n");
        put(&format!("proc/driver/nvidia/gpus/{bus}/information"), text.as_bytes(), 0o444);
    }
    fs::create_dir_all(place.path("node/dev")).unwrap();
    for name in ["nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"] {
        let at = place.path("node/dev").join(name);
        let numbers = nix::sys::stat::makedev(1, 3);
        let mode = nix::sys::stat::Mode::from_bits_truncate(0o666);
        // Without root there are none, and the tests ask for the driver alone.
        if nix::unistd::geteuid().is_root() {
            nix::sys::stat::mknod(&at, nix::sys::stat::SFlag::S_IFCHR, mode, numbers).unwrap();
            fs::set_permissions(&at, fs::Permissions::from_mode(0o666)).unwrap();
        }
    }
}

/// Where this machine has a library.
pub(crate) fn cached_library(name: &str) -> String {
    let read = std::process::Command::new("/sbin/ldconfig").arg("-p").output().unwrap();
    let text = String::from_utf8(read.stdout).unwrap();
    let line = text.lines().find(|line| line.trim().starts_with(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("no {name}")).rsplit(" => ").next().unwrap().to_owned()
}
