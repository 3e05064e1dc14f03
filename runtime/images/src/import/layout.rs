//! OCI image layouts: a directory, or an archive of one, as skopeo, podman, buildah and umoci
//! write them. Archives are read in place.

use std::fs::File;
use std::path::{Path, PathBuf};

use linux::file_error::FileError;
use serde::Deserialize;

use super::archive::{Archive, Content, SyntheticImage};
use super::choose::{Documents, image_among, image_for};
use super::slice::Slice;
use super::{ImportError, Importer};
use crate::bounded::list;
use crate::digest::Digest;
use crate::layers::Interpretation;
use crate::registry::{Descriptor, Document, Image, Machine};

/// The annotations that name an image of a layout; the second one is containerd's and docker's.
const NAMES: [&str; 2] = ["org.opencontainers.image.ref.name", "io.containerd.image.name"];
/// No list is read any further.
const MANIFESTS: usize = 10_000;

/// An opened layout.
#[derive(Debug)]
pub(super) struct Layout {
    path: PathBuf,
    archive: Option<Archive>,
    /// Of an archive without manifests.
    made: SyntheticImage,
}

#[derive(Deserialize)]
struct Index {
    #[serde(default, deserialize_with = "list::<_, _, MANIFESTS>")]
    manifests: Option<Vec<Descriptor<String>>>,
}

impl Layout {
    pub(super) fn open(path: &Path, importer: &Importer) -> Result<Layout, ImportError> {
        let archive = match path.is_dir() {
            true => None,
            false => Some(Archive::open(path, importer)?),
        };
        Ok(Layout { path: path.to_owned(), archive, made: SyntheticImage::default() })
    }

    /// How the names in its layers are to be read.
    pub(super) fn interpretation(&self) -> Interpretation {
        if self.made.flat { Interpretation::Flat } else { Interpretation::Layer }
    }

    /// The image with this tag, for this kind of machine, and its manifest, from whatever kind of
    /// archive it is.
    pub(super) fn image(
        &mut self,
        tag: Option<&str>,
        machine: &Machine,
    ) -> Result<(Document, Image), ImportError> {
        let Some(archive) = &self.archive else { return self.image_of_layout(tag, machine) };
        let (document, image, made) = match (archive.content()?, tag) {
            (Content::Layout, _) => return self.image_of_layout(tag, machine),
            (Content::Saved(images), _) => archive.saved(&images, tag)?,
            (Content::Root, None) => archive.root()?,
            (Content::Root, Some(tag)) => {
                let problem = format!("it is a root file system, and has no image {tag}");
                return Err(ImportError::layout(&self.path, problem));
            }
        };
        self.made = made;
        Ok((document, image))
    }

    fn image_of_layout(
        &self,
        tag: Option<&str>,
        machine: &Machine,
    ) -> Result<(Document, Image), ImportError> {
        let problem = |text: String| ImportError::layout(&self.path, text);
        let index: Index = serde_json::from_slice(&self.read("index.json")?)
            .map_err(|error| problem(format!("its index.json is malformed: {error}")))?;
        let manifests = index.manifests.unwrap_or_default();
        let name = |descriptor: &Descriptor<String>| {
            let names = NAMES.iter().filter_map(|name| descriptor.annotations.get(*name));
            names.cloned().collect::<Vec<String>>()
        };
        let names = || {
            let names: Vec<String> = manifests.iter().flat_map(name).collect();
            if names.is_empty() { "none has a name".to_owned() } else { names.join(", ") }
        };
        let wanted = |descriptor: &&Descriptor<String>| match tag {
            // Archives may have the whole reference as the name.
            Some(tag) => name(descriptor).iter().any(|name| {
                name == tag || name.strip_suffix(tag).is_some_and(|rest| rest.ends_with(':'))
            }),
            None => true,
        };
        let found: Vec<&Descriptor<String>> = manifests.iter().filter(wanted).collect();
        match found[..] {
            [one] => {
                let digest = Digest::parse(&one.digest).ok_or_else(|| {
                    problem(format!("it has the unusable digest {:?}", one.digest))
                })?;
                image_for(machine, self, self.document(&digest)?)
            }
            [] => Err(problem(format!(
                "it has no image {}; there is: {}",
                tag.unwrap_or_default(),
                names()
            ))),
            _ if tag.is_none()
                && found.iter().any(|one| one.platform.is_none() && !name(one).is_empty()) =>
            {
                Err(problem(format!("it has several images, name one (PATH:TAG): {}", names())))
            }
            _ => {
                let found: Vec<Descriptor<String>> = found.into_iter().cloned().collect();
                image_among(machine, self, &found)
            }
        }
    }

    /// A blob, which is still to be checked.
    pub(super) fn blob(&self, digest: &Digest) -> Result<Slice, ImportError> {
        let made = self.archive.as_ref().and_then(|archive| archive.layer(&self.made, digest));
        if let Some(layer) = made {
            return layer;
        }
        self.slice(&name_of(digest))
    }

    /// An image's configuration.
    pub(super) fn configuration(&self, descriptor: &Descriptor) -> Result<Vec<u8>, ImportError> {
        self.document(&descriptor.digest).map(|document| document.bytes)
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, ImportError> {
        let failed = |source| FileError::new("read", self.path.join(name), source);
        Ok(self.slice(name)?.document().map_err(failed)?)
    }

    fn slice(&self, name: &str) -> Result<Slice, ImportError> {
        match &self.archive {
            None => {
                let path = self.path.join(name);
                let failed = |source| FileError::new("open", &path, source);
                let file = File::open(&path).map_err(failed)?;
                Ok(Slice::whole(file).map_err(failed)?)
            }
            Some(archive) => archive.slice(name),
        }
    }
}

/// The file of a layout that has the content with this digest.
fn name_of(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

impl Documents for Layout {
    fn document(&self, digest: &Digest) -> Result<Document, ImportError> {
        if let Some(bytes) = self.made.documents.get(digest) {
            return Ok(Document::new(bytes.clone()));
        }
        let bytes = self.read(&name_of(digest))?;
        let actual = digest.like(&bytes);
        if actual != *digest {
            let (from, expected) = (self.path.display().to_string(), digest.clone());
            return Err(ImportError::Digest { from, expected, actual });
        }
        Ok(Document::new(bytes))
    }

    fn config(&self, image: &Image) -> Result<Vec<u8>, ImportError> {
        self.configuration(&image.config)
    }
}
