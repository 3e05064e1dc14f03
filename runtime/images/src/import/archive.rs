//! Images in one file: an OCI layout, what `docker save` or `podman save` writes, or a root file system
//! that anybody has packed; compressed or not. They are read in place, compressed ones from a copy.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use linux::file_error::FileError;
use serde::Deserialize;

use super::slice::Slice;
use super::{ImportError, Importer};
use crate::bounded::list;
use crate::digest::{Digest, Hasher};
use crate::layers::{Meter, Quantity, decoder, is_compressed};
use crate::registry::{Descriptor, Document, Image};
use crate::store::Space;
use crate::tarball::{Kind, Reader};

const IMAGES: usize = 10_000;
const LAYERS: usize = 512;
/// As many links lead from one layer's name to another's at most.
const LINKS: usize = 8;
/// One of them is in every root file system.
const OF_ROOT: [&str; 6] = ["bin", "usr", "etc", "sbin", "lib", "sh"];

/// An archive and where its files are.
#[derive(Debug)]
pub(super) struct Archive {
    path: PathBuf,
    file: File,
    length: u64,
    /// Offset and length of each of its files.
    files: HashMap<String, (u64, u64)>,
    links: HashMap<String, String>,
    has_root: bool,
    /// What a copy takes of the store.
    _space: Option<Space>,
}

/// What is in an archive.
pub(super) enum Content {
    /// An OCI layout.
    Layout,
    /// What docker saves, by its list of images.
    Saved(Vec<DockerSaved>),
    /// Files.
    Root,
}

/// An entry of the `manifest.json` that `docker save` writes.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerSaved {
    config: String,
    #[serde(default, deserialize_with = "list::<_, _, IMAGES>")]
    repo_tags: Option<Vec<String>>,
    #[serde(default, deserialize_with = "list::<_, _, LAYERS>")]
    layers: Option<Vec<String>>,
}

/// An image that has no manifest of its own: the documents that were made for it and its layers, by their digests.
#[derive(Debug, Default)]
pub(super) struct SyntheticImage {
    pub(super) documents: BTreeMap<Digest, Vec<u8>>,
    layers: BTreeMap<Digest, (u64, u64)>,
    /// Whether its layer is a root file system, in which no name is a whiteout.
    pub(super) flat: bool,
}

impl Archive {
    pub(super) fn open(path: &Path, importer: &Importer) -> Result<Archive, ImportError> {
        let failed = |source| FileError::new("open", path, source);
        let file = File::open(path).map_err(failed)?;
        let mut head = [0; 6];
        let count = file.read_at(&mut head, 0).map_err(failed)?;
        let (file, space) = match is_compressed(&head[..count]) {
            true => decompressed(path, &file, importer).map(|(file, space)| (file, Some(space)))?,
            false => (file, None),
        };
        let length = file.metadata().map_err(failed)?.len();
        let mut archive = Archive {
            path: path.to_owned(),
            file,
            length,
            files: HashMap::new(),
            links: HashMap::new(),
            has_root: false,
            _space: space,
        };
        archive.look_through(&Meter::of(importer.limits, length))?;
        Ok(archive)
    }

    fn look_through(&mut self, meter: &Meter) -> Result<(), ImportError> {
        let failed = |source| FileError::new("read", &self.path, source);
        let file = self.file.try_clone().map_err(failed)?;
        let input = Slice::new(file, 0, self.length);
        let mut reader = Reader::new(BufReader::new(input.reader()));
        let malformed =
            |error| ImportError::layout(&self.path, format!("it is no archive: {error}"));
        while let Some(header) = reader.next().map_err(malformed)? {
            meter.charge(Quantity::Entries, 1)?;
            meter.charge(Quantity::Memory, 200 + 2 * header.path.len() as u64)?;
            let name = String::from_utf8_lossy(&header.path).into_owned();
            let name = name.trim_start_matches("./").trim_matches('/').to_owned();
            let first = name.split('/').next().unwrap_or_default();
            self.has_root |= OF_ROOT.contains(&first);
            match header.kind {
                Kind::File => drop(self.files.insert(name, (reader.position(), header.size))),
                Kind::Symlink(target) => {
                    meter.charge(Quantity::Memory, target.len() as u64)?;
                    let target = String::from_utf8_lossy(&target).into_owned();
                    self.links.insert(name, target);
                }
                _ => {}
            }
        }
        self.leave_folder();
        Ok(())
    }

    /// Somebody may have packed the folder and not what is in it.
    fn leave_folder(&mut self) {
        if ["index.json", "manifest.json"].iter().any(|name| self.files.contains_key(*name)) {
            return;
        }
        let folder = self.files.keys().find_map(|name| {
            let folder = name.strip_suffix("/oci-layout").or(name.strip_suffix("/manifest.json"))?;
            (!folder.contains('/')).then(|| format!("{folder}/"))
        });
        let Some(folder) = folder.filter(|folder| {
            self.files.keys().chain(self.links.keys()).all(|name| name.starts_with(folder))
        }) else {
            return;
        };
        let bare = |name: String| name[folder.len()..].to_owned();
        self.files = self.files.drain().map(|(name, place)| (bare(name), place)).collect();
        self.links = self.links.drain().map(|(name, target)| (bare(name), target)).collect();
    }

    /// What it is an archive of.
    pub(super) fn content(&self) -> Result<Content, ImportError> {
        if self.files.contains_key("index.json") {
            return Ok(Content::Layout);
        }
        if self.files.contains_key("manifest.json") && !self.has_root {
            let problem = |error| {
                ImportError::layout(&self.path, format!("its manifest.json is malformed: {error}"))
            };
            let bytes = self.read("manifest.json")?;
            return serde_json::from_slice(&bytes).map(Content::Saved).map_err(problem);
        }
        if self.has_root {
            return Ok(Content::Root);
        }
        Err(ImportError::layout(
            &self.path,
            "it is neither an OCI layout (it has no index.json), nor what docker saves or exports, \
             nor a root file system (it has no bin, etc or usr)"
                .to_owned(),
        ))
    }

    pub(super) fn slice(&self, name: &str) -> Result<Slice, ImportError> {
        let place = self.find(name)?;
        self.at(place)
    }

    fn at(&self, (offset, length): (u64, u64)) -> Result<Slice, ImportError> {
        let failed = |source| FileError::new("open", &self.path, source);
        Ok(Slice::new(self.file.try_clone().map_err(failed)?, offset, length))
    }

    /// Where a file is. docker has had links for layers that several images share.
    fn find(&self, name: &str) -> Result<(u64, u64), ImportError> {
        let mut at = name.trim_start_matches("./").to_owned();
        for _ in 0..LINKS {
            if let Some(place) = self.files.get(&at) {
                return Ok(*place);
            }
            let Some(target) = self.links.get(&at) else { break };
            let folder = at.rsplit_once('/').map_or("", |(folder, _)| folder);
            at = joined(folder, target);
        }
        Err(ImportError::layout(&self.path, format!("it has no {name}")))
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, ImportError> {
        let failed = |source| FileError::new("read", self.path.join(name), source);
        Ok(self.slice(name)?.document().map_err(failed)?)
    }

    /// The image that docker has saved by this name.
    pub(super) fn saved(
        &self,
        images: &[DockerSaved],
        tag: Option<&str>,
    ) -> Result<(Document, Image, SyntheticImage), ImportError> {
        let names = |saved: &DockerSaved| saved.repo_tags.clone().unwrap_or_default();
        let is = |saved: &&DockerSaved| match tag {
            Some(tag) => names(saved).iter().any(|name| {
                name == tag || name.strip_suffix(tag).is_some_and(|rest| rest.ends_with([':', '/']))
            }),
            None => true,
        };
        let found: Vec<&DockerSaved> = images.iter().filter(is).collect();
        let [saved] = found[..] else {
            let all: Vec<String> = images.iter().flat_map(names).collect();
            let what = tag.map_or_else(
                || "several images, name one (PATH:TAG)".to_owned(),
                |tag| format!("no image {tag}, or several; there is"),
            );
            return Err(ImportError::layout(
                &self.path,
                format!("it has {what}: {}", all.join(", ")),
            ));
        };
        let config = self.read(&saved.config)?;
        let layers = saved.layers.iter().flatten().map(|name| self.find(name));
        self.make(config, layers.collect::<Result<_, _>>()?, false)
    }

    /// The image of all its files.
    pub(super) fn root(&self) -> Result<(Document, Image, SyntheticImage), ImportError> {
        self.make(b"{}".to_vec(), vec![(0, self.length)], true)
    }

    /// An image of these layers, and a manifest for it.
    fn make(
        &self,
        config: Vec<u8>,
        places: Vec<(u64, u64)>,
        flat: bool,
    ) -> Result<(Document, Image, SyntheticImage), ImportError> {
        let mut made = SyntheticImage { flat, ..SyntheticImage::default() };
        let described = |digest: &Digest, size: u64| Descriptor {
            media_type: String::new(),
            digest: digest.clone(),
            size,
            platform: None,
            annotations: BTreeMap::new(),
            urls: Vec::new(),
        };
        let digest = Digest::of(&config);
        let descriptor = described(&digest, config.len() as u64);
        made.documents.insert(digest, config);
        let mut layers = Vec::new();
        for place in places {
            let digest = self.digest(place)?;
            layers.push(described(&digest, place.1));
            made.layers.insert(digest, place);
        }
        let of = |one: &Descriptor| serde_json::json!({"digest": one.digest, "size": one.size});
        let layers_of: Vec<_> = layers.iter().map(of).collect();
        let manifest = serde_json::json!({
            "schemaVersion": 2, "config": of(&descriptor), "layers": layers_of,
            // Another image than one of the same bytes that is a layer.
            "annotations": {"pyxis.flat": flat.to_string()},
        });
        let document = Document::new(manifest.to_string().into_bytes());
        Ok((document, Image { config: descriptor, layers }, made))
    }

    fn digest(&self, place: (u64, u64)) -> Result<Digest, ImportError> {
        let failed = |source| FileError::new("read", &self.path, source);
        let slice = self.at(place)?;
        let (mut reader, mut hash) = (slice.reader(), Hasher::new());
        let mut buffer = vec![0; 256 << 10];
        loop {
            match reader.read(&mut buffer).map_err(failed)? {
                0 => return Ok(hash.finish()),
                count => hash.update(&buffer[..count]),
            }
        }
    }

    /// A layer of an image that was made.
    pub(super) fn layer(
        &self,
        made: &SyntheticImage,
        digest: &Digest,
    ) -> Option<Result<Slice, ImportError>> {
        made.layers.get(digest).map(|place| self.at(*place))
    }
}

/// A copy that is not compressed, in a file without a name.
fn decompressed(
    path: &Path,
    file: &File,
    importer: &Importer,
) -> Result<(File, Space), ImportError> {
    let failed = |source| FileError::new("read", path, source);
    importer.progress.step(&format!("Decompressing {}", path.display()));
    let whole = Slice::whole(file.try_clone().map_err(failed)?).map_err(failed)?;
    let meter = Meter::of(importer.limits, whole.reader().len());
    let (space, pending) = (importer.store.space(), importer.store.pending()?);
    let mut input = decoder(whole.reader())?;
    let mut buffer = vec![0; 256 << 10];
    loop {
        let count = input.read(&mut buffer).map_err(failed)?;
        if count == 0 {
            drop(input);
            return Ok((pending.into_file()?, space));
        }
        meter.charge(Quantity::Bytes, count as u64)?;
        space.take(count as u64)?;
        pending.write_all(&buffer[..count])?;
    }
}

/// Where a link in a folder leads, inside the archive.
fn joined(folder: &str, target: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let from = if target.starts_with('/') { "" } else { folder };
    for part in from.split('/').chain(target.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
