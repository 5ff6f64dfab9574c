//! A fast 64-bit hash for sketches: not for secrets, not for storage.
//!
//! Unseeded on purpose, so that the same file always makes the same report. Someone who builds collisions
//! makes the distinct count of the own file too low, and harms nobody.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

/// Odd constants with about as many ones as zeros, taken from the fraction of pi.
const SEED: u64 = 0x243f_6a88_85a3_08d3;
const STEP: u64 = 0x1319_8a2e_0370_7345;
const LAST: u64 = 0xa409_3822_299f_31d1;

/// Eight bytes at a time through a folded 64 × 64 → 128 bit product.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let (words, tail) = bytes.as_chunks::<8>();
    let mut state = SEED ^ (bytes.len() as u64).wrapping_mul(LAST);
    for word in words {
        state = fold(state ^ u64::from_le_bytes(*word), STEP);
    }
    let last = tail.iter().rev().fold(0_u64, |word, byte| (word << 8) | u64::from(*byte));
    fold(fold(state ^ last, LAST) ^ SEED, STEP)
}

/// Mixes a key with what it belongs to.
pub(crate) fn combine(parent: u64, key: u64) -> u64 {
    fold(parent.wrapping_add(SEED) ^ key, LAST)
}

fn fold(left: u64, right: u64) -> u64 {
    let (low, high) = left.carrying_mul(right, 0);
    low ^ high
}

/// Passes a value of [`hash`] through: it is mixed already.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Mixed(u64);

impl Hasher for Mixed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = hash(bytes);
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

pub(crate) type HashSet64 = HashSet<u64, BuildHasherDefault<Mixed>>;
pub(crate) type HashMap64<V> = HashMap<u64, V, BuildHasherDefault<Mixed>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_short_strings_do_not_collide() {
        let hashes: HashSet64 = (0..1_000_000_u32).map(|n| hash(n.to_string().as_bytes())).collect();
        assert_eq!(hashes.len(), 1_000_000);
    }

    #[test]
    fn trailing_zero_bytes_count() {
        let hashes: HashSet64 = (0..32).map(|n| hash(&vec![0; n])).collect();
        assert_eq!(hashes.len(), 32);
    }

    #[test]
    fn every_output_bit_is_set_in_half_of_the_hashes() {
        for bit in 0..64 {
            let ones = (0..10_000_u32).filter(|n| hash(&n.to_le_bytes()) >> bit & 1 == 1).count();
            assert!((4_700..5_300).contains(&ones), "bit {bit}: {ones} of 10,000");
        }
    }
}
