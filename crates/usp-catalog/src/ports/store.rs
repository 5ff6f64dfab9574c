//! Chunks and packs: what a content store asks of its index, and what collection needs to take back space
//! (docs/adr/0010-collection.md).

use async_trait::async_trait;
use usp_model::{
    Act, ByteRange, ChunkId, Digest, ManifestId, PackId, PackRecord, PlacedChunk, RedoFrame, Result,
    StoredChunk, Timestamp,
};

use crate::records::{ChunkMove, PackUsage, ReferencePage, ReferencePlace, Swept};

#[async_trait]
pub trait StoreFacts: Send + Sync + 'static {
    /// Chunks after `after` by their ids, at most `count_max`.
    async fn chunk_digests(&self, after: ChunkId, count_max: u32) -> Result<Vec<(ChunkId, Digest)>>;
    async fn lookup_chunks(&self, digests: Vec<Digest>) -> Result<Vec<Option<StoredChunk>>>;
    /// The chunks of `manifest` that hold `range`, at most `count_max`, in order; what lies behind its end is left out.
    /// Errors: `NotFound` when the content was deleted, `Corrupt` for a chunk without a row.
    async fn resolve(
        &self,
        manifest: ManifestId,
        range: ByteRange,
        count_max: usize,
    ) -> Result<Vec<PlacedChunk>>;
    /// The chunks whose frames begin within `range` of the pack count as not stored until someone stores them anew.
    async fn doubt_chunks(&self, act: Act, pack: PackId, range: ByteRange) -> Result<()>;
    /// Makes the row of a new pack. Ids rise and are never given twice.
    async fn begin_pack(&self, act: Act) -> Result<PackId>;
    /// May be said again. Errors: `Conflict` when the pack has no row, was set aside, or holds more than `size_bytes`.
    async fn seal_pack(&self, act: Act, pack: PackId, size_bytes: u64) -> Result<()>;
    /// Errors: `NotFound`.
    async fn set_pack_aside(&self, act: Act, pack: PackId) -> Result<()>;
    async fn packs(&self) -> Result<Vec<PackRecord>>;
    /// The row of one pack, if it has one.
    async fn pack(&self, pack: PackId) -> Result<Option<PackUsage>>;
    /// Frames of the pack that were committed without a sync, in order of their offsets.
    async fn redo(&self, pack: PackId) -> Result<Vec<RedoFrame>>;
    /// Lets go of those that begin below `synced_bytes`, and of those of all sealed packs.
    async fn forget_redo(&self, act: Act, pack: PackId, synced_bytes: u64) -> Result<()>;
    /// Such frames of packs that were set aside, with the chunks that need them.
    async fn stranded_redo(&self, count_max: u32) -> Result<Vec<(ChunkId, RedoFrame)>>;
    /// As `move_chunks`, for stranded frames that were stored anew; lets go of those that no chunk needs any more.
    async fn rescue_chunks(&self, act: Act, moves: Vec<ChunkMove>) -> Result<u64>;
    /// Begins a cycle: references that are made from now on carry the epoch that this gives.
    async fn raise_epoch(&self, act: Act) -> Result<i64>;
    /// The chunks that manifests name, `segment_count_max` segments at a time, in the order of the manifests. Pages are
    /// snapshots of their own: a reference never moves behind the place where a walk stands.
    async fn references(
        &self,
        after: Option<ReferencePlace>,
        segment_count_max: u32,
    ) -> Result<ReferencePage>;
    /// Chunks after `after` that were last referred to before `epoch`, by id.
    async fn stale_chunks(&self, after: ChunkId, epoch: i64, count_max: u32) -> Result<Vec<StoredChunk>>;
    /// Deletes the rows of those chunks that have not been referred to since `epoch` began.
    async fn sweep_chunks(&self, act: Act, ids: Vec<ChunkId>, epoch: i64) -> Result<Swept>;
    /// Every pack with what of it is alive, in order of its id.
    async fn pack_usage(&self) -> Result<Vec<PackUsage>>;
    /// The chunks whose frames stand in a pack, in order of their offsets; as many as a pack has frames at most.
    async fn chunks_in_pack(&self, pack: PackId) -> Result<Vec<StoredChunk>>;
    /// Notes that frames were copied and synced; gives how many rows still stood where they were said to. The others
    /// stay as they are. Errors: `Unavailable` when a pack they were copied to is doomed or gone.
    async fn move_chunks(&self, act: Act, moves: Vec<ChunkMove>) -> Result<u64>;
    /// Dooms a sealed pack that no row names: from then on none can. Gives `false` while one does.
    async fn doom_pack(&self, act: Act, pack: PackId) -> Result<bool>;
    /// Packs that were doomed at least two cycles ago and not after `doomed_before`, checked anew to have no rows.
    async fn erasable_packs(&self, act: Act, doomed_before: Timestamp) -> Result<Vec<PackUsage>>;
    /// Deletes the row of a doomed pack whose file is gone. Errors: `Conflict` unless it is doomed and without rows.
    async fn forget_pack(&self, act: Act, pack: PackId) -> Result<()>;
}
