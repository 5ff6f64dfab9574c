//! Where one chunk ends and the next begins: FastCDC 2020, pinned by docs/formats/pack.md, "Boundaries".

use fastcdc::v2020::{Normalization, cut, select_masks};

use crate::config::ChunkBounds;

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
        let (strict, loose) = (self.mask_strict, self.mask_loose);
        let (_, len) = cut(input, min, avg, max, strict, loose, strict << 1, loose << 1);
        // The end of a short input is no boundary, only the end of what has arrived.
        (len < input.len() || len == max).then_some(len)
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
