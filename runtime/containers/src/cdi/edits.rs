//! What a container needs for its devices: of a specification, or of a driver that was looked up.

use std::path::PathBuf;

/// What a container needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// `NAME=VALUE`.
    pub env: Vec<String>,
    /// Device nodes.
    pub nodes: Vec<DeviceNode>,
    /// Files and directories.
    pub mounts: Vec<Mount>,
    /// Changes of the container's tree that are made by ourselves.
    pub actions: Vec<Action>,
    /// Programs that change the container's tree.
    pub hooks: Vec<Hook>,
    /// Groups that may use the nodes. Nobody is put into one: those of the user's count.
    pub gids: Vec<u32>,
    /// What the container goes without, a line each.
    pub left_out: Vec<String>,
}

/// A device node of the node, to be found in the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceNode {
    /// In the container.
    pub path: String,
    /// On the node.
    pub host_path: String,
    /// Where the specification says so.
    pub kind: Option<NodeKind>,
    /// Major and minor number, where the specification says so.
    pub numbers: (Option<u64>, Option<u64>),
}

/// What a device node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// `b`.
    Block,
    /// `c`, or `u`.
    Character,
    /// `p`: a FIFO, which the specification counts among device nodes.
    Fifo,
}

/// A bind mount, or one of a file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// On the node, or what the file system is called.
    pub source: String,
    /// In the container.
    pub target: String,
    /// Type of a file system that is not bound.
    pub fstype: Option<String>,
    /// As mount(8) has them.
    pub options: Vec<String>,
}

/// A change of the container's tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A symbolic link.
    Link {
        /// What it says.
        target: String,
        /// Where it is.
        link: String,
    },
    /// Makes the libraries in these folders known to the dynamic linker.
    Cache {
        /// In the container.
        folders: Vec<String>,
    },
    /// Prefers the image's own libcuda, where it is made for an older driver such as this one.
    Compat {
        /// The node's driver.
        driver: Option<String>,
        /// The CUDA version of the node's driver.
        cuda: Option<String>,
        /// The folder in the container.
        folder: String,
    },
    /// Tells EGL and Vulkan which GPUs are the container's.
    Profile,
}

/// A program of the node, run before the container's root is entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// When it runs.
    pub point: HookPoint,
    /// On the node.
    pub path: PathBuf,
    /// All of them, with the program's name.
    pub args: Vec<String>,
    /// Its whole environment.
    pub env: Vec<String>,
    /// Seconds until it is killed.
    pub timeout: Option<u32>,
}

impl Hook {
    /// Whether it is one of NVIDIA's toolkit.
    pub(crate) fn of_toolkit(&self) -> bool {
        let name = self.path.file_name().and_then(|name| name.to_str());
        matches!(name, Some("nvidia-cdi-hook" | "nvidia-ctk"))
    }
}

/// The points of a container's life at which hooks run, in that order; the OCI runtime specification names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HookPoint {
    /// The oldest of the three.
    Prestart,
    /// When the namespaces are there.
    CreateRuntime,
    /// When the mounts are there.
    CreateContainer,
}

impl Edits {
    /// Adds what another device needs; nothing is done twice.
    pub(crate) fn add(&mut self, other: Edits) {
        add(&mut self.env, other.env);
        add(&mut self.nodes, other.nodes);
        add(&mut self.mounts, other.mounts);
        add(&mut self.actions, other.actions);
        add(&mut self.hooks, other.hooks);
        add(&mut self.gids, other.gids);
        add(&mut self.left_out, other.left_out);
    }

    /// Whether something is to be done for the container.
    pub fn is_empty(&self) -> bool {
        *self == Edits::default()
    }
}

fn add<T: PartialEq>(have: &mut Vec<T>, more: Vec<T>) {
    for one in more {
        if !have.contains(&one) {
            have.push(one);
        }
    }
}

impl DeviceNode {
    /// A node that is in the container where it is on the node.
    pub(crate) fn at(path: impl Into<String>) -> DeviceNode {
        let path = path.into();
        DeviceNode { host_path: path.clone(), path, kind: None, numbers: (None, None) }
    }
}
