//! Whether the kernel mounts images of the shared store on this node: tried where root asks, with an image that is
//! in memory.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::Path;

use containers::kernel_mount::lend;
use hygiene::text::parse_bool;
use hygiene::{console, unsecure};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::geteuid;
use squashfs::write::{Attributes, NewFile, Options, Packing, Writer};

use super::ask;
use super::lines::PyxisLine;
use super::report::Report;

const CHECK: &str = "kernel-image";
/// What the child says where it works.
const DONE: &str = "mounted";
/// Whose the tried mount is to be.
const NOBODY: u32 = 65534;

/// What is known of it.
enum Answer {
    /// The administrator does not want it.
    Off,
    Works,
    /// Only root can say.
    Untried,
    Fails(String),
}

/// For a line with a shared store; a container starts either way.
pub(super) fn check(lines: &[PyxisLine], report: &mut Report) {
    let argument = |key| lines.iter().rev().find_map(|line| line.line.argument(key));
    if argument("shared_store").is_none_or(str::is_empty) {
        return;
    }
    let allowed = argument("kernel_mounts").and_then(|value| parse_bool(value.as_bytes()));
    let answer = match allowed {
        Some(false) => Answer::Off,
        _ if geteuid().is_root() => attempt(),
        _ => Answer::Untried,
    };
    report.ok(CHECK, words(&answer));
}

fn words(answer: &Answer) -> String {
    match answer {
        Answer::Off => {
            "kernel_mounts=0: an image of the shared store has a server for each container".to_owned()
        }
        Answer::Works => {
            "the kernel mounts images of the shared store, once for all containers".to_owned()
        }
        Answer::Untried => {
            "whether the kernel mounts images of the shared store only root can try: sudo pyxis doctor -v".to_owned()
        }
        Answer::Fails(why) => {
            let why = why.trim();
            let mend = MENDS.iter().find(|(word, _)| why.contains(word)).map_or("", |(_, mend)| mend);
            format!("an image of the shared store has a server for each container, as the kernel does not mount it: {why}{mend}")
        }
    }
}

/// Of the words that `lend` has for what it does, and what then helps.
const MENDS: [(&str, &str); 3] = [
    (
        "loop device",
        " (modprobe loop; a node that is a container itself has to be given its devices)",
    ),
    ("squashfs", " (modprobe squashfs; its packing by zstd is an option of the kernel's)"),
    ("owners", " (Linux 6.2 can)"),
];

/// A child process tries, which makes namespaces that there is no way back from.
fn attempt() -> Answer {
    let mut command = unsecure::command("/proc/self/exe");
    command.args(["doctor", "--probe-image"]).env_clear().current_dir("/");
    match ask::answer(command) {
        Ok(said) if said.trim() == DONE => Answer::Works,
        Ok(why) | Err(why) => Answer::Fails(why),
    }
}

/// The child: has the kernel mount an image, and says so, or why not. Nothing of it is left when it ends.
pub fn probe_image() {
    let said = match image().and_then(|image| lend(&image, OsStr::new(CHECK), (NOBODY, NOBODY))) {
        Ok(_) => DONE.to_owned(),
        Err(error) => error.to_string(),
    };
    // Who asked reads no more if this fails.
    let _ = console::print(format_args!("{said}"));
}

/// As imports write them.
fn image() -> io::Result<File> {
    let file = memfd_create(CHECK, MFdFlags::MFD_CLOEXEC)?;
    let options = Options { threads: 1, ..Options::for_container(Packing::Balanced) };
    let mut writer =
        Writer::new(File::from(file.try_clone()?), options).map_err(io::Error::other)?;
    let attributes = Attributes { mode: 0o644, ..Attributes::default() };
    writer
        .add(b"etc/hostname", &attributes, NewFile::File(&mut &b"node\n"[..]))
        .and_then(|_| writer.finish())
        .map_err(io::Error::other)?;
    // The device is to be read-only; who has it open for writing could change it meanwhile.
    File::open(Path::new("/proc/self/fd").join(std::os::fd::AsRawFd::as_raw_fd(&file).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_becomes_of_images_and_what_helps() {
        let fails = |why: &str| Answer::Fails(why.to_owned());
        let all = [
            Answer::Off,
            Answer::Works,
            Answer::Untried,
            fails("a loop device: No such file or directory (os error 2)\n"),
            fails("squashfs: ENODEV: No such device"),
            fails("its owners: EINVAL: Invalid argument"),
            fails("/proc/self/exe: timed out"),
        ];
        let lines: Vec<String> = all.iter().map(words).collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        kernel_mounts=0: an image of the shared store has a server for each container
        the kernel mounts images of the shared store, once for all containers
        whether the kernel mounts images of the shared store only root can try: sudo pyxis doctor -v
        an image of the shared store has a server for each container, as the kernel does not mount it: a loop device: No such file or directory (os error 2) (modprobe loop; a node that is a container itself has to be given its devices)
        an image of the shared store has a server for each container, as the kernel does not mount it: squashfs: ENODEV: No such device (modprobe squashfs; its packing by zstd is an option of the kernel's)
        an image of the shared store has a server for each container, as the kernel does not mount it: its owners: EINVAL: Invalid argument (Linux 6.2 can)
        an image of the shared store has a server for each container, as the kernel does not mount it: /proc/self/exe: timed out
        ");
    }
}
