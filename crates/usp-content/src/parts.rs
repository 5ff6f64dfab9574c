//! What ingest and reading are made of, one part at a time, for `benches/parts.rs`. Nothing else uses it.

use bytes::Bytes;
use usp_model::{ContentDigests, Digest, DomainKey, Result, ResumePoint};

use crate::chunker::Chunker;
use crate::codec::{Codec, CodecPool};
use crate::config::ChunkBounds;
use crate::frame::{self, Expected, Frame};
use crate::hashing::ContentHasher;

/// The chunks of a whole content, under the default bounds.
pub fn cut(content: &Bytes) -> Vec<Bytes> {
    let chunker = Chunker::new(ChunkBounds::default());
    let (mut rest, mut chunks) = (content.clone(), Vec::new());
    while let Some(len) = chunker.boundary(&rest) {
        chunks.push(rest.split_to(len));
    }
    if !rest.is_empty() {
        chunks.push(rest);
    }
    chunks
}

/// The name of a chunk.
pub fn digest(chunk: &[u8], key: &DomainKey) -> Digest {
    frame::digest_of(chunk, key)
}

/// SHA-256 of a whole content.
pub fn hash(content: &[u8]) -> Result<ContentDigests> {
    let mut hasher = ContentHasher::new(&[], &ResumePoint::default())?;
    hasher.update(content);
    Ok(hasher.finish())
}

/// Frames and back, with contexts that are used again.
#[derive(Debug, Default)]
pub struct Framing(CodecPool);

impl Framing {
    /// The frame of a chunk as it is stored; what was compressed was decoded and compared.
    pub fn encode(&self, chunk: Bytes, digest: Digest, codec: Codec) -> Result<Bytes> {
        let frame = self.0.with(|codecs| Frame::of_chunk(chunk, digest, codec, codecs))?;
        let mut stored = frame.header.encode();
        stored.extend_from_slice(&frame.payload);
        Ok(stored.into())
    }

    /// The chunk in a frame, proven to be the one of that name; `None` if it is not.
    pub fn decode(&self, stored: &Bytes, digest: Digest, size_bytes: u32, key: &DomainKey) -> Option<Bytes> {
        let stored_bytes = u32::try_from(stored.len()).ok()?;
        let expected = Expected { digest, plain_bytes: size_bytes, stored_bytes };
        self.0.with(|codecs| Ok(frame::open_frame(stored, expected, key, codecs))).ok().flatten()
    }
}
