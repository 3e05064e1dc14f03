//! Layers: fetched once per store, checked against their digest by everyone who reads them.

use std::cell::Cell;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use linux::file_error::FileError;
use sha2::{Digest, Sha256};
use squashfs::write::Room;

use super::layout::Layout;
use super::resolve::{Origin, Resolved};
use super::slice::Slice;
use super::{ImportError, Importer};
use crate::digest::Hasher;
use crate::layers::{
    Index, Interpretation, LayerError, LayerSpool, LayerSpooler, Meter, SpooledLayer, decoder,
};
use crate::progress::Bar;
use crate::registry::{Client, Descriptor, RegistryError};
use crate::store::{LockOutcome, Pending, Space, StoreError};

/// What is made of a blob while it is checked.
pub(super) type Reading<'a, T> = &'a dyn Fn(&mut dyn Read) -> Result<T, LayerError>;

/// What a layer contains, and what was kept of it.
pub(super) type Contents = (Index, Option<SpooledLayer>);

/// How the layers of registries are read.
const LAYER: Interpretation = Interpretation::Layer;

/// What all threads that read layers share.
pub(super) struct Shared<'a> {
    pub(super) bar: &'a Bar,
    /// Set by the first that fails.
    pub(super) stop: AtomicBool,
    /// What the image costs, whoever reads it.
    pub(super) meter: &'a Meter,
    /// What of the store it takes.
    pub(super) space: &'a Space,
    /// Who keeps what was unpacked, if it is to be written afterwards.
    pub(super) spooler: Option<&'a LayerSpooler>,
}

/// Passes bytes on, computing their digest.
struct Checked<'a, R> {
    input: R,
    hash: Hasher,
    count: u64,
    failure: Option<io::Error>,
    shared: &'a Shared<'a>,
}

impl<R: Read> Read for Checked<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // What was not read to its end says nothing about what is in it.
        if self.shared.stop.load(Ordering::Relaxed) {
            self.failure.get_or_insert_with(|| io::ErrorKind::ConnectionAborted.into());
        }
        if self.failure.is_some() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        match self.input.read(buffer) {
            Ok(count) => {
                self.hash.update(&buffer[..count]);
                self.shared.meter.came(count as u64);
                self.count += count as u64;
                self.shared.bar.inc(count as u64);
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            // SpooledLayer as it is: decoders between here and there may wrap it.
            Err(error) => {
                let kind = error.kind();
                self.failure = Some(error);
                Err(kind.into())
            }
        }
    }
}

/// Writes what is read to a file.
struct Tee<'a, R> {
    input: R,
    pending: &'a Pending,
    shared: &'a Shared<'a>,
    written: u64,
}

impl<R> Tee<'_, R> {
    /// What was kept only to be faster gives way. A few blocks of it may be on their way then.
    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        const TRIES: u32 = 3;
        let mut tried = 1;
        while let Err(error) = self.pending.write_all(bytes) {
            let Some(spooler) = self.shared.spooler.filter(|_| error.is_full() && tried < TRIES)
            else {
                return Err(error);
            };
            spooler.give_up();
            self.shared.space.give_all_back();
            self.pending.cut(self.written)?;
            thread::sleep(Duration::from_millis(10));
            tried += 1;
        }
        self.written += bytes.len() as u64;
        Ok(())
    }
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.shared.space.take(count as u64).map_err(io::Error::other)?;
        self.write(&buffer[..count]).map_err(io::Error::other)?;
        Ok(count)
    }
}

impl Importer {
    /// A layer of an image and what it contains.
    pub(super) fn layer(
        &self,
        resolved: &Resolved,
        descriptor: &Descriptor,
        shared: &Shared<'_>,
    ) -> Result<(Slice, Contents), ImportError> {
        let client = match self.source(&resolved.origin) {
            Err(layout) => {
                let slice = layout.blob(&descriptor.digest)?;
                let how = layout.interpretation();
                let kept = Cell::new(0);
                let read = &|input: &mut dyn Read| self.contents(input, how, shared, &kept);
                let made = read_checked(slice.reader(), descriptor, "the layout", shared, read)?;
                return Ok((slice, made));
            }
            Ok(client) => client,
        };
        self.layer_from_registry(client, descriptor, shared)
    }

    /// Where to get what is not in the store.
    pub(super) fn source<'a>(&self, origin: &'a Origin) -> Result<&'a Client, &'a Layout> {
        match origin {
            Origin::Layout(layout) => Err(layout),
            Origin::Registry(client) => Ok(client),
            Origin::Stored(reference, endpoints, client) => Ok(client.get_or_init(|| {
                Box::new(Client::new(reference, endpoints, &self.settings, &self.credentials))
            })),
        }
    }

    fn layer_from_registry(
        &self,
        client: &Client,
        descriptor: &Descriptor,
        shared: &Shared<'_>,
    ) -> Result<(Slice, Contents), ImportError> {
        let kept = Cell::new(0);
        self.blob_from_registry(client, descriptor, shared, &|input| {
            self.contents(input, LAYER, shared, &kept)
        })
    }

    /// What a layer contains, and, if there is somebody who keeps it, its entries.
    fn contents(
        &self,
        input: &mut dyn Read,
        how: Interpretation,
        shared: &Shared<'_>,
        kept: &Cell<u64>,
    ) -> Result<Contents, LayerError> {
        // Of what came first and was something else, nothing is left.
        shared.space.give_back(kept.take());
        let archive = decoder(input)?;
        let may = |bytes| {
            let may = shared.space.spare(bytes);
            kept.set(kept.get() + if may { bytes } else { 0 });
            may
        };
        // Over a network it would be sent and fetched again.
        let file = || self.store.pending().ok().and_then(Pending::nameless);
        let room = Room { file: &file, may: &may };
        let mut spool = shared.spooler.map(|spooler| spooler.begin(room));
        let index = Index::read(archive, shared.meter, how, spool.as_mut());
        let entries = spool.filter(|_| index.is_ok()).and_then(LayerSpool::finish);
        if entries.is_none() {
            shared.space.give_back(kept.take());
        }
        Ok((index?, entries))
    }

    /// A blob in the store, fetched if it is not there, and what `read` makes of it.
    pub(super) fn blob_from_registry<T>(
        &self,
        client: &Client,
        descriptor: &Descriptor,
        shared: &Shared<'_>,
        read: Reading<'_, T>,
    ) -> Result<(Slice, T), ImportError> {
        let digest = &descriptor.digest;
        let path = self.store.blob_path(digest);
        let there = || self.store.blob(digest);
        let failed = |source| FileError::new("read", &path, source);
        loop {
            let waited = match self.store.blob(digest)? {
                Some(file) => LockOutcome::Made(file),
                None => {
                    let name = format!("blob-{}-{}", digest.hex(), key(client.host()));
                    self.store.lock(&name, descriptor.size, there)?
                }
            };
            // Who waited long enough fetches it as well.
            let _lock = match waited {
                LockOutcome::Locked(lock) => Some(lock),
                LockOutcome::TimedOut => None,
                LockOutcome::Made(file) => {
                    let slice = Slice::whole(file).map_err(failed)?;
                    let from = path.display().to_string();
                    match read_checked(slice.reader(), descriptor, &from, shared, read) {
                        Err(ImportError::Digest { .. }) => {
                            self.progress.warn(&format!("{from} is damaged, fetching it again"));
                            self.store.remove_blob(digest)?;
                            continue;
                        }
                        made => return Ok((slice, made?)),
                    }
                }
            };
            let (pending, made) = self.fetch(client, descriptor, shared, read)?;
            let private = client.used_credentials();
            let (file, named) = self.store.publish_blob(pending, digest, private)?;
            if named {
                shared.space.published(descriptor.size);
            }
            return Ok((Slice::whole(file).map_err(failed)?, made));
        }
    }

    /// A blob as it comes from the first place that sends what was asked for, and what `read` makes of it. Whatever was made of
    /// something else is gone.
    fn fetch<'a, T>(
        &self,
        mut client: &'a Client,
        descriptor: &'a Descriptor,
        shared: &Shared<'_>,
        read: Reading<'_, T>,
    ) -> Result<(Pending, T), ImportError> {
        loop {
            let pending = self.store.pending()?;
            let mut blob = client.blob(descriptor)?;
            let from = blob.host();
            let mut input = Tee { input: &mut blob, pending: &pending, shared, written: 0 };
            let made = read_checked(&mut input, descriptor, from, shared, read);
            let written = input.written;
            match (made, blob.otherwise()) {
                (Err(error @ ImportError::Digest { .. }), Some(next)) => {
                    self.progress.warn(&format!("mirror: {error}"));
                    shared.space.dropped(written);
                    client = next;
                }
                (made, _) => return Ok((pending, made?)),
            }
        }
    }

    /// A configuration.
    pub(super) fn configuration(&self, resolved: &Resolved) -> Result<Vec<u8>, ImportError> {
        let descriptor = &resolved.image.config;
        let client = match self.source(&resolved.origin) {
            Err(layout) => return layout.configuration(descriptor),
            Ok(client) => client,
        };
        self.small_blob(client, descriptor)
    }
}

/// A registry as part of a lock's name: nobody waits for what somebody else has chosen to fetch from
/// a registry of theirs.
pub(super) fn key(host: &str) -> String {
    linux::hex::hex(&Sha256::digest(host.as_bytes())[..8])
}

/// Reads a blob to its end, checking it against its descriptor.
fn read_checked<T>(
    input: impl Read,
    descriptor: &Descriptor,
    from: &str,
    shared: &Shared<'_>,
    read: Reading<'_, T>,
) -> Result<T, ImportError> {
    let mut input =
        Checked { input, hash: Hasher::like(&descriptor.digest), count: 0, failure: None, shared };
    let index = read(&mut input);
    // A bomb is not even read to its end.
    let costly = |error: &LayerError| {
        matches!(error, LayerError::Limit { .. } | LayerError::Time(_) | LayerError::Depth(_))
    };
    if !index.as_ref().is_err_and(costly) {
        let _ = io::copy(&mut input, &mut io::sink());
    }
    if let Some(failure) = input.failure {
        return Err(cause(failure, descriptor));
    }
    let actual = input.hash.finish();
    let whole = input.count == descriptor.size && actual == descriptor.digest;
    match index {
        Ok(index) if whole => Ok(index),
        // What is wrong then is the manifest.
        _ if actual == descriptor.digest && input.count != descriptor.size => {
            Err(ImportError::Size {
                from: from.to_owned(),
                digest: actual,
                expected: descriptor.size,
                actual: input.count,
            })
        }
        // Of damaged data, what a decoder says about it is beside the point.
        Err(source) if whole || costly(&source) => {
            Err(ImportError::Layer { what: descriptor.digest.to_string(), source })
        }
        _ => Err(ImportError::Digest {
            from: from.to_owned(),
            expected: descriptor.digest.clone(),
            actual,
        }),
    }
}

/// What lies behind a failed read.
fn cause(failure: io::Error, descriptor: &Descriptor) -> ImportError {
    let failure = match failure.downcast::<RegistryError>() {
        Ok(error) => return error.into(),
        Err(failure) => failure,
    };
    match failure.downcast::<StoreError>() {
        Ok(error) => error.into(),
        Err(source) => ImportError::Layer {
            what: descriptor.digest.to_string(),
            source: LayerError::Decompress(source),
        },
    }
}
