//! The chunk index as the content store needs it. Declared here by its consumer; `usp-storage` adapts the catalogue.

use std::fmt;

use async_trait::async_trait;
use usp_model::{
    ByteRange, ChunkId, Digest, FramePlace, ManifestId, PackId, PackRecord, PlacedChunk, RedoFrame, Result,
    StoredChunk,
};

/// Finds chunks, and records when packs begin and end.
#[async_trait]
pub trait ChunkIndex: fmt::Debug + Send + Sync + 'static {
    /// The committed chunk of each digest, in the order asked, without those in doubt. A hit is a hint: only the commit
    /// decides.
    async fn lookup(&self, digests: Vec<Digest>) -> Result<Vec<Option<StoredChunk>>>;

    /// Committed chunks after `after` by their ids, at most `count_max`; empty behind the last.
    async fn digests(&self, after: ChunkId, count_max: u32) -> Result<Vec<(ChunkId, Digest)>>;

    /// How many chunks are committed.
    async fn chunk_count(&self) -> Result<u64>;

    /// The chunks of `manifest` that hold `range`, in order, beginning with the one that holds its first byte.
    ///
    /// Shape: at most `count_max` chunks; fewer than the range needs means that the caller asks again further on.
    /// Errors: `Corrupt` when the manifest names a chunk that has no row.
    async fn resolve(
        &self,
        manifest: ManifestId,
        range: ByteRange,
        count_max: usize,
    ) -> Result<Vec<PlacedChunk>>;

    /// Makes the row of a new pack, durably, before its file exists. Ids rise and are never reused.
    async fn begin_pack(&self) -> Result<PackId>;

    /// Notes that the pack is complete at `size_bytes`, footer included. Durable before it returns.
    async fn seal_pack(&self, pack: PackId, size_bytes: u64) -> Result<()>;

    /// Notes that the pack failed a sync or a check: nothing is appended to it any more.
    async fn set_pack_aside(&self, pack: PackId) -> Result<()>;

    /// Notes that the frames that begin within `range` of the pack failed a check or are gone: their chunks no longer
    /// count as stored. Whoever brings such a chunk again stores it anew, and that mends the contents that have it.
    async fn doubt(&self, pack: PackId, range: ByteRange) -> Result<()>;

    /// Frames of the pack that were committed without a sync and not forgotten since, in order of their offsets.
    async fn redo(&self, pack: PackId) -> Result<Vec<RedoFrame>>;

    /// Deletes the kept frames of the pack that begin below `synced_bytes`, and all of sealed packs.
    async fn forget_redo(&self, pack: PackId, synced_bytes: u64) -> Result<()>;

    /// Where the frames stand that committed chunks name in the pack, in order of their offsets.
    async fn committed_frames(&self, pack: PackId) -> Result<Vec<FramePlace>>;

    /// Every pack with a row, in order of its id.
    async fn packs(&self) -> Result<Vec<PackRecord>>;
}
