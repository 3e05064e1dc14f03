//! Digests by which contents that are the same are found. Their keys are random and stay here:
//! who makes contents cannot make two that only look the same.

use std::hash::{BuildHasher, RandomState};

/// 128 bits of SipHash: for what is not compared byte by byte afterwards.
#[derive(Debug, Default)]
pub(super) struct Keys(RandomState, RandomState);

/// Length and digest of a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Digest(u32, u64, u64);

impl Keys {
    /// Of a content of at most 4 GiB.
    pub(super) fn digest(&self, content: &[u8]) -> Digest {
        Digest(content.len() as u32, self.0.hash_one(content), self.1.hash_one(content))
    }
}

/// Several times faster: for what is compared afterwards.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quick([u64; 2]);

impl Quick {
    pub(super) fn new() -> Quick {
        let random = RandomState::new();
        Quick([random.hash_one(0), random.hash_one(1)])
    }

    pub(super) fn hash(self, content: &[u8]) -> u64 {
        let words = content.chunks_exact(16);
        let mut last = [0; 16];
        last[..words.remainder().len()].copy_from_slice(words.remainder());
        let hash = words.fold(content.len() as u64, |hash, word| self.fold(hash, word));
        self.fold(hash, &last)
    }

    /// Both halves of a product (as wyhash does).
    fn fold(self, hash: u64, word: &[u8]) -> u64 {
        let word = u128::from_le_bytes(word.try_into().expect("it has 16 bytes"));
        let (low, high) = (word as u64 ^ self.0[0], (word >> 64) as u64 ^ self.0[1]);
        let product = u128::from(low ^ hash) * u128::from(high.wrapping_add(hash.rotate_left(32)));
        product as u64 ^ (product >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_that_differ_have_other_digests() {
        let (keys, quick) = (Keys::default(), Quick::new());
        let mut contents: Vec<Vec<u8>> = (0..40).map(|length| vec![0; length]).collect();
        for at in 0..39 {
            let mut content = vec![0; 39];
            content[at] = 1;
            contents.push(content);
        }
        for one in &contents {
            for other in &contents {
                assert_eq!(one == other, keys.digest(one) == keys.digest(other));
                assert_eq!(one == other, quick.hash(one) == quick.hash(other));
            }
        }
    }
}
