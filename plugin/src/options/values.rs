//! The values of the options, and what is wrong with them.

use super::error::{MAX_ENTRIES, OptionError, lossy};
use super::mount::{Mount, cut_entry};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// What to do about an existing container of the name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NameFlag {
    /// Join a running one, reuse a stopped one, else create it.
    #[default]
    Auto,
    /// Fail when it exists.
    Create,
    /// Fail unless it runs.
    Exec,
    /// Use its file system, but never join it.
    NoExec,
}

/// `--container-name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Without the flag.
    pub name: String,
    /// After the colon.
    pub flag: NameFlag,
}

impl Name {
    /// As the option says it.
    pub fn text(&self) -> OsString {
        let flag = match self.flag {
            NameFlag::Auto => "",
            NameFlag::Create => ":create",
            NameFlag::Exec => ":exec",
            NameFlag::NoExec => ":no_exec",
        };
        [&self.name, flag].concat().into()
    }
}

/// Namespaces of `--container-unshare`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unshare {
    /// Network.
    pub net: bool,
    /// System V IPC and POSIX message queues.
    pub ipc: bool,
    /// Host name.
    pub uts: bool,
}

/// The options that are either on, off or left to the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// `--[no-]container-mount-home`
    MountHome,
    /// `--[no-]container-remap-root`
    RemapRoot,
    /// `--[no-]container-entrypoint`
    Entrypoint,
    /// `--container-entrypoint-log`
    EntrypointLog,
    /// `--container-writable`, `--container-readonly`
    Writable,
}

/// The options that take a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Valued {
    /// `--container-image`
    Image,
    /// `--container-mounts`
    Mounts,
    /// `--container-workdir`
    Workdir,
    /// `--container-name`
    Name,
    /// `--container-save`
    Save,
    /// `--container-env`
    Env,
    /// `--container-unshare`
    Unshare,
}

impl Switch {
    /// The option that turns it on and the one that turns it off.
    fn options(self) -> (&'static str, &'static str) {
        match self {
            Switch::MountHome => ("container-mount-home", "no-container-mount-home"),
            Switch::RemapRoot => ("container-remap-root", "no-container-remap-root"),
            Switch::Entrypoint => ("container-entrypoint", "no-container-entrypoint"),
            Switch::EntrypointLog => ("container-entrypoint-log", ""),
            Switch::Writable => ("container-writable", "container-readonly"),
        }
    }
}

impl Valued {
    /// Without the dashes.
    pub(super) fn option(self) -> &'static str {
        match self {
            Valued::Image => "container-image",
            Valued::Mounts => "container-mounts",
            Valued::Workdir => "container-workdir",
            Valued::Name => "container-name",
            Valued::Save => "container-save",
            Valued::Env => "container-env",
            Valued::Unshare => "container-unshare",
        }
    }
}

/// Everything asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// As given.
    pub image: Option<OsString>,
    /// In order, without duplicates.
    pub mounts: Vec<Mount>,
    /// Directory inside the container.
    pub workdir: Option<OsString>,
    /// Name and flag.
    pub name: Option<Name>,
    /// Where to save the container.
    pub save: Option<OsString>,
    /// Mount the home directory.
    pub mount_home: Option<bool>,
    /// Be root inside.
    pub remap_root: Option<bool>,
    /// Run the image's entrypoint.
    pub entrypoint: Option<bool>,
    /// Print what it printed.
    pub entrypoint_log: Option<bool>,
    /// Root filesystem writable (or read-only).
    pub writable: Option<bool>,
    /// Names of variables whose host values win.
    pub env: Vec<OsString>,
    /// Namespaces of its own.
    pub unshare: Unshare,
}

impl Options {
    /// Whether a container is asked for.
    pub fn wants_container(&self) -> bool {
        self.image.is_some() || self.name.is_some()
    }

    /// Takes an option with a value.
    pub fn set(&mut self, which: Valued, value: &[u8]) -> Result<(), OptionError> {
        let option = which.option();
        if value.is_empty() {
            return Err(OptionError::Empty(option));
        }
        match which {
            Valued::Image => once(&mut self.image, option, os(value)),
            Valued::Workdir => once(&mut self.workdir, option, os(value)),
            Valued::Name => once(&mut self.name, option, parse_name(value)?),
            Valued::Save if value.ends_with(b"/") => Err(OptionError::SaveDirectory(lossy(value))),
            Valued::Save => once(&mut self.save, option, os(value)),
            Valued::Mounts => self.add_mounts(value),
            Valued::Env => self.add_env(value),
            Valued::Unshare => self.add_unshare(value),
        }
    }

    /// Takes the whole of a list option, in place of the part known so far.
    pub fn replace(&mut self, which: Valued, list: &[u8]) -> Result<(), OptionError> {
        match which {
            Valued::Mounts => self.mounts.clear(),
            Valued::Env => self.env.clear(),
            Valued::Unshare => self.unshare = Unshare::default(),
            _ => {}
        }
        self.set(which, list)
    }

    /// Takes an option without a value.
    pub fn switch(&mut self, which: Switch, on: bool) -> Result<(), OptionError> {
        let slot = self.slot(which);
        if *slot == Some(!on) {
            let (one, other) = which.options();
            return Err(OptionError::Both(one, other));
        }
        *slot = Some(on);
        Ok(())
    }

    pub(super) fn slot(&mut self, which: Switch) -> &mut Option<bool> {
        match which {
            Switch::MountHome => &mut self.mount_home,
            Switch::RemapRoot => &mut self.remap_root,
            Switch::Entrypoint => &mut self.entrypoint,
            Switch::EntrypointLog => &mut self.entrypoint_log,
            Switch::Writable => &mut self.writable,
        }
    }

    fn add_mounts(&mut self, list: &[u8]) -> Result<(), OptionError> {
        bounded(Valued::Mounts, list, self.mounts.len())?;
        let mut list = Some(list);
        while let Some(text) = list {
            // Lists that go over several lines have the next line's blanks in them.
            let (entry, rest) = cut_entry(text.trim_ascii_start());
            self.add_mount(Mount::parse(entry)?);
            list = rest;
        }
        bounded(Valued::Mounts, b"", self.mounts.len())
    }

    /// Adds a mount unless it is there already.
    pub fn add_mount(&mut self, mount: Mount) {
        if !self.mounts.contains(&mount) {
            self.mounts.push(mount);
        }
    }

    fn add_env(&mut self, list: &[u8]) -> Result<(), OptionError> {
        bounded(Valued::Env, list, self.env.len())?;
        // A value may be a secret.
        let shown = list.split(|byte| *byte == b'=').next().unwrap_or_default();
        for name in list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if name.is_empty() || shown.len() < list.len() {
                return Err(OptionError::EnvFormat(lossy(shown)));
            }
            if !self.env.iter().any(|have| have.as_bytes() == name) {
                self.env.push(os(name));
            }
        }
        bounded(Valued::Env, b"", self.env.len())
    }

    fn add_unshare(&mut self, list: &[u8]) -> Result<(), OptionError> {
        for name in list.split(|byte| *byte == b',') {
            match name {
                b"" => return Err(OptionError::EmptyNamespace),
                b"net" => self.unshare.net = true,
                b"ipc" => self.unshare.ipc = true,
                b"uts" => self.unshare.uts = true,
                _ => return Err(OptionError::UnknownNamespace(lossy(name))),
            }
        }
        Ok(())
    }

    /// One line for each option that means nothing without a container.
    pub fn ignored(&self) -> Vec<String> {
        if self.wants_container() {
            return Vec::new();
        }
        let given = [
            (!self.mounts.is_empty(), "--container-mounts"),
            (self.workdir.is_some(), "--container-workdir"),
            (self.save.is_some(), "--container-save"),
            (self.mount_home.is_some(), "--[no-]container-mount-home"),
            (self.remap_root.is_some(), "--[no-]container-remap-root"),
            (self.entrypoint.is_some(), "--[no-]container-entrypoint"),
            (self.entrypoint_log.is_some(), "--container-entrypoint-log"),
            (self.writable == Some(false), "--container-readonly"),
            (self.writable == Some(true), "--container-writable"),
            (!self.env.is_empty(), "--container-env"),
            (self.unshare != Unshare::default(), "--container-unshare"),
        ];
        given
            .iter()
            .filter(|(given, _)| *given)
            .map(|(_, option)| {
                format!(
                    "ignoring {option} because neither --container-image nor --container-name \
                     is set"
                )
            })
            .collect()
    }
}

/// Neither the list nor what there is (a list may come again) is longer than that.
fn bounded(which: Valued, list: &[u8], have: usize) -> Result<(), OptionError> {
    let mut entries = list.split(|byte| *byte == b',');
    if have > MAX_ENTRIES || entries.nth(MAX_ENTRIES).is_some() {
        return Err(OptionError::TooMany(which.option()));
    }
    Ok(())
}

fn once<T: PartialEq>(
    slot: &mut Option<T>,
    option: &'static str,
    value: T,
) -> Result<(), OptionError> {
    match slot {
        Some(have) if *have != value => Err(OptionError::Repeated(option)),
        _ => {
            *slot = Some(value);
            Ok(())
        }
    }
}

fn parse_name(value: &[u8]) -> Result<Name, OptionError> {
    let mut parts = value.splitn(2, |byte| *byte == b':');
    let name = parts.next().unwrap_or_default();
    if name.is_empty() {
        return Err(OptionError::EmptyName);
    }
    let flag = match parts.next().unwrap_or_default() {
        b"" | b"auto" => NameFlag::Auto,
        b"create" => NameFlag::Create,
        b"exec" => NameFlag::Exec,
        b"no_exec" => NameFlag::NoExec,
        other => return Err(OptionError::NameFlag(lossy(other))),
    };
    let name = lossy(name);
    // It becomes a file name, and a column of the runtime's list.
    let bad = name.starts_with('.') || name.len() > 200;
    if bad || name.contains(|letter: char| letter == '/' || letter.is_whitespace()) {
        return Err(OptionError::BadName(name));
    }
    Ok(Name { name, flag })
}

fn os(value: &[u8]) -> OsString {
    OsString::from_vec(value.to_vec())
}
