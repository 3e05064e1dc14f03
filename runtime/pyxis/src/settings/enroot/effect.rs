//! What has an effect of what `enroot.conf` can set, and why the rest has none.

use crate::settings::variables as v;

/// What a variable of `enroot.conf` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// What it does for enroot.
    Same,
    /// Nothing, and why.
    Nothing(&'static str),
    /// Nobody here knows it: hooks get it.
    Hooks,
}

/// What the variable does, by name.
pub fn effect_of(variable: &str) -> Effect {
    match variable {
        "ENROOT_GZIP_PROGRAM" => {
            Effect::Nothing("layers are unpacked by the command itself, with no program")
        }
        "ENROOT_ZSTD_OPTIONS" => {
            Effect::Nothing("layers are kept as the registry sends them, not compressed again")
        }
        "ENROOT_BUNDLE_ALL" | "ENROOT_BUNDLE_CHECKSUM" => {
            Effect::Nothing("no bundles are made: a container starts from its image")
        }
        v::FORCE_OVERRIDE
        | "SSL_CERT_DIR"
        | "SSL_CERT_FILE"
        | "http_proxy"
        | "https_proxy"
        | "no_proxy"
        | "all_proxy" => Effect::Same,
        _ if variable.starts_with("NVIDIA_") || variable.starts_with("MELLANOX_") => Effect::Same,
        _ if super::SETTINGS.iter().any(|setting| setting.variable == variable) => Effect::Same,
        _ => Effect::Hooks,
    }
}
