//! What reading, merging and writing a layer costs: memory is bounded by its compressed size, and work
//! grows as its parts do, for every kind of layer that was made to cost more.

mod hoard;

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use images::layers::{
    self, ArchiveSink, Index, Interpretation, LayerError, LayerSource, Limits, Meta, Meter,
    OwnFiles, Quantity, Sink, Tree, decoder,
};
use images::squash::{Squash, SquashError};
use squashfs::program::Program;
use squashfs::write::Packing;

/// Bytes allocated now, and the most at once.
struct Counting;
static NOW: AtomicU64 = AtomicU64::new(0);
static MOST: AtomicU64 = AtomicU64::new(0);

// SAFETY: all is the system's allocator's; the numbers are counted beside.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size() as u64, Ordering::SeqCst) + layout.size() as u64;
        MOST.fetch_max(now, Ordering::SeqCst);
        // SAFETY: as asked of us.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size() as u64, Ordering::SeqCst);
        // SAFETY: as asked of us.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Layer(Vec<u8>);

impl LayerSource for Layer {
    fn open(&self) -> Result<Box<dyn Read + '_>, LayerError> {
        decoder(self.0.as_slice())
    }
}

struct Cost {
    memory: u64,
    processor: Duration,
    steps: u64,
    written: u64,
}

#[derive(Default)]
struct Written(u64);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn processor() -> Duration {
    nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF)
        .map(|usage| {
            let (user, system) = (usage.user_time(), usage.system_time());
            let micros = |time: nix::sys::time::TimeVal| {
                Duration::from_micros(
                    time.tv_sec().unsigned_abs() * 1_000_000 + time.tv_usec().unsigned_abs(),
                )
            };
            micros(user) + micros(system)
        })
        .unwrap()
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Layer(#[from] LayerError),
    #[error(transparent)]
    Image(#[from] SquashError),
}

/// Reads and merges these layers, and writes an archive and an image, or stops where the limits are.
fn cost(layers: &[&Layer], limits: Limits) -> (Cost, Result<(), Refused>) {
    let (archive, first) = cost_of(layers, limits, |merge| {
        let mut sink = ArchiveSink::new(Written::default());
        merge(&mut sink)?;
        Ok(sink.finish().unwrap().0)
    });
    let (image, second) = cost_of(layers, limits, |merge| {
        let mut program = Program::new("", Packing::default(), 2);
        program.save_memory();
        let squash = Squash { program, mtime: 0, one_time: false };
        let root = Meta { mode: 0o755, mtime: 0, xattrs: Vec::new() };
        let output = tempfile::tempfile().unwrap();
        squash.write::<Refused>(&output, u64::MAX, &root, &std::env::temp_dir(), merge)?;
        Ok(0)
    });
    // An image has room for whatever is let through.
    assert_eq!(first.is_ok(), second.is_ok(), "{first:?} {second:?}");
    let memory = archive.memory.max(image.memory);
    let processor = archive.processor + image.processor;
    (Cost { memory, processor, ..archive }, second)
}

/// What `write` costs, which is given what merges the layers.
fn cost_of(
    layers: &[&Layer],
    limits: Limits,
    write: impl FnOnce(&mut dyn FnMut(&mut dyn Sink) -> Result<(), Refused>) -> Result<u64, Refused>,
) -> (Cost, Result<(), Refused>) {
    let size = layers.iter().map(|layer| layer.0.len() as u64).sum();
    let meter = Meter::of(limits, size);
    let (before, clock) = (NOW.load(Ordering::SeqCst), processor());
    MOST.store(before, Ordering::SeqCst);
    let mut merge = |sink: &mut dyn Sink| {
        let mut tree = Tree::default();
        for layer in layers {
            tree.apply(Index::read(layer.open()?, &meter, Interpretation::Layer, None)?, &meter)?;
        }
        let sources: Vec<&dyn LayerSource> =
            layers.iter().map(|layer| *layer as &dyn LayerSource).collect();
        layers::write(&tree, &sources, &OwnFiles::default(), 0, sink, &meter, &mut |_| {})
            .map_err(|(_, error)| Refused::Layer(error))
    };
    let written = write(&mut merge);
    let memory = MOST.load(Ordering::SeqCst) - before;
    let processor = processor() - clock;
    let steps = meter.count(Quantity::Steps);
    let (written, result) =
        written.map_or_else(|error| (0, Err(error)), |written| (written, Ok(())));
    (Cost { memory, processor, steps, written }, result)
}

/// What is not linear in the cost of a layer and of one that is four times as large.
fn growth(one: &Cost, four: &Cost) -> Vec<String> {
    let mut faults = Vec::new();
    if four.processor > 7 * one.processor + Duration::from_millis(300) {
        faults.push(format!("{:?}, then {:?}", one.processor, four.processor));
    }
    if four.steps > 4 * one.steps + 100_000 {
        faults.push(format!("{} steps, then {}", one.steps, four.steps));
    }
    faults
}

// One test: the allocations of another one would be counted as well.
#[test]
fn what_a_layer_costs_is_linear_in_its_size() {
    let mut faults = Vec::new();
    for (name, make, count) in hoard::KINDS {
        let layer = |count| Layer(hoard::gzip(&make(count)));
        let (small, four) = (layer(count / 10), layer(count / 10 * 4));
        // For oneself, where more is let through: four times the layer is four times the work.
        let (one, first) = cost(&[&small], Limits::own(16 << 30));
        let (more, second) = cost(&[&four], Limits::own(16 << 30));
        eprintln!(
            "{name}: for oneself {:?} {:?}, {} {} steps, {} KiB written: {}",
            one.processor,
            more.processor,
            one.steps,
            more.steps,
            more.written >> 10,
            second.as_ref().map_or_else(ToString::to_string, |()| "merged".to_owned()),
        );
        if first.is_ok() && second.is_ok() {
            let growth = growth(&one, &more);
            if !growth.is_empty() {
                // The large one would take hours.
                faults.extend(growth.into_iter().map(|fault| format!("{name}: {fault}")));
                continue;
            }
        }
        // At the request of others.
        let large = layer(*count);
        let size = large.0.len() as u64;
        let (strict, _) = cost(&[&large], Limits::for_others());
        eprintln!("{name}: {size} bytes, {} KiB", strict.memory >> 10);
        let allowed = (40 << 20) + 8 * size;
        if strict.memory > allowed {
            faults.push(format!("{name}: {} bytes of {allowed}", strict.memory));
        }
    }
    // The same layer over and over is as many layers.
    let layer = Layer(hoard::gzip(&hoard::directories(2_000)));
    let many: Vec<&Layer> = std::iter::repeat_n(&layer, 300).collect();
    let (repeated, _) = cost(&many, Limits::for_others());
    let size = 300 * layer.0.len() as u64;
    if repeated.memory > (40 << 20) + 8 * size {
        faults.push(format!("repeated layers: {} bytes", repeated.memory));
    }
    assert!(faults.is_empty(), "{faults:#?}");
}
