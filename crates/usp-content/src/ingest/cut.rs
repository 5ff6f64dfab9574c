//! Cutting a slab and digesting its chunks: computing only, in stream order.

use bytes::Bytes;
use usp_model::{ContentDigests, Digest, DigestAlgorithm, DomainKey, Error, ErrorKind, Result, ResumePoint};
use usp_rt::BytePermit;

use super::slab::Slab;
use crate::chunker::Chunker;
use crate::config::ChunkBounds;
use crate::frame::digest_of;
use crate::hashing::ContentHasher;

/// A chunk that was cut and named.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    pub(super) plain: Bytes,
    pub(super) digest: Digest,
}

impl Chunk {
    /// The chunker's bounds keep it far below 4 GiB.
    pub(super) fn size_bytes(&self) -> u32 {
        u32::try_from(self.plain.len()).unwrap_or(u32::MAX)
    }
}

/// What became of a slab.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) chunks: Vec<Chunk>,
    /// Bytes after the last boundary.
    pub(super) tail: Vec<u8>,
    /// Stand for the bytes of `chunks`.
    pub(super) permits: Vec<BytePermit>,
}

/// The state that slabs of one content share.
#[derive(Debug)]
pub(super) struct Cutter {
    chunker: Chunker,
    key: DomainKey,
    hasher: ContentHasher,
}

impl Cutter {
    /// Errors: `Corrupt` when the resume point is damaged.
    pub(super) fn new(
        bounds: ChunkBounds,
        key: DomainKey,
        digests: &[DigestAlgorithm],
        resume: &ResumePoint,
    ) -> Result<Self> {
        // Chunk bounds may have shrunk since; then the tail is cut like any other bytes.
        if resume.tail.len() > crate::frame::PLAIN_BYTES_MAX as usize {
            return Err(
                Error::new(ErrorKind::Corrupt, "resume upload").because("the tail is longer than any chunk")
            );
        }
        Ok(Self { chunker: Chunker::new(bounds), key, hasher: ContentHasher::new(digests, resume)? })
    }

    /// Cuts at every boundary in the slab; what follows the last one is the tail.
    pub(super) fn cut(&mut self, slab: Slab) -> Cut {
        let (bytes, seen, permits) = slab.into_parts();
        self.hasher.update(bytes.get(seen..).unwrap_or_default());
        let mut rest = Bytes::from(bytes);
        let mut chunks = Vec::new();
        while let Some(len) = self.chunker.boundary(&rest) {
            let plain = rest.split_to(len);
            chunks.push(self.name(plain));
        }
        // A copy, so that the tail does not keep the whole slab in memory.
        Cut { chunks, tail: rest.to_vec(), permits }
    }

    /// As `cut`; then the tail is the last chunk.
    pub(super) fn cut_to_the_end(&mut self, slab: Slab) -> Cut {
        let mut cut = self.cut(slab);
        if !cut.tail.is_empty() {
            let plain = Bytes::from(std::mem::take(&mut cut.tail));
            cut.chunks.push(self.name(plain));
        }
        cut
    }

    pub(super) fn resume_point(&self, tail: &[u8]) -> ResumePoint {
        self.hasher.resume_point(tail)
    }

    pub(super) fn finish(self) -> ContentDigests {
        self.hasher.finish()
    }

    fn name(&self, plain: Bytes) -> Chunk {
        let digest = digest_of(&plain, &self.key);
        Chunk { plain, digest }
    }
}
