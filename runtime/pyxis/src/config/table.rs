//! Every setting there is, once: the file, the command that shows them, the manual page and the
//! environment all follow this table.

/// What a setting's value is in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A path or template of one.
    Path,
    /// Several of them; joined with `:` in the environment.
    Paths,
    /// `true` or `false`.
    Bool,
    /// A whole number, zero or more.
    Number,
    /// Bytes, or a string such as `"200G"`.
    Size,
    /// Any string.
    Text,
    /// `"always"`, `"missing"` or `"never"`.
    Policy,
    /// Several of them; joined with `,` in the environment.
    Words,
    /// A table of lists; `name=item` joined with `,` in the environment.
    Lists,
}

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// Table in the file.
    pub section: &'static str,
    /// Key in that table.
    pub key: &'static str,
    /// Its form.
    pub kind: Kind,
    /// The environment variable that takes precedence.
    pub variable: &'static str,
    /// In words, what holds without either.
    pub default: &'static str,
    /// What it is for.
    pub about: &'static str,
}

macro_rules! settings {
    ($([$section:literal] $($key:literal $kind:ident $variable:literal $default:literal $about:literal;)+)+) => {
        /// All settings, in the order in which they are shown.
        pub const SETTINGS: &[Setting] = &[$($(Setting {
            section: $section,
            key: $key,
            kind: Kind::$kind,
            variable: $variable,
            default: $default,
            about: $about,
        },)+)+];
    };
}

settings! {
    ["paths"]
    "data" Path "ENROOT_DATA_PATH" "$XDG_DATA_HOME/enroot, or ~/.local/share/enroot"
        "Containers of a user.";
    "cache" Path "ENROOT_CACHE_PATH" "$XDG_CACHE_HOME/enroot, or ~/.cache/enroot"
        "What imports keep.";
    "config" Path "ENROOT_CONFIG_PATH" "$XDG_CONFIG_HOME/enroot, or ~/.config/enroot"
        "A user's credentials and folders of mounts, variables and hooks.";
    "runtime" Path "ENROOT_RUNTIME_PATH" "$XDG_RUNTIME_DIR/enroot, or /run/enroot"
        "Where hooks see a container that is being started.";
    "temp" Path "ENROOT_TEMP_PATH" "$TMPDIR, or /tmp"
        "Temporary files.";

    ["container"]
    "writable" Bool "ENROOT_ROOTFS_WRITABLE" "false"
        "Let root filesystems be written to.";
    "remap_root" Bool "ENROOT_REMAP_ROOT" "false"
        "Be root inside.";
    "mount_home" Bool "ENROOT_MOUNT_HOME" "false"
        "Mount the home directory.";
    "image_mounts" Bool "PYXIS_IMAGE_MOUNTS" "false"
        "Mount what an image's own /etc/fstab asks for of the host.";
    "login_shell" Bool "ENROOT_LOGIN_SHELL" "true under the name enroot, else false"
        "Run command scripts in a login shell, which reads /etc/profile.";
    "restrict_dev" Bool "ENROOT_RESTRICT_DEV" "false"
        "Show the least devices in /dev.";
    "native_overlayfs" Bool "ENROOT_NATIVE_OVERLAYFS" "true"
        "Use the kernel's overlay. Without it images are extracted at each start.";
    "unshare_pid" Bool "ENROOT_UNSHARE_PID" "false"
        "A PID namespace of its own.";
    "unshare_net" Bool "ENROOT_UNSHARE_NET" "false"
        "A network namespace of its own.";
    "unshare_ipc" Bool "ENROOT_UNSHARE_IPC" "false"
        "An IPC namespace of its own.";
    "unshare_uts" Bool "ENROOT_UNSHARE_UTS" "false"
        "A host name of its own.";
    "allow_superuser" Bool "ENROOT_ALLOW_SUPERUSER" "false"
        "Let root keep its privileges inside.";
    "squash_options" Text "ENROOT_SQUASH_OPTIONS" "-comp gzip -noI -noD -noF -noX -exit-on-error"
        "Options of mksquashfs.";
    "max_processors" Number "ENROOT_MAX_PROCESSORS" "0"
        "Processors for compression; 0 for all.";

    ["enroot"]
    "mounts" Paths "PYXIS_MOUNTS_PATH" "none"
        "Folders of *.fstab files, such as /etc/enroot/mounts.d.";
    "environ" Paths "PYXIS_ENVIRON_PATH" "none"
        "Folders of *.env files, such as /etc/enroot/environ.d.";
    "hooks" Paths "PYXIS_HOOKS_PATH" "none"
        "Folders of *.sh hooks, such as /etc/enroot/hooks.d.";
    "library" Path "ENROOT_LIBRARY_PATH" "a small common.sh of our own"
        "Where hooks find enroot's common.sh.";

    ["cdi"]
    "directories" Paths "PYXIS_CDI_PATH" "/etc/cdi and /var/run/cdi"
        "Folders of specifications of devices (CDI), the strongest last.";
    "devices" Words "PYXIS_CDI_DEVICES" "none"
        "Devices that every container gets, such as vendor.com/nic=all.";
    "nvidia" Bool "PYXIS_CDI_NVIDIA" "true"
        "Give containers the nvidia.com/gpu devices that NVIDIA_VISIBLE_DEVICES names.";

    ["store"]
    "path" Path "PYXIS_STORE_PATH" "pyxis in the cache path"
        "Images that were fetched; /tmp-like directories hold one per user.";
    "shared" Path "PYXIS_STORE_SHARED" "the plugin's shared_store"
        "The store of all users, which an account of its own fills; only read.";
    "lower" Paths "PYXIS_STORE_LOWER" "none"
        "Stores to read from as well.";
    "max_size" Size "PYXIS_STORE_MAX_BYTES" "a fifth of the file system"
        "What garbage collection leaves.";

    ["registries"]
    "pull_policy" Policy "PYXIS_PULL_POLICY" "always"
        "When a tag is looked up: always, missing (unless the store knows it), never.";
    "http" Words "PYXIS_HTTP_REGISTRIES" "none"
        "Hosts that are talked to without TLS.";
    "allow_http" Bool "ENROOT_ALLOW_HTTP" "false"
        "Talk to all registries without TLS.";
    "mirrors" Lists "PYXIS_REGISTRY_MIRRORS" "none"
        "Per registry, hosts to ask first.";
    "connections" Number "ENROOT_MAX_CONNECTIONS" "10"
        "Simultaneous downloads; 0 for any number.";
    "retries" Number "ENROOT_TRANSFER_RETRIES" "4"
        "How often a failed request is tried again.";
    "connect_timeout" Number "ENROOT_CONNECT_TIMEOUT" "30"
        "Seconds to establish a connection; 0 for ever.";
    "idle_timeout" Number "PYXIS_IDLE_TIMEOUT" "60"
        "Seconds without a byte; 0 for ever.";
    "transfer_timeout" Number "ENROOT_TRANSFER_TIMEOUT" "0"
        "Seconds for one request; 0 for ever.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_there_twice() {
        for (at, one) in SETTINGS.iter().enumerate() {
            for other in &SETTINGS[at + 1..] {
                assert_ne!((one.section, one.key), (other.section, other.key));
                assert_ne!(one.variable, other.variable);
            }
        }
    }
}
