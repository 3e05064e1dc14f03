//! From an index to the image for a machine, through as many indices as there are between.

use super::ImportError;
use crate::digest::Digest;
use crate::imageconf::ImageConfig;
use crate::registry::{Descriptor, Document, Image, Machine, Manifest, ManifestError, candidates};

/// More indices within each other than anybody writes.
const DEPTH: u32 = 4;
/// So many manifests are read for one image at most, whatever the indices say.
const DOCUMENTS: u32 = 64;

/// Where the documents of an image come from.
pub(super) trait Documents {
    /// A manifest or an index.
    fn document(&self, digest: &Digest) -> Result<Document, ImportError>;
    /// A configuration.
    fn config(&self, image: &Image) -> Result<Vec<u8>, ImportError>;
}

/// The image for `machine` that a document is of, and that image's own manifest.
pub(super) fn image_for(
    machine: &Machine,
    from: &dyn Documents,
    document: Document,
) -> Result<(Document, Image), ImportError> {
    let mut search = Search { machine, from, left: DOCUMENTS };
    search.image(document, DEPTH)
}

/// Chooses among the descriptors of an index that is at hand.
pub(super) fn image_among(
    machine: &Machine,
    from: &dyn Documents,
    index: &[Descriptor<String>],
) -> Result<(Document, Image), ImportError> {
    Search { machine, from, left: DOCUMENTS }.among(index, DEPTH)
}

struct Search<'a> {
    machine: &'a Machine,
    from: &'a dyn Documents,
    left: u32,
}

impl Search<'_> {
    fn image(&mut self, document: Document, depth: u32) -> Result<(Document, Image), ImportError> {
        match document.manifest()? {
            Manifest::Image(image) => Ok((document, image)),
            Manifest::Index(_) if depth == 0 => Err(ManifestError::Nested(document.digest).into()),
            Manifest::Index(index) => self.among(&index, depth - 1),
        }
    }

    fn among(
        &mut self,
        index: &[Descriptor<String>],
        depth: u32,
    ) -> Result<(Document, Image), ImportError> {
        let found = candidates(index, self.machine)?;
        if let [only] = &found[..] {
            return self.at(only, depth);
        }
        let mut there = Vec::new();
        for one in &found {
            let (document, image) = match self.at(one, depth) {
                Err(ImportError::Manifest(
                    ManifestError::Architecture { .. }
                    | ManifestError::Artifact { .. }
                    | ManifestError::NoImage(_),
                )) => continue,
                found => found?,
            };
            // Its configuration says what its entry does not.
            let config = self.from.config(&image)?;
            match ImageConfig::parse(&config).ok().and_then(|config| config.architecture) {
                Some(other) if other != self.machine.architecture() => there.push(other),
                _ => return Ok((document, image)),
            }
        }
        let wanted = self.machine.architecture().to_owned();
        Err(ManifestError::Architecture { wanted, there: there.join(", ") }.into())
    }

    fn at(&mut self, one: &Descriptor, depth: u32) -> Result<(Document, Image), ImportError> {
        if self.left == 0 {
            return Err(ManifestError::Nested(one.digest.clone()).into());
        }
        self.left -= 1;
        let document = self.from.document(&one.digest)?;
        self.image(document, depth)
    }
}
