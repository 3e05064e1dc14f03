//! From a URI to the manifest of one image.

use std::sync::OnceLock;

use linux::phases;

use super::choose::{Documents, image_for};
use super::layout::Layout;
use super::{ImportError, Importer, PullPolicy};
use crate::digest::Digest;
use crate::imageconf::ImageConfig;
use crate::registry::{
    Client, Descriptor, Document, Endpoint, Image, Manifest, ManifestError, RegistryError,
};
use crate::uri::{Reference, Uri};

/// Where an image's blobs are.
#[derive(Debug)]
pub(super) enum Origin {
    /// In a registry.
    Registry(Box<Client>),
    /// In files.
    Layout(Box<Layout>),
    /// In the store, unless something is missing: then in the registry of the reference, whose
    /// client is made for that.
    Stored(Reference, Vec<Endpoint>, OnceLock<Box<Client>>),
}

impl Origin {
    /// Whether a registry was shown credentials for anything of this image.
    pub(super) fn used_credentials(&self) -> bool {
        match self {
            Origin::Registry(client) => client.used_credentials(),
            Origin::Stored(_, _, client) => client.get().is_some_and(|is| is.used_credentials()),
            // Whoever may read the files may read the image.
            Origin::Layout(_) => false,
        }
    }
}

/// One image.
#[derive(Debug)]
pub(super) struct Resolved {
    /// The digest of its manifest.
    pub(super) digest: Digest,
    pub(super) image: Image,
    pub(super) origin: Origin,
    /// The image in a registry, if it is one.
    pub(super) reference: Option<Reference>,
    /// The URI, for the image's own notes.
    pub(super) origin_text: String,
}

impl Resolved {
    /// Asks the registry whether the caller may have this image.
    pub(super) fn authorize(&self, importer: &Importer) -> Result<(), ImportError> {
        match &self.origin {
            // The manifest was just given to the caller.
            Origin::Registry(_) | Origin::Layout(_) => Ok(()),
            Origin::Stored(reference, ..) => importer
                .first_host(reference, |client| Ok(client.authorize(&self.digest)?))
                .map(drop),
        }
    }
}

impl Importer {
    /// The image that a URI names. `None` for images of engines, which have no digest.
    pub(super) fn resolve(
        &self,
        uri: &Uri,
        policy: PullPolicy,
    ) -> Result<Option<Resolved>, ImportError> {
        phases::begin("resolve");
        let (digest, image, origin) = match uri {
            Uri::Engine { .. } => return Ok(None),
            Uri::Layout { path, tag } => {
                let mut layout = Layout::open(path, self)?;
                let (document, image) = layout.image(tag.as_deref(), &self.machine)?;
                (document.digest, image, Origin::Layout(Box::new(layout)))
            }
            Uri::Registry(reference) => self.resolve_reference(reference, policy)?,
        };
        let reference = match uri {
            Uri::Registry(reference) => Some(reference.clone()),
            _ => None,
        };
        Ok(Some(Resolved { digest, image, origin, reference, origin_text: uri.to_string() }))
    }

    fn resolve_reference(
        &self,
        reference: &Reference,
        policy: PullPolicy,
    ) -> Result<(Digest, Image, Origin), ImportError> {
        // What the node blocks is not to be had from the store, either.
        let endpoints = self.settings.endpoints(reference)?;
        // A digest says what it is; what is there need not be asked for.
        let known = match (&reference.digest, policy) {
            (Some(digest), _) => Some(digest.clone()),
            (None, PullPolicy::Always) => None,
            (None, PullPolicy::Missing) => self.store.remembered(&self.key(reference)),
            (None, PullPolicy::Never) => self.named(reference),
        };
        if let Some((digest, image)) = known.and_then(|digest| self.stored_manifest(&digest)) {
            if policy == PullPolicy::Never || self.store.image(&digest)?.is_some() {
                if let Some(named) = &reference.digest {
                    self.remember(reference, named, &digest)?;
                }
                let origin = Origin::Stored(reference.clone(), endpoints, OnceLock::new());
                return Ok((digest, image, origin));
            }
        }
        if policy == PullPolicy::Never {
            return Err(ImportError::NotStored(reference.to_string()));
        }
        self.progress.step(&format!("Fetching the image manifest from {}", reference.registry));
        let selector = reference.selector();
        let asked = self.first_host(reference, |client| {
            let document = client.manifest(selector)?;
            let from = RegistryDocuments { importer: self, client };
            let (found, image) = image_for(&self.machine, &from, document.clone())?;
            self.keep(selector, &document, client)?;
            Ok((document.digest, found, image))
        });
        let (client, (named, document, image)) = asked.map_err(|error| match error {
            ImportError::Registry(source @ RegistryError::NotFound { .. })
                if reference.looked_up && policy == PullPolicy::Missing =>
            {
                ImportError::Outdated { source }
            }
            error => error,
        })?;
        let named = reference.digest.clone().unwrap_or(named);
        let digest = document.digest;
        self.remember(reference, &named, &digest)?;
        Ok((digest, image, Origin::Registry(Box::new(client))))
    }

    /// Remembers what a tag was found to name, and which image that is for this machine. A digest in a name is its user's word,
    /// and who works for others has no tags of theirs to remember.
    fn remember(
        &self,
        reference: &Reference,
        named: &Digest,
        image: &Digest,
    ) -> Result<(), ImportError> {
        let Some(tagged) = reference.tagged().filter(|_| !self.for_others) else { return Ok(()) };
        self.store.remember(&any_key(&tagged), named)?;
        Ok(self.store.remember(&self.key(&tagged), image)?)
    }

    /// What a tag named, as far as the store knows, or those below that everybody reads.
    fn named(&self, reference: &Reference) -> Option<Digest> {
        let known = self.store.remembered(&self.key(reference));
        known.or_else(|| {
            let below = self.store.lower_images_from(&reference.to_string());
            below.into_iter().find(|digest| self.is_for_this_machine(digest))
        })
    }

    /// Nodes of several kinds may have one store.
    fn is_for_this_machine(&self, digest: &Digest) -> bool {
        let Some((_, image)) = self.stored_manifest(digest) else { return false };
        let config = StoredDocuments(self).config(&image).ok();
        let config = config.and_then(|config| ImageConfig::parse(&config).ok());
        config.is_some_and(|is| {
            is.architecture.is_none_or(|architecture| architecture == self.machine.architecture())
        })
    }

    /// Has an image that is made for others, by its digest, be known by its tag as well, if that is what the registry says to
    /// everybody: who asks for it may have been told something else.
    pub(super) fn look_up_for_others(&self, resolved: &mut Resolved) {
        let reference = resolved.reference.as_ref().filter(|reference| reference.tag.is_some());
        let Some(reference) = reference else { return };
        let tagged = Reference { digest: None, looked_up: false, ..reference.clone() };
        let found = self.resolve_reference(&tagged, PullPolicy::Always);
        if found.is_ok_and(|(digest, ..)| digest == resolved.digest) {
            resolved.origin_text = tagged.to_string();
        }
    }

    /// The digest that a reference stands for, whatever it is the digest of.
    pub(super) fn look_up(
        &self,
        reference: &Reference,
        policy: PullPolicy,
    ) -> Result<Digest, ImportError> {
        if let Some(digest) = &reference.digest {
            return Ok(digest.clone());
        }
        let key = any_key(reference);
        match (policy, self.store.remembered(&key)) {
            (PullPolicy::Never, Some(digest)) => return Ok(digest),
            (PullPolicy::Never, None) => {
                return Err(ImportError::NotStored(reference.to_string()));
            }
            (PullPolicy::Missing, Some(digest)) if !self.is_gone(reference, &digest)? => {
                return Ok(digest);
            }
            (PullPolicy::Always | PullPolicy::Missing, _) => {}
        }
        let selector = reference.selector();
        let (client, document) = self.first_host(reference, |client| {
            let document = client.manifest(selector)?;
            match document.manifest() {
                Ok(Manifest::Index(images)) if images.is_empty() => {
                    Err(ManifestError::NoImage(document.digest).into())
                }
                // Whatever else has a digest there.
                Ok(_) | Err(ManifestError::Artifact { .. }) => Ok(document),
                Err(error) => Err(error.into()),
            }
        })?;
        self.keep(selector, &document, &client)?;
        self.store.remember(&key, &document.digest)?;
        Ok(document.digest)
    }

    /// Whether nobody can have what a tag named once: this store has no image of it, and the registry not even its manifest
    /// any more. A registry that does not answer says nothing: the nodes may have the image.
    fn is_gone(&self, reference: &Reference, digest: &Digest) -> Result<bool, ImportError> {
        let stored = self.stored_manifest(digest);
        if stored.map(|(image, _)| self.store.image(&image)).transpose()?.flatten().is_some() {
            return Ok(false);
        }
        let asked = self.first_host(reference, |client| Ok(client.authorize(digest)?));
        Ok(matches!(asked, Err(ImportError::Registry(RegistryError::NotFound { .. }))))
    }

    /// Asks the registry's mirrors and then itself, until there is an answer that can be used.
    pub(super) fn first_host<T>(
        &self,
        reference: &Reference,
        mut ask: impl FnMut(&Client) -> Result<T, ImportError>,
    ) -> Result<(Client, T), ImportError> {
        let endpoints = self.settings.endpoints(reference)?;
        let mut client = Client::new(reference, &endpoints, &self.settings, &self.credentials);
        loop {
            let error = match ask(&client) {
                Ok(answer) => return Ok((client, answer)),
                Err(error) => error,
            };
            let words = match &error {
                ImportError::Registry(failed) => {
                    client.note_late(failed);
                    failed.to_string()
                }
                ImportError::Manifest(failed) => format!("{}: {failed}", client.host()),
                _ => return Err(error),
            };
            client = match client.into_next() {
                Some(next) => next,
                None => return Err(error),
            };
            self.progress.warn(&format!("mirror: {words}"));
        }
    }

    /// Which tag, of which registry, for which machine: those that share a home may differ.
    fn key(&self, reference: &Reference) -> String {
        format!("{reference} {}", self.machine)
    }

    /// Keeps a document in the store, by its sha256 and by the digest that it was asked for with.
    fn keep(
        &self,
        selector: &str,
        document: &Document,
        client: &Client,
    ) -> Result<(), ImportError> {
        for digest in [Some(document.digest.clone()), Digest::parse(selector)].into_iter().flatten()
        {
            if self.store.blob(&digest)?.is_none() {
                self.store.put_blob(&digest, &document.bytes, client.used_credentials())?;
            }
        }
        Ok(())
    }

    /// The manifest for this machine behind a digest, if the store has it.
    fn stored_manifest(&self, digest: &Digest) -> Option<(Digest, Image)> {
        let document = self.stored_document(digest)?;
        let (document, image) = image_for(&self.machine, &StoredDocuments(self), document).ok()?;
        Some((document.digest, image))
    }

    pub(super) fn small_blob(
        &self,
        client: &Client,
        descriptor: &Descriptor,
    ) -> Result<Vec<u8>, ImportError> {
        if let Some(document) = self.store.small_blob(&descriptor.digest) {
            return Ok(document.bytes);
        }
        let bytes = client.small_blob(descriptor)?;
        self.store.put_blob(&descriptor.digest, &bytes, client.used_credentials())?;
        Ok(bytes)
    }

    fn stored_document(&self, digest: &Digest) -> Option<Document> {
        self.store.small_blob(digest)
    }
}

/// Which tag, of which registry, for machines of all kinds.
fn any_key(reference: &Reference) -> String {
    format!("{reference} any")
}

/// Documents of a registry, those that are in the store already from there.
struct RegistryDocuments<'a> {
    importer: &'a Importer,
    client: &'a Client,
}

impl Documents for RegistryDocuments<'_> {
    fn document(&self, digest: &Digest) -> Result<Document, ImportError> {
        if let Some(document) = self.importer.stored_document(digest) {
            return Ok(document);
        }
        let document = self.client.manifest_by_digest(digest)?;
        self.importer.keep(digest, &document, self.client)?;
        Ok(document)
    }

    fn config(&self, image: &Image) -> Result<Vec<u8>, ImportError> {
        self.importer.small_blob(self.client, &image.config)
    }
}

/// Documents of the store.
struct StoredDocuments<'a>(&'a Importer);

impl Documents for StoredDocuments<'_> {
    fn document(&self, digest: &Digest) -> Result<Document, ImportError> {
        let found = self.0.stored_document(digest);
        found.ok_or_else(|| ImportError::NotStored(digest.to_string()))
    }

    fn config(&self, image: &Image) -> Result<Vec<u8>, ImportError> {
        self.document(&image.config.digest).map(|document| document.bytes)
    }
}
