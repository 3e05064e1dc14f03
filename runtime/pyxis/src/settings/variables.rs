//! Every environment variable that the command reads, each a constant with what it says. Those of
//! the table of settings ([`super::table`]) are read as settings, the others where they are named.

/// Where a user's containers are.
pub const DATA_PATH: &str = "ENROOT_DATA_PATH";
/// Nodes that share that place have containers of their own there.
pub const PER_NODE: &str = "PYXIS_PER_NODE";
/// What imports keep.
pub const CACHE_PATH: &str = "ENROOT_CACHE_PATH";
/// A user's credentials, and folders of mounts, variables and hooks.
pub const CONFIG_PATH: &str = "ENROOT_CONFIG_PATH";
/// Where hooks see a container that is being started.
pub const RUNTIME_PATH: &str = "ENROOT_RUNTIME_PATH";
/// Temporary files.
pub const TEMP_PATH: &str = "ENROOT_TEMP_PATH";
/// enroot's own configuration.
pub const SYSCONF_PATH: &str = "ENROOT_SYSCONF_PATH";
/// Where changes are kept that memory cannot keep.
pub const LAYER_PATH: &str = "PYXIS_LAYER_PATH";
/// Where hooks find enroot's `common.sh`.
pub const LIBRARY_PATH: &str = "ENROOT_LIBRARY_PATH";

/// The root file system can be written to.
pub const ROOTFS_WRITABLE: &str = "ENROOT_ROOTFS_WRITABLE";
/// The user is root inside.
pub const REMAP_ROOT: &str = "ENROOT_REMAP_ROOT";
/// The home directory is mounted.
pub const MOUNT_HOME: &str = "ENROOT_MOUNT_HOME";
/// What an image's own `/etc/fstab` asks for of the host is mounted.
pub const IMAGE_MOUNTS: &str = "PYXIS_IMAGE_MOUNTS";
/// Slurm's commands work inside.
pub const SLURM_COMMANDS: &str = "PYXIS_SLURM_COMMANDS";
/// Command scripts run in a login shell.
pub const LOGIN_SHELL: &str = "ENROOT_LOGIN_SHELL";
/// `/dev` has the least devices.
pub const RESTRICT_DEV: &str = "ENROOT_RESTRICT_DEV";
/// The kernel's overlay is used.
pub const NATIVE_OVERLAYFS: &str = "ENROOT_NATIVE_OVERLAYFS";
/// A PID namespace of the container's own.
pub const UNSHARE_PID: &str = "ENROOT_UNSHARE_PID";
/// A network namespace of the container's own.
pub const UNSHARE_NET: &str = "ENROOT_UNSHARE_NET";
/// An IPC namespace of the container's own.
pub const UNSHARE_IPC: &str = "ENROOT_UNSHARE_IPC";
/// A host name of the container's own.
pub const UNSHARE_UTS: &str = "ENROOT_UNSHARE_UTS";
/// Root keeps its privileges inside.
pub const ALLOW_SUPERUSER: &str = "ENROOT_ALLOW_SUPERUSER";
/// Containers and files that exist are replaced.
pub const FORCE_OVERRIDE: &str = "ENROOT_FORCE_OVERRIDE";
/// The container that a configuration script is for.
pub const ROOTFS: &str = "ENROOT_ROOTFS";

/// Options of mksquashfs.
pub const SQUASH_OPTIONS: &str = "ENROOT_SQUASH_OPTIONS";
/// What of an image is packed.
pub const PACKING: &str = "PYXIS_PACKING";
/// Whether it is said where the time goes.
pub const TIMING: &str = "PYXIS_TIMING";
/// Processors for compression.
pub const MAX_PROCESSORS: &str = "ENROOT_MAX_PROCESSORS";
/// The time that everything in an image gets.
pub const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";

/// Folders of `*.fstab` files.
pub const MOUNTS_PATH: &str = "PYXIS_MOUNTS_PATH";
/// Folders of `*.env` files.
pub const ENVIRON_PATH: &str = "PYXIS_ENVIRON_PATH";
/// Folders of `*.sh` hooks.
pub const HOOKS_PATH: &str = "PYXIS_HOOKS_PATH";

/// Folders of specifications of devices.
pub const CDI_PATH: &str = "PYXIS_CDI_PATH";
/// Devices that every container gets.
pub const CDI_DEVICES: &str = "PYXIS_CDI_DEVICES";
/// Whether `NVIDIA_VISIBLE_DEVICES` is heeded.
pub const CDI_NVIDIA: &str = "PYXIS_CDI_NVIDIA";
/// Where a driver's files are.
pub const CDI_ROOT: &str = "PYXIS_CDI_ROOT";
/// The release of the Slurm whose step this is; the plugin sets it.
pub const SLURM_RELEASE: &str = "PYXIS_SLURM_RELEASE";
/// Whether more is said of devices.
pub const CDI_VERBOSE: &str = "PYXIS_CDI_VERBOSE";

/// The caller's image store.
pub const STORE_PATH: &str = "PYXIS_STORE_PATH";
/// The store of all users; the plugin sets it.
pub const STORE_SHARED: &str = "PYXIS_STORE_SHARED";
/// Nodes of a step send each other what one of them has fetched.
pub const SPREAD: &str = "PYXIS_SPREAD";
/// Stores to read from as well.
pub const STORE_LOWER: &str = "PYXIS_STORE_LOWER";
/// Bytes that garbage collection leaves.
pub const STORE_MAX_BYTES: &str = "PYXIS_STORE_MAX_BYTES";
/// Bytes that a layer may become, whatever its size.
pub const MAX_UNPACKED: &str = "PYXIS_MAX_UNPACKED";

/// When a tag is looked up.
pub const PULL_POLICY: &str = "PYXIS_PULL_POLICY";
/// Hosts that are talked to without TLS.
pub const HTTP_REGISTRIES: &str = "PYXIS_HTTP_REGISTRIES";
/// All registries are talked to without TLS.
pub const ALLOW_HTTP: &str = "ENROOT_ALLOW_HTTP";
/// Per registry, hosts to ask first.
pub const REGISTRY_MIRRORS: &str = "PYXIS_REGISTRY_MIRRORS";
/// Simultaneous downloads.
pub const MAX_CONNECTIONS: &str = "ENROOT_MAX_CONNECTIONS";
/// How often a failed request is tried again.
pub const TRANSFER_RETRIES: &str = "ENROOT_TRANSFER_RETRIES";
/// Seconds to establish a connection.
pub const CONNECT_TIMEOUT: &str = "ENROOT_CONNECT_TIMEOUT";
/// Seconds without a byte.
pub const IDLE_TIMEOUT: &str = "PYXIS_IDLE_TIMEOUT";
/// Seconds for one request.
pub const TRANSFER_TIMEOUT: &str = "ENROOT_TRANSFER_TIMEOUT";

/// How wide the terminal is that shows what is told; the plugin sets it where srun has one.
pub const TERMINAL: &str = "PYXIS_TERMINAL";
/// What kind of terminal it is.
pub const TERM: &str = "TERM";
/// With any of these srun writes what tasks say elsewhere, or something before each line.
pub const ELSEWHERE: [&str; 5] =
    ["SLURM_LABELIO", "SLURM_STDERRMODE", "SLURM_STDOUTMODE", "SRUN_ERROR", "SRUN_OUTPUT"];
/// Another file than `/etc/pyxis/pyxis.toml`.
pub const CONFIG: &str = "PYXIS_CONFIG";
/// The user's home directory.
pub const HOME: &str = "HOME";
/// Where a user's data are, by the XDG base directory specification.
pub const XDG_DATA_HOME: &str = "XDG_DATA_HOME";
/// Where a user's caches are, by the same.
pub const XDG_CACHE_HOME: &str = "XDG_CACHE_HOME";
/// Where a user's configuration is, by the same.
pub const XDG_CONFIG_HOME: &str = "XDG_CONFIG_HOME";
/// Where a user's sockets are, by the same.
pub const XDG_RUNTIME_DIR: &str = "XDG_RUNTIME_DIR";
/// Temporary files, by POSIX.
pub const TMPDIR: &str = "TMPDIR";
/// The node's word on registries, in place of podman's and skopeo's usual files.
pub const CONTAINERS_REGISTRIES_CONF: &str = "CONTAINERS_REGISTRIES_CONF";
/// podman's file of credentials.
pub const REGISTRY_AUTH_FILE: &str = "REGISTRY_AUTH_FILE";
/// docker's folder of configuration.
pub const DOCKER_CONFIG: &str = "DOCKER_CONFIG";
