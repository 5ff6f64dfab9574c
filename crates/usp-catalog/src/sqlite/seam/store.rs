use async_trait::async_trait;
use usp_model::{
    Act, ByteRange, ChunkId, Digest, ManifestId, PackId, PackRecord, PlacedChunk, RedoFrame, Result,
    StoredChunk, Timestamp,
};

use crate::StoreFacts;
use crate::records::{ChunkMove, PackUsage, ReferencePage, ReferencePlace, Swept};
use crate::sqlite::{SqliteCatalog, chunks, collect, manifests, redo};

#[async_trait]
impl StoreFacts for SqliteCatalog {
    async fn chunk_digests(&self, after: ChunkId, count_max: u32) -> Result<Vec<(ChunkId, Digest)>> {
        self.readers.read("list digests", move |conn| chunks::digests(conn, after, count_max)).await
    }

    async fn lookup_chunks(&self, digests: Vec<Digest>) -> Result<Vec<Option<StoredChunk>>> {
        self.readers.read("look chunks up", move |conn| chunks::lookup(conn, &digests)).await
    }

    async fn resolve(
        &self,
        manifest: ManifestId,
        range: ByteRange,
        count_max: usize,
    ) -> Result<Vec<PlacedChunk>> {
        self.readers
            .read("find chunks of content", move |conn| manifests::resolve(conn, manifest, range, count_max))
            .await
    }

    async fn doubt_chunks(&self, act: Act, pack: PackId, range: ByteRange) -> Result<()> {
        self.writer.write("doubt chunks", act, move |tx| chunks::doubt(tx, pack, range)).await
    }

    async fn begin_pack(&self, act: Act) -> Result<PackId> {
        self.writer.write("begin pack", act, chunks::begin_pack).await
    }

    async fn seal_pack(&self, act: Act, pack: PackId, size_bytes: u64) -> Result<()> {
        self.writer.write("seal pack", act, move |tx| chunks::seal_pack(tx, pack, size_bytes)).await
    }

    async fn set_pack_aside(&self, act: Act, pack: PackId) -> Result<()> {
        self.writer.write("set pack aside", act, move |tx| chunks::set_pack_aside(tx, pack)).await
    }

    async fn packs(&self) -> Result<Vec<PackRecord>> {
        self.readers.read("list packs", chunks::packs).await
    }

    async fn pack(&self, pack: PackId) -> Result<Option<PackUsage>> {
        self.readers.read("find pack", move |conn| collect::pack_usage_of(conn, pack)).await
    }

    async fn redo(&self, pack: PackId) -> Result<Vec<RedoFrame>> {
        self.readers.read("list unsynced frames", move |conn| redo::of_pack(conn, pack)).await
    }

    async fn forget_redo(&self, act: Act, pack: PackId, synced_bytes: u64) -> Result<()> {
        self.writer.write("forget synced frames", act, move |tx| redo::forget(tx, pack, synced_bytes)).await
    }

    async fn stranded_redo(&self, count_max: u32) -> Result<Vec<(ChunkId, RedoFrame)>> {
        self.readers.read("list stranded frames", move |conn| redo::stranded(conn, count_max)).await
    }

    async fn rescue_chunks(&self, act: Act, moves: Vec<ChunkMove>) -> Result<u64> {
        self.writer.write("move stranded chunks", act, move |tx| redo::rescue(tx, &moves)).await
    }

    async fn raise_epoch(&self, act: Act) -> Result<i64> {
        self.writer.write("raise epoch", act, collect::raise_epoch).await
    }

    async fn references(
        &self,
        after: Option<ReferencePlace>,
        segment_count_max: u32,
    ) -> Result<ReferencePage> {
        self.readers
            .read("mark chunks", move |conn| collect::references(conn, after, segment_count_max))
            .await
    }

    async fn stale_chunks(&self, after: ChunkId, epoch: i64, count_max: u32) -> Result<Vec<StoredChunk>> {
        self.readers
            .read("find stale chunks", move |conn| collect::stale_chunks(conn, after, epoch, count_max))
            .await
    }

    async fn sweep_chunks(&self, act: Act, ids: Vec<ChunkId>, epoch: i64) -> Result<Swept> {
        self.writer.write("sweep chunks", act, move |tx| collect::sweep(tx, &ids, epoch)).await
    }

    async fn pack_usage(&self) -> Result<Vec<PackUsage>> {
        self.readers.read("measure packs", collect::pack_usage).await
    }

    async fn chunks_in_pack(&self, pack: PackId) -> Result<Vec<StoredChunk>> {
        self.readers.read("list chunks of pack", move |conn| collect::chunks_in_pack(conn, pack)).await
    }

    async fn move_chunks(&self, act: Act, moves: Vec<ChunkMove>) -> Result<u64> {
        self.writer.write("move chunks", act, move |tx| collect::move_chunks(tx, &moves)).await
    }

    async fn doom_pack(&self, act: Act, pack: PackId) -> Result<bool> {
        self.writer.write("doom pack", act, move |tx| collect::doom(tx, pack, tx.at())).await
    }

    async fn erasable_packs(&self, act: Act, doomed_before: Timestamp) -> Result<Vec<PackUsage>> {
        self.writer.write("find doomed packs", act, move |tx| collect::erasable(tx, doomed_before)).await
    }

    async fn forget_pack(&self, act: Act, pack: PackId) -> Result<()> {
        self.writer.write("forget pack", act, move |tx| collect::forget(tx, pack)).await
    }
}
