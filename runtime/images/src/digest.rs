//! Digests of content: sha256, and sha512 as the image specification has it beside.

use std::fmt;
use std::ops::Deref;

use linux::hex::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256, Sha512};

const SHA256: &str = "sha256";
const SHA512: &str = "sha512";

/// The digest of some content, such as `sha256:` and 64 lower-case hexadecimal digits. Whoever has one need
/// not look at its text again: it is checked where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

/// A text is no digest, or one of an algorithm that we do not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", NoDigest::WORDS)]
pub struct NoDigest;

impl NoDigest {
    /// What is to be said of it.
    pub(crate) const WORDS: &str =
        "a digest is sha256: and 64 hexadecimal digits, or sha512: and 128";
}

impl Digest {
    /// The names of the algorithms that we have.
    pub(crate) const ALGORITHMS: [&str; 2] = [SHA256, SHA512];

    /// Reads a digest.
    pub fn parse(text: &str) -> Option<Digest> {
        Digest::try_from(text.to_owned()).ok()
    }

    /// The sha256 of some content.
    pub fn of(content: &[u8]) -> Digest {
        let mut hash = Hasher::new();
        hash.update(content);
        hash.finish()
    }

    /// The digest of other content, by the algorithm of this one.
    pub(crate) fn like(&self, content: &[u8]) -> Digest {
        let mut hash = Hasher::like(self);
        hash.update(content);
        hash.finish()
    }

    /// The name of the algorithm.
    pub fn algorithm(&self) -> &str {
        self.0.split(':').next().unwrap_or_default()
    }

    /// The hexadecimal digits.
    pub fn hex(&self) -> &str {
        self.0.split(':').next_back().unwrap_or_default()
    }
}

impl TryFrom<String> for Digest {
    type Error = NoDigest;

    fn try_from(text: String) -> Result<Digest, NoDigest> {
        let (algorithm, hex) = text.split_once(':').ok_or(NoDigest)?;
        let length = match algorithm {
            SHA256 => 64,
            SHA512 => 128,
            _ => return Err(NoDigest),
        };
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        match hex.len() == length && hex.bytes().all(is_digit) {
            true => Ok(Digest(text)),
            false => Err(NoDigest),
        }
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.0
    }
}

impl Deref for Digest {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Computes a digest while content comes.
#[derive(Debug)]
pub(crate) enum Hasher {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    /// One for a sha256.
    pub(crate) fn new() -> Hasher {
        Hasher::Sha256(Sha256::new())
    }

    /// One whose outcome can be compared with `digest`.
    pub(crate) fn like(digest: &Digest) -> Hasher {
        match digest.algorithm() {
            SHA512 => Hasher::Sha512(Sha512::new()),
            _ => Hasher::new(),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(hash) => hash.update(bytes),
            Hasher::Sha512(hash) => hash.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> Digest {
        Digest(match self {
            Hasher::Sha256(hash) => format!("{SHA256}:{}", hex(&hash.finalize())),
            Hasher::Sha512(hash) => format!("{SHA512}:{}", hex(&hash.finalize())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_algorithms_are_known_by_their_digits() {
        let sha512 = Digest::parse(&format!("sha512:{}", "0".repeat(128))).unwrap();
        for (digest, known) in [
            (Digest::of(b"x").to_string(), true),
            (sha512.like(b"x").to_string(), true),
            (format!("sha256:{}", "a".repeat(128)), false),
            (format!("sha256:{}", "A".repeat(64)), false),
            (format!("sha512:{}", "a".repeat(64)), false),
            (format!("sha384:{}", "a".repeat(96)), false),
            (format!("sha512:{}", "../".repeat(42) + "aa"), false),
            ("sha512".to_owned(), false),
        ] {
            assert_eq!(Digest::parse(&digest).is_some(), known, "{digest}");
        }
        let empty = sha512.like(b"");
        assert_eq!((empty.algorithm(), &empty.hex()[..8]), ("sha512", "cf83e135"));
    }
}
