//! The command's settings: resolved once, from defaults, enroot's configuration, the site's file, the
//! environment and, above these, the arguments, into one typed value whose parts are handed down.
//! Nothing below this crate reads the process's environment.

mod container;
mod devices;
pub mod enroot;
mod error;
mod file;
mod folders;
mod layers;
mod paths;
mod places;
mod registries;
mod squash;
mod store;
mod table;
mod user;
mod value;
pub mod variables;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use containers::devices::enabled;
use images::import::PullPolicy;
use images::registry::{self, Credentials};
use images::squash::Squash;
use images::store::StoreConfig;
use linux::environ::Environ;

use crate::owner::Untrusted;

pub use container::ContainerSettings;
pub use devices::DeviceSettings;
pub use enroot::{EnrootConf, Remark, Shell};
pub use error::SettingsError;
pub use file::{FILE, parse};
pub use folders::Folders;
pub use layers::{Layer, Origin, Resolved};
pub use paths::Paths;
pub use places::bases;
pub use table::{DefaultValue, SETTINGS, Setting};
pub use user::User;
pub use value::{Kind, Value, is_yes};

use registries::{credentials, registries};
use squash::squash;
use store::store;
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
            paths: Paths::of(&resolved),
            container: ContainerSettings::of(&resolved),
            folders: Folders::of(&resolved, &sysconf),
            devices: DeviceSettings::of(&resolved, &host, recipes),
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

#[cfg(test)]
mod tests;
