//! Every setting there is, once: the file, its variables, `pyxis config`, the manual page and the
//! README's table all follow this table.

use std::ffi::OsStr;
use std::path::PathBuf;

use linux::environ::Environ;

use super::places;
use super::value::{Kind, Value};
use super::variables as v;

/// The value of a setting that nobody has set.
#[derive(Clone, Copy)]
pub enum DefaultValue {
    /// This, as an environment variable would have it.
    Is(&'static str),
    /// Nothing, or what cannot be said in a value; in words.
    Unset(&'static str),
    /// A place that depends on other variables; and in words.
    Place(fn(&Environ) -> Option<PathBuf>, &'static str),
}

/// One setting.
pub struct Setting {
    /// Table in the file.
    pub section: &'static str,
    /// Key in that table.
    pub key: &'static str,
    /// Its form.
    pub kind: Kind,
    /// The environment variable that takes precedence over the file.
    pub variable: &'static str,
    /// What holds without either.
    pub default: DefaultValue,
    /// What it is for.
    pub about: &'static str,
}

impl Setting {
    /// The default in words, or as a value of the file.
    pub fn default_in_words(&self) -> String {
        match self.default {
            DefaultValue::Is(text) => {
                let value = self.kind.read_text(OsStr::new(text));
                value.map_or_else(|error| error, |value| value.to_toml())
            }
            DefaultValue::Unset(words) | DefaultValue::Place(_, words) => words.to_owned(),
        }
    }

    /// The default as a value, where there is one.
    pub(super) fn default_value(&self, environ: &Environ) -> Option<Value> {
        match self.default {
            DefaultValue::Is(text) => self.kind.read_text(OsStr::new(text)).ok(),
            DefaultValue::Unset(_) => None,
            DefaultValue::Place(place, _) => place(environ).map(Value::Path),
        }
    }
}

macro_rules! settings {
    ($([$section:literal] $($id:ident $key:literal $kind:ident $variable:path, $default:expr, $about:literal;)+)+) => {
        /// Names a setting.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Id { $($($id,)+)+ }

        /// All settings, in the order in which they are shown; an [`Id`] is a place in it.
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

use DefaultValue::{Is, Place, Unset};

settings! {
    ["paths"]
    Data "data" Path v::DATA_PATH, Place(places::data, "$XDG_DATA_HOME/enroot, or ~/.local/share/enroot"),
        "Containers of a user.";
    PerNode "per_node" Bool v::PER_NODE, Unset("yes for a step of several nodes, else no"),
        "Where nodes share that place, each has named containers of its own.";
    Cache "cache" Path v::CACHE_PATH, Place(places::cache, "$XDG_CACHE_HOME, or ~/.cache"),
        "What imports keep: the image store is pyxis in it.";
    UserConfig "config" Path v::CONFIG_PATH, Place(places::config, "$XDG_CONFIG_HOME/enroot, or ~/.config/enroot"),
        "A user's credentials and folders of mounts, variables and hooks.";
    Runtime "runtime" Path v::RUNTIME_PATH, Place(places::runtime, "$XDG_RUNTIME_DIR/enroot, or /run/enroot"),
        "Where hooks see a container that is being started.";
    Temp "temp" Path v::TEMP_PATH, Place(places::temp, "$TMPDIR, or /tmp"),
        "Temporary files.";
    Layers "layers" Path v::LAYER_PATH, Unset("the temporary files' place, /var/tmp or the containers'"),
        "Where changes of containers without a name are kept if memory cannot, before Linux 6.6.";

    ["container"]
    Writable "writable" Bool v::ROOTFS_WRITABLE, Is("no"),
        "Let root filesystems be written to.";
    RemapRoot "remap_root" Bool v::REMAP_ROOT, Is("no"),
        "Be root inside.";
    MountHome "mount_home" Bool v::MOUNT_HOME, Is("no"),
        "Mount the home directory.";
    ImageMounts "image_mounts" Bool v::IMAGE_MOUNTS, Is("no"),
        "Mount what an image's own /etc/fstab asks for of the host.";
    SlurmCommands "slurm_commands" Bool v::SLURM_COMMANDS, Is("no"),
        "Have Slurm's commands (srun, sbatch, squeue and others) work inside.";
    LoginShell "login_shell" Bool v::LOGIN_SHELL, Unset("true under the name enroot, else false"),
        "Run command scripts in a login shell, which reads /etc/profile.";
    RestrictDev "restrict_dev" Bool v::RESTRICT_DEV, Is("no"),
        "Show the least devices in /dev.";
    NativeOverlayfs "native_overlayfs" Bool v::NATIVE_OVERLAYFS, Is("yes"),
        "Use the kernel's overlay. Without it fuse-overlayfs is, above images that are unpacked once, or they are at each start.";
    UnsharePid "unshare_pid" Bool v::UNSHARE_PID, Is("no"),
        "A PID namespace of its own.";
    UnshareNet "unshare_net" Bool v::UNSHARE_NET, Is("no"),
        "A network namespace of its own.";
    UnshareIpc "unshare_ipc" Bool v::UNSHARE_IPC, Is("no"),
        "An IPC namespace of its own.";
    UnshareUts "unshare_uts" Bool v::UNSHARE_UTS, Is("no"),
        "A host name of its own.";
    AllowSuperuser "allow_superuser" Bool v::ALLOW_SUPERUSER, Is("no"),
        "Let root keep its privileges inside.";
    SquashOptions "squash_options" Text v::SQUASH_OPTIONS, Is(""),
        "Options of mksquashfs, which writes images then. Without any, pyxis does.";
    Packing "packing" Packing v::PACKING, Is("balanced"),
        "What of an image is packed: speed (nothing), balanced (not what each start reads), size (all).";
    MaxProcessors "max_processors" Number v::MAX_PROCESSORS, Is("0"),
        "Processors for compression; 0 for all.";
    Timing "timing" Bool v::TIMING, Is("no"),
        "Say where the time went when a container was started, an image fetched or written.";

    ["enroot"]
    Sysconf "sysconf" Path v::SYSCONF_PATH, Place(places::sysconf, "/etc/enroot, or /usr/local/etc/enroot"),
        "enroot's configuration: enroot.conf and enroot.conf.d, which hold for us too.";
    Mounts "mounts" Paths v::MOUNTS_PATH, Unset("mounts.d in sysconf"),
        "Folders of *.fstab files, the mounts of every container.";
    EnvironFolders "environ" Paths v::ENVIRON_PATH, Unset("environ.d in sysconf"),
        "Folders of *.env files, the variables of every container.";
    Hooks "hooks" Paths v::HOOKS_PATH, Unset("hooks.d in sysconf"),
        "Folders of *.sh hooks. Those that enroot comes with are known and not run.";
    Library "library" Path v::LIBRARY_PATH, Unset("a small common.sh of our own"),
        "Where hooks find enroot's common.sh.";

    ["cdi"]
    CdiDirectories "directories" Paths v::CDI_PATH, Is("/etc/cdi:/var/run/cdi"),
        "Folders of specifications of devices (CDI), the strongest last.";
    CdiDevices "devices" Words v::CDI_DEVICES, Is(""),
        "Devices that every container gets, such as vendor.com/nic=all.";
    CdiNvidia "nvidia" Bool v::CDI_NVIDIA, Is("yes"),
        "Give containers the GPUs that NVIDIA_VISIBLE_DEVICES and its like name, or that Slurm gave.";
    CdiRoot "root" Path v::CDI_ROOT, Is("/"),
        "Where the driver's files are that no specification describes.";
    CdiVerbose "verbose" Bool v::CDI_VERBOSE, Is("no"),
        "Say of devices also what is most likely no matter, such as groups the user is not in.";

    ["store"]
    StorePath "path" Path v::STORE_PATH, Unset("pyxis in the cache path"),
        "Images that were fetched; /tmp-like directories hold one per user.";
    StoreShared "shared" Path v::STORE_SHARED, Unset("the plugin's shared_store"),
        "The store of all users, which an account of its own fills; only read.";
    StoreLower "lower" Paths v::STORE_LOWER, Is(""),
        "Stores to read from as well.";
    Spread "spread" Bool v::SPREAD, Is("no"),
        "Before a step of several nodes, have one fetch what they lack and send it to the others (sbcast).";
    StoreMaxSize "max_size" Size v::STORE_MAX_BYTES, Unset("a fifth of the file system"),
        "What garbage collection leaves.";
    MaxUnpacked "max_unpacked" Size v::MAX_UNPACKED, Is("16G"),
        "What a layer may unpack to, however small it is; it may have 200 times its size in any case.";

    ["registries"]
    Policy "pull_policy" Policy v::PULL_POLICY, Is("always"),
        "When a tag is looked up: always, missing (unless the store knows it), never.";
    HttpHosts "http" Hosts v::HTTP_REGISTRIES, Is(""),
        "Hosts that are talked to without TLS.";
    AllowHttp "allow_http" Bool v::ALLOW_HTTP, Is("no"),
        "Talk to all registries without TLS.";
    Mirrors "mirrors" Mirrors v::REGISTRY_MIRRORS, Is(""),
        "Per registry, places to ask first, each HOST[:PORT][/PATH].";
    Connections "connections" Number v::MAX_CONNECTIONS, Is("10"),
        "Simultaneous downloads; 0 for any number.";
    Retries "retries" Number v::TRANSFER_RETRIES, Is("4"),
        "How often a failed request is tried again.";
    ConnectTimeout "connect_timeout" Seconds v::CONNECT_TIMEOUT, Is("30"),
        "Seconds to establish a connection; 0 for ever.";
    IdleTimeout "idle_timeout" Seconds v::IDLE_TIMEOUT, Is("60"),
        "Seconds without a byte; 0 for ever.";
    TransferTimeout "transfer_timeout" Seconds v::TRANSFER_TIMEOUT, Is("0"),
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

    /// The rows of the table in docs/configuration.md.
    fn rows() -> String {
        let row = |setting: &Setting| {
            format!(
                "| `{}.{}` | `{}` | {} | {} |\n",
                setting.section,
                setting.key,
                setting.variable,
                match setting.default {
                    DefaultValue::Is(_) => format!("`{}`", setting.default_in_words()),
                    _ => setting.default_in_words(),
                },
                setting.about.trim_end_matches('.'),
            )
        };
        SETTINGS.iter().map(row).collect()
    }

    /// `INSTA_UPDATE=always`, which writes what else people read anew, writes this as well.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test is told what to do")]
    fn the_table_for_people_is_this_one() {
        const HEAD: &str = "| setting | variable | default | what it is for |\n|---|---|---|---|\n";
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
        let text = std::fs::read_to_string(path).unwrap();
        let (before, after) = text.split_once(HEAD).unwrap();
        let is_row = |line: &&str| line.starts_with('|');
        let found: String = after.split_inclusive('\n').take_while(is_row).collect();
        if std::env::var("INSTA_UPDATE").is_ok_and(|how| how == "always") {
            let rest = &after[found.len()..];
            std::fs::write(path, [before, HEAD, &rows(), rest].concat()).unwrap();
        } else {
            assert_eq!(found, rows(), "INSTA_UPDATE=always cargo test -p pyxis writes it anew");
        }
    }

    #[test]
    fn every_default_is_a_value_of_its_kind() {
        for setting in SETTINGS {
            if let DefaultValue::Is(text) = setting.default {
                let value = setting.kind.read_text(OsStr::new(text));
                assert!(value.is_ok(), "{}.{}: {value:?}", setting.section, setting.key);
            }
        }
    }
}
