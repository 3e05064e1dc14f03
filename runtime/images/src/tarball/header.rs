//! The fixed-size fields of a tar header block.

use super::BLOCK;

/// A header block with its fields at their offsets.
pub(super) struct Raw(pub(super) [u8; BLOCK]);

impl Raw {
    pub(super) fn name(&self) -> &[u8] {
        text(&self.0[..100])
    }

    pub(super) fn kind(&self) -> u8 {
        self.0[156]
    }

    pub(super) fn link(&self) -> &[u8] {
        text(&self.0[157..257])
    }

    pub(super) fn mode(&self) -> Option<u64> {
        number(&self.0[100..108])
    }

    pub(super) fn size(&self) -> Option<u64> {
        number(&self.0[124..136])
    }

    pub(super) fn mtime(&self) -> Option<i64> {
        signed(&self.0[136..148])
    }

    /// The name with POSIX's prefix; GNU uses that place for other things.
    pub(super) fn path(&self) -> Vec<u8> {
        let prefix = text(&self.0[345..500]);
        if &self.0[257..263] == b"ustar\0" && !prefix.is_empty() {
            [prefix, b"/", self.name()].concat()
        } else {
            self.name().to_vec()
        }
    }

    pub(super) fn is_zero(&self) -> bool {
        self.0 == [0; BLOCK]
    }

    /// Whether the checksum fits, summed as unsigned or, as some old tars did, signed bytes.
    pub(super) fn checksum_fits(&self) -> bool {
        let Some(stated) = number(&self.0[148..156]) else { return false };
        // Its own field counts as blanks.
        let (before, after) = (&self.0[..148], &self.0[156..]);
        let blanks = 8 * u32::from(b' ');
        let parts = before.iter().chain(after);
        let unsigned = parts.clone().map(|byte| u32::from(*byte)).sum::<u32>() + blanks;
        let signed = parts.map(|byte| i32::from(*byte as i8)).sum::<i32>() + blanks as i32;
        stated == u64::from(unsigned) || i32::try_from(stated) == Ok(signed)
    }
}

fn text(field: &[u8]) -> &[u8] {
    &field[..field.iter().position(|byte| *byte == 0).unwrap_or(field.len())]
}

/// An octal number, or a binary one where the first bit is set.
pub(super) fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        return u64::try_from(signed(field)?).ok();
    }
    let digits = text(field).trim_ascii();
    let mut value = 0u64;
    for digit in digits {
        if !(b'0'..=b'7').contains(digit) {
            return None;
        }
        value = value.checked_mul(8)?.checked_add(u64::from(digit - b'0'))?;
    }
    Some(value)
}

fn signed(field: &[u8]) -> Option<i64> {
    if field[0] & 0x80 == 0 {
        return i64::try_from(number(field)?).ok();
    }
    // Two's complement, the first bit being the marker and the second the sign.
    let negative = field[0] & 0x40 != 0;
    let mut value: i128 = if negative { -1 } else { 0 };
    for (at, byte) in field.iter().enumerate() {
        let byte = if at == 0 && !negative { byte & 0x7f } else { *byte };
        value = value.checked_shl(8)? | i128::from(byte);
    }
    i64::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_binary() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b" 644 \0\0\0"), Some(0o644));
        assert_eq!(number(b"\0\0\0\0\0\0\0\0"), Some(0));
        assert_eq!(number(b"00008\0\0\0"), None);
        assert_eq!(number(&[0x80, 0, 0, 0, 0, 0, 1, 0]), Some(256));
        assert_eq!(signed(&[0xff; 12]), Some(-1));
        assert_eq!(number(&[0xff; 12]), None);
    }
}
