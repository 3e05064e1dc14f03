//! How the packages relate to each other, to Slurm and to the original pyxis.

use crate::kinds::Format;
use crate::package::Relations;
use build_matrix::lists;
use build_matrix::workspace::ListedRelease;
use slurm_releases::RELEASES;

/// The name of the original's package.
pub(crate) const ORIGINAL_NAME: &str = "nvslurm-plugin-pyxis";

/// The releases of the table, with their latest micro releases.
fn known() -> Vec<ListedRelease> {
    let known = |release: &slurm_releases::Release| ListedRelease {
        name: release.name.into(),
        micro: release.number & 0xff,
    };
    RELEASES.iter().map(known).collect()
}

/// What fetching an image and packing it wants: the registry's certificate is looked up among the system's. And useradd,
/// where that is a package of its own.
fn requires(format: Format) -> Vec<Vec<&'static str>> {
    let mut all = vec![vec!["squashfs-tools"], vec!["ca-certificates"]];
    if format == Format::Deb {
        all.push(vec!["passwd"]);
    }
    all
}

/// In an image of a node that is being made these may come later than the package, or never. Debian has them always.
fn for_after_install(format: Format) -> Vec<&'static str> {
    match format {
        Format::Deb => Vec::new(),
        Format::Rpm => vec!["coreutils", "grep", "sed", "/usr/bin/getent", "/usr/sbin/useradd"],
    }
}

/// Of the one package that is built as the original's is.
pub(crate) fn single(format: Format) -> Relations {
    Relations {
        requires: requires(format),
        for_after_install: for_after_install(format),
        recommends: vec![vec!["squashfuse"]],
        suggests: vec!["enroot", "fuse-overlayfs"],
        conflicts: vec!["pyxis"],
        ..Relations::default()
    }
}

/// The package of one build.
pub(crate) fn build_name(release: &str) -> String {
    format!("pyxis-slurm{release}")
}

/// Of the package `pyxis`; `slurm` are the names that Slurm's packages have, and `whole` says whether there is a build for
/// every release.
pub(crate) fn pyxis(slurm: &[String], format: Format, whole: bool) -> Relations {
    let newest = RELEASES.last().expect("there are releases");
    let next = slurm_releases::above(newest.name).expect("a release has two parts");
    Relations {
        // Nothing without which a job would fail is only recommended: images of nodes are made without. Of several packages
        // that would do apt takes the one that is named first, dnf any: there all builds come along.
        same_version: match (format, whole) {
            (Format::Rpm, true) => vec!["pyxis-all".into()],
            _ => Vec::new(),
        },
        requires: [
            match (format, whole) {
                (Format::Deb, true) => vec![vec!["pyxis-all", "pyxis-slurm"]],
                (Format::Rpm, true) => Vec::new(),
                (_, false) => vec![vec!["pyxis-slurm"]],
            },
            requires(format),
        ]
        .concat(),
        for_after_install: for_after_install(format),
        recommends: vec![vec!["squashfuse"]],
        suggests: vec!["enroot", "fuse-overlayfs"],
        replaces: vec![ORIGINAL_NAME],
        stands_for: lists::pinned(&known()),
        older_than: slurm.iter().map(|name| (name.clone(), next.clone())).collect(),
        ..Relations::default()
    }
}

/// Of the package of one build.
pub(crate) fn build() -> Relations {
    Relations {
        same_version: vec!["pyxis".into()],
        provides: vec!["pyxis-slurm"],
        ..Relations::default()
    }
}

/// Of the command under enroot's name, in place of NVIDIA's packages.
pub(crate) fn enroot() -> Relations {
    Relations {
        same_version: vec!["pyxis".into()],
        // Not obsolete: an upgrade of all packages leaves a node with the enroot that it has.
        // Those with capabilities fail when they are removed after the programs that these are for.
        conflicts: vec!["enroot", "enroot-hardened", "enroot+caps", "enroot-hardened+caps"],
        provides_versions: vec![("enroot", "4.1.2-1"), ("enroot+caps", "4.1.2-1")],
        ..Relations::default()
    }
}

/// Of the package that wants all builds.
pub(crate) fn all(releases: &[&str]) -> Relations {
    Relations {
        same_version: releases.iter().map(|release| build_name(release)).collect(),
        ..Relations::default()
    }
}
