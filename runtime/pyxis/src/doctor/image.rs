//! What a container of an image would get of this node's devices, and why.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use containers::cdi::{Action, Edits};
use containers::devices::{ContainerVariables, DriverSummary, NodeDevices, Wanted, look};
use linux::environ::{self, Environ};
use squashfs::Kind;

use super::Report;
use crate::settings::Settings;

/// More than any of the small files has.
const LARGEST: u64 = 1 << 20;
const COMPAT: &str = "/usr/local/cuda/compat";
/// Where images have libraries.
const LIBRARIES: [&str; 6] = [
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/lib",
    "/usr/local/lib",
];
const VISIBLE: &str = "NVIDIA_VISIBLE_DEVICES";

/// An image to be looked at.
enum Tree {
    Squashfs(Box<squashfs::Image>),
    Directory(PathBuf),
}

impl Tree {
    fn open(path: &Path) -> io::Result<Tree> {
        if path.is_dir() {
            return Ok(Tree::Directory(path.to_owned()));
        }
        let image = squashfs::Image::open(File::open(path)?).map_err(io::Error::other)?;
        Ok(Tree::Squashfs(Box::new(image)))
    }

    fn read(&self, path: &str) -> Option<Vec<u8>> {
        match self {
            Tree::Squashfs(image) => image.contents(Path::new(path), LARGEST).ok(),
            Tree::Directory(_) => self.host()?.contents(path, LARGEST),
        }
    }

    fn host(&self) -> Option<containers::devices::Host> {
        match self {
            Tree::Squashfs(_) => None,
            Tree::Directory(root) => Some(containers::devices::Host::below(root)),
        }
    }

    /// Names in a directory.
    fn names(&self, path: &str) -> Vec<String> {
        let image = match self {
            Tree::Squashfs(image) => image,
            Tree::Directory(_) => {
                return self.host().map(|host| host.list(path)).unwrap_or_default();
            }
        };
        let Ok(inode) = image.find(Path::new(path), true) else { return Vec::new() };
        let Kind::Directory(directory) = &inode.kind else { return Vec::new() };
        let Ok(listing) = image.list(directory, 0) else { return Vec::new() };
        let names = listing.map_while(Result::ok).take(1 << 16);
        names.filter_map(|entry| String::from_utf8(entry.name).ok()).collect()
    }

    /// The first file in the usual folders whose name begins so.
    fn library(&self, name: &str) -> Option<String> {
        LIBRARIES.iter().find_map(|folder| {
            let names = self.names(folder);
            let found = names.into_iter().filter(|found| found.starts_with(name)).max();
            found.map(|found| format!("{folder}/{found}"))
        })
    }
}

/// Looks at an image. `environ` are the variables of the step, or of whoever asks.
///
/// # Errors
/// Where the image cannot be opened.
pub fn examine_image(path: &Path, wanted: &Wanted, settings: &Settings) -> io::Result<Report> {
    let environ = &settings.host;
    let mut report = Report::default();
    let tree = Tree::open(path)?;
    let lines = tree.read("/etc/environment").unwrap_or_default();
    let lines = environ::of_image(&lines, environ);
    let seen = look(wanted, environ, ContainerVariables { image: &lines, others: b"" });
    let variables: Environ = environ::entries(&lines).collect();
    let get = |name: &str| {
        let value = variables.get(std::ffi::OsStr::new(name))?.to_str()?;
        Some(value.to_owned())
    };
    describe_node(&seen, &mut report);
    describe_choice(&seen, wanted, settings, &get, &mut report);
    if let Some(driver) = &seen.driver {
        describe_cuda(&tree, driver, get("CUDA_VERSION").as_deref(), &mut report);
    }
    describe_fabric(&tree, get("NCCL_VERSION").as_deref(), wanted, &mut report);
    Ok(report)
}

fn describe_node(seen: &NodeDevices, report: &mut Report) {
    let Some(driver) = &seen.driver else {
        report.ok("node-driver", "this node has no NVIDIA driver");
        return;
    };
    let cuda = driver.cuda.map(|cuda| format!(", up to CUDA {cuda}")).unwrap_or_default();
    let gpus: Vec<String> = driver
        .gpus
        .iter()
        .enumerate()
        .map(|(place, gpu)| {
            let uuid = gpu.uuid.as_deref().unwrap_or("no UUID yet");
            let parts = match gpu.parts {
                0 => String::new(),
                count => format!(", {count} MIG devices"),
            };
            let usable = if gpu.usable { "" } else { ", not for this process" };
            format!("{place}: {} ({uuid}, {}{parts}{usable})", gpu.model, gpu.node)
        })
        .collect();
    report
        .ok("node-driver", format!("NVIDIA driver {}{cuda}; {}", driver.version, gpus.join("; ")));
}

fn describe_choice(
    seen: &NodeDevices,
    wanted: &Wanted,
    settings: &Settings,
    of_image: &dyn Fn(&str) -> Option<String>,
    report: &mut Report,
) {
    let (environ, visible) = (&settings.host, std::ffi::OsStr::new(VISIBLE));
    let of_node = settings.enroot.variables.get(visible);
    let of_node = of_node.filter(|_| settings.of_enroot.contains(visible));
    let why = match (environ.get(visible), of_image(VISIBLE)) {
        _ if !wanted.nvidia => format!(
            "{VISIBLE} and Slurm's GPUs mean nothing here: by cdi.nvidia, or by hooks.d (pyxis doctor -v)"
        ),
        (Some(value), _) => {
            let value = value.to_string_lossy();
            match of_node {
                Some(said) => format!("{VISIBLE}={value} of {}:{}", said.path.display(), said.line),
                None => format!("{VISIBLE}={value} of the environment"),
            }
        }
        (None, Some(value)) => format!("{VISIBLE}={value} of the image"),
        (None, None) => match environ.get(std::ffi::OsStr::new("SLURM_STEP_GPUS")) {
            Some(value) => format!("SLURM_STEP_GPUS={}", value.to_string_lossy()),
            None => format!("neither {VISIBLE} nor a step of Slurm's with GPUs"),
        },
    };
    match &seen.chosen {
        Err(error) => {
            report.error("image-devices", format!("a container would not start: {error}"), why)
        }
        Ok(edits) if edits.is_empty() => {
            report.ok("image-devices", format!("a container gets no devices: {why}"));
            let mut all = environ.clone();
            all.insert(VISIBLE.into(), "all".into());
            // What it would come to, in a job with GPUs.
            if let (Some(_), Ok(edits)) =
                (&seen.driver, look(wanted, &all, ContainerVariables::default()).chosen)
            {
                report.ok("image-devices-all", format!("with {VISIBLE}=all: {}", summary(&edits)));
            }
        }
        Ok(edits) => {
            report.ok("image-devices", format!("a container gets {}: {why}", summary(edits)))
        }
    }
}

/// Nodes by name, files by number.
fn summary(edits: &Edits) -> String {
    let nodes: Vec<&str> = edits.nodes.iter().map(|node| node.path.as_str()).collect();
    let is_library = |target: &str| target.contains(".so");
    let libraries = edits.mounts.iter().filter(|mount| is_library(&mount.target)).count();
    let files = edits.mounts.len() - libraries;
    let by = match edits.actions.iter().any(|action| matches!(action, Action::Compat { .. })) {
        true => "the driver's files",
        false => "specifications",
    };
    let nodes = if nodes.is_empty() { "no node".to_owned() } else { nodes.join(", ") };
    format!("{nodes}, {libraries} libraries and {files} other files, by {by}")
}

/// Whether the image's CUDA is one for this driver.
fn describe_cuda(
    tree: &Tree,
    driver: &DriverSummary,
    of_variable: Option<&str>,
    report: &mut Report,
) {
    let of_file = || {
        let text = String::from_utf8(tree.read("/usr/local/cuda/version.json")?).ok()?;
        let document: serde_json::Value = serde_json::from_str(&text).ok()?;
        document["cuda"]["version"].as_str().map(str::to_owned)
    };
    let Some(cuda) = of_variable.map(str::to_owned).or_else(of_file) else { return };
    let Some(have) = driver.cuda else {
        report.ok(
            "image-cuda",
            format!("the image has CUDA {cuda}; what {} has is not known", driver.version),
        );
        return;
    };
    let numbers = |text: &str| -> Vec<u32> {
        text.split('.').take(2).map_while(|part| part.parse().ok()).collect()
    };
    let (wants, has) = (numbers(&cuda), numbers(have));
    let compat = tree.names(COMPAT).into_iter().find_map(|name| {
        let version = name.strip_prefix("libcuda.so.")?;
        version.contains('.').then(|| version.to_owned())
    });
    let newer = compat.filter(|compat| numbers(compat).first() > numbers(&driver.version).first());
    let text = format!("the image has CUDA {cuda}, and the driver {} has {have}", driver.version);
    match newer {
        _ if wants <= has => report.ok("image-cuda", text),
        Some(compat) => report.ok(
            "image-cuda",
            format!("{text}: its compatibility libraries ({compat}) are used, where the GPU is one for them"),
        ),
        None if wants.first() == has.first() => report.ok(
            "image-cuda",
            format!("{text}: they work together by CUDA's minor version compatibility"),
        ),
        None => report.error(
            "image-cuda",
            format!("{text}, and the image has no compatibility libraries in {COMPAT}"),
            format!("use an image with CUDA {} or older, or update the driver", has[0]),
        ),
    }
}

/// Whether NCCL would find the node's fabric.
fn describe_fabric(tree: &Tree, of_variable: Option<&str>, wanted: &Wanted, report: &mut Report) {
    let nccl = of_variable.map(str::to_owned).or_else(|| tree.library("libnccl.so."));
    let adapters = wanted.host.list("/sys/class/infiniband");
    let (Some(nccl), false) = (nccl, adapters.is_empty()) else { return };
    let verbs = wanted.host.list("/dev/infiniband");
    let verbs = verbs.iter().filter(|name| name.starts_with("uverbs")).count();
    let adapters = adapters.join(", ");
    match tree.library("libibverbs.so.1") {
        _ if verbs == 0 => report.warning(
            "image-fabric",
            format!(
                "the node has {adapters}, and no /dev/infiniband/uverbs*: NCCL ({nccl}) uses TCP"
            ),
            "modprobe ib_uverbs",
        ),
        None => report.warning(
            "image-fabric",
            format!(
                "the node has {adapters}, and the image no libibverbs.so.1: NCCL ({nccl}) uses TCP"
            ),
            "add libibverbs1 (Debian) or libibverbs (Fedora) to the image",
        ),
        Some(library) => {
            report.ok("image-fabric", format!("NCCL ({nccl}) finds {adapters} by {library}"))
        }
    }
}
