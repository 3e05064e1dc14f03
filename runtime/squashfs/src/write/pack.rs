//! Packing a block, where it pays.

use std::io;

use super::Compression;

/// What a block has to become smaller by, as a part of its size: less is not worth unpacking it
/// at each start.
const WORTH: usize = 16;
/// Blocks that are tried without ado.
const SMALL: usize = 16 << 10;
/// Bytes looked at to tell how evenly a block's bytes are spread, in pieces of so many.
const LOOKED_AT: usize = 4096;
const PIECE: usize = 256;
/// The sum of the squares of the counts of each byte among [`LOOKED_AT`]: 69,616 with a deviation
/// of 361 if they are random; this if an eightieth can be saved by coding bytes alone.
const EVEN: u32 = 78_000;
/// Bytes that are packed to see whether that pays, where the bytes are spread evenly.
const TRIED: usize = 16 << 10;

/// Packs blocks, one after the other. What becomes of a block depends on nothing before it.
pub(super) enum Packer {
    None,
    Zstd(Box<zstd::bulk::Compressor<'static>>),
    Gzip(Box<flate2::Compress>),
}

impl Packer {
    pub(super) fn new(compression: Compression) -> io::Result<Packer> {
        Ok(match compression {
            Compression::None => Packer::None,
            Compression::Zstd(level) => Packer::Zstd(Box::new(zstd::bulk::Compressor::new(level)?)),
            Compression::Gzip(level) => {
                let level = flate2::Compression::new(level);
                Packer::Gzip(Box::new(flate2::Compress::new(level, true)))
            }
        })
    }

    /// Bytes that the result of packing so many may need, while it is packed.
    pub(super) fn room(length: usize) -> usize {
        // zstd's bound, which is larger than zlib's.
        length + length / 128 + 512
    }

    /// Packs a block of data: the length of what is in `packed`, or `None` if it is to be stored
    /// as it is.
    pub(super) fn pack(&mut self, plain: &[u8], packed: &mut [u8]) -> Option<usize> {
        if plain.len() > SMALL && is_even(plain) {
            // Already packed, most likely; its middle is what its beginning may not be.
            let middle = &plain[(plain.len() - TRIED) / 2..][..TRIED];
            let length = self.run(middle, packed)?;
            if length > TRIED - TRIED / WORTH {
                return None;
            }
        }
        let length = self.run(plain, packed)?;
        (length <= plain.len() - plain.len() / WORTH && length < plain.len()).then_some(length)
    }

    /// Packs a block of metadata.
    pub(super) fn pack_table(&mut self, plain: &[u8], packed: &mut [u8]) -> Option<usize> {
        self.run(plain, packed).filter(|length| *length < plain.len())
    }

    fn run(&mut self, plain: &[u8], packed: &mut [u8]) -> Option<usize> {
        match self {
            Packer::None => None,
            Packer::Zstd(zstd) => zstd.compress_to_buffer(plain, packed).ok(),
            Packer::Gzip(zlib) => {
                zlib.reset();
                let status = zlib.compress(plain, packed, flate2::FlushCompress::Finish).ok()?;
                (status == flate2::Status::StreamEnd).then(|| zlib.total_out() as usize)
            }
        }
    }
}

/// Whether bytes are spread as evenly as if they were random, as far as can be told from some.
fn is_even(plain: &[u8]) -> bool {
    let mut counts = [0u32; 256];
    let pieces = LOOKED_AT / PIECE;
    let stride = (plain.len() - PIECE) / (pieces - 1);
    for piece in 0..pieces {
        for byte in &plain[piece * stride..][..PIECE] {
            counts[usize::from(*byte)] += 1;
        }
    }
    counts.iter().map(|count| count * count).sum::<u32>() < EVEN
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 88_172_645_463_325_252u64;
        let step = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        (0..length).map(step).collect()
    }

    #[test]
    fn only_what_pays_is_packed() {
        let length = 128 << 10;
        let mut packed = vec![0; Packer::room(length)];
        for compression in [Compression::Zstd(1), Compression::Zstd(19), Compression::Gzip(6)] {
            let mut packer = Packer::new(compression).unwrap();
            let noise = noise(length);
            assert!(is_even(&noise));
            assert_eq!(packer.pack(&noise, &mut packed), None);
            assert_eq!(packer.pack(&noise[..5000], &mut packed), None);
            assert_eq!(packer.pack(b"a", &mut packed), None);
            assert_eq!(packer.pack(b"", &mut packed), None);
            // Even, but the same again and again.
            let again = noise[..10_000].repeat(length / 10_000);
            assert!(is_even(&again));
            assert!(packer.pack(&again, &mut packed).unwrap() < 15_000);
            // Hexadecimal digits of noise become half as large.
            let digits: Vec<u8> =
                noise.iter().map(|byte| b"0123456789abcdef"[usize::from(byte & 15)]).collect();
            let half = packer.pack(&digits, &mut packed).unwrap();
            assert!((length / 2..length * 6 / 10).contains(&half), "{half}");
            // The same, whatever was packed before.
            let first = packed[..half].to_vec();
            assert!(packer.pack(&again, &mut packed).is_some());
            assert_eq!(packer.pack(&digits, &mut packed), Some(half));
            assert!(packed[..half] == first);
        }
        assert_eq!(Packer::new(Compression::None).unwrap().pack(&[0; 9000], &mut packed), None);
    }

    #[test]
    fn little_that_is_saved_is_not_worth_it() {
        let length = 128 << 10;
        let mut block = noise(length);
        block[..length / 20].fill(0);
        let mut packed = vec![0; Packer::room(length)];
        let mut packer = Packer::new(Compression::Zstd(1)).unwrap();
        assert_eq!(packer.pack(&block, &mut packed), None);
        block[..length / 10].fill(0);
        assert!(packer.pack(&block, &mut packed).is_some());
    }
}
