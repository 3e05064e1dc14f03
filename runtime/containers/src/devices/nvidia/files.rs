//! Files of the driver beside its libraries: programs, firmware, configuration, sockets.

use super::super::host::{Host, base};
use super::capabilities::{Capabilities, Capability, PROGRAMS};
use crate::cdi::Mount;

const OPTIONS: [&str; 5] = ["ro", "nosuid", "nodev", "rbind", "rprivate"];
/// A socket is written to.
const SOCKET: [&str; 5] = ["nosuid", "nodev", "rbind", "rprivate", "noexec"];

const PATH: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// Where configuration may be on a node.
const CONFIGURATION: [&str; 3] = ["/etc", "/usr/local/share", "/usr/share"];
/// For whom, where in a container, and the names that are looked for.
const SHARED: [(&[Capability], &str, &[&str]); 3] = [
    (
        &[Capability::Graphics, Capability::Display],
        "/usr/share",
        &[
            "glvnd/egl_vendor.d/10_nvidia.json",
            "egl/egl_external_platform.d/15_nvidia_gbm.json",
            "egl/egl_external_platform.d/10_nvidia_wayland.json",
            "egl/egl_external_platform.d/09_nvidia_wayland2.json",
            "egl/egl_external_platform.d/20_nvidia_xcb.json",
            "egl/egl_external_platform.d/20_nvidia_xlib.json",
            "nvidia/nvoptix.bin",
            "X11/xorg.conf.d/10-nvidia.conf",
            "X11/xorg.conf.d/nvidia-drm-outputclass.conf",
        ],
    ),
    (&[Capability::Compute], "/etc", &["OpenCL/vendors/nvidia.icd"]),
    (
        &[Capability::Graphics, Capability::Display],
        "/etc",
        &[
            "vulkan/icd.d/nvidia_icd.json",
            "vulkan/icd.d/nvidia_layers.json",
            "vulkan/implicit_layer.d/nvidia_layers.json",
            #[cfg(target_arch = "x86_64")]
            "vulkan/icd.d/nvidia_icd.x86_64.json",
            #[cfg(target_arch = "aarch64")]
            "vulkan/icd.d/nvidia_icd.aarch64.json",
        ],
    ),
];
const SOCKETS: [&str; 2] = ["nvidia-persistenced/socket", "nvidia-fabricmanager/socket"];
const MPS: &str = "/tmp/nvidia-mps";

fn mount(source: &str, target: &str, options: &[&str]) -> Mount {
    Mount {
        source: source.to_owned(),
        target: target.to_owned(),
        fstype: None,
        options: options.iter().map(|option| (*option).to_owned()).collect(),
    }
}

/// A file that is read, where the node has it.
pub(crate) fn read_only(path: &str) -> Mount {
    mount(path, path, &OPTIONS)
}

/// What the container gets of them. `folders` have the libraries, `kernel` is the running kernel's
/// release.
pub(super) fn find(
    host: &Host,
    version: &str,
    wanted: &Capabilities,
    folders: &[String],
    kernel: &str,
) -> Vec<Mount> {
    let mut mounts = Vec::new();
    for (capabilities, name) in PROGRAMS {
        let program = PATH.iter().map(|directory| format!("{directory}/{name}"));
        let is_program = |path: &String| {
            use std::os::unix::fs::PermissionsExt;
            let found = host.metadata(path);
            found.is_some_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
        };
        if wanted.has(capabilities) {
            mounts.extend(program.into_iter().find(is_program).map(|path| read_only(&path)));
        }
    }
    mounts.extend(firmware(host, version, kernel));
    for (capabilities, place, names) in SHARED {
        for name in names.iter().filter(|_| wanted.has(capabilities)) {
            let found = CONFIGURATION.iter().map(|directory| format!("{directory}/{name}"));
            let found = found.into_iter().find(|path| host.has(path));
            mounts.extend(found.map(|path| mount(&path, &format!("{place}/{name}"), &OPTIONS)));
        }
    }
    if wanted.graphics() {
        mounts.extend(xorg(host, version, folders));
    }
    if wanted.has(&[Capability::Utility]) {
        for name in SOCKETS {
            let places = ["/run", "/var/run"].map(|directory| format!("{directory}/{name}"));
            let found = places.iter().find(|path| host.has(path));
            mounts.extend(found.map(|path| mount(path, path, &SOCKET)));
        }
    }
    if wanted.has(&[Capability::Compute]) && host.has(MPS) {
        mounts.push(mount(MPS, MPS, &SOCKET));
    }
    mounts
}

/// What the GPU's own processor runs, of this version, wherever the kernel looks for firmware.
fn firmware(host: &Host, version: &str, kernel: &str) -> Vec<Mount> {
    let own = host.text("/sys/module/firmware_class/parameters/path");
    let own = own.as_deref().map(str::trim).filter(|path| path.starts_with('/'));
    let usual = [
        format!("/lib/firmware/updates/{kernel}"),
        "/lib/firmware/updates".to_owned(),
        format!("/lib/firmware/{kernel}"),
        "/lib/firmware".to_owned(),
    ];
    let mut mounts = Vec::new();
    for place in own.map(str::to_owned).into_iter().chain(usual) {
        let directory = format!("{place}/nvidia/{version}");
        let is_it = |name: &String| name.starts_with("gsp") && name.ends_with(".bin");
        for name in host.names(&directory).into_iter().filter(is_it) {
            mounts.push(read_only(&format!("{directory}/{name}")));
        }
    }
    mounts
}

/// Modules of the X server, where the node has them.
fn xorg(host: &Host, version: &str, folders: &[String]) -> Vec<Mount> {
    let mut places: Vec<String> = Vec::new();
    let modules = |directory: &str| {
        ["modules", "modules/updates"].map(|modules| {
            ["drivers", "extensions"].map(|kind| format!("{directory}/{modules}/{kind}"))
        })
    };
    for folder in folders {
        places.push(format!("{folder}/nvidia/xorg"));
        places.extend(modules(&format!("{folder}/xorg")).into_iter().flatten());
    }
    for directory in ["/usr/lib/xorg", "/usr/lib64/xorg", "/usr/X11R6/lib", "/usr/X11R6/lib64"] {
        places.extend(modules(directory).into_iter().flatten());
    }
    let names = ["nvidia_drv.so".to_owned(), format!("libglxserver_nvidia.so.{version}")];
    let find = |name: &String| {
        places.iter().map(|place| format!("{place}/{name}")).find(|path| host.has(path))
    };
    names.iter().filter_map(find).map(|path| read_only(&path)).collect()
}

/// Whether a path is that of a library, as the dynamic linker's folders have them.
pub(super) fn is_library(path: &str) -> bool {
    let name = base(path);
    let after = name.rsplit_once(".so").map(|(_, after)| after);
    name.starts_with("lib") && after.is_some_and(|after| after.is_empty() || after.starts_with('.'))
}
