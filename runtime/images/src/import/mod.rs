//! From a URI to a squashfs file: the image is resolved to the digest of its manifest, made once
//! per store, and linked or copied to where it is wanted.

mod archive;
mod blobs;
pub mod broker;
mod build;
mod choose;
mod engine;
mod error;
mod layout;
mod resolve;
mod slice;
mod spread;

pub use error::ImportError;

use std::fs::{self, File};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use linux::phases;

use crate::digest::Digest;
use crate::layers::{Limits, limit_windows};
use crate::progress::Progress;
use crate::registry::{Credentials, Machine, Settings};
use crate::squash::Squash;
use crate::store::{
    LockOutcome, Pending, Policy, Record, Store, StoreError, StoredImage, new_mode, place,
};
use crate::uri::{Engine, Uri};
use resolve::Resolved;

/// When to ask the registry which image a tag names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullPolicy {
    /// Always.
    Always,
    /// Only if the answer to an earlier look-up is not known, or the image is not in the store.
    Missing,
    /// Not at all: what is not in the store is an error.
    Never,
}

/// No such policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is none of always, missing, never")]
pub struct PolicyError(String);

impl std::fmt::Display for PullPolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            PullPolicy::Always => "always",
            PullPolicy::Missing => "missing",
            PullPolicy::Never => "never",
        })
    }
}

impl FromStr for PullPolicy {
    type Err = PolicyError;

    fn from_str(word: &str) -> Result<PullPolicy, PolicyError> {
        match word {
            "always" => Ok(PullPolicy::Always),
            "missing" => Ok(PullPolicy::Missing),
            "never" => Ok(PullPolicy::Never),
            _ => Err(PolicyError(word.to_owned())),
        }
    }
}

/// What images are made with.
#[derive(Debug)]
pub struct Tools {
    /// Where they are kept.
    pub store: Store,
    /// How to talk to registries.
    pub registries: Settings,
    /// Where credentials are looked for.
    pub credentials: Credentials,
    /// How squashfs files are written.
    pub squash: Squash,
    /// Bytes that a layer may unpack to however small it is.
    pub max_unpacked: u64,
}

/// Makes images.
#[derive(Debug)]
pub struct Importer {
    pub(crate) store: Store,
    pub(crate) settings: Settings,
    pub(crate) credentials: Credentials,
    squash: Squash,
    pub(crate) machine: Machine,
    pub(crate) progress: Progress,
    broker: Option<BorrowedFd<'static>>,
    only_shared: bool,
    for_others: bool,
    limits: Limits,
    /// Told how many bytes of layers an image states, before they are fetched.
    before_fetching: fn(u64),
}

impl Importer {
    /// An importer for `arch`, which may have a variant (`arm/v6`), by default for this machine.
    pub fn new(tools: Tools, arch: Option<&str>, progress: Progress) -> Importer {
        let Tools { store, registries: settings, credentials, squash, max_unpacked } = tools;
        if let Some(notice) = store.notice() {
            progress.warn(notice);
        }
        Importer {
            store,
            settings,
            credentials,
            squash,
            machine: Machine::new(arch),
            progress,
            broker: None,
            only_shared: false,
            for_others: false,
            limits: Limits::own(max_unpacked),
            before_fetching: |_| (),
        }
    }

    /// Works at the request of others: with credentials of nobody, within tighter limits, and
    /// never longer than a registry that is worth waiting for. `before_fetching` is told how many
    /// bytes of layers an image states, before they are fetched.
    pub fn work_for_others(&mut self, before_fetching: fn(u64)) {
        /// What the libraries in builders write at their best.
        const WINDOW_LOG: u32 = 25;
        self.for_others = true;
        self.credentials = Credentials::default();
        self.limits = Limits::for_others();
        limit_windows(WINDOW_LOG);
        self.settings.work_for_others();
        self.squash.save_memory();
        self.before_fetching = before_fetching;
    }

    /// Has images fetched to the store of all users by who is behind this socket, where they need
    /// no credentials.
    pub fn set_broker(&mut self, broker: BorrowedFd<'static>) {
        self.broker = Some(broker);
    }

    /// Takes no image that is not in the store of all users.
    pub fn want_shared(&mut self) {
        self.only_shared = true;
    }

    /// The store it uses.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The digest of the manifest of an image, for this machine.
    ///
    /// # Errors
    /// [`ImportError`].
    pub fn digest(&self, uri: &Uri) -> Result<Digest, ImportError> {
        match self.resolve(uri, PullPolicy::Always)? {
            Some(resolved) => Ok(resolved.digest),
            None => Err(ImportError::NoDigest(uri.to_string())),
        }
    }

    /// The digest that a tag stands for, for machines of all kinds: of an image, or of an index of
    /// several.
    ///
    /// # Errors
    /// [`ImportError`].
    pub fn tag_digest(&self, uri: &Uri, policy: PullPolicy) -> Result<Digest, ImportError> {
        match uri {
            Uri::Registry(reference) => self.look_up(reference, policy),
            _ => Err(ImportError::NoDigest(uri.to_string())),
        }
    }

    /// An image in the store, made if it is not there.
    ///
    /// # Errors
    /// [`ImportError`].
    pub fn pull(&self, uri: &Uri, policy: PullPolicy) -> Result<StoredImage, ImportError> {
        self.pull_with(uri, policy, Vec::new())
    }

    /// An image in the store, made of what others have brought as far as that is what the manifest says.
    fn pull_with(
        &self,
        uri: &Uri,
        policy: PullPolicy,
        brought: Vec<File>,
    ) -> Result<StoredImage, ImportError> {
        let mut resolved =
            self.resolve(uri, policy)?.ok_or_else(|| ImportError::NoDigest(uri.to_string()))?;
        if self.for_others && self.store.image(&resolved.digest)?.is_none() {
            self.look_up_for_others(&mut resolved);
        }
        if !brought.is_empty() && self.store.image(&resolved.digest)?.is_none() {
            self.take_brought(&resolved, brought)?;
        }
        self.stored(&resolved, policy)
    }

    /// Puts an image at `output`, where nothing may be yet.
    ///
    /// # Errors
    /// [`ImportError`].
    pub fn import_to(&self, uri: &Uri, output: &Path) -> Result<(), ImportError> {
        if fs::symlink_metadata(output).is_ok() {
            return Err(ImportError::Exists(output.to_owned()));
        }
        let directory = match output.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        // An output that cannot be written is better told before the download than after it.
        let pending = Pending::new(&directory)?;
        let Some(resolved) = self.resolve(uri, PullPolicy::Always)? else {
            let Uri::Engine { engine, image } = uri else {
                unreachable!("only engines have no digest")
            };
            return self.import_from_engine(*engine, image, pending, output);
        };
        let known = self.store.image(&resolved.digest)?;
        let here = |path: &Path| fs::metadata(path).map(|data| data.dev()).ok();
        if known.is_some() || here(&directory) == here(&self.store.scratch()) {
            let image = self.stored(&resolved, PullPolicy::Always)?;
            phases::begin("publish");
            place(&image.file, output)?;
        } else {
            // On another file system, going through the store would take the space twice.
            self.build(&resolved, &pending)?;
            phases::begin("publish");
            pending.publish_new(output, new_mode())?;
        }
        Ok(())
    }

    fn stored(&self, resolved: &Resolved, policy: PullPolicy) -> Result<StoredImage, ImportError> {
        let there = || self.known(&resolved.digest);
        if let Some(image) =
            there()?.map(|image| self.shown(image, resolved)).transpose()?.flatten()
        {
            return Ok(image);
        }
        if policy == PullPolicy::Never {
            return Err(ImportError::NotStored(resolved.origin_text.clone()));
        }
        phases::begin("shared store");
        if let Some(image) = self.through_broker(resolved)? {
            return Ok(image);
        }
        if self.only_shared {
            let (origin, why) = (resolved.origin_text.clone(), "it is not there".to_owned());
            return Err(ImportError::NotShared { origin, why });
        }
        // Of others' only what may be had by everybody: the rest was refused just now.
        let there = || Ok(there()?.filter(|image| image.own || !image.record.private));
        let registry = resolved.reference.as_ref().map_or("", |reference| &reference.registry);
        let name = format!("{}-{}", resolved.digest.hex(), blobs::key(registry));
        let size = resolved.image.layers.iter();
        let size = size.fold(0u64, |sum, layer| sum.saturating_add(layer.size));
        phases::begin("lock");
        // Who waited long enough makes it as well: the first one published is the others' too.
        let _lock = match self.store.lock(&name, size, there)? {
            LockOutcome::Made(image) => return Ok(image),
            LockOutcome::Locked(lock) => Some(lock),
            LockOutcome::TimedOut => None,
        };
        let pending = self.store.pending()?;
        let merged = self.merge(resolved)?;
        self.write_for_store(&merged, &pending)?;
        phases::begin("publish");
        let record = self.record(resolved)?;
        let image = self.store.publish_image(pending, record)?;
        drop(merged);
        self.progress.step(&format!("Image {} is in the store", resolved.digest));
        // Ours is in use by now.
        if let Err(error) = self.store.collect(Policy::default()) {
            self.progress.warn(&error.to_string());
        }
        Ok(image)
    }

    /// An image that somebody else pulled with credentials is given only to who may pull it from
    /// the same repository: another registry may say yes to anything.
    fn shown(
        &self,
        image: StoredImage,
        resolved: &Resolved,
    ) -> Result<Option<StoredImage>, ImportError> {
        if image.own || !image.record.private {
            return Ok(Some(image));
        }
        let origin = image.record.origin.parse();
        let (Ok(Uri::Registry(from)), Some(reference)) = (origin, &resolved.reference) else {
            return Ok(None);
        };
        if (&from.registry, &from.repository) != (&reference.registry, &reference.repository) {
            return Ok(None);
        }
        resolved.authorize(self)?;
        Ok(Some(image))
    }

    /// The image, if who fills the store of all users can fetch it.
    fn through_broker(&self, resolved: &Resolved) -> Result<Option<StoredImage>, ImportError> {
        let (Some(broker), Some(reference)) = (self.broker, &resolved.reference) else {
            return Ok(None);
        };
        let name = reference.with_tag(&resolved.digest);
        let parts = resolved.image.layers.iter().chain([&resolved.image.config]);
        let parts = spread::unique(parts);
        let offered = self.parts_at_hand(&parts);
        match broker::ask(broker, &name, &offered, &self.progress) {
            Ok(()) => {
                let image = self.known(&resolved.digest)?;
                let image = image.filter(|image| !image.record.private);
                if image.as_ref().is_some_and(|image| !image.own) && !offered.is_empty() {
                    // Everybody's store has them now.
                    parts.iter().try_for_each(|part| self.store.remove_blob(&part.digest))?;
                }
                Ok(image)
            }
            Err(why) if self.only_shared => {
                Err(ImportError::NotShared { origin: resolved.origin_text.clone(), why })
            }
            // Credentials may help, or another file system.
            Err(why) => {
                self.progress.step(&format!("Not to be had for the shared image store: {why}"));
                Ok(None)
            }
        }
    }

    /// The image, where it may be.
    fn known(&self, digest: &Digest) -> Result<Option<StoredImage>, StoreError> {
        match self.only_shared {
            true => Ok(self.store.lower_image(digest)),
            false => self.store.image(digest),
        }
    }

    fn record(&self, resolved: &Resolved) -> Result<Record, ImportError> {
        let created = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Ok(Record {
            digest: resolved.digest.clone(),
            origin: resolved.origin_text.clone(),
            size: 0,
            modified: 0,
            layers: resolved.image.layers.iter().map(|layer| layer.digest.clone()).collect(),
            private: resolved.origin.used_credentials(),
            created: created.map_or(0, |time| time.as_secs()),
            writer: self.squash.is_own().then(|| Record::OWN_WRITER.to_owned()),
        })
    }

    fn import_from_engine(
        &self,
        engine: Engine,
        image: &str,
        pending: Pending,
        output: &Path,
    ) -> Result<(), ImportError> {
        let merged = self.merge_from_engine(engine, image)?;
        self.write_squashfs(&merged, &pending)?;
        phases::begin("publish");
        pending.publish_new(output, new_mode())?;
        Ok(())
    }

    fn build(&self, resolved: &Resolved, pending: &Pending) -> Result<(), ImportError> {
        let merged = self.merge(resolved)?;
        self.write_squashfs(&merged, pending)
    }
}
