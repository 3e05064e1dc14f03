//! Where users cannot mount overlays, as before Linux 5.11: fuse-overlayfs, if it is installed, above the image's files, which are
//! unpacked once on the node and kept ([`crate::record::unpacked`]).

use std::fs::File;
use std::io;
use std::path::Path;

use hygiene::console;
use nix::unistd::geteuid;

use crate::HostSide;
use crate::record::scratch::{ScratchLayer, sweep_layers};
use crate::record::unpacked::Unpacked;
use crate::start::rootfs::extract::write_files;
use crate::start::rootfs::layers::takes_layer;
use crate::start::rootfs::merger::{LIBRARIES, Merger};
use crate::start::rootfs::server::device;

const PROGRAM: &str = "fuse-overlayfs";
/// The first kernel whose overlay is for users.
const OVERLAYS: (u32, u32) = (5, 11);

/// Finds it, and a new layer for it, where the kernel has no overlay for us; outside all namespaces.
pub(in crate::start) fn find_merger(
    (image, path): (&File, &Path),
    mark: &str,
    host: &HostSide,
) -> Option<(Merger, ScratchLayer)> {
    // What a vendor has added to an older kernel is tried.
    if geteuid().is_root() || (host.overlay && kernel() >= OVERLAYS) {
        return None;
    }
    let program = host.program(PROGRAM)?.canonicalize().ok()?;
    let within = LIBRARIES.iter().any(|place| program.starts_with(Path::new("/").join(place)));
    let place = host.unpacked.as_deref().filter(|_| within && device().is_ok())?;
    sweep_layers(&host.layers);
    let layer = host.layers.iter().find_map(|place| ScratchLayer::make(place).ok())?;
    let found = match takes_layer(&layer.path, host) {
        Err(why) if why.is_of_kernel() => unpacked(image, path, place, host),
        _ => None,
    };
    match found {
        Some(image) => {
            let mark = mark.to_owned();
            Some((Merger { program, image, layer: layer.path.clone(), mark }, layer))
        }
        None => {
            layer.discard();
            None
        }
    }
}

fn unpacked(image: &File, path: &Path, place: &Path, host: &HostSide) -> Option<Unpacked> {
    let unpack = |tree: &File| {
        let (name, place) = (path.display(), place.display());
        console::tell(format_args!(
            "pyxis: the kernel has no overlay for users; {name} is unpacked once, below {place}"
        ));
        write_files(image, path, tree, host)
    };
    let unpacked = Unpacked::of(image, place, &unpack);
    let failed = |error: &io::Error| {
        console::tell(format_args!(
            "pyxis: cannot keep an unpacked image below {}: {error}",
            place.display()
        ));
    };
    unpacked.inspect_err(failed).ok()
}

/// Version and patch level, as far as they can be read.
fn kernel() -> (u32, u32) {
    let release = nix::sys::utsname::uname();
    let release = release.as_ref().ok().and_then(|name| name.release().to_str()).unwrap_or("");
    version(release)
}

fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    let mut next = || numbers.next().and_then(|number| number.parse().ok()).unwrap_or(u32::MAX);
    (next(), next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_known_by_their_first_two_numbers() {
        assert!(version("5.10.0-32-cloud-amd64") < OVERLAYS);
        assert!(version("4.18.0-553.el8") < OVERLAYS);
        assert!(version("5.11") >= OVERLAYS);
        assert!(version("6.1.0-50") >= OVERLAYS);
        // Whatever it calls itself.
        assert!(version("") >= OVERLAYS);
    }
}
