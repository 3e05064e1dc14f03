//! A client of container registries (the OCI distribution API, version 2), pulling only.

mod auth;
mod client;
mod credentials;
mod docker_config;
mod error;
mod manifest;
mod netrc;
mod settings;
mod transfer;

pub use client::Client;
pub use credentials::{Credential, CredentialError, Credentials};
pub use error::RegistryError;
pub use manifest::{Descriptor, Document, Image, ManifestError, Meaning, architecture, choose};
pub use settings::Settings;
pub use transfer::Blob;
