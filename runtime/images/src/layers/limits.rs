//! What an image may cost whoever reads it.
//!
//! Everything that a layer makes us keep, write or walk is counted, and each count may be so much
//! for nothing and so much more for each compressed byte that has really come. So the cost of a
//! layer is linear in its size, whatever it and its manifest say about themselves.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::LayerError;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Bytes of the decompressed archive, and of its files with their holes.
    Bytes,
    /// Entries, and directories that nothing but a longer name makes.
    Entries,
    /// Bytes of names and of links' targets, as they are written.
    Names,
    /// Bytes of extended attributes.
    Attributes,
    /// Bytes of memory for all that is known of an image until it is written.
    Memory,
    /// Names looked up, those of links' targets included.
    Steps,
}

const QUANTITIES: usize = 6;

impl Quantity {
    fn unit(self) -> &'static str {
        match self {
            Quantity::Bytes => "bytes",
            Quantity::Entries => "entries",
            Quantity::Names => "bytes of names",
            Quantity::Attributes => "bytes of extended attributes",
            Quantity::Memory => "bytes of memory for its names",
            Quantity::Steps => "steps through its directories",
        }
    }
}

/// So much for nothing, and so much more for each compressed byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// For any image.
    pub floor: u64,
    /// For each compressed byte of its layers.
    pub per_byte: u64,
}

impl Allowance {
    /// The same for every size.
    pub const fn of(floor: u64) -> Allowance {
        Allowance { floor, per_byte: 0 }
    }

    fn at(self, compressed: u64) -> u64 {
        self.floor.saturating_add(self.per_byte.saturating_mul(compressed))
    }
}

/// Limits on an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of [`Quantity::Bytes`].
    pub bytes: Allowance,
    /// Of [`Quantity::Entries`].
    pub entries: Allowance,
    /// Of [`Quantity::Names`].
    pub names: Allowance,
    /// Of [`Quantity::Attributes`].
    pub attributes: Allowance,
    /// Of [`Quantity::Memory`].
    pub memory: Allowance,
    /// Of [`Quantity::Steps`].
    pub steps: Allowance,
    /// Names in one path.
    pub depth: usize,
    /// From the first byte to the last entry written.
    pub time: Option<Duration>,
}

impl Limits {
    /// The setting that raises the limit on bytes.
    pub const SETTING: &str = "PYXIS_MAX_UNPACKED";

    /// For who unpacks for themselves, within the limits of their own job: real layers shrink to
    /// a third, a bomb to a thousandth.
    /// `floor` is what the setting says of bytes.
    pub fn own(floor: u64) -> Limits {
        const USUAL: u64 = 16 << 30;
        // Who raises the one limit trusts the image.
        let times = floor.div_ceil(USUAL).max(1);
        let allow = |floor: u64, per_byte: u64| Allowance {
            floor: floor.saturating_mul(times),
            per_byte: per_byte.saturating_mul(times),
        };
        Limits {
            bytes: Allowance { floor, per_byte: 200 },
            entries: allow(4_000_000, 1),
            names: allow(512 << 20, 64),
            attributes: allow(256 << 20, 16),
            memory: allow(512 << 20, 32),
            steps: allow(16_000_000, 64),
            depth: DEPTH,
            time: None,
        }
    }

    /// For who unpacks at somebody else's request. An image that needs more is one for its user's
    /// own store.
    pub fn for_others() -> Limits {
        let allow = |floor, per_byte| Allowance { floor, per_byte };
        Limits {
            bytes: allow(256 << 20, 100),
            entries: allow(100_000, 1),
            names: allow(16 << 20, 16),
            attributes: allow(4 << 20, 2),
            // The writer of the image has as much again.
            memory: allow(16 << 20, 4),
            steps: allow(4_000_000, 16),
            depth: DEPTH,
            time: Some(Duration::from_secs(4 * 3600)),
        }
    }

    fn of(&self, quantity: Quantity) -> Allowance {
        match quantity {
            Quantity::Bytes => self.bytes,
            Quantity::Entries => self.entries,
            Quantity::Names => self.names,
            Quantity::Attributes => self.attributes,
            Quantity::Memory => self.memory,
            Quantity::Steps => self.steps,
        }
    }
}

/// More than any real path has, and few enough that the directories of one name cost little.
const DEPTH: usize = 256;

/// Counts what one image costs, for all threads that read its layers.
#[derive(Debug)]
pub struct Meter {
    limits: Limits,
    compressed: AtomicU64,
    counts: [AtomicU64; QUANTITIES],
    /// Set at the first charge.
    started: Mutex<Option<Instant>>,
}

impl Meter {
    /// Counts from nothing.
    pub fn new(limits: Limits) -> Meter {
        Meter {
            limits,
            compressed: AtomicU64::new(0),
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            started: Mutex::new(None),
        }
    }

    /// Counts what `compressed` bytes, which are at hand, may cost.
    pub fn of(limits: Limits, compressed: u64) -> Meter {
        let meter = Meter::new(limits);
        meter.came(compressed);
        meter
    }

    /// The limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// So many more compressed bytes have come.
    pub fn came(&self, bytes: u64) {
        self.compressed.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts something.
    ///
    /// # Errors
    /// [`LayerError::Limit`] if that is more than what has come allows.
    pub fn charge(&self, quantity: Quantity, amount: u64) -> Result<(), LayerError> {
        let before = self.counts[quantity as usize].fetch_add(amount, Ordering::Relaxed);
        let limit = self.limits.of(quantity).at(self.compressed.load(Ordering::Relaxed));
        if before.saturating_add(amount) <= limit {
            return Ok(());
        }
        Err(LayerError::Limit { limit, what: quantity.unit() })
    }

    /// Takes back what was counted and is gone.
    pub fn release(&self, quantity: Quantity, amount: u64) {
        self.counts[quantity as usize].fetch_sub(amount, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn count(&self, quantity: Quantity) -> u64 {
        self.counts[quantity as usize].load(Ordering::Relaxed)
    }

    /// To be asked now and then.
    ///
    /// # Errors
    /// [`LayerError::Time`] if it takes too long.
    pub fn check_time(&self) -> Result<(), LayerError> {
        let Some(limit) = self.limits.time else { return Ok(()) };
        let mut started = self.started.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let started = *started.get_or_insert_with(Instant::now);
        if started.elapsed() <= limit { Ok(()) } else { Err(LayerError::Time(limit.as_secs())) }
    }
}

/// What memory a small allocation costs beside its bytes.
const ALLOCATION: usize = 32;

/// What a heap-allocated name costs.
pub(super) fn heap(bytes: usize) -> u64 {
    (bytes + ALLOCATION) as u64
}

/// Text of an archive as an error shows it: an error is one line, not a megabyte.
pub(super) fn shown(path: &[u8]) -> String {
    const MOST: usize = 300;
    let text = String::from_utf8_lossy(&path[..path.len().min(MOST)]);
    if path.len() > MOST { format!("{text}...") } else { text.into_owned() }
}
