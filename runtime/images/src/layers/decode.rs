//! Decompression, told by the first bytes: media types in manifests are often wrong.

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};

use flate2::bufread::MultiGzDecoder;

use super::LayerError;

/// zstd may ask for windows of any size; this is what its own command accepts by default.
const WINDOW_LOG: u32 = 27;
const BUFFER: usize = 64 << 10;

type Input<R> = BufReader<Chain<Cursor<Vec<u8>>, R>>;

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
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            Ok(Box::new(zstd(input)?))
        }
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Err(LayerError::Compression("xz")),
        [b'B', b'Z', b'h', ..] => Err(LayerError::Compression("bzip2")),
        _ => Ok(Box::new(input)),
    }
}

fn zstd<R: BufRead>(input: R) -> Result<impl Read, LayerError> {
    let open = || -> io::Result<_> {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
        decoder.window_log_max(WINDOW_LOG)?;
        Ok(BufReader::with_capacity(BUFFER, decoder))
    };
    open().map_err(LayerError::Decompress)
}
