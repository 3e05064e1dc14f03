//! A client of container registries (the OCI distribution API, version 2).

mod answers;
mod auth;
mod authorities;
mod certificates;
mod client;
mod credentials;
mod date;
mod docker_config;
mod error;
mod manifest;
mod netrc;
mod paced;
mod places;
mod platform;
mod proxies;
mod redirects;
mod rules;
mod settings;
mod transfer;
mod upload;

/// What reads others' words here, for fuzz targets.
#[doc(hidden)]
pub mod parsers {
    use super::{Credential, auth, docker_config, netrc};

    /// Machines and users of a credentials file of enroot's.
    pub fn netrc(text: &str) -> Vec<(String, String)> {
        netrc::parse(text).into_iter().map(|login| (login.machine, login.user)).collect()
    }

    /// What docker's configuration has for a repository, without asking helpers.
    pub fn docker_config(text: &[u8], host: &str, repository: &str) -> Option<Credential> {
        docker_config::written(text, host, repository)
    }

    /// The token server that a registry's challenge names.
    pub fn challenge(text: &str) -> Option<String> {
        auth::Challenge::parse(text).iter().find_map(auth::Challenge::realm_host)
    }
}

pub use authorities::Authorities;
pub use client::Client;
pub use credentials::{Credential, CredentialError, Credentials};
pub use error::RegistryError;
pub use manifest::{Descriptor, Document, Image, Manifest, ManifestError, Platform};
pub use platform::{Machine, architecture, candidates, is_architecture};
pub use proxies::Proxies;
pub(crate) use rules::Endpoint;
pub use rules::RegistriesConf;
pub use settings::{Pace, Settings};
pub use transfer::Blob;
pub use upload::{LocalBlob, Pushed};
