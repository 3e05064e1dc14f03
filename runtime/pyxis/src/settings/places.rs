//! Places that depend on variables: what the defaults of settings are made of.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use linux::environ::Environ;

use super::variables as v;

/// Where enroot's packages have its configuration.
pub(super) const SYSCONF: &str = "/etc/enroot";
/// Where `make install` has it, unless it was told another place.
const SYSCONF_LOCAL: &str = "/usr/local/etc/enroot";
/// The file in it.
pub(super) const ENROOT_CONF: &str = "enroot.conf";

/// A variable's value as a path, unless it is empty.
pub(super) fn place(environ: &Environ, variable: &str) -> Option<PathBuf> {
    environ.get(OsStr::new(variable)).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// `variable`, or `otherwise` in the home directory.
pub(super) fn base(environ: &Environ, variable: &str, otherwise: &str) -> Option<PathBuf> {
    place(environ, variable).or_else(|| Some(place(environ, v::HOME)?.join(otherwise)))
}

/// The places that other programs' places are below, each with its variable.
pub fn bases(environ: &Environ) -> impl Iterator<Item = (&'static str, PathBuf)> {
    let of_home = [
        (v::XDG_DATA_HOME, ".local/share"),
        (v::XDG_CONFIG_HOME, ".config"),
        (v::XDG_CACHE_HOME, ".cache"),
    ];
    let runtime = place(environ, v::XDG_RUNTIME_DIR).unwrap_or_else(|| "/run".into());
    let of_home =
        of_home.into_iter().filter_map(|(name, below)| Some((name, base(environ, name, below)?)));
    of_home.chain([(v::XDG_RUNTIME_DIR, runtime)])
}

pub(super) fn data(environ: &Environ) -> Option<PathBuf> {
    Some(base(environ, v::XDG_DATA_HOME, ".local/share")?.join("enroot"))
}

pub(super) fn cache(environ: &Environ) -> Option<PathBuf> {
    base(environ, v::XDG_CACHE_HOME, ".cache")
}

pub(super) fn config(environ: &Environ) -> Option<PathBuf> {
    Some(base(environ, v::XDG_CONFIG_HOME, ".config")?.join("enroot"))
}

pub(super) fn runtime(environ: &Environ) -> Option<PathBuf> {
    Some(place(environ, v::XDG_RUNTIME_DIR).unwrap_or_else(|| "/run".into()).join("enroot"))
}

pub(super) fn temp(environ: &Environ) -> Option<PathBuf> {
    Some(place(environ, v::TMPDIR).unwrap_or_else(|| "/tmp".into()))
}

/// Where enroot's configuration is, unless somebody says otherwise.
pub(super) fn sysconf(_: &Environ) -> Option<PathBuf> {
    let there = |path: &&str| Path::new(path).join(ENROOT_CONF).exists();
    Some([SYSCONF, SYSCONF_LOCAL].iter().find(|path| there(path)).unwrap_or(&SYSCONF).into())
}
