//! The runtime that starts containers on this node, and what it wants: FUSE's device,
//! unsquashfs and squashfuse for rare cases; or enroot.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use slurm_releases::elf::Elf;

use super::ask;
use super::command::in_path;
use super::lines::PyxisLine;
use super::report::Report;
use squashfs::unsquashfs::UNSQUASHFS;

use crate::owner;
use crate::slurm::programs::bytes_of;

/// The first squashfuse that can be built with FUSE 3, which takes an open device.
const SQUASHFUSE: [u32; 3] = [0, 1, 103];
/// What pyxis has always asked of enroot.
const ENROOT: [u32; 3] = [3, 1, 0];

/// Which runtime, and whether it has what it needs; `obstacle` is why the built-in one cannot take enroot's
/// place.
pub(super) fn check(lines: &[PyxisLine], obstacle: Option<String>, report: &mut Report) {
    let line = lines.iter().find(|line| line.ours());
    let wanted = line.and_then(|line| line.line.argument("runtime")).unwrap_or("auto");
    let enroot = in_path("enroot");
    match (wanted, enroot) {
        ("enroot", None) => report.error(
            "enroot-missing",
            "runtime=enroot is set, and there is no enroot in PATH",
            "install enroot, or set runtime=pyxis in plugstack.conf",
        ),
        ("auto", Some(_)) if obstacle.is_none() => {
            let text =
                "the built-in runtime starts the containers, and understands what enroot was told";
            report.ok("runtime", text);
            builtin(report);
        }
        ("enroot" | "auto", Some(program)) => {
            let why = obstacle.filter(|_| wanted == "auto");
            let why =
                why.map(|why| format!(" (not the built-in runtime: {why})")).unwrap_or_default();
            report.ok("runtime", format!("{} starts the containers{why}", program.display()));
            version(&program, "enroot", "enroot-old", "version", ENROOT, report);
        }
        _ => {
            report.ok("runtime", "the built-in runtime starts the containers");
            builtin(report);
        }
    }
}

fn builtin(report: &mut Report) {
    match in_path("squashfuse") {
        Some(program) => {
            version(&program, "squashfuse", "squashfuse-old", "--version", SQUASHFUSE, report);
            linked(&program, report);
        }
        None => report.ok(
            "squashfuse",
            "no squashfuse in PATH: only images packed with xz or lzma would want it",
        ),
    }
    if in_path(UNSQUASHFS).is_none() {
        report.warning(
            "squashfs-tools-missing",
            "no unsquashfs in PATH: an image is not started where FUSE or overlays are not to be had",
            "apt-get install squashfs-tools, or dnf install squashfs-tools",
        );
    } else {
        report.ok("squashfs-tools", "unsquashfs is there");
    }
}

/// The device, where it is this node that is looked at.
pub(super) fn device(report: &mut Report) {
    let path = Path::new("/dev/fuse");
    match fs::metadata(path) {
        Ok(status) if !status.file_type().is_char_device() => report.error(
            "fuse-device",
            "/dev/fuse is no device",
            "rm /dev/fuse && mknod -m 666 /dev/fuse c 10 229",
        ),
        Ok(status) if status.mode() & 0o006 != 0o006 => report.warning(
            "fuse-device",
            format!(
                "/dev/fuse is not open to users (mode {:o}): each start unpacks its image",
                status.mode() & 0o777
            ),
            "chmod 666 /dev/fuse (and see what udev rule closed it)",
        ),
        Ok(_) => report.ok("fuse-device", "/dev/fuse is open to users"),
        Err(error) => report.warning(
            "fuse-device",
            format!("/dev/fuse: {error}: each start unpacks its image"),
            "modprobe fuse && echo fuse > /etc/modules-load.d/fuse.conf",
        ),
    }
}

/// Whether a program says that it is new enough.
fn version(
    program: &Path,
    name: &str,
    check: &'static str,
    argument: &str,
    least: [u32; 3],
    report: &mut Report,
) {
    if let Some(fault) = owner::fault(program) {
        report.warning(
            "tool-untrusted",
            format!("{fault}: {name} is not asked for its version"),
            fault.mend(),
        );
        return;
    }
    let mut command = ask::program(program);
    command.arg(argument);
    let least_text = least.map(|part| part.to_string()).join(".");
    match ask::answer(command) {
        Ok(text) => match numbers(&text) {
            Some(found) if found < least => {
                let found = found.map(|part| part.to_string()).join(".");
                report.error(
                    check,
                    format!("{name} is {found}, older than {least_text}"),
                    format!("install a newer {name}"),
                );
            }
            Some(found) => {
                let found = found.map(|part| part.to_string()).join(".");
                report.ok("version", format!("{name} is {found}"));
            }
            None => report.warning(
                check,
                format!("{name} does not say which version it is"),
                format!("install {name} {least_text} or newer"),
            ),
        },
        Err(error) => report.error(
            check,
            format!("{name} does not run: {error}"),
            format!("install {name} again"),
        ),
    }
}

/// One that is of no use is as none: Debian 11 and Ubuntu 22.04 have such a one.
fn linked(program: &Path, report: &mut Report) {
    let bytes = bytes_of(program).unwrap_or_default();
    let needed = Elf::parse(&bytes).and_then(|elf| elf.needed()).unwrap_or_default();
    if needed.iter().any(|library| library.starts_with("libfuse.so.2")) {
        report.ok(
            "squashfuse",
            format!(
                "{} is linked with FUSE 2, which cannot be given an open device: only images packed with xz or \
                 lzma would want another",
                program.display()
            ),
        );
    }
}

/// The first word that looks like a version.
fn numbers(text: &str) -> Option<[u32; 3]> {
    text.split_whitespace().find_map(|word| {
        let mut parts = word.split('.').map(|part| {
            let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part[..end].parse::<u32>().ok()
        });
        let (first, second) = (parts.next()??, parts.next()??);
        Some([first, second, parts.next().flatten().unwrap_or(0)])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_print() {
        let banner = "squashfuse 0.1.104 (c) 2012 Dave Vasilevsky\n\nUsage: squashfuse [options]";
        assert_eq!(numbers(banner), Some([0, 1, 104]));
        assert_eq!(numbers("4.1.2\n"), Some([4, 1, 2]));
        assert_eq!(numbers("squashfuse 0.5 x"), Some([0, 5, 0]));
        assert_eq!(numbers("none at all"), None);
    }
}
