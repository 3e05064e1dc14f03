//! OCI image layouts: a directory, or an archive of one, as skopeo, podman, buildah and umoci
//! write them. Archives are read in place.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::ImportError;
use super::blobs::Slice;
use super::choose::{Documents, image_among, image_for};
use crate::bounded::list;
use crate::digest::{self, algorithm_of};
use crate::registry::{Descriptor, Document, Image, Machine};
use crate::tarball::{Kind, Reader};
use crate::uri::hex_of;

/// No honest manifest is larger.
const DOCUMENT_LIMIT: u64 = 8 << 20;
/// The annotations that name an image of a layout; the second one is containerd's and docker's.
const NAMES: [&str; 2] = ["org.opencontainers.image.ref.name", "io.containerd.image.name"];
/// No list is read any further.
const MANIFESTS: usize = 10_000;

/// An opened layout.
#[derive(Debug)]
pub(super) struct Layout {
    path: PathBuf,
    archive: Option<Archive>,
}

/// A layout in one file.
#[derive(Debug)]
struct Archive {
    file: File,
    /// Offset and length of each of its files.
    files: HashMap<String, (u64, u64)>,
}

#[derive(Deserialize)]
struct Index {
    #[serde(default, deserialize_with = "list::<_, _, MANIFESTS>")]
    manifests: Option<Vec<Descriptor>>,
}

impl Layout {
    pub(super) fn open(path: &Path) -> Result<Layout, ImportError> {
        let failed =
            |source| ImportError::File { operation: "open", path: path.to_owned(), source };
        if path.is_dir() {
            return Ok(Layout { path: path.to_owned(), archive: None });
        }
        let file = File::open(path).map_err(failed)?;
        let mut files = HashMap::new();
        let mut reader = Reader::new(std::io::BufReader::new(file.try_clone().map_err(failed)?));
        let malformed =
            |error| layout_error(path, format!("it is no archive of an OCI layout: {error}"));
        while let Some(header) = reader.next().map_err(malformed)? {
            if header.kind == Kind::File {
                let name = String::from_utf8_lossy(&header.path).into_owned();
                let name = name.trim_start_matches("./").to_owned();
                files.insert(name, (reader.position(), header.size));
            }
        }
        Ok(Layout { path: path.to_owned(), archive: Some(Archive { file, files }) })
    }

    /// The image with this tag, for this kind of machine, and its manifest.
    pub(super) fn image(
        &self,
        tag: Option<&str>,
        machine: &Machine,
    ) -> Result<(Document, Image), ImportError> {
        let problem = |text: String| layout_error(&self.path, text);
        let index: Index = serde_json::from_slice(&self.read("index.json")?)
            .map_err(|error| problem(format!("its index.json is malformed: {error}")))?;
        let manifests = index.manifests.unwrap_or_default();
        let name = |descriptor: &Descriptor| {
            let names = NAMES.iter().filter_map(|name| descriptor.annotations.get(*name));
            names.cloned().collect::<Vec<String>>()
        };
        let names = || {
            let names: Vec<String> = manifests.iter().flat_map(name).collect();
            if names.is_empty() { "none has a name".to_owned() } else { names.join(", ") }
        };
        let wanted = |descriptor: &&Descriptor| match tag {
            // Archives may have the whole reference as the name.
            Some(tag) => name(descriptor).iter().any(|name| {
                name == tag || name.strip_suffix(tag).is_some_and(|rest| rest.ends_with(':'))
            }),
            None => true,
        };
        let found: Vec<&Descriptor> = manifests.iter().filter(wanted).collect();
        match found[..] {
            [one] => image_for(machine, self, self.document(&one.digest)?),
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
                let found: Vec<Descriptor> = found.into_iter().cloned().collect();
                image_among(machine, self, &found)
            }
        }
    }

    /// A blob, which is still to be checked.
    pub(super) fn blob(&self, digest: &str) -> Result<Slice, ImportError> {
        self.slice(&self.name_of(digest)?)
    }

    fn name_of(&self, digest: &str) -> Result<String, ImportError> {
        let hex = hex_of(digest).ok_or_else(|| {
            layout_error(&self.path, format!("it has the unusable digest {digest:?}"))
        })?;
        Ok(format!("blobs/{}/{hex}", algorithm_of(digest)))
    }

    /// An image's configuration.
    pub(super) fn configuration(&self, descriptor: &Descriptor) -> Result<Vec<u8>, ImportError> {
        self.document(&descriptor.digest).map(|document| document.bytes)
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, ImportError> {
        let slice = self.slice(name)?;
        let mut content = Vec::new();
        slice.reader().take(DOCUMENT_LIMIT).read_to_end(&mut content).map_err(|source| {
            ImportError::File { operation: "read", path: self.path.join(name), source }
        })?;
        Ok(content)
    }

    fn slice(&self, name: &str) -> Result<Slice, ImportError> {
        let path = self.path.join(name);
        let failed = |source| ImportError::File { operation: "open", path: path.clone(), source };
        match &self.archive {
            None => {
                let file = File::open(&path).map_err(failed)?;
                let length = file.metadata().map_err(failed)?.len();
                Ok(Slice::new(file, 0, length))
            }
            Some(Archive { file, files }) => {
                let (offset, length) = *files
                    .get(name)
                    .ok_or_else(|| layout_error(&self.path, format!("it has no {name}")))?;
                Ok(Slice::new(file.try_clone().map_err(failed)?, offset, length))
            }
        }
    }
}

impl Documents for Layout {
    fn document(&self, digest: &str) -> Result<Document, ImportError> {
        let bytes = self.read(&self.name_of(digest)?)?;
        let actual = digest::like(digest, &bytes);
        if actual != digest {
            let (from, expected) = (self.path.display().to_string(), digest.to_owned());
            return Err(ImportError::Digest { from, expected, actual });
        }
        Ok(Document::new(bytes))
    }

    fn config(&self, image: &Image) -> Result<Vec<u8>, ImportError> {
        self.configuration(&image.config)
    }
}

fn layout_error(path: &Path, problem: String) -> ImportError {
    ImportError::Layout { path: path.to_owned(), problem }
}
