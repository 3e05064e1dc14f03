//! The map of a sparse file: where its stored bytes belong.

use std::io::Read;

use super::pax::{PIECES, decimal};
use super::{BLOCK, TarError};

/// Stored pieces, in order and without overlap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Map(Vec<Piece>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) offset: u64,
    pub(super) length: u64,
}

impl Map {
    /// A map from alternating offsets and lengths, of a file of `size` bytes.
    pub(super) fn new(
        numbers: &[u64],
        size: u64,
        stored: u64,
        path: &[u8],
    ) -> Result<Map, TarError> {
        let malformed = || TarError::field("sparse map", path);
        if numbers.len() % 2 != 0 || numbers.len() / 2 > PIECES {
            return Err(malformed());
        }
        let (mut pieces, mut end, mut sum) = (Vec::new(), 0u64, 0u64);
        for pair in numbers.chunks_exact(2) {
            let piece = Piece { offset: pair[0], length: pair[1] };
            let next = piece.offset.checked_add(piece.length).ok_or_else(malformed)?;
            if piece.offset < end || next > size {
                return Err(malformed());
            }
            (end, sum) = (next, sum + piece.length);
            if piece.length > 0 {
                pieces.push(piece);
            }
        }
        if sum != stored {
            return Err(malformed());
        }
        pieces.reverse(); // so that the next one can be popped
        Ok(Map(pieces))
    }

    /// The next piece.
    pub(super) fn pop(&mut self) -> Option<Piece> {
        self.0.pop()
    }
}

/// Reads form 1.0's map, which stands in decimal lines before the data. Returns the numbers and
/// how many bytes were taken.
pub(super) fn read_map(
    input: &mut impl Read,
    stored: u64,
    path: &[u8],
) -> Result<(Vec<u64>, u64), TarError> {
    let malformed = || TarError::field("sparse map", path);
    let (mut numbers, mut taken, mut wanted) = (Vec::new(), 0u64, None);
    let mut digits = Vec::new();
    loop {
        let mut block = [0u8; BLOCK];
        taken += BLOCK as u64;
        if taken > stored {
            return Err(malformed());
        }
        input.read_exact(&mut block).map_err(|_| TarError::Truncated)?;
        for byte in block {
            if byte != b'\n' {
                digits.push(byte);
                if digits.len() > 20 {
                    return Err(malformed());
                }
                continue;
            }
            let number = decimal(&digits).ok_or_else(malformed)?;
            digits.clear();
            match wanted {
                None if number > PIECES as u64 => return Err(malformed()),
                None => wanted = Some(number as usize * 2),
                Some(_) => numbers.push(number),
            }
            if wanted == Some(numbers.len()) {
                return Ok((numbers, taken));
            }
        }
    }
}
