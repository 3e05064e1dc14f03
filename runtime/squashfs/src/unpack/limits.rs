//! What unpacking an image may cost.

use crate::Image;

/// What any image may have: bytes of contents, and names. Larger images may have more.
const ANY_BYTES: u64 = 16 << 30;
const ANY_NAMES: u64 = 1 << 22;
/// Bytes of contents for each byte of an image, and bytes of the image for each name.
const BYTES_FOR_BYTE: u64 = 200;
const BYTES_FOR_NAME: u64 = 16;

/// What an image may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of contents; those of holes count for little.
    pub bytes: u64,
    /// Names.
    pub names: u64,
}

impl Limits {
    /// What is honest for an image of that size.
    pub fn of(image: &Image) -> Limits {
        Limits {
            bytes: ANY_BYTES.max(image.bytes().saturating_mul(BYTES_FOR_BYTE)),
            names: ANY_NAMES + image.bytes() / BYTES_FOR_NAME,
        }
    }
}
