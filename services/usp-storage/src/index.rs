//! The catalogue as the content store's chunk index.

use std::sync::Arc;

use async_trait::async_trait;
use usp_catalog::Catalog;
use usp_content::ChunkIndex;
use usp_model::{
    ByteRange, ChunkId, Digest, FramePlace, ManifestId, PackId, PackRecord, PlacedChunk, RedoFrame, Result,
    StoredChunk,
};

/// Lets the two crates that must not know each other meet.
#[derive(Debug, Clone)]
pub struct CatalogIndex(pub Arc<dyn Catalog>);

#[async_trait]
impl ChunkIndex for CatalogIndex {
    async fn lookup(&self, digests: Vec<Digest>) -> Result<Vec<Option<StoredChunk>>> {
        self.0.lookup_chunks(digests).await
    }

    async fn digests(&self, after: ChunkId, count_max: u32) -> Result<Vec<(ChunkId, Digest)>> {
        self.0.chunk_digests(after, count_max).await
    }

    async fn chunk_count(&self) -> Result<u64> {
        Ok(self.0.totals().await?.chunks)
    }

    async fn resolve(
        &self,
        manifest: ManifestId,
        range: ByteRange,
        count_max: usize,
    ) -> Result<Vec<PlacedChunk>> {
        self.0.resolve(manifest, range, count_max).await
    }

    async fn begin_pack(&self) -> Result<PackId> {
        self.0.begin_pack().await
    }

    async fn seal_pack(&self, pack: PackId, size_bytes: u64) -> Result<()> {
        self.0.seal_pack(pack, size_bytes).await
    }

    async fn set_pack_aside(&self, pack: PackId) -> Result<()> {
        self.0.set_pack_aside(pack).await
    }

    async fn doubt(&self, pack: PackId, range: ByteRange) -> Result<()> {
        self.0.doubt_chunks(pack, range).await
    }

    async fn redo(&self, pack: PackId) -> Result<Vec<RedoFrame>> {
        self.0.redo(pack).await
    }

    async fn forget_redo(&self, pack: PackId, synced_bytes: u64) -> Result<()> {
        self.0.forget_redo(pack, synced_bytes).await
    }

    async fn committed_frames(&self, pack: PackId) -> Result<Vec<FramePlace>> {
        Ok(self.0.chunks_in_pack(pack).await?.into_iter().map(|chunk| chunk.place).collect())
    }

    async fn packs(&self) -> Result<Vec<PackRecord>> {
        self.0.packs().await
    }
}
