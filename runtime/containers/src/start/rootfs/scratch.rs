//! Where the changes of a container without a name are kept: in memory, unless the kernel's tmpfs has
//! no attributes of users, as before Linux 6.6. An overlay notes in them that a directory is the
//! image's no longer; without, directories of the image could be neither renamed nor removed.
//!
//! Then, whichever comes first: a directory on disk that takes a layer; the image unpacked into memory,
//! if it is small; memory all the same, with a line that says what cannot be done.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use hygiene::console;
use nix::errno::Errno;

use crate::HostSide;
use crate::record::scratch::{ScratchLayer, sweep_layers};
use crate::start::rootfs::layers::takes_layer;
use crate::start::rootfs::server::NO_ATTRIBUTES;

/// Bytes of an image that is unpacked into memory rather than be limited.
const SMALL: u64 = 64 << 20;
const NAME: &std::ffi::CStr = c"user.pyxis.try";

/// Where changes are to be kept.
pub(in crate::start) enum Changes {
    /// In memory.
    InMemory,
    /// On disk, until the container ends.
    OnDisk(ScratchLayer),
    /// Nowhere: the image is to be unpacked.
    Unpacked,
}

impl Changes {
    /// Finds a place for the changes of a container of `image`; outside all namespaces. `memory` is any
    /// file in memory.
    pub(in crate::start) fn place(image: &File, host: &HostSide, memory: &File) -> Changes {
        if !host.overlay || keeps_attributes(memory) {
            return Changes::InMemory;
        }
        sweep_layers(&host.layers);
        let mut no_overlay = false;
        let found = host.layers.iter().find_map(|place| layer_at(place, host, &mut no_overlay));
        if no_overlay {
            return Changes::InMemory;
        }
        if let Some(layer) = found {
            console::tell(format_args!(
                "pyxis: {NO_ATTRIBUTES}; changes are kept in {} until the container ends",
                layer.path.parent().unwrap_or(&layer.path).display()
            ));
            return Changes::OnDisk(layer);
        }
        if image.metadata().is_ok_and(|stat| stat.len() <= SMALL) {
            return Changes::Unpacked;
        }
        console::tell(format_args!(
            "pyxis: {NO_ATTRIBUTES}; directories of the image can be neither renamed nor removed: set \
             PYXIS_LAYER_PATH to a directory on a local disk ({} will not do)",
            listed(&host.layers)
        ));
        Changes::InMemory
    }
}

/// All files in memory are on the same kind of file system.
fn keeps_attributes(memory: &File) -> bool {
    let tried = linux::xattr::set(memory.as_fd(), NAME, b"");
    tried.err().and_then(|error| error.raw_os_error()) != Some(Errno::EOPNOTSUPP as i32)
}

/// A kernel without overlays for users (`no_overlay`) takes a layer nowhere: its images are unpacked.
fn layer_at(place: &Path, host: &HostSide, no_overlay: &mut bool) -> Option<ScratchLayer> {
    if *no_overlay {
        return None;
    }
    let layer = ScratchLayer::make(place).ok()?;
    let Err(why) = takes_layer(&layer.path, host) else { return Some(layer) };
    layer.discard();
    *no_overlay = why.is_of_kernel();
    None
}

fn listed(places: &[PathBuf]) -> String {
    let places: Vec<_> = places.iter().map(|place| place.display().to_string()).collect();
    places.join(", ")
}
