//! The plugin's arguments in plugstack.conf.

use hygiene::text::parse_bool;
use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// How long a named container lives, and who shares its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Until it is removed; one name for all of the user's jobs.
    #[default]
    Global,
    /// Until the job ends.
    Job,
}

/// Which container runtime is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RuntimeChoice {
    /// The built-in one, unless enroot is installed and configured in a way that this does not
    /// understand.
    #[default]
    Auto,
    /// enroot.
    Enroot,
    /// The built-in one.
    Pyxis,
}

/// The arguments, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Directory of the per-user runtime directories.
    pub runtime_path: PathBuf,
    /// Run entrypoints unless told otherwise.
    pub execute_entrypoint: bool,
    /// Scope of named containers.
    pub container_scope: Scope,
    /// Whether sbatch and salloc have the options.
    pub sbatch_support: bool,
    /// Load instead of import and create.
    pub use_enroot_load: bool,
    /// Program that provides images.
    pub importer: Option<PathBuf>,
    /// The store that all users' images are fetched to, by the account that owns it.
    pub shared_store: Option<PathBuf>,
    /// Whether root has the kernel mount what is in that store.
    pub kernel_mounts: bool,
    /// Start unnamed containers from the squashfs file (the built-in runtime always does).
    pub use_squashfuse: bool,
    /// Container runtime.
    pub runtime: RuntimeChoice,
    /// The job's variables that a container does not get, separated by commas.
    pub drop_env: PathBuf,
    /// The `pyxis` command; looked for in PATH where it is a bare name.
    pub pyxis_path: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            runtime_path: "/run/pyxis".into(),
            execute_entrypoint: false,
            container_scope: Scope::default(),
            sbatch_support: true,
            use_enroot_load: false,
            importer: None,
            shared_store: None,
            kernel_mounts: true,
            use_squashfuse: false,
            runtime: RuntimeChoice::default(),
            drop_env: DROPPED.into(),
            pyxis_path: "pyxis".into(),
        }
    }
}

/// Variables whose values name what the host has and an image has not, or not as the host has it: locales, libraries and
/// files that every program loads, a directory of a login.
const DROPPED: &str = "LANG,LANGUAGE,LC_ALL,LD_PRELOAD,LD_AUDIT,GCONV_PATH,LOCPATH,BASH_ENV,ENV,ZDOTDIR,PYTHONHOME,\
    PYTHONSTARTUP,PERL5OPT,RUBYOPT,XDG_RUNTIME_DIR,DBUS_SESSION_BUS_ADDRESS";

/// An argument that is no good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// No such key.
    Unknown(String),
    /// A value the key does not take.
    Value(String, String),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(argument) => {
                write!(f, "unknown configuration option: {argument} (in plugstack.conf)")
            }
            Self::Value(key, value) => {
                write!(f, "{key}: invalid value: {value} (in plugstack.conf)")
            }
        }
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads the arguments; a later one wins.
    pub fn parse<'a>(arguments: impl Iterator<Item = &'a [u8]>) -> Result<Config, ConfigError> {
        let mut config = Config::default();
        for argument in arguments {
            config.take(argument)?;
        }
        Ok(config)
    }

    fn take(&mut self, argument: &[u8]) -> Result<(), ConfigError> {
        let equals = argument.iter().position(|byte| *byte == b'=').unwrap_or(argument.len());
        let (key, value) = (&argument[..equals], argument.get(equals + 1..).unwrap_or_default());
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let path = || PathBuf::from(OsString::from_vec(value.to_vec()));
        let absolute = value.first() == Some(&b'/');
        // One place for each kind of value: the .so has no room for more.
        let (flag, place, perhaps): (
            Option<&mut bool>,
            Option<&mut PathBuf>,
            Option<&mut Option<PathBuf>>,
        );
        (flag, place, perhaps) = match key {
            b"execute_entrypoint" => (Some(&mut self.execute_entrypoint), None, None),
            b"sbatch_support" => (Some(&mut self.sbatch_support), None, None),
            b"use_enroot_load" => (Some(&mut self.use_enroot_load), None, None),
            b"kernel_mounts" => (Some(&mut self.kernel_mounts), None, None),
            b"use_squashfuse" => (Some(&mut self.use_squashfuse), None, None),
            b"runtime_path" => (None, Some(&mut self.runtime_path), None),
            b"pyxis_path" => (None, Some(&mut self.pyxis_path), None),
            b"importer" => (None, None, Some(&mut self.importer)),
            b"shared_store" => (None, None, Some(&mut self.shared_store)),
            _ => (None, None, None),
        };
        let understood = match (flag, place, perhaps) {
            (Some(flag), ..) => parse_bool(value).map(|truth| *flag = truth),
            (_, Some(place), _) => absolute.then(|| *place = path()),
            (.., Some(perhaps)) => {
                (absolute || value.is_empty()).then(|| *perhaps = absolute.then(path))
            }
            _ if key == b"drop_env" => {
                self.drop_env = path();
                Some(())
            }
            _ => self.word(key, value).ok_or_else(|| ConfigError::Unknown(text(argument)))?,
        };
        understood.ok_or_else(|| ConfigError::Value(text(key), text(value)))
    }

    /// Of keys that take some words: `None` for another key, `Some(None)` for another word.
    fn word(&mut self, key: &[u8], value: &[u8]) -> Option<Option<()>> {
        match key {
            b"container_scope" => {
                self.container_scope = match value {
                    b"job" => Scope::Job,
                    b"global" => Scope::Global,
                    _ => return Some(None),
                }
            }
            b"runtime" => {
                self.runtime = match value {
                    b"auto" => RuntimeChoice::Auto,
                    b"enroot" => RuntimeChoice::Enroot,
                    b"pyxis" => RuntimeChoice::Pyxis,
                    _ => return Some(None),
                }
            }
            _ => return None,
        }
        Some(Some(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Config, ConfigError> {
        Config::parse(line.split_whitespace().map(str::as_bytes))
    }

    #[test]
    fn defaults_are_those_of_the_original() {
        let config = parse("").unwrap();
        assert_eq!(config.runtime_path, PathBuf::from("/run/pyxis"));
        assert!(config.sbatch_support && !config.execute_entrypoint && !config.use_squashfuse);
        assert_eq!((config.container_scope, config.importer), (Scope::Global, None));
    }

    #[test]
    fn every_key_is_read() {
        let config = parse(
            "runtime_path=/a execute_entrypoint=1 container_scope=job sbatch_support=no \
             use_enroot_load=true importer=/b shared_store=/s kernel_mounts=0 use_squashfuse=y runtime=pyxis pyxis_path=/c/pyxis drop_env=A,B",
        )
        .unwrap();
        assert_eq!(
            config,
            Config {
                runtime_path: "/a".into(),
                execute_entrypoint: true,
                container_scope: Scope::Job,
                sbatch_support: false,
                use_enroot_load: true,
                importer: Some("/b".into()),
                shared_store: Some("/s".into()),
                kernel_mounts: false,
                use_squashfuse: true,
                runtime: RuntimeChoice::Pyxis,
                drop_env: "A,B".into(),
                pyxis_path: "/c/pyxis".into(),
            }
        );
    }

    #[test]
    fn a_bad_argument_is_named() {
        for (line, expected) in [
            ("nonsense", "unknown configuration option: nonsense"),
            ("runtime_paths=/x", "unknown configuration option: runtime_paths=/x"),
            ("container_scope=user", "container_scope: invalid value: user"),
            ("use_squashfuse=maybe", "use_squashfuse: invalid value: maybe"),
            ("runtime=docker", "runtime: invalid value: docker"),
            ("runtime_path=relative", "runtime_path: invalid value: relative"),
        ] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
