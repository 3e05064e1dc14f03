//! What an image of up to three layers costs: memory and work are linear in its compressed bytes,
//! whatever is in it. Bytes are taken as an archive, compressed or not, or as a program that writes
//! archives, so that expensive ones are found without spelling out their headers.
//!
//! Programs write little, so that many can be tried. Of a process's runs the first and then one in
//! [`LARGE_EVERY`] has them write so much that what is not linear shows: a file that failed fails again
//! when it is run alone.
#![no_main]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use images::layers::{
    self, ArchiveSink, Index, Interpretation, LayerError, Limits, Meta, Meter, OwnFiles, Quantity,
    Sink, LayerSource, Tree, decoder,
};
use images::squash::{Squash, SquashError};
use libfuzzer_sys::fuzz_target;
use nix::sys::memfd::{MFdFlags, memfd_create};
use squashfs::program::Program;
use squashfs::write::Packing;

/// Bytes allocated, and at most at once.
struct Counting;
static NOW: AtomicU64 = AtomicU64::new(0);
static MOST: AtomicU64 = AtomicU64::new(0);

// SAFETY: all is the system's allocator's; the numbers are counted beside.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size() as u64, Ordering::Relaxed) + layout.size() as u64;
        MOST.fetch_max(now, Ordering::Relaxed);
        // SAFETY: as asked of us.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: as asked of us.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What the broker has for an image beside its process.
const MEMORY: (u64, u64) = (48 << 20, 8);
/// Microseconds of all threads, with the sanitizer's share: for any image, and for each byte.
const PROCESSOR: (u64, u64) = (8_000_000, 2_000);
/// The same for what is counted, which has limits itself: for any image, for each entry, and for each KiB of contents,
/// names and attributes and each 64 names that are looked up.
const COUNTED: (u64, u64, u64) = (500_000, 15, 40);

/// How often programs write much, and what they write then and else.
const LARGE_EVERY: u64 = 1024;
/// How often an image is written as well, whose threads cost more than all the rest.
const IMAGE_EVERY: u64 = 16;
const LARGE: Scale = Scale { times: 7, most: 12 << 20 };
const SMALL: Scale = Scale { times: 0, most: 24 << 10 };

#[derive(Clone, Copy)]
struct Scale {
    /// Powers of two by which more entries are written.
    times: u32,
    /// Bytes of an archive.
    most: usize,
}

struct Layer<'a>(&'a [u8]);

impl LayerSource for Layer<'_> {
    fn open(&self) -> Result<Box<dyn Read + '_>, LayerError> {
        decoder(self.0)
    }
}

/// Counts what is written and keeps nothing.
#[derive(Default)]
struct Sunk(u64);

impl Write for Sunk {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fuzz_target!(|bytes: &[u8]| {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let Some((how, bytes)) = bytes.split_first() else { return };
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let large = run % LARGE_EVERY == 0;
    let scale = if large { LARGE } else { SMALL };
    let written;
    let layers: Vec<&[u8]> = match how % 4 {
        0 => vec![bytes],
        1 => bytes.splitn(3, |byte| *byte == 0xfe).collect(),
        _ => {
            let programs = bytes.splitn(3, |byte| *byte == 0xfe);
            written = programs.map(|steps| program(steps, scale)).collect::<Vec<_>>();
            written.iter().map(Vec::as_slice).collect()
        }
    };
    let size: u64 = layers.iter().map(|layer| layer.len() as u64).sum();
    // Layers that an image has several times.
    let order: &[usize] = if how & 4 == 0 { &[0, 1, 2] } else { &[0, 1, 0, 2, 0, 1, 0] };
    let order: Vec<usize> = order.iter().copied().filter(|at| *at < layers.len()).collect();
    let meter = Meter::of(Limits::for_others(), size);
    let sunk = within_limits(size, &meter, || read(&layers, &order, &meter)).unwrap_or(0);
    if run % IMAGE_EVERY == 0 {
        let meter_of_image = Meter::of(Limits::for_others(), size);
        within_limits(size, &meter_of_image, || write(&layers, &order, &meter_of_image));
    }
    // What mksquashfs would be given: contents, and a header and names for each entry.
    let parts = meter.count(Quantity::Bytes)
        + 4 * meter.count(Quantity::Names)
        + 2 * meter.count(Quantity::Attributes)
        + 4096 * meter.count(Quantity::Entries);
    assert!(sunk <= parts + (1 << 20), "{sunk} bytes written for {size}");
});

/// Does something that may cost so much for so many bytes, and for what the meter counts.
fn within_limits<T>(size: u64, meter: &Meter, what: impl FnOnce() -> T) -> T {
    let (before, clock) = (NOW.load(Ordering::Relaxed), processor());
    MOST.store(before, Ordering::Relaxed);
    let done = what();
    let memory = MOST.load(Ordering::Relaxed) - before;
    let micros = (processor() - clock).as_micros() as u64;
    let allowed = MEMORY.0 + MEMORY.1 * size;
    assert!(memory <= allowed, "{memory} bytes of memory for {size}");
    let allowed = PROCESSOR.0 + PROCESSOR.1 * size;
    assert!(micros <= allowed, "{micros} microseconds for {size} bytes");
    use Quantity::{Attributes, Bytes, Entries, Names, Steps};
    let parts =
        [Bytes, Names, Attributes].map(|quantity| meter.count(quantity)).iter().sum::<u64>();
    let allowed = COUNTED.0
        + COUNTED.1 * meter.count(Entries)
        + COUNTED.2 * (parts / 1024 + meter.count(Steps) / 64);
    assert!(micros <= allowed, "{micros} microseconds, {allowed} for what was counted");
    if std::env::var_os("COSTS").is_some() {
        eprintln!("{micros} of {allowed} microseconds, {memory} bytes of memory for {size}");
    }
    done
}

/// As an archive: its size.
fn read(layers: &[&[u8]], order: &[usize], meter: &Meter) -> Option<u64> {
    let mut sink = ArchiveSink::new(Sunk::default());
    merge(layers, order, meter, &mut sink).ok()?;
    Some(sink.finish().ok()?.0)
}

/// As an image, by our own writer.
fn write(layers: &[&[u8]], order: &[usize], meter: &Meter) -> Option<()> {
    let output = memfd_create(c"image", MFdFlags::MFD_CLOEXEC).expect("a file in memory").into();
    let mut program = Program::new("", Packing::default(), 2);
    program.save_memory();
    let squash = Squash { program, mtime: 0, one_time: false };
    let root = Meta { mode: 0o755, mtime: 0, xattrs: Vec::new() };
    let written = squash.write(&output, u64::MAX, &root, &std::env::temp_dir(), |sink| {
        merge(layers, order, meter, sink)
    });
    written.ok()
}

enum Refused {
    Layer,
    Image,
}

impl From<LayerError> for Refused {
    fn from(_: LayerError) -> Refused {
        Refused::Layer
    }
}

impl From<SquashError> for Refused {
    fn from(error: SquashError) -> Refused {
        // A pipeline that is lost is no image's fault.
        assert!(!error.to_string().contains("a thread has failed"), "{error}");
        Refused::Image
    }
}

fn merge(
    layers: &[&[u8]],
    order: &[usize],
    meter: &Meter,
    sink: &mut dyn Sink,
) -> Result<(), Refused> {
    let indices = layers
        .iter()
        .map(|layer| Index::read(decoder(*layer)?, meter, Interpretation::Layer, None))
        .collect::<Result<Vec<Index>, LayerError>>()?;
    let mut indices: Vec<Option<Index>> = indices.into_iter().map(Some).collect();
    let mut tree = Tree::default();
    for (place, at) in order.iter().enumerate() {
        let index = match order[place + 1..].contains(at) {
            true => indices[*at].as_ref().map(|index| index.again(meter)).transpose()?,
            false => indices[*at].take(),
        };
        tree.apply(index.expect("taken at its last place"), meter)?;
    }
    let layers: Vec<Layer> = order.iter().map(|at| Layer(layers[*at])).collect();
    let sources: Vec<&dyn LayerSource> = layers.iter().map(|layer| layer as &dyn LayerSource).collect();
    let own = OwnFiles::default();
    let written = layers::write(&tree, &sources, &own, 0, sink, meter, &mut |_| {});
    written.map_err(|(_, error)| error.into())
}

fn processor() -> Duration {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_PROCESS_CPUTIME_ID).unwrap();
    time.into()
}

/// A compressed archive that a few bytes describe: each step is a kind, how often, and how long.
fn program(steps: &[u8], scale: Scale) -> Vec<u8> {
    let mut out = Vec::new();
    for step in steps.chunks_exact(4).take(6) {
        let [kind, times, length, seed] = [step[0], step[1], step[2], step[3]];
        let times = 1usize << (u32::from(times % 9) + scale.times);
        for at in 0..times {
            let number = if seed & 1 == 0 { at } else { at % 7 };
            one(&mut out, kind, number, 1 << (length % 12), seed);
            if out.len() > scale.most {
                break;
            }
        }
    }
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.write_all(&out).unwrap();
    encoder.finish().unwrap()
}

fn one(out: &mut Vec<u8>, kind: u8, number: usize, length: usize, seed: u8) {
    let unit: &[u8] = match seed >> 1 & 7 {
        0 => b"a/",
        1 => b"./",
        2 => b"a/../",
        3 => b"l0/",
        4 => b"nnnnnnnn",
        5 => b"d/",
        6 => b"//",
        _ => b"d0/d1/",
    };
    let many = unit.repeat(length.div_ceil(unit.len()));
    let name = format!("{}{number}", ["d", "l", "d/f", "l0/f"][usize::from(seed >> 6)]);
    let name = name.as_bytes();
    let parent = [&many[..many.len().min(3000)], b"/", name].concat();
    match kind % 12 {
        0 => entry(out, b'0', name, b"", b""),
        1 => entry(out, b'5', name, b"", b""),
        2 => entry(out, b'0', &parent, b"", b""),
        3 => entry(out, b'2', name, &many, b""),
        4 => entry(out, b'1', name, b"d0", b""),
        5 => entry(out, b'1', name, b"l0", b""),
        6 => entry(out, b'0', b"d/.wh..wh..opq", b"", b""),
        7 => entry(out, b'0', b".wh..wh..opq", b"", b""),
        8 => entry(out, b'0', format!("d/.wh.f{number}").as_bytes(), b"", b""),
        9 => {
            let value = vec![b'v'; length * 16];
            let key = format!("SCHILY.xattr.user.{number}=");
            let rest = key.len() + value.len() + 2;
            let total =
                (1..8).map(|digits| rest + digits).find(|all| all.to_string().len() + rest == *all);
            let record =
                [format!("{} {key}", total.unwrap_or(0)).as_bytes(), &value, b"\n"].concat();
            entry(out, b'x', b"pax", b"", &record);
        }
        10 => entry(out, b'g', b"pax", b"", &vec![0; length]),
        _ => entry(out, b'0', name, b"", &vec![b'x'; length]),
    }
}

fn entry(out: &mut Vec<u8>, kind: u8, name: &[u8], link: &[u8], content: &[u8]) {
    if link.len() > 100 {
        entry(out, b'K', b"long", b"", link);
    }
    if name.len() > 100 {
        entry(out, b'L', b"long", b"", name);
    }
    let mut block = [0u8; 512];
    let most = |text: &[u8]| text.len().min(100);
    block[..most(name)].copy_from_slice(&name[..most(name)]);
    block[100..107].copy_from_slice(b"0000755");
    block[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
    block[136..147].copy_from_slice(b"00000000000");
    block[148..156].fill(b' ');
    block[156] = kind;
    block[157..157 + most(link)].copy_from_slice(&link[..most(link)]);
    block[257..265].copy_from_slice(b"ustar  \0");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    out.extend_from_slice(&block);
    out.extend_from_slice(content);
    out.resize(out.len().next_multiple_of(512), 0);
}
