//! The command's settings: resolved once, from defaults, enroot's configuration, the site's file, the
//! environment and, above these, the arguments, into one typed value whose parts are handed down.
//! Nothing below this crate reads the process's environment.

pub mod enroot;
mod error;
mod file;
mod layers;
mod places;
mod table;
mod user;
mod value;
pub mod variables;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use containers::devices::{Recipes, enabled};
use images::import::PullPolicy;
use images::registry::{self, Authorities, Credentials, Proxies, RegistriesConf};
use images::squash::Squash;
use images::store::StoreConfig;
use linux::environ::Environ;
use squashfs::program::Program;

use crate::owner::{self, Untrusted};

pub use enroot::{EnrootConf, Remark, Shell};
pub use error::SettingsError;
pub use file::{FILE, parse};
pub use layers::{Layer, Origin, Resolved};
pub use places::bases;
pub use table::{DefaultValue, SETTINGS, Setting};
pub use user::User;
pub use value::{Kind, Value, is_yes};

use places::{base, place};
use table::Id;
use variables as v;

/// Everything that a verb may be told, but for its arguments.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Places.
    pub paths: Paths,
    /// How containers are started.
    pub container: ContainerSettings,
    /// Folders of what a site and a user add to containers.
    pub folders: Folders,
    /// Devices by the Container Device Interface.
    pub devices: DeviceSettings,
    /// How squashfs files are written.
    pub squash: Squash,
    /// The image store; `None` where nothing says where it could be.
    pub store: Option<StoreConfig>,
    /// The store of all users, where something says which that is.
    pub shared_store: Option<PathBuf>,
    /// Whether nodes of a step send each other what one of them has fetched.
    pub spread: bool,
    /// Bytes that a layer may unpack to however small it is.
    pub max_unpacked: u64,
    /// How to talk to registries.
    pub registries: registry::Settings,
    /// Where credentials are looked for.
    pub credentials: Credentials,
    /// When a tag is looked up.
    pub pull_policy: PullPolicy,
    /// Whether it is said where the time goes.
    pub timing: bool,
    /// How wide the terminal is that shows what is told, where that is a step's.
    pub terminal: Option<u16>,
    /// Replace what exists.
    pub force: bool,
    /// The environment of this process with what files have set: that of children.
    pub host: Environ,
    /// What enroot's configuration says, of devices for instance; `host` has it as well.
    pub enroot: EnrootConf,
    /// Variables of `host` that nobody but that configuration has set.
    pub of_enroot: BTreeSet<OsString>,
    /// The directory of enroot's configuration.
    pub sysconf: PathBuf,
    /// Stores of the site's file that are not used, and why.
    pub unbelieved: Vec<Untrusted>,
    /// Each setting, and where it comes from.
    pub resolved: Resolved,
    /// The site's file, if there is one.
    pub file: Option<PathBuf>,
}

/// Places, where something says where they are.
#[derive(Clone, Debug)]
pub struct Paths {
    /// Containers of the user.
    pub data: Option<PathBuf>,
    /// Where nodes share that place, each has containers of its own.
    pub per_node: bool,
    /// Where hooks see a container, and whether somebody has said so: else it is a wish.
    pub runtime: (PathBuf, bool),
    /// Temporary files.
    pub temp: PathBuf,
    /// Where changes of containers without a name may be kept that memory cannot keep, the best first.
    pub layers: Vec<PathBuf>,
    /// Where unpacked images are kept, on kernels that need them.
    pub unpacked: Option<PathBuf>,
}

/// How containers are started, where the arguments do not say.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct ContainerSettings {
    /// The root file system can be written to.
    pub writable: bool,
    /// The user is root inside.
    pub remap_root: bool,
    /// The home directory is mounted.
    pub mount_home: bool,
    /// What an image's own `/etc/fstab` asks for of the host is mounted.
    pub image_mounts: bool,
    /// Slurm's commands work inside.
    pub slurm_commands: bool,
    /// Command scripts run in a login shell; `None` where nobody has said.
    pub login_shell: Option<bool>,
    /// `/dev` has the least devices.
    pub restrict_dev: bool,
    /// The kernel's overlay may be used.
    pub native_overlayfs: bool,
    /// Namespaces of the container's own.
    pub unshare: containers::start::Namespaces,
    /// Root keeps its privileges.
    pub allow_superuser: bool,
}

/// Folders, in the order in which they count, the user's last.
#[derive(Clone, Debug)]
pub struct Folders {
    /// Of `*.fstab`.
    pub mounts: Vec<PathBuf>,
    /// Of `*.env`.
    pub environ: Vec<PathBuf>,
    /// Of `*.sh`.
    pub hooks: Vec<PathBuf>,
    /// With enroot's `common.sh`; `None` for our own.
    pub library: Option<PathBuf>,
    /// Of a user's.
    pub user: Option<PathBuf>,
}

/// Devices by the Container Device Interface.
#[derive(Clone, Debug)]
pub struct DeviceSettings {
    /// Folders of specifications.
    pub directories: Vec<PathBuf>,
    /// Devices for every container.
    pub names: Vec<String>,
    /// Whether `NVIDIA_VISIBLE_DEVICES` is heeded.
    pub nvidia: bool,
    /// Where a driver's files are.
    pub root: PathBuf,
    /// What containers get of fabrics.
    pub recipes: Recipes,
    /// Slurm numbers GPUs by their files, as 20.11 does.
    pub slurm_numbers_files: bool,
    /// Whether more is said.
    pub verbose: bool,
}

impl Settings {
    /// The settings of this process: its environment, with `script`'s variables over it, and the
    /// site's file.
    ///
    /// # Errors
    /// [`SettingsError`], which names the place of what is wrong.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn of_process(script: Vec<(OsString, OsString)>) -> Result<Settings, SettingsError> {
        let mut environ: Environ = std::env::vars_os().collect();
        environ.extend(script);
        // A job may have no environment at all.
        let home = environ.entry(v::HOME.into()).or_default();
        if home.is_empty() {
            *home = linux::home::of_caller().unwrap_or_default().into();
        }
        let user = User::caller(&environ);
        Settings::load(environ, &user, Shell::Run)
    }

    /// The settings of this environment, the site's file and enroot's configuration, filled in for
    /// `user`.
    ///
    /// # Errors
    /// [`SettingsError`], which names the place of what is wrong.
    pub fn load(environ: Environ, user: &User, shell: Shell) -> Result<Settings, SettingsError> {
        let file = file::load(&environ, user)?;
        let sysconf = file.as_ref().and_then(|file| file.path(Id::Sysconf));
        let enroot = EnrootConf::load(&environ, sysconf, user, shell);
        Settings::new(environ, enroot, file)
    }

    /// The settings of this environment, enroot's configuration and this file.
    ///
    /// # Errors
    /// [`SettingsError::Variable`].
    pub fn new(
        environ: Environ,
        mut enroot: EnrootConf,
        file: Option<Layer>,
    ) -> Result<Settings, SettingsError> {
        let path = file.as_ref().and_then(Layer::file);
        let recipes = enabled(file.as_ref().map(Layer::recipes).unwrap_or_default());
        // The weakest first.
        let of_environment = Layer::of_environment(&environ)?;
        let layers = [enroot.layer()].into_iter().chain(file).chain([of_environment]);
        let mut resolved = Resolved::new(&environ, layers);
        let mut host = environ;
        let unbelieved = resolved.disown_stores();
        let of_enroot = enroot.complete(&mut host);
        // What enroot's files say is there in their own words: a hook may look for just "y".
        host.extend(resolved.variables(|path| !enroot.files.contains(path)));
        let sysconf = resolved.path(Id::Sysconf).unwrap_or_else(|| places::SYSCONF.into());
        Ok(Settings {
            paths: paths(&resolved),
            container: container(&resolved),
            folders: folders(&resolved, &sysconf),
            devices: DeviceSettings {
                directories: resolved.paths(Id::CdiDirectories),
                names: resolved.words(Id::CdiDevices),
                nvidia: resolved.is_on(Id::CdiNvidia),
                root: resolved.path(Id::CdiRoot).unwrap_or_else(|| "/".into()),
                recipes,
                slurm_numbers_files: host
                    .get(OsStr::new(v::SLURM_RELEASE))
                    .is_some_and(|release| release == "20.11"),
                verbose: resolved.is_on(Id::CdiVerbose),
            },
            squash: squash(&resolved, &host)?,
            store: store(&resolved, &host),
            shared_store: resolved.path(Id::StoreShared),
            spread: resolved.is_on(Id::Spread),
            max_unpacked: resolved.number(Id::MaxUnpacked).unwrap_or(u64::MAX),
            registries: registries(&resolved, &host),
            credentials: credentials(&resolved, &host),
            pull_policy: resolved.policy(),
            timing: resolved.is_on(Id::Timing),
            terminal: terminal(&host),
            force: host.get(OsStr::new(v::FORCE_OVERRIDE)).is_some_and(|value| is_yes(value)),
            host,
            of_enroot,
            sysconf,
            enroot,
            unbelieved,
            resolved,
            file: path,
        })
    }
}

/// How wide it is, where srun writes to it and puts nothing before lines, and where it can move its cursor.
fn terminal(host: &Environ) -> Option<u16> {
    let value = |name: &str| host.get(OsStr::new(name)).filter(|value| !value.is_empty());
    let elsewhere = v::ELSEWHERE.iter().any(|name| value(name).is_some());
    if elsewhere || value(v::TERM).is_some_and(|term| term == "dumb") {
        return None;
    }
    value(v::TERMINAL)?.to_str()?.parse().ok()
}

fn paths(resolved: &Resolved) -> Paths {
    let (data, temp) = (resolved.path(Id::Data), resolved.path(Id::Temp));
    let temp = temp.unwrap_or_else(|| "/tmp".into());
    let anywhere = || [&temp, Path::new("/var/tmp")].into_iter().chain(data.as_deref());
    Paths {
        layers: match resolved.path(Id::Layers) {
            Some(place) => vec![place],
            None => anywhere().map(Path::to_owned).collect(),
        },
        unpacked: resolved.path(Id::Cache).map(|cache| cache.join("pyxis-unpacked")),
        data: data.clone(),
        per_node: resolved.is_on(Id::PerNode),
        runtime: (
            resolved.path(Id::Runtime).unwrap_or_else(|| "/run/enroot".into()),
            resolved.is_said(Id::Runtime),
        ),
        temp,
    }
}

fn container(resolved: &Resolved) -> ContainerSettings {
    ContainerSettings {
        writable: resolved.is_on(Id::Writable),
        remap_root: resolved.is_on(Id::RemapRoot),
        mount_home: resolved.is_on(Id::MountHome),
        image_mounts: resolved.is_on(Id::ImageMounts),
        slurm_commands: resolved.is_on(Id::SlurmCommands),
        login_shell: resolved.choice(Id::LoginShell),
        restrict_dev: resolved.is_on(Id::RestrictDev),
        native_overlayfs: resolved.is_on(Id::NativeOverlayfs),
        unshare: containers::start::Namespaces {
            pid: resolved.is_on(Id::UnsharePid),
            net: resolved.is_on(Id::UnshareNet),
            ipc: resolved.is_on(Id::UnshareIpc),
            uts: resolved.is_on(Id::UnshareUts),
        },
        allow_superuser: resolved.is_on(Id::AllowSuperuser),
    }
}

fn folders(resolved: &Resolved, sysconf: &Path) -> Folders {
    let user = resolved.path(Id::UserConfig);
    let with_users = |id, below: &str| {
        let mut folders = match resolved.is_said(id) {
            true => resolved.paths(id),
            false => vec![sysconf.join(below)],
        };
        folders.extend(user.iter().map(|user| user.join(below)));
        folders
    };
    Folders {
        mounts: with_users(Id::Mounts, "mounts.d"),
        environ: with_users(Id::EnvironFolders, "environ.d"),
        hooks: with_users(Id::Hooks, "hooks.d"),
        // It goes with enroot; a node may have its configuration only.
        library: resolved.path(Id::Library).filter(|path| path.join("common.sh").exists()),
        user,
    }
}

fn squash(resolved: &Resolved, host: &Environ) -> Result<Squash, SettingsError> {
    let epoch = host.get(OsStr::new(v::SOURCE_DATE_EPOCH)).filter(|value| !value.is_empty());
    let time = epoch.map(|text| {
        let seconds = text.to_str().and_then(|text| text.trim().parse::<u32>().ok());
        seconds.ok_or_else(|| SettingsError::Variable {
            variable: v::SOURCE_DATE_EPOCH,
            value: text.to_string_lossy().into_owned(),
            problem: "it takes seconds since 1970, up to 4294967295".to_owned(),
        })
    });
    let time = time.transpose()?;
    Ok(Squash {
        program: Program::new(
            resolved.text(Id::SquashOptions),
            resolved.packing(),
            resolved.number(Id::MaxProcessors).unwrap_or(0) as usize,
        ),
        mtime: time.map_or(0, i64::from),
        one_time: time.is_some(),
    })
}

impl Resolved {
    /// Takes out the stores below one's own that the site's file names and that somebody else could
    /// have made: whoever trusts the file would run what is in there. The environment is the user's
    /// own word, or the plugin's, who has looked.
    fn disown_stores(&mut self) -> Vec<Untrusted> {
        let mut faults = Vec::new();
        for id in [Id::StoreShared, Id::StoreLower] {
            self.retain_paths_of_file(id, |path| match owner::of_store(path) {
                // Nothing is there yet.
                Some(Untrusted::Unseen { .. }) => false,
                fault => {
                    faults.extend(fault.clone());
                    fault.is_none()
                }
            });
        }
        faults
    }
}

fn store(resolved: &Resolved, host: &Environ) -> Option<StoreConfig> {
    let absolute = |path: &PathBuf| path.is_absolute();
    // Where somebody squats in the first place, the next is taken.
    let places = [
        resolved.path(Id::StorePath),
        resolved.path(Id::Cache).map(|cache| cache.join("pyxis")),
        base(host, v::XDG_CACHE_HOME, ".cache").map(|cache| cache.join("pyxis")),
        place(host, v::HOME).map(|home| home.join(".cache/pyxis")),
    ];
    let mut places = places.into_iter().flatten();
    let path = places.next().filter(absolute)?;
    let shared = resolved.path(Id::StoreShared).filter(absolute);
    let lower = resolved.paths(Id::StoreLower).into_iter().filter(absolute);
    Some(StoreConfig {
        lower: shared.into_iter().chain(lower).filter(|lower| *lower != path).collect(),
        fallback: places.find(|other| other.is_absolute() && *other != path),
        max_bytes: resolved.number(Id::StoreMaxSize),
        ..StoreConfig::new(path)
    })
}

fn registries(resolved: &Resolved, host: &Environ) -> registry::Settings {
    let mut settings = registry::Settings {
        connect_timeout: resolved.limit(Id::ConnectTimeout),
        idle_timeout: resolved.limit(Id::IdleTimeout),
        transfer_timeout: resolved.limit(Id::TransferTimeout),
        retries: resolved.number(Id::Retries).map_or(0, |n| u32::try_from(n).unwrap_or(u32::MAX)),
        connections: match resolved.number(Id::Connections) {
            None | Some(0) => usize::MAX,
            Some(number) => number as usize,
        },
        allow_http: resolved.is_on(Id::AllowHttp),
        http_hosts: resolved.words(Id::HttpHosts),
        proxies: Proxies::of_environ(host),
        authorities: Authorities::of_environ(host),
        certificates: certificates(host),
        rules: registries_conf(host),
        ..registry::Settings::default()
    };
    for (registry, mirror) in resolved.pairs(Id::Mirrors) {
        settings.add_mirror(registry, mirror);
    }
    settings
}

/// podman's folders of certificates, the user's first, and docker's.
fn certificates(host: &Environ) -> Vec<PathBuf> {
    let own = base(host, v::XDG_CONFIG_HOME, ".config").map(|path| path.join("containers/certs.d"));
    let all = ["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from);
    own.into_iter().chain(all).collect()
}

/// podman's files: the one that its variable names, or else the user's, or else the node's; and the
/// folders beside, the user's last.
fn registries_conf(host: &Environ) -> RegistriesConf {
    let own = base(host, v::XDG_CONFIG_HOME, ".config").map(|path| path.join("containers"));
    let site = PathBuf::from("/etc/containers");
    let users = own.as_ref().map(|own| own.join("registries.conf"));
    let files = match place(host, v::CONTAINERS_REGISTRIES_CONF) {
        Some(named) => vec![named],
        None => users.into_iter().chain([site.join("registries.conf")]).collect(),
    };
    let folders =
        [Some(site), own].into_iter().flatten().map(|path| path.join("registries.conf.d"));
    RegistriesConf::new(files, folders.collect())
}

/// enroot's file, then `$REGISTRY_AUTH_FILE`, podman's and docker's.
fn credentials(resolved: &Resolved, host: &Environ) -> Credentials {
    let config = base(host, v::XDG_CONFIG_HOME, ".config");
    let docker = base(host, v::DOCKER_CONFIG, ".docker");
    let files = [
        place(host, v::REGISTRY_AUTH_FILE),
        place(host, v::XDG_RUNTIME_DIR).map(|path| path.join("containers/auth.json")),
        config.map(|path| path.join("containers/auth.json")),
        docker.map(|path| path.join("config.json")),
    ];
    let netrc = resolved.path(Id::UserConfig).map(|path| path.join(".credentials"));
    // Where clouds put it, by a profile that a step does not see.
    let other = place(host, v::HOME).map(|home| home.join(".enroot/.credentials"));
    let is_missing = !resolved.is_said(Id::UserConfig)
        && netrc.as_ref().is_some_and(|path| !path.exists())
        && other.as_ref().is_some_and(|path| path.exists());
    Credentials {
        netrc: if is_missing { other } else { netrc },
        docker: files.into_iter().flatten().collect(),
    }
}

#[cfg(test)]
mod tests;
