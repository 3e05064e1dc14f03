//! Digests of content: sha256, and sha512 as the image specification has it beside.

use std::fmt::Write;

use sha2::{Digest, Sha256, Sha512};

const SHA512: &str = "sha512";

/// The hexadecimal digits of a digest whose algorithm we have.
pub fn hex_of(digest: &str) -> Option<&str> {
    let (algorithm, hex) = digest.split_once(':')?;
    let length = match algorithm {
        "sha256" => 64,
        SHA512 => 128,
        _ => return None,
    };
    (hex.len() == length && hex.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(hex)
}

/// The name of the algorithm of a digest that [`hex_of`] reads.
pub(crate) fn algorithm_of(digest: &str) -> &'static str {
    if digest.starts_with(SHA512) { SHA512 } else { "sha256" }
}

/// Computes a digest while content comes.
#[derive(Debug)]
pub(crate) enum Hasher {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    /// One that can be compared with `digest`.
    pub(crate) fn like(digest: &str) -> Hasher {
        match algorithm_of(digest) {
            SHA512 => Hasher::Sha512(Sha512::new()),
            _ => Hasher::Sha256(Sha256::new()),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(hash) => hash.update(bytes),
            Hasher::Sha512(hash) => hash.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> String {
        match self {
            Hasher::Sha256(hash) => written("sha256:", &hash.finalize()),
            Hasher::Sha512(hash) => written("sha512:", &hash.finalize()),
        }
    }
}

/// The digest of `bytes`, by the algorithm of `digest`.
pub(crate) fn like(digest: &str, bytes: &[u8]) -> String {
    let mut hash = Hasher::like(digest);
    hash.update(bytes);
    hash.finish()
}

/// Bytes in hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    written("", bytes)
}

fn written(start: &str, bytes: &[u8]) -> String {
    bytes.iter().fold(start.to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_algorithms_are_known_by_their_digits() {
        for (digest, known) in [
            (like("sha256:", b"x"), true),
            (like("sha512:", b"x"), true),
            (format!("sha256:{}", "a".repeat(128)), false),
            (format!("sha512:{}", "a".repeat(64)), false),
            (format!("sha384:{}", "a".repeat(96)), false),
            (format!("sha512:{}", "../".repeat(42) + "aa"), false),
            ("sha512".to_owned(), false),
        ] {
            assert_eq!(hex_of(&digest).is_some(), known, "{digest}");
        }
        assert_eq!(hex_of(&like("sha512:", b"")).unwrap()[..8], *"cf83e135");
    }
}
