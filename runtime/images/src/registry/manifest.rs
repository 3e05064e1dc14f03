//! Manifests and indices, OCI's and docker's.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::bounded::{list, nullable, table};
use crate::digest::Digest;

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
const URLS: usize = 64;

/// A pointer to content. Its digest is any text where it has just been read, and is checked before it is used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", bound = "D: Default + Deserialize<'de>")]
pub struct Descriptor<D = Digest> {
    /// What it is; may lie.
    #[serde(default, deserialize_with = "nullable")]
    pub media_type: String,
    /// Its digest.
    #[serde(default, deserialize_with = "nullable")]
    pub digest: D,
    /// Its size in bytes.
    #[serde(default, deserialize_with = "nullable")]
    pub size: u64,
    /// For which machines; in indices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Notes, such as an image's name in a layout.
    #[serde(default, deserialize_with = "annotations")]
    pub annotations: BTreeMap<String, String>,
    /// Where else it is to be had: of layers that registries may not pass on.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "urls")]
    pub urls: Vec<String>,
}

/// The machines that an image is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Platform {
    /// As Go names it.
    #[serde(deserialize_with = "nullable")]
    pub architecture: String,
    /// Such as `linux`.
    #[serde(deserialize_with = "nullable")]
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
    pub digest: Digest,
    /// Itself.
    pub bytes: Vec<u8>,
}

/// A manifest that was read: an image's, or an index of such.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manifest {
    /// One image.
    Image(Image),
    /// One image for each kind of machine.
    Index(Vec<Descriptor<String>>),
}

/// What is wrong with a manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON, or not a manifest.
    #[error("the manifest {digest} is malformed: {source}")]
    Malformed {
        /// Its digest.
        digest: Digest,
        /// From the parser.
        source: serde_json::Error,
    },
    /// The form of 2015.
    #[error("the manifest {0} has the old schema 1: push the image again with a current tool")]
    Schema1(Digest),
    /// Neither layers nor manifests.
    #[error("the manifest {0} is of no container image (it has no layers)")]
    NoImage(Digest),
    /// Something that is kept in registries as images are: a chart, a signature, a model.
    #[error("the manifest {digest} is of no container image, but of {kind:?}")]
    Artifact {
        /// Its digest.
        digest: Digest,
        /// What it says that it is.
        kind: String,
    },
    /// Nothing for this machine.
    #[error("there is no image for the architecture {wanted}, {}", only(there))]
    Architecture {
        /// As asked for.
        wanted: String,
        /// What there is.
        there: String,
    },
    /// A digest we cannot check.
    #[error("the digest {0:?} is not of the form sha256:... or sha512:... and cannot be checked")]
    Digest(String),
    /// Indices within indices without end.
    #[error("the index {0} leads to more indices and manifests than any image needs")]
    Nested(Digest),
    /// Too many layers.
    #[error("the manifest has {0} layers, refused (at most {LAYERS})")]
    Layers(usize),
}

/// What of an index is said that lacks an image: attestations and the like have no architecture.
fn only(there: &str) -> String {
    match there {
        "" => "nor for any other: the index has no image".to_owned(),
        there => format!("only for: {there}"),
    }
}

/// The fields of an image's manifest or of an index, before they are checked.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawManifest {
    #[serde(default, deserialize_with = "nullable")]
    schema_version: u64,
    artifact_type: Option<String>,
    config: Option<Descriptor<String>>,
    #[serde(default, deserialize_with = "list::<_, _, DESCRIPTORS>")]
    layers: Option<Vec<Descriptor<String>>>,
    #[serde(default, deserialize_with = "list::<_, _, DESCRIPTORS>")]
    manifests: Option<Vec<Descriptor<String>>>,
}

fn annotations<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    let table = table::<_, Option<String>, ANNOTATIONS>(from)?.unwrap_or_default();
    Ok(table.into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect())
}

fn urls<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let urls = list::<_, Option<String>, URLS>(from)?.unwrap_or_default();
    Ok(urls.into_iter().flatten().collect())
}

impl Document {
    /// A document with its digest.
    pub fn new(bytes: Vec<u8>) -> Document {
        Document { digest: Digest::of(&bytes), bytes }
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn manifest(&self) -> Result<Manifest, ManifestError> {
        let raw: RawManifest = serde_json::from_slice(&self.bytes)
            .map_err(|source| ManifestError::Malformed { digest: self.digest.clone(), source })?;
        match raw {
            RawManifest { manifests: Some(manifests), config: None, .. } => {
                Ok(Manifest::Index(manifests))
            }
            // An image of nothing has no layers, which Go writes as null.
            RawManifest { config: Some(config), artifact_type, manifests: None, .. }
                if !is_of_image(&config.media_type) =>
            {
                let named = artifact_type.filter(|kind| !kind.is_empty());
                let (digest, kind) = (self.digest.clone(), named.unwrap_or(config.media_type));
                Err(ManifestError::Artifact { digest, kind })
            }
            RawManifest { config: Some(config), layers, manifests: None, .. } => {
                let layers = layers.unwrap_or_default();
                if layers.len() > LAYERS {
                    return Err(ManifestError::Layers(layers.len()));
                }
                let layers =
                    layers.into_iter().map(Descriptor::checked).collect::<Result<_, _>>()?;
                Ok(Manifest::Image(Image { config: config.checked()?, layers }))
            }
            RawManifest { schema_version: 1, .. } => {
                Err(ManifestError::Schema1(self.digest.clone()))
            }
            _ => Err(ManifestError::NoImage(self.digest.clone())),
        }
    }
}

/// Whether something with a configuration of this type may be an image. docker knows images by the same two
/// beginnings; types that are nobody's are older than both.
fn is_of_image(kind: &str) -> bool {
    let kind = kind.to_ascii_lowercase();
    let images = ["application/vnd.oci.image.", "application/vnd.docker."];
    !kind.starts_with("application/vnd.") || images.iter().any(|image| kind.starts_with(image))
}

impl Descriptor<String> {
    /// The same with a digest that content can be compared with.
    pub(super) fn checked(self) -> Result<Descriptor, ManifestError> {
        let Descriptor { media_type, digest, size, platform, annotations, urls } = self;
        match Digest::parse(&digest) {
            Some(digest) => {
                Ok(Descriptor { media_type, digest, size, platform, annotations, urls })
            }
            None => Err(ManifestError::Digest(digest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::platform::{Machine, candidates};
    use super::*;
    use proptest::prelude::*;

    fn document(text: &str) -> Document {
        Document::new(text.as_bytes().to_vec())
    }

    #[test]
    fn null_is_what_go_takes_it_for() {
        let text = format!(
            r#"{{"schemaVersion": null, "mediaType": null, "config": {{"mediaType": null, "size": null,
                "digest": "sha256:{}", "platform": null, "annotations": {{"a": null}}, "urls": null}},
                "layers": null, "annotations": null}}"#,
            "a".repeat(64)
        );
        let Ok(Manifest::Image(image)) = document(&text).manifest() else { panic!("an image") };
        assert_eq!((image.layers.len(), image.config.size), (0, 0));
        let text = r#"{"manifests": [{"digest": null, "size": 1,
            "platform": {"os": null, "architecture": null, "variant": null}}]}"#;
        let Ok(Manifest::Index(index)) = document(text).manifest() else { panic!("an index") };
        assert_eq!(index[0].platform, Some(Platform::default()));
        assert!(document(r#"{"config": null, "layers": null}"#).manifest().is_err());
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
        let Ok(Manifest::Index(index)) = document(&text).manifest() else { panic!("an index") };
        assert_eq!(
            candidates(&index, &Machine::new(Some("amd64"))).unwrap()[0].digest.to_string(),
            digest("b")
        );
        let error = candidates(&index, &Machine::new(Some("arm64"))).unwrap_err().to_string();
        assert_eq!(
            error,
            "there is no image for the architecture arm64, only for: linux/amd64, windows/amd64"
        );
    }

    #[test]
    fn what_is_no_image_is_called_what_it_is() {
        let digest = "a".repeat(64);
        let read = |config: &str, more: &str| {
            document(&format!(
                r#"{{"schemaVersion": 2, {more} "config": {{"mediaType": "{config}",
                    "digest": "sha256:{digest}", "size": 2}}, "layers": []}}"#
            ))
            .manifest()
        };
        for (config, more, kind) in [
            (
                "application/vnd.cncf.helm.config.v1+json",
                "",
                "application/vnd.cncf.helm.config.v1+json",
            ),
            (
                "application/vnd.oci.empty.v1+json",
                r#""artifactType": "application/x","#,
                "application/x",
            ),
            (
                "application/vnd.oci.empty.v1+json",
                r#""artifactType": "","#,
                "application/vnd.oci.empty.v1+json",
            ),
            (
                "application/vnd.sylabs.sif.config.v1+json",
                "",
                "application/vnd.sylabs.sif.config.v1+json",
            ),
        ] {
            let error = read(config, more).unwrap_err().to_string();
            assert!(error.contains(&format!("no container image, but of {kind:?}")), "{error}");
        }
        for config in [
            "",
            "application/vnd.oci.image.config.v1+json",
            "application/vnd.docker.container.image.v1+json",
            "Application/VND.docker.container.image.rootfs.v1+json",
            "application/octet-stream",
            "text/html",
        ] {
            let image = read(config, r#""artifactType": "application/x","#);
            assert!(matches!(image, Ok(Manifest::Image(_))), "{config}: {image:?}");
        }
        let index = document(r#"{"manifests": []}"#).manifest();
        let Ok(Manifest::Index(index)) = index else { panic!("an index") };
        let error = candidates(&index, &Machine::new(Some("amd64"))).unwrap_err().to_string();
        assert_eq!(
            error,
            "there is no image for the architecture amd64, nor for any other: the index has no image"
        );
    }

    #[test]
    fn a_digest_that_is_a_path_is_refused() {
        let text = r#"{"config": {"digest": "sha256:../../x", "size": 1}, "layers": []}"#;
        assert!(document(text).manifest().unwrap_err().to_string().contains("cannot be checked"));
    }

    proptest! {
        #[test]
        fn any_text_is_an_error_or_not(text in "\\PC{0,200}") {
            let _ = document(&text).manifest();
        }
    }
}
