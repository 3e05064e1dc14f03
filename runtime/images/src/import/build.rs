//! Fetching, merging and writing.

use std::collections::HashMap;
use std::io::{self, Read};
use std::iter;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use linux::phases;

use super::blobs::{Contents, Shared};
use super::resolve::Resolved;
use super::slice::Slice;
use super::{ImportError, Importer};
use crate::imageconf::ImageConfig;
use crate::layers::{
    self, Index, LayerError, LayerSource, LayerSpooler, Meta, Meter, OwnFiles, Sink, SpooledLayer,
    Tree, decoder,
};
use crate::progress::bytes;
use crate::registry::Descriptor;
use crate::squash::SquashError;
use crate::store::{Pending, Space};

/// Bytes of memory for what is known of entries that are kept.
const MOST_MEMORY: u64 = 64 << 20;

/// All that is needed to write an image.
#[derive(Debug)]
pub(super) struct Merged {
    tree: Tree,
    own: OwnFiles,
    layers: Vec<Layer>,
    total: u64,
    meter: Meter,
    pub(super) space: Space,
    /// Who has kept what was unpacked.
    spooler: Option<LayerSpooler>,
}

/// A layer that is at hand.
#[derive(Debug)]
struct Layer {
    /// Its digest, or where it comes from.
    name: String,
    slice: Arc<Slice>,
    kept: Option<Arc<SpooledLayer>>,
}

impl Layer {
    /// Those of an image in its order, in which one may be several times.
    fn all(
        order: &[usize],
        unique: &[&Descriptor],
        at_hand: Vec<(Slice, Option<SpooledLayer>)>,
    ) -> Vec<Layer> {
        let share = |(at, (slice, mut kept)): (usize, (Slice, Option<SpooledLayer>))| {
            let once = order.iter().filter(|place| **place == at).count() == 1;
            kept.iter_mut().filter(|_| once).for_each(SpooledLayer::shrink_as_read);
            (Arc::new(slice), kept.map(Arc::new))
        };
        let at_hand: Vec<_> = at_hand.into_iter().enumerate().map(share).collect();
        let layer = |at: &usize| {
            let (slice, kept) = at_hand[*at].clone();
            Layer { name: unique[*at].digest.to_string(), slice, kept }
        };
        order.iter().map(layer).collect()
    }
}

impl LayerSource for Layer {
    fn open(&self) -> Result<Box<dyn Read + '_>, LayerError> {
        decoder(self.slice.reader())
    }

    fn spooled(&self) -> Option<&SpooledLayer> {
        self.kept.as_deref().filter(|kept| kept.is_there())
    }
}

impl Merged {
    /// Keeps nothing any more. Returns whether there was anything.
    fn give_up(&self) -> bool {
        self.spooler.as_ref().is_some_and(LayerSpooler::give_up)
    }
}

impl Importer {
    /// Fetches and merges the layers of an image.
    pub(super) fn merge(&self, resolved: &Resolved) -> Result<Merged, ImportError> {
        phases::begin("download");
        self.squash.check()?;
        let config = self.configuration(resolved)?;
        let config = ImageConfig::parse(&config).map_err(|source| ImportError::Config {
            what: resolved.image.config.digest.to_string(),
            source,
        })?;
        // Layers without content occur several times in many images.
        let mut place = HashMap::new();
        let mut unique: Vec<&Descriptor> = Vec::new();
        for layer in &resolved.image.layers {
            place.entry(&layer.digest).or_insert_with(|| {
                unique.push(layer);
                unique.len() - 1
            });
        }
        let stated = unique.iter().fold(0u64, |sum, layer| sum.saturating_add(layer.size));
        (self.before_fetching)(stated);
        let (meter, space) = (Meter::new(self.limits), self.store.space());
        self.tell_layers(&unique, &space)?;
        let memory = self.limits.memory.floor.min(MOST_MEMORY) as usize;
        let spooler = self.squash.spooler(memory);
        let shared = (&meter, &space, spooler.as_ref());
        let read =
            self.each(&unique, shared, |layer, shared| self.layer(resolved, layer, shared))?;
        phases::begin("merge");
        let (slices, read): (Vec<Slice>, Vec<Contents>) = read.into_iter().unzip();
        let (mut indices, kept): (Vec<Index>, Vec<Option<SpooledLayer>>) = read.into_iter().unzip();

        let mut tree = Tree::default();
        let mut left: Vec<usize> = vec![0; unique.len()];
        let order: Vec<usize> =
            resolved.image.layers.iter().map(|layer| place[&layer.digest]).collect();
        order.iter().for_each(|at| left[*at] += 1);
        let mut total = 0u64;
        for at in &order {
            left[*at] -= 1;
            let failed =
                |source| ImportError::Layer { what: unique[*at].digest.to_string(), source };
            let index = if left[*at] == 0 {
                std::mem::take(&mut indices[*at])
            } else {
                indices[*at].again(&meter).map_err(failed)?
            };
            total = index.bytes.saturating_add(total);
            tree.apply(index, &meter).map_err(failed)?;
        }
        let at_hand = slices.into_iter().zip(kept).collect();
        let layers = Layer::all(&order, &unique, at_hand);
        let merged =
            Merged { tree, own: OwnFiles::default(), layers, total, meter, space, spooler };
        self.configure(merged, &config, &resolved.origin_text)
    }

    /// Merges what an engine exported.
    pub(super) fn merge_flat(
        &self,
        slice: Slice,
        index: Index,
        meter: Meter,
        config: &ImageConfig,
        origin: &str,
    ) -> Result<Merged, ImportError> {
        let mut tree = Tree::default();
        let total = index.bytes;
        tree.apply(index, &meter)?;
        let layers = vec![Layer { name: origin.to_owned(), slice: Arc::new(slice), kept: None }];
        let (own, space) = (OwnFiles::default(), self.store.space());
        let merged = Merged { tree, own, layers, total, meter, space, spooler: None };
        self.configure(merged, config, origin)
    }

    fn configure(
        &self,
        mut merged: Merged,
        config: &ImageConfig,
        origin: &str,
    ) -> Result<Merged, ImportError> {
        let Merged { tree, own, meter, .. } = &mut merged;
        let wanted = self.machine.architecture();
        if let Some(is) = config.architecture.as_ref().filter(|is| *is != wanted) {
            self.progress.warn(&format!("The image is for the architecture {is}, not {wanted}"));
        }
        if let Some(is) = config.os.as_ref().filter(|is| *is != "linux") {
            self.progress.warn(&format!("The image is for the operating system {is}, not linux"));
        }
        let files = config.files(origin);
        for (path, text) in [
            ("etc/rc", files.rc),
            ("etc/rc.local", files.rc_local),
            ("etc/environment", files.environment),
            ("etc/fstab", files.fstab),
        ] {
            own.put(tree, path.as_bytes(), 0o644, text.into_bytes(), meter)?;
        }
        let directory = config.working_directory();
        let directories = iter::once(directory.as_str()).chain(config.volumes());
        for path in directories.map(str::as_bytes).filter(|path| can_be(path)) {
            tree.add_directory(path, meter)?;
        }
        Ok(merged)
    }

    pub(super) fn tell_layers(
        &self,
        unique: &[&Descriptor],
        space: &Space,
    ) -> Result<(), ImportError> {
        let mut missing = Vec::new();
        for layer in unique {
            if self.store.blob(&layer.digest)?.is_none() {
                missing.push(layer.size);
            }
        }
        let there = unique.len() - missing.len();
        let size = missing.iter().fold(0u64, |sum, size| sum.saturating_add(*size));
        // Told before anything is fetched; what comes is counted all the same.
        space.check(size)?;
        self.progress.step(&match (missing.len(), there) {
            (0, _) => "All layers are in the store".to_owned(),
            (count, there) => {
                let size = bytes(size);
                format!("Reading {count} layers, {size} ({there} more are in the store)")
            }
        });
        Ok(())
    }

    /// Reads all blobs, several at a time.
    pub(super) fn each<T: Send>(
        &self,
        unique: &[&Descriptor],
        (meter, space, spooler): (&Meter, &Space, Option<&LayerSpooler>),
        read: impl Fn(&Descriptor, &Shared<'_>) -> Result<T, ImportError> + Sync,
    ) -> Result<Vec<T>, ImportError> {
        let total = unique.iter().fold(0u64, |sum, layer| sum.saturating_add(layer.size));
        let bar = self.progress.bar(total);
        let shared = Shared { bar: &bar, stop: AtomicBool::new(false), meter, space, spooler };
        let results: Vec<Mutex<Option<T>>> = unique.iter().map(|_| Mutex::new(None)).collect();
        let first_error = Mutex::new(None);
        // Large ones first: what is last is then small.
        let mut order: Vec<usize> = (0..unique.len()).collect();
        order.sort_by_key(|at| std::cmp::Reverse(unique[*at].size));
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(at) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                if shared.stop.load(Ordering::Relaxed) {
                    return;
                }
                match read(unique[*at], &shared) {
                    Ok(layer) => *lock(&results[*at]) = Some(layer),
                    Err(error) => {
                        // The others fail because of this one.
                        if !shared.stop.swap(true, Ordering::SeqCst) {
                            *lock(&first_error) = Some(error);
                        }
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..self.settings.connections.clamp(1, unique.len().max(1)) {
                scope.spawn(work);
            }
        });
        bar.finish();
        if let Some(error) = lock(&first_error).take() {
            return Err(error);
        }
        Ok(results
            .into_iter()
            .map(|result| lock(&result).take().expect("no layer failed"))
            .collect())
    }

    /// Writes a merged image as squashfs.
    pub(super) fn write_squashfs(
        &self,
        merged: &Merged,
        pending: &Pending,
    ) -> Result<(), ImportError> {
        self.tell_writing();
        self.write_within(merged, pending, u64::MAX)
    }

    fn tell_writing(&self) {
        phases::begin("write");
        self.progress.step("Creating the squashfs file");
    }

    /// Writes it, unless it becomes larger than it may.
    fn write_within(
        &self,
        merged: &Merged,
        pending: &Pending,
        limit: u64,
    ) -> Result<(), ImportError> {
        let mut root = Meta { mode: 0o755, mtime: self.squash.mtime, xattrs: Vec::new() };
        merged.tree.directories(|path, meta| {
            if let (true, Some(meta)) = (path.is_empty(), meta) {
                root = meta.clone();
            }
        });
        let write = || {
            self.squash.write(pending.file(), limit, &root, &self.store.scratch(), |sink| {
                self.emit(merged, sink)
            })
        };
        match write() {
            // Without what was kept there may be room.
            Err(ImportError::Squash(error)) if error.is_full() && merged.give_up() => {
                pending.cut(0)?;
                write()
            }
            written => written,
        }
    }

    /// Writes it to a file of the store, whose limit holds meanwhile.
    pub(super) fn write_for_store(
        &self,
        merged: &Merged,
        pending: &Pending,
    ) -> Result<(), ImportError> {
        // What waits becomes less as the image becomes more. Or it was given up.
        merged.space.give_all_back();
        self.tell_writing();
        let mut tried = 0;
        loop {
            // What an image unpacks to says little of its size, and nothing is removed from the store for a word.
            let room = merged.space.room(merged.total, tried)?;
            match self.write_within(merged, pending, room) {
                Err(error) if self.is_too_large(&error) => {}
                written => return written,
            }
            // As far as it was read it may be gone.
            merged.give_up();
            pending.cut(0)?;
            tried = room;
        }
    }

    /// Whether an image had no room: mksquashfs says so by what it leaves undone.
    fn is_too_large(&self, error: &ImportError) -> bool {
        match error {
            ImportError::Squash(SquashError::TooLarge) => true,
            ImportError::Merge(LayerError::Write { source, .. }) => {
                let kinds = [io::ErrorKind::StorageFull, io::ErrorKind::BrokenPipe];
                !self.squash.is_own() && kinds.contains(&source.kind())
            }
            _ => false,
        }
    }

    /// Passes the entries of a merged image on.
    pub(super) fn emit(&self, merged: &Merged, sink: &mut dyn Sink) -> Result<(), ImportError> {
        let bar = self.progress.bar(merged.total);
        let sources: Vec<&dyn LayerSource> =
            merged.layers.iter().map(|layer| layer as &dyn LayerSource).collect();
        let mut progress = |bytes| bar.inc(bytes);
        let written = layers::write(
            &merged.tree,
            &sources,
            &merged.own,
            self.squash.mtime,
            sink,
            &merged.meter,
            &mut progress,
        );
        bar.finish();
        written.map_err(|(layer, source)| match layer {
            Some(at) if !matches!(source, LayerError::Write { .. }) => {
                ImportError::Layer { what: merged.layers[at].name.clone(), source }
            }
            _ => source.into(),
        })
    }
}

/// Whether a directory can have this path.
fn can_be(path: &[u8]) -> bool {
    let fits = |name: &[u8]| name.len() <= 255 && !name.contains(&0) && name != b"..";
    path.len() < 4096 && path.split(|byte| *byte == b'/').all(fits)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
