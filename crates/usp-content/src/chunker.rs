//! Where one chunk ends and the next begins: FastCDC 2020, pinned by docs/formats/pack.md, "Boundaries".
//!
//! A boundary lies at the first byte after which the rolling hash has no bit of the mask. The hash shifts by one bit with
//! each byte, so it depends on the last 64 bytes only. That is why several stretches can be scanned at once, each begun
//! 64 bytes early: the steps of one hash wait for each other, those of several do not (docs/BENCHMARKS.md, section 5).

use std::sync::LazyLock;

use fastcdc::v2020::{Normalization, get_gear_with_seed, select_masks};

use crate::config::ChunkBounds;

/// Bytes that a hash depends on.
const WINDOW_BYTES: usize = 64;
/// Length of each of the stretches that are scanned together. A hit in the first makes the others useless.
const STRETCH_BYTES: usize = 512;
const STRETCH_COUNT: usize = 4;

static GEAR: LazyLock<[u64; 256]> = LazyLock::new(|| {
    let (table, _) = get_gear_with_seed(0);
    std::array::from_fn(|byte| table.get(byte).copied().unwrap_or_default())
});

/// Finds the boundaries of a content, synchronously and touching nothing.
///
/// It holds no bytes: the caller keeps what follows the last boundary and offers it again with more behind it. A
/// boundary depends on the bytes since the one before it and on the bounds only, so neither the pieces in which a
/// content arrives nor an interruption can move it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chunker {
    bounds: ChunkBounds,
    mask_strict: u64,
    mask_loose: u64,
}

impl Chunker {
    pub(crate) fn new(bounds: ChunkBounds) -> Self {
        let (mask_strict, mask_loose) = select_masks(bounds.size_bytes_avg() as usize, Normalization::Level1);
        Self { bounds, mask_strict, mask_loose }
    }

    /// Length of the chunk that `input` begins with; `None` while bytes that are still to come could move its end.
    pub(crate) fn boundary(&self, input: &[u8]) -> Option<usize> {
        let (min, avg, max) = (
            self.bounds.size_bytes_min() as usize,
            self.bounds.size_bytes_avg() as usize,
            self.bounds.size_bytes_max() as usize,
        );
        // Bytes are looked at in pairs: a last one without a second is left for later, or belongs to the last chunk.
        let end = input.len().min(max) & !1;
        let mut scan = Scan { gear: &GEAR, hash: 0 };
        let regions = [(min..avg.min(end), self.mask_strict), (avg..end, self.mask_loose)];
        for (region, mask) in regions {
            let start = region.start;
            if let Some(at) = input.get(region).and_then(|bytes| scan.first_hit(bytes, mask)) {
                return Some(start + at);
            }
        }
        (input.len() >= max).then_some(max)
    }
}

/// The rolling hash at one position of a chunk.
struct Scan<'a> {
    gear: &'a [u64; 256],
    hash: u64,
}

impl Scan<'_> {
    fn step(&self, hash: u64, byte: u8) -> u64 {
        // The table has an entry for every byte, which the compiler sees.
        (hash << 1).wrapping_add(self.gear.get(usize::from(byte)).copied().unwrap_or_default())
    }

    /// Offset of the first byte after which the hash has no bit of `mask`.
    fn first_hit(&mut self, bytes: &[u8], mask: u64) -> Option<usize> {
        let mut scanned = 0;
        let mut blocks = bytes.chunks_exact(STRETCH_BYTES * STRETCH_COUNT);
        for block in blocks.by_ref() {
            if let Some(at) = self.first_hit_of_block(block, mask) {
                return Some(scanned + at);
            }
            scanned += block.len();
        }
        self.first_hit_one_by_one(blocks.remainder(), mask).map(|at| scanned + at)
    }

    fn first_hit_one_by_one(&mut self, bytes: &[u8], mask: u64) -> Option<usize> {
        bytes.iter().position(|&byte| {
            self.hash = self.step(self.hash, byte);
            self.hash & mask == 0
        })
    }

    /// All stretches of a block at once; what counts is the first hit in the first stretch that has one.
    fn first_hit_of_block(&mut self, block: &[u8], mask: u64) -> Option<usize> {
        let (first, rest) = block.split_at_checked(STRETCH_BYTES)?;
        let (second, rest) = rest.split_at_checked(STRETCH_BYTES)?;
        let (third, fourth) = rest.split_at_checked(STRETCH_BYTES)?;
        let begun = |before: &[u8]| {
            let window = before.get(STRETCH_BYTES - WINDOW_BYTES..).unwrap_or_default();
            window.iter().fold(0, |hash, &byte| self.step(hash, byte))
        };
        let mut hashes = [self.hash, begun(first), begun(second), begun(third)];
        let steps = first.iter().zip(second).zip(third.iter().zip(fourth));
        for (at, ((&a, &b), (&c, &d))) in steps.enumerate() {
            let [one, two, three, four] = hashes;
            hashes = [self.step(one, a), self.step(two, b), self.step(three, c), self.step(four, d)];
            if hashes.iter().any(|hash| hash & mask == 0) {
                return self.settle(block, at, hashes, mask);
            }
        }
        let [.., last] = hashes;
        self.hash = last;
        None
    }

    /// Some stretch has a hit at `at`: those before it may have one further on, which comes first in the content.
    #[cold]
    fn settle(&mut self, block: &[u8], at: usize, hashes: [u64; STRETCH_COUNT], mask: u64) -> Option<usize> {
        for (index, (stretch, hash)) in block.chunks_exact(STRETCH_BYTES).zip(hashes).enumerate() {
            let offset = index * STRETCH_BYTES;
            if hash & mask == 0 {
                return Some(offset + at);
            }
            self.hash = hash;
            let later = stretch.get(at + 1..).unwrap_or_default();
            if let Some(further) = self.first_hit_one_by_one(later, mask) {
                return Some(offset + at + 1 + further);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastcdc::v2020::FastCDC;
    use proptest::prelude::*;

    fn noise(len: usize, seed: u64) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    fn cut_all(chunker: Chunker, pieces: &[&[u8]]) -> Vec<usize> {
        let (mut lens, mut open) = (Vec::new(), Vec::new());
        for piece in pieces {
            open.extend_from_slice(piece);
            while let Some(len) = chunker.boundary(&open) {
                open.drain(..len);
                lens.push(len);
            }
        }
        if !open.is_empty() {
            lens.push(open.len());
        }
        lens
    }

    proptest! {
        #[test]
        fn boundaries_do_not_depend_on_the_pieces(
            seed in any::<u64>(), len in 0_usize..60_000, splits in prop::collection::vec(0_usize..60_000, 0..12)
        ) {
            let bounds = ChunkBounds::around(1024).unwrap();
            let bytes = noise(len, seed);
            let mut splits: Vec<usize> = splits.into_iter().map(|at| at.min(len)).collect();
            splits.extend([0, len]);
            splits.sort_unstable();
            let pieces: Vec<&[u8]> = splits.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let expected: Vec<usize> = FastCDC::new(&bytes, 256, 1024, 4096).map(|chunk| chunk.length).collect();
            prop_assert_eq!(cut_all(Chunker::new(bounds), &pieces), expected);
        }
    }

    proptest! {
        /// The library is the measure, whatever the sizes, the bytes, and where the content ends.
        #[test]
        fn boundaries_are_those_of_the_library(
            seed in any::<u64>(),
            (min, avg, max) in (32_u32..700, 1_u32..5_000, 1_u32..20_000),
            len in 0_usize..200_000,
            symbols in 1_u8..=255,
        ) {
            let min = 2 * min;
            let avg = (min + 2 * avg).max(256);
            // Less than these the library does not take.
            let bounds = ChunkBounds::new(min, avg, (avg + 2 * max).max(1_024)).unwrap();
            let mut bytes = noise(len, seed);
            bytes.iter_mut().for_each(|byte| *byte %= symbols);
            let (min, avg, max) = (min as usize, avg as usize, bounds.size_bytes_max() as usize);
            let expected: Vec<usize> = FastCDC::new(&bytes, min, avg, max).map(|chunk| chunk.length).collect();
            prop_assert_eq!(cut_all(Chunker::new(bounds), &[&bytes]), expected);
        }
    }

    #[test]
    fn boundaries_of_the_defaults_are_pinned() {
        let bytes = noise(1 << 20, 7);
        let lens = cut_all(Chunker::new(ChunkBounds::default()), &[&bytes]);
        assert_eq!(lens.iter().sum::<usize>(), 1 << 20);
        assert_eq!(lens, PINNED);
    }

    /// If this fails, boundaries moved: stored content would stop sharing chunks with new uploads.
    const PINNED: &[usize] = &[
        42775, 65056, 81684, 48907, 29549, 34552, 47826, 21408, 34291, 42656, 25661, 31508, 32334, 9418,
        22304, 44159, 33911, 38913, 74587, 27671, 46313, 43850, 48461, 24960, 53915, 11961, 29946,
    ];

    #[test]
    fn zeros_are_cut_at_the_longest_chunk() {
        let lens = cut_all(Chunker::new(ChunkBounds::default()), &[&vec![0; 300_000]]);
        assert_eq!(lens, [131_072, 131_072, 37_856]);
    }
}
