//! Manifests and indices, OCI's and docker's.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::client::digest_of;
use crate::bounded::{list, table};
use crate::uri::hex_of;

/// Manifests we can use.
pub(super) const ACCEPT: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// More layers than any engine can start.
const LAYERS: usize = 512;
/// No list is read any further.
const DESCRIPTORS: usize = 10_000;
const ANNOTATIONS: usize = 1000;

/// A pointer to content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is; may lie.
    #[serde(default)]
    pub media_type: String,
    /// Its digest.
    pub digest: String,
    /// Its size in bytes.
    pub size: u64,
    /// For which machines; in indices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Notes, such as an image's name in a layout.
    #[serde(default, deserialize_with = "annotations")]
    pub annotations: BTreeMap<String, String>,
}

/// The machines that an image is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Platform {
    /// As Go names it.
    pub architecture: String,
    /// Such as `linux`.
    pub os: String,
    /// Such as `v8`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// An image's manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its configuration.
    pub config: Descriptor,
    /// Its layers, lowest first.
    pub layers: Vec<Descriptor>,
}

/// A manifest or index as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The digest of its bytes.
    pub digest: String,
    /// Itself.
    pub bytes: Vec<u8>,
}

/// What a document says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// One image.
    Image(Image),
    /// One image for each kind of machine.
    Index(Vec<Descriptor>),
}

/// What is wrong with a manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON, or not a manifest.
    #[error("the manifest {digest} is malformed: {source}")]
    Malformed {
        /// Its digest.
        digest: String,
        /// From the parser.
        source: serde_json::Error,
    },
    /// The form of 2015.
    #[error("the manifest {0} has the old schema 1: push the image again with a current tool")]
    Schema1(String),
    /// Neither layers nor manifests.
    #[error("the manifest {0} is of no container image (it has no layers)")]
    NoImage(String),
    /// Nothing for this machine.
    #[error("there is no image for the architecture {wanted}, only for: {there}")]
    Architecture {
        /// As asked for.
        wanted: String,
        /// What there is.
        there: String,
    },
    /// A digest we cannot check.
    #[error("the digest {0:?} is not of the form sha256:... and cannot be checked")]
    Digest(String),
    /// Too many layers.
    #[error("the manifest has {0} layers, refused (at most {LAYERS})")]
    Layers(usize),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    #[serde(default)]
    schema_version: u64,
    config: Option<Descriptor>,
    #[serde(default, deserialize_with = "list::<_, _, DESCRIPTORS>")]
    layers: Option<Vec<Descriptor>>,
    #[serde(default, deserialize_with = "list::<_, _, DESCRIPTORS>")]
    manifests: Option<Vec<Descriptor>>,
}

fn annotations<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    Ok(table::<_, _, ANNOTATIONS>(from)?.unwrap_or_default())
}

impl Document {
    /// A document with its digest.
    pub fn new(bytes: Vec<u8>) -> Document {
        Document { digest: digest_of(&bytes), bytes }
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn meaning(&self) -> Result<Meaning, ManifestError> {
        let wire: Wire = serde_json::from_slice(&self.bytes)
            .map_err(|source| ManifestError::Malformed { digest: self.digest.clone(), source })?;
        match wire {
            Wire { config: Some(config), layers: Some(layers), .. } => {
                if layers.len() > LAYERS {
                    return Err(ManifestError::Layers(layers.len()));
                }
                for descriptor in layers.iter().chain([&config]) {
                    descriptor.check()?;
                }
                Ok(Meaning::Image(Image { config, layers }))
            }
            Wire { manifests: Some(manifests), .. } => Ok(Meaning::Index(manifests)),
            Wire { schema_version: 1, .. } => Err(ManifestError::Schema1(self.digest.clone())),
            _ => Err(ManifestError::NoImage(self.digest.clone())),
        }
    }
}

impl Descriptor {
    fn check(&self) -> Result<(), ManifestError> {
        match hex_of(&self.digest) {
            Some(hex) if !hex.bytes().any(|byte| byte.is_ascii_uppercase()) => Ok(()),
            _ => Err(ManifestError::Digest(self.digest.clone())),
        }
    }

    /// The digits of its digest; they were checked when the manifest was read.
    pub fn hex(&self) -> &str {
        self.digest.strip_prefix("sha256:").unwrap_or(&self.digest)
    }
}

/// The descriptor of the image for `architecture` among those of an index.
///
/// # Errors
/// [`ManifestError::Architecture`].
pub fn choose<'a>(
    index: &'a [Descriptor],
    architecture: &str,
) -> Result<&'a Descriptor, ManifestError> {
    let fits = |descriptor: &&Descriptor| match &descriptor.platform {
        Some(platform) => {
            platform.architecture == architecture && ["linux", ""].contains(&platform.os.as_str())
        }
        // An index of one need not say.
        None => index.len() == 1,
    };
    let found = index.iter().find(fits).ok_or_else(|| {
        let mut there: Vec<String> = index
            .iter()
            .filter_map(|descriptor| descriptor.platform.as_ref())
            .filter(|platform| platform.architecture != "unknown")
            .map(|platform| format!("{}/{}", platform.os, platform.architecture))
            .collect();
        there.sort_unstable();
        there.dedup();
        // All of them are one line.
        there.truncate(40);
        ManifestError::Architecture { wanted: architecture.to_owned(), there: there.join(", ") }
    })?;
    found.check()?;
    Ok(found)
}

/// Go's name of an architecture, which may be given as the kernel's; this machine's by default.
pub fn architecture(name: Option<&str>) -> String {
    match name.unwrap_or(std::env::consts::ARCH) {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "powerpc64" | "ppc64el" if cfg!(target_endian = "little") => "ppc64le",
        other => other,
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn document(text: &str) -> Document {
        Document::new(text.as_bytes().to_vec())
    }

    #[test]
    fn an_index_is_searched_for_this_kind_of_machine() {
        let digest = |digit: &str| format!("sha256:{}", digit.repeat(64));
        let text = format!(
            r#"{{"schemaVersion": 2, "manifests": [
                {{"digest": "{}", "size": 1, "platform": {{"os": "windows", "architecture": "amd64"}}}},
                {{"digest": "{}", "size": 1, "platform": {{"os": "linux", "architecture": "amd64"}}}},
                {{"digest": "{}", "size": 1, "platform": {{"os": "unknown", "architecture": "unknown"}}}}
            ]}}"#,
            digest("a"),
            digest("b"),
            digest("c"),
        );
        let Ok(Meaning::Index(index)) = document(&text).meaning() else { panic!("an index") };
        assert_eq!(choose(&index, "amd64").unwrap().digest, digest("b"));
        let error = choose(&index, "arm64").unwrap_err().to_string();
        assert_eq!(
            error,
            "there is no image for the architecture arm64, only for: linux/amd64, windows/amd64"
        );
    }

    #[test]
    fn a_digest_that_is_a_path_is_refused() {
        let text = r#"{"config": {"digest": "sha256:../../x", "size": 1}, "layers": []}"#;
        assert!(document(text).meaning().unwrap_err().to_string().contains("cannot be checked"));
    }

    proptest! {
        #[test]
        fn any_text_is_an_error_or_not(text in "\\PC{0,200}") {
            let _ = document(&text).meaning();
        }
    }
}
