//! Hexadecimal digits: of digests, and of names that nobody can guess.

use std::fmt::Write;
use std::fs::File;
use std::io::{self, Read};

/// Bytes in hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// So many random bytes in hexadecimal digits.
///
/// # Errors
/// Those of reading `/dev/urandom`, which a container may lack.
pub fn random<const BYTES: usize>() -> io::Result<String> {
    let mut random = [0u8; BYTES];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    Ok(hex(&random))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_has_two_digits() {
        assert_eq!(hex(&[0, 9, 0xab, 0xff]), "0009abff");
        let (one, other) = (random::<8>().unwrap(), random::<8>().unwrap());
        assert!(one.len() == 16 && one != other);
    }
}
