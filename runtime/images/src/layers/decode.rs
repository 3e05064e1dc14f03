//! Decompression, told by the first bytes: media types in manifests are often wrong.

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;

use super::LayerError;

/// zstd may ask for windows of any size. So much of a window any reader may have at once with
/// others (what zstd promises to be readable everywhere) ...
const WINDOW_LOG: u32 = 23;
/// ... and so much one of them at a time: what its own command accepts unless told otherwise.
static LARGE_WINDOW_LOG: AtomicU32 = AtomicU32::new(27);
/// Held by who reads a large window.
static LARGE: Mutex<()> = Mutex::new(());
const BUFFER: usize = 64 << 10;

type Input<R> = BufReader<Chain<Cursor<Vec<u8>>, R>>;

/// Has this process refuse larger windows than `1 << log` bytes.
pub fn limit_windows(log: u32) {
    LARGE_WINDOW_LOG.store(log, Ordering::Relaxed);
}

/// Whether something that begins so is not itself, but compressed; with what, [`decoder`] says.
pub fn is_compressed(head: &[u8]) -> bool {
    matches!(
        head,
        [0x1f, 0x8b | 0x9d, ..]
            | [0x28, 0xb5, 0x2f, 0xfd, ..]
            | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]
            | [0xfd, b'7', b'z', b'X', b'Z', 0]
            | [b'B', b'Z', b'h', b'1'..=b'9', 0x31 | 0x17, 0x41 | 0x72]
            | [0x04, 0x22, 0x4d, 0x18, ..]
    )
}

/// A reader of what `input` holds, decompressed.
///
/// # Errors
/// [`LayerError::Compression`] and whatever reading says.
pub fn decoder<'a, R: Read + 'a>(mut input: R) -> Result<Box<dyn Read + 'a>, LayerError> {
    let mut head = Vec::with_capacity(6);
    (&mut input).take(6).read_to_end(&mut head).map_err(LayerError::Decompress)?;
    let start = head.clone();
    let input: Input<R> = BufReader::with_capacity(BUFFER, Cursor::new(head).chain(input));
    match start.as_slice() {
        [0x1f, 0x8b, ..] => {
            Ok(Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(input))))
        }
        // Data or, as with zstd:chunked, a skippable frame first.
        [0x28, 0xb5, 0x2f, 0xfd, descriptor, window] if is_large(*descriptor, *window) => {
            let held = LARGE.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(Box::new(Guarded {
                input: zstd(input, LARGE_WINDOW_LOG.load(Ordering::Relaxed))?,
                _held: held,
            }))
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            Ok(Box::new(zstd(input, WINDOW_LOG)?))
        }
        [0xfd, b'7', b'z', b'X', b'Z', 0] => {
            let held = LARGE.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(Box::new(Guarded { input: xz(input), _held: held }))
        }
        // The level, and the first bytes of a block or of the end: a name may start as well so.
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41]
        | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72] => {
            Ok(Box::new(BufReader::with_capacity(BUFFER, MultiBzDecoder::new(input))))
        }
        [0x1f, 0x9d, ..] => Err(LayerError::Compression("compress")),
        [0x04, 0x22, 0x4d, 0x18, ..] => Err(LayerError::Compression("lz4")),
        [b'L', b'Z', b'I', b'P', ..] => Err(LayerError::Compression("lzip")),
        _ => Ok(Box::new(input)),
    }
}

/// Whether the header of a frame asks for a large window (RFC 8878, section 3.1.1.1). For a frame of
/// a single segment that is its content, which may be large if its size takes four bytes or more.
fn is_large(descriptor: u8, window: u8) -> bool {
    const SINGLE_SEGMENT: u8 = 0x20;
    if descriptor & SINGLE_SEGMENT != 0 {
        return descriptor >> 6 >= 2;
    }
    let log = 10 + u32::from(window >> 3);
    log > WINDOW_LOG || log == WINDOW_LOG && window & 7 != 0
}

/// A reader that holds a lock for as long as it lives.
struct Guarded<R> {
    input: R,
    _held: MutexGuard<'static, ()>,
}

impl<R: Read> Read for Guarded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.input.read(buffer)
    }
}

/// A block says how large its dictionary is when it comes. So each stream counts as a large one.
fn xz<R: BufRead>(input: R) -> impl Read {
    /// What the decoder needs besides, in KiB, as it counts.
    const MORE: u32 = 1024;
    let kib = (1 << LARGE_WINDOW_LOG.load(Ordering::Relaxed).saturating_sub(10)) + MORE;
    BufReader::with_capacity(BUFFER, XzReader::new_mem_limit(input, true, kib))
}

fn zstd<R: BufRead>(input: R, window_log: u32) -> Result<impl Read, LayerError> {
    let open = || -> io::Result<_> {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
        decoder.window_log_max(window_log)?;
        Ok(BufReader::with_capacity(BUFFER, decoder))
    };
    open().map_err(LayerError::Decompress)
}
