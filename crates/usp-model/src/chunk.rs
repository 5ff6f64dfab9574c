//! Chunks as facts: what they are called and where their frames stand.

use crate::{ChunkId, Digest, PackId};

/// Where a frame stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FramePlace {
    pub pack: PackId,
    /// Of the first byte of the frame header, from the start of the pack.
    pub offset: u64,
    /// Frame header and payload.
    pub stored_bytes: u32,
}

/// A chunk with a committed row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredChunk {
    pub id: ChunkId,
    pub digest: Digest,
    /// Plain bytes, at least 1.
    pub size_bytes: u32,
    pub place: FramePlace,
}

/// One chunk of a content that is about to be committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkRef {
    /// A hit. Only a hint until the commit: if the row was collected meanwhile, the commit makes it anew for the frame at
    /// `place`, unless its pack is doomed.
    Known { id: ChunkId, digest: Digest, size_bytes: u32, place: FramePlace },
    /// Appended by this stream or by another that has not committed yet. The commit makes the row, or uses the row
    /// that someone else made for the digest meanwhile.
    New { digest: Digest, size_bytes: u32, place: FramePlace },
}

impl From<StoredChunk> for ChunkRef {
    fn from(chunk: StoredChunk) -> Self {
        let StoredChunk { id, digest, size_bytes, place } = chunk;
        Self::Known { id, digest, size_bytes, place }
    }
}

impl ChunkRef {
    pub fn size_bytes(&self) -> u32 {
        match self {
            Self::Known { size_bytes, .. } | Self::New { size_bytes, .. } => *size_bytes,
        }
    }
}

/// A chunk in its place in a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlacedChunk {
    /// Of the chunk's first plain byte in the content.
    pub offset: u64,
    pub chunk: StoredChunk,
}

/// A frame that is committed together with the row that names it, byte for byte, so that the commit need not wait for a
/// sync of its pack: after a crash it is written to its place again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedoFrame {
    pub place: FramePlace,
    /// Header and payload: `place.stored_bytes` of them.
    pub bytes: Vec<u8>,
}

/// A pack as the catalogue knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackRecord {
    pub pack: PackId,
    pub state: PackState,
    /// Bytes from the start of the pack that commits rely on. Beyond it an open pack holds nothing that counts.
    pub committed_bytes: u64,
}

words! {
    /// `open → sealed → doomed`; `set_aside` after a failed sync or check.
    pub enum PackState {
        Open = "open",
        Sealed = "sealed",
        SetAside = "set_aside",
        /// No row names a frame in it, and none ever will: its file is erased later.
        Doomed = "doomed",
    }
}

words! {
    /// What of a pack failed a check.
    pub enum PackPart {
        Header = "header",
        /// One frame, or a stretch in which frames cannot be told apart any more.
        Frame = "frame",
        /// The list of frames at the end of a sealed pack. The frames themselves are found without it.
        Footer = "footer",
        /// Bytes that should be there and are not.
        Missing = "missing",
    }
}

/// A stretch of a pack that failed a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PackDamage {
    pub pack: PackId,
    /// From the start of the pack.
    pub offset: u64,
    pub size_bytes: u64,
    pub part: PackPart,
}

impl PackDamage {
    /// Of the byte after it.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.size_bytes)
    }

    /// Whether a frame has bytes in it.
    pub fn hits(&self, place: &FramePlace) -> bool {
        place.pack == self.pack
            && place.offset < self.end()
            && self.offset < place.offset.saturating_add(u64::from(place.stored_bytes))
    }
}

/// What lets an interrupted upload go on with the same chunk boundaries and digest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResumePoint {
    /// Plain bytes after the last chunk boundary; shorter than the longest chunk.
    pub tail: Vec<u8>,
    /// State of the SHA-256 over all bytes so far, the tail included; written and read by usp-content only.
    pub sha256_state: Vec<u8>,
}
