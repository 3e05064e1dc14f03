//! What is wrong with an option: one line for the user.

use std::fmt;

/// The most entries of a list: each is compared with all.
pub const MAX_ENTRIES: usize = 1000;

/// An option that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptionError {
    /// No or an empty argument.
    Empty(&'static str),
    /// Given again with another value.
    Repeated(&'static str),
    /// An option and its opposite.
    Both(&'static str, &'static str),
    /// A list that is too long.
    TooMany(&'static str),
    /// A mount entry without source or target.
    MountFormat(String),
    /// A mount source that is neither path nor keyword.
    MountSource(String),
    /// A mount target that is no path.
    MountTarget(String),
    /// Mount flags with white space or broken text.
    MountFlags(String),
    /// `--container-name=:flag`.
    EmptyName,
    /// A name that cannot be one of a file.
    BadName(String),
    /// An unknown flag after the name.
    NameFlag(String),
    /// `--container-save=dir/`.
    SaveDirectory(String),
    /// An empty element of `--container-env`, or one with a value.
    EnvFormat(String),
    /// An empty element of `--container-unshare`.
    EmptyNamespace,
    /// A namespace that cannot be unshared.
    UnknownNamespace(String),
}

impl OptionError {
    /// Whether it is the container's name, which alone asks for a container.
    pub fn is_of_name(&self) -> bool {
        matches!(self, Self::EmptyName | Self::BadName(_) | Self::NameFlag(_))
    }
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty(option) => write!(f, "--{option}: argument required"),
            Self::Repeated(option) => write!(f, "--{option} specified multiple times"),
            Self::Both(one, other) => write!(f, "both --{one} and --{other} were specified"),
            Self::TooMany(option) => {
                write!(f, "--{option}: more than {} entries", MAX_ENTRIES)
            }
            Self::MountFormat(entry) => {
                write!(
                    f,
                    "--container-mounts: invalid format: {entry} (SRC:DST[:FLAGS], or \
                     type=bind,src=SRC,dst=DST[,ro])"
                )
            }
            Self::MountSource(entry) => {
                let hint = match entry.as_bytes() {
                    [b'~' | b'$', ..] => {
                        " (only a shell reads ~ and $X, and not everywhere: write the path)"
                    }
                    b"ro" | b"rw" | b"z" | b"Z" | b"rslave" | b"rprivate" | b"noexec"
                    | b"nosuid" => " (flags are joined by \"+\": SRC:DST:ro+rslave)",
                    _ => "",
                };
                write!(
                    f,
                    "--container-mounts: could not add {entry}: mount source must be a relative \
                     path (./x), an absolute path, \"tmpfs\" or \"umount\"{hint}"
                )
            }
            Self::MountTarget(entry) => write!(
                f,
                "--container-mounts: could not add {entry}: mount target must be a relative \
                 path (./x) or an absolute path"
            ),
            Self::MountFlags(entry) => {
                write!(f, "--container-mounts: could not add {entry}: invalid flags")
            }
            Self::EmptyName => write!(f, "--container-name: empty name"),
            Self::BadName(name) => write!(
                f,
                "--container-name: invalid name: {name} (no \"/\", white space or leading dot, at \
                 most 200 bytes)"
            ),
            Self::NameFlag(flag) => write!(
                f,
                "--container-name: flag must be \"auto\", \"create\", \"exec\" or \"no_exec\", \
                 not \"{flag}\""
            ),
            Self::SaveDirectory(path) => {
                write!(f, "--container-save: target is a directory: {path}")
            }
            Self::EnvFormat(list) => write!(
                f,
                "--container-env: invalid format: {list} (names alone: --export=ALL,NAME=value sets one)"
            ),
            Self::EmptyNamespace => write!(f, "--container-unshare: empty namespace argument"),
            Self::UnknownNamespace(name) => {
                write!(f, "--container-unshare: unknown namespace '{name}' (net, ipc or uts)")
            }
        }
    }
}

impl std::error::Error for OptionError {}

/// What was given, as a message shows it.
pub(super) fn lossy(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}
