//! Cutting slabs into chunks, and hashing them: computing only, in stream order.

use bytes::{Buf, Bytes};
use usp_model::{ContentDigests, DigestAlgorithm, Error, ErrorKind, Result, ResumePoint};

use crate::chunker::Chunker;
use crate::config::ChunkBounds;
use crate::hashing::ContentHasher;

/// What slabs of one content share: the digests of the whole, and the bytes after the last boundary.
///
/// The two do not need each other, so that a long slab is hashed and cut at the same time.
#[derive(Debug)]
pub(super) struct Cutter {
    pub(super) hasher: ContentHasher,
    pub(super) edges: Edges,
}

/// Where chunks end.
#[derive(Debug)]
pub(super) struct Edges {
    chunker: Chunker,
    chunk_bytes_max: usize,
    /// Hashed, not in a chunk yet; shorter than the longest chunk.
    tail: Vec<u8>,
}

impl Cutter {
    /// Errors: `Corrupt` when the resume point is damaged.
    pub(super) fn new(bounds: ChunkBounds, digests: &[DigestAlgorithm], resume: ResumePoint) -> Result<Self> {
        // Chunk bounds may have shrunk since; then the tail is cut like any other bytes.
        if resume.tail.len() > crate::frame::PLAIN_BYTES_MAX as usize {
            return Err(
                Error::new(ErrorKind::Corrupt, "resume upload").because("the tail is longer than any chunk")
            );
        }
        let hasher = ContentHasher::new(digests, &resume)?;
        let (chunker, chunk_bytes_max) = (Chunker::new(bounds), bounds.size_bytes_max() as usize);
        Ok(Self { hasher, edges: Edges { chunker, chunk_bytes_max, tail: resume.tail } })
    }

    /// Hashes and cuts a slab, as `how` says.
    pub(super) fn take(&mut self, slab: Bytes, how: fn(&mut Edges, Bytes) -> Vec<Bytes>) -> Vec<Bytes> {
        self.hasher.update(&slab);
        how(&mut self.edges, slab)
    }

    pub(super) fn resume_point(&self) -> ResumePoint {
        self.hasher.resume_point(&self.edges.tail)
    }

    pub(super) fn finish(self) -> ContentDigests {
        self.hasher.finish()
    }
}

impl Edges {
    /// Cuts at every boundary up to the end of `slab`; what follows the last one is kept for the next slab.
    pub(super) fn cut(&mut self, slab: Bytes) -> Vec<Bytes> {
        let (mut rest, mut chunks) = (slab, Vec::new());
        while !self.tail.is_empty() && !rest.is_empty() {
            match self.cut_across(&mut rest) {
                Some(chunk) => chunks.push(chunk),
                None => return chunks,
            }
        }
        while let Some(len) = self.chunker.boundary(&rest) {
            chunks.push(rest.split_to(len));
        }
        // A copy, so that the tail does not keep the whole slab in memory.
        self.tail.extend_from_slice(&rest);
        chunks
    }

    /// The chunk that begins in the tail, of which `rest` holds the end. `None`: all of `rest` belongs to the tail.
    fn cut_across(&mut self, rest: &mut Bytes) -> Option<Bytes> {
        let tail_bytes = self.tail.len();
        let wanted = self.chunk_bytes_max.saturating_sub(tail_bytes).min(rest.len());
        self.tail.extend_from_slice(rest.get(..wanted).unwrap_or_default());
        let Some(len) = self.chunker.boundary(&self.tail) else {
            rest.advance(wanted);
            return None;
        };
        let mut joined = std::mem::take(&mut self.tail);
        if len < tail_bytes {
            // Only after chunk bounds have shrunk: the tail alone holds boundaries.
            self.tail = joined.get(len..tail_bytes).unwrap_or_default().to_vec();
        } else {
            rest.advance(len - tail_bytes);
        }
        joined.truncate(len);
        Some(joined.into())
    }

    /// As `cut`; then what follows the last boundary is the last chunk.
    pub(super) fn cut_to_the_end(&mut self, slab: Bytes) -> Vec<Bytes> {
        let mut chunks = self.cut(slab);
        // A tail that was kept under larger bounds may hold several.
        while let Some(len) = self.chunker.boundary(&self.tail) {
            let later = self.tail.split_off(len);
            chunks.push(std::mem::replace(&mut self.tail, later).into());
        }
        if !self.tail.is_empty() {
            chunks.push(std::mem::take(&mut self.tail).into());
        }
        chunks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut_in_pieces(bounds: ChunkBounds, resume: ResumePoint, pieces: &[&[u8]]) -> Vec<Bytes> {
        let mut cutter = Cutter::new(bounds, &[], resume).unwrap();
        let mut chunks: Vec<Bytes> =
            pieces.iter().flat_map(|piece| cutter.take(Bytes::copy_from_slice(piece), Edges::cut)).collect();
        chunks.extend(cutter.take(Bytes::new(), Edges::cut_to_the_end));
        chunks
    }

    proptest! {
        #[test]
        fn chunks_do_not_depend_on_the_slabs(
            seed in any::<u64>(), splits in prop::collection::vec(0_usize..60_000, 0..12)
        ) {
            let bounds = ChunkBounds::around(1024).unwrap();
            let mut bytes = vec![0; 60_000];
            blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
            let mut splits = splits;
            splits.extend([0, bytes.len()]);
            splits.sort_unstable();
            let pieces: Vec<&[u8]> = splits.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let at_once = cut_in_pieces(bounds, ResumePoint::default(), &[&bytes]);
            prop_assert!(at_once.concat() == bytes);
            prop_assert_eq!(cut_in_pieces(bounds, ResumePoint::default(), &pieces), at_once);
        }
    }

    #[test]
    fn a_tail_of_larger_bounds_is_cut_like_any_other_bytes() {
        let mut bytes = vec![0; 40_000];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        let large = ChunkBounds::around(64 << 10).unwrap();
        let mut cutter = Cutter::new(large, &[], ResumePoint::default()).unwrap();
        assert!(cutter.take(Bytes::copy_from_slice(&bytes[..14_000]), Edges::cut).is_empty());
        let small = ChunkBounds::around(1024).unwrap();
        let chunks = cut_in_pieces(small, cutter.resume_point(), &[&bytes[14_000..]]);
        assert_eq!(chunks, cut_in_pieces(small, ResumePoint::default(), &[&bytes]));
    }
}
