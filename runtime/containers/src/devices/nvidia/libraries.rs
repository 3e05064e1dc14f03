//! The driver's libraries: those in the node's cache and its usual folders that are of the version
//! which the kernel part has, and the links that lead to them.

use std::collections::BTreeSet;

use super::super::elf::Elf;
use super::super::host::{Host, base, folder};
use super::super::ldcache::Cache;
use super::capabilities::{Capabilities, Capability};
use crate::cdi::Action;

/// Where distributions have the driver's libraries, if they are in no cache.
const USUAL: [&str; 10] = [
    "/usr/lib64",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu/nvidia/current",
    "/usr/lib/aarch64-linux-gnu/nvidia/current",
    "/lib64",
    "/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/lib/x86_64-linux-gnu/nvidia/current",
    "/lib/aarch64-linux-gnu/nvidia/current",
];
/// Of the driver's version, in one of its folders each.
const OF_EVERY_DRIVER: [&str; 4] = ["libcuda", "libnvidia-ml", "libnvidia-tls", "libnvidia-glcore"];
/// Libraries of the driver that have versions of their own.
const OF_OTHER_VERSION: [&str; 6] = [
    "libnvidia-egl-gbm.so.",
    "libnvidia-egl-wayland.so.",
    "libnvidia-egl-wayland2.so.",
    "libnvidia-egl-xcb.so.",
    "libnvidia-egl-xlib.so.",
    "libnvidia-nvvm70.so.",
];
/// More than any cache has.
const LARGEST: u64 = 16 << 20;

/// The libraries of a driver.
pub(super) struct Libraries {
    /// Folders that have some of the driver's version.
    pub(super) folders: Vec<String>,
    /// Files that a container gets.
    pub(super) files: Vec<String>,
    /// Those of 32 bits.
    pub(super) narrow: Vec<String>,
}

/// The driver's libraries on a node, by what they are for.
#[derive(Default)]
struct NodeLibraries {
    /// Of the driver's version, for 64 bits.
    wide: BTreeSet<String>,
    /// The same for 32 bits.
    narrow: BTreeSet<String>,
    /// Those that have versions of their own.
    others: BTreeSet<String>,
}

/// Looks for the libraries that are wanted.
pub(super) fn find(host: &Host, version: &str, wanted: &Capabilities) -> Libraries {
    let suffix = format!(".so.{version}");
    let mut seen = of_cache(host, &suffix);
    let mut folders: Vec<String> = Vec::new();
    for path in &seen.wide {
        add(&mut folders, folder(path).to_owned());
    }
    let mut usual: Vec<String> = Vec::new();
    USUAL.iter().filter_map(|path| host.resolve(path)).for_each(|path| add(&mut usual, path));
    for folder in &usual {
        let has = |name: &&str| host.resolve_in(folder, &format!("{name}{suffix}")).is_some();
        if OF_EVERY_DRIVER.iter().any(has) {
            add(&mut folders, folder.clone());
        }
        // By the links that are asked for: the folder may have thousands of others.
        let links = OF_OTHER_VERSION.iter();
        let links = links.flat_map(|name| ["1", "0", "4"].map(|number| format!("{name}{number}")));
        seen.others.extend(links.filter_map(|name| host.resolve_in(folder, &name)));
    }
    // A folder has what no program asks for by name, and so no cache.
    let is_one = |name: &str| name.ends_with(&suffix) || has_other_version(name);
    for below in folders.iter().flat_map(|folder| [folder.clone(), format!("{folder}/vdpau")]) {
        for name in host.names_where(&below, is_one) {
            let path = host.resolve_in(&below, &name);
            let is_of_version = path.as_ref().is_some_and(|path| path.ends_with(&suffix));
            let files = if is_of_version { &mut seen.wide } else { &mut seen.others };
            files.extend(path);
        }
    }
    let others = seen.others.into_iter().filter(|path| has_other_version(base(path)));
    let files: BTreeSet<String> = seen.wide.into_iter().chain(others).collect();
    let is_wanted = |path: &String| wanted.want_library(base(path));
    let compat = wanted.has(&[Capability::Compat32]);
    Libraries {
        folders,
        files: files.into_iter().filter(is_wanted).collect(),
        narrow: seen.narrow.into_iter().filter(|path| compat && is_wanted(path)).collect(),
    }
}

/// What the dynamic linker's cache leads to.
fn of_cache(host: &Host, suffix: &str) -> NodeLibraries {
    let cache = host.bytes("/etc/ld.so.cache", LARGEST).and_then(|bytes| Cache::parse(&bytes));
    let mut seen = NodeLibraries::default();
    for entry in cache.iter().flat_map(|cache| &cache.entries) {
        // Most of a thousand libraries are none of the driver's, and need no look.
        if !is_of_driver(&entry.name) {
            continue;
        }
        let Some(path) = host.resolve(&entry.path) else { continue };
        if has_other_version(base(&path)) && entry.is_wide() {
            seen.others.insert(path);
        } else if path.ends_with(suffix) {
            let files = if entry.is_wide() { &mut seen.wide } else { &mut seen.narrow };
            files.insert(path);
        }
    }
    seen
}

/// Names of the driver's libraries, as far as they can be told apart from others.
fn is_of_driver(name: &str) -> bool {
    let parts = ["nvidia", "libcuda", "libnvcuvid", "libnvoptix", "libGL", "libEGL", "libOpenCL"];
    parts.iter().any(|part| name.contains(part))
}

fn has_other_version(name: &str) -> bool {
    OF_OTHER_VERSION.iter().any(|prefix| {
        // Of those with two numbers at least: the file, and no link that is asked for.
        let version = name.strip_prefix(prefix);
        version.is_some_and(|version| version.contains('.') || prefix.contains("nvvm70"))
    })
}

fn add(list: &mut Vec<String>, one: String) {
    if !list.contains(&one) {
        list.push(one);
    }
}

/// Links beside a library that programs ask for.
pub(super) fn links(host: &Host, path: &str, version: &str) -> Vec<Action> {
    let (directory, file) = (folder(path), base(path));
    let mut links = Vec::new();
    let mut link = |target: &str, name: &str| {
        let link = format!("{directory}/{name}");
        links.push(Action::Link { target: target.to_owned(), link });
    };
    let Some((name, _)) = file.split_once(".so") else { return links };
    let of_version = file.ends_with(&format!(".so.{version}"));
    match name {
        // Many programs open it by this name.
        "libcuda" => link("libcuda.so.1", "libcuda.so"),
        // GLVND wants it for indirect GLX.
        "libGLX_nvidia" => link(file, "libGLX_indirect.so.0"),
        "libnvidia-opticalflow" => link("libnvidia-opticalflow.so.1", "libnvidia-opticalflow.so"),
        // Mesa's loader of GBM backends finds it by this name.
        "libnvidia-allocator" if of_version => {
            link("../libnvidia-allocator.so.1", "gbm/nvidia-drm_gbm.so");
        }
        "libnvidia-vulkan-producer" | "libglxserver_nvidia" if of_version => {
            link(file, &format!("{name}.so"));
        }
        _ => {}
    }
    let opened = host.open(path);
    let soname = opened.as_ref().and_then(|opened| Elf::of(opened)?.dynamic()?.soname);
    if let Some(soname) = &soname {
        if soname != file && host.is_link(&format!("{directory}/{soname}")) {
            link(file, soname);
        }
    }
    let target = soname.as_deref().unwrap_or(file);
    let plain = format!("{name}.so");
    if plain != target && host.is_link(&format!("{directory}/{plain}")) {
        link(target, &plain);
    }
    links
}
