//! The compressions.

use super::{Result, SquashfsError, lzo};

/// How blocks are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// `gzip`, in truth zlib's format.
    Zlib,
    /// `lzo`, enroot's choice.
    Lzo,
    /// `lz4`.
    Lz4,
    /// `zstd`.
    Zstd,
}

impl Codec {
    /// By its number in the superblock.
    pub(super) fn of(number: u16) -> Result<Codec> {
        let unsupported = |name: &str| Err(SquashfsError::Unsupported(format!("with {name}")));
        match number {
            1 => Ok(Codec::Zlib),
            3 => Ok(Codec::Lzo),
            5 => Ok(Codec::Lz4),
            6 => Ok(Codec::Zstd),
            2 => unsupported("lzma"),
            4 => unsupported("xz"),
            _ => unsupported(&format!("compression {number}")),
        }
    }

    /// Unpacks all of `packed`, which may be at most `most` bytes.
    pub(super) fn unpack(self, packed: &[u8], most: usize) -> Result<Vec<u8>> {
        let mut output = vec![0; most];
        let length = match self {
            Codec::Zlib => inflate(packed, &mut output),
            Codec::Lzo => lzo::unpack(packed, &mut output),
            Codec::Lz4 => lz4_flex::block::decompress_into(packed, &mut output).ok(),
            Codec::Zstd => zstd::bulk::decompress_to_buffer(packed, &mut output[..]).ok(),
        };
        output.truncate(length.ok_or(SquashfsError::Damaged("a packed block"))?);
        // It may be kept: of a small file's block only a little is used.
        output.shrink_to_fit();
        Ok(output)
    }
}

fn inflate(packed: &[u8], output: &mut [u8]) -> Option<usize> {
    let mut state = flate2::Decompress::new(true);
    let status = state.decompress(packed, output, flate2::FlushDecompress::Finish).ok()?;
    (status == flate2::Status::StreamEnd).then(|| state.total_out() as usize)
}
