//! The catalogue as the content store's chunk index.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use usp_catalog::{Catalog, StoreFacts, UpkeepFacts};
use usp_content::ChunkIndex;
use usp_model::{
    Act, ByteRange, ChunkId, Digest, FramePlace, ManifestId, PackId, PackRecord, PlacedChunk, RedoFrame,
    Result, StoredChunk, Timestamp,
};
use usp_rt::Clock;

/// Lets the two crates that must not know each other meet.
#[derive(Clone)]
pub struct CatalogIndex {
    store: Arc<dyn StoreFacts>,
    /// For the number of chunks.
    totals: Arc<dyn UpkeepFacts>,
    clock: Arc<dyn Clock>,
}

impl CatalogIndex {
    /// `clock` dates what the content store writes.
    pub fn new(catalog: Arc<dyn Catalog>, clock: Arc<dyn Clock>) -> Self {
        let store: Arc<dyn StoreFacts> = catalog.clone();
        Self { store, totals: catalog, clock }
    }

    fn act(&self) -> Act {
        Act::duty("packs", Timestamp::from_unix_ms(self.clock.now_unix_ms()))
    }
}

#[async_trait]
impl ChunkIndex for CatalogIndex {
    async fn lookup(&self, digests: Vec<Digest>) -> Result<Vec<Option<StoredChunk>>> {
        self.store.lookup_chunks(digests).await
    }

    async fn digests(&self, after: ChunkId, count_max: u32) -> Result<Vec<(ChunkId, Digest)>> {
        self.store.chunk_digests(after, count_max).await
    }

    async fn chunk_count(&self) -> Result<u64> {
        Ok(self.totals.totals().await?.chunks)
    }

    async fn resolve(
        &self,
        manifest: ManifestId,
        range: ByteRange,
        count_max: usize,
    ) -> Result<Vec<PlacedChunk>> {
        self.store.resolve(manifest, range, count_max).await
    }

    async fn begin_pack(&self) -> Result<PackId> {
        self.store.begin_pack(self.act()).await
    }

    async fn seal_pack(&self, pack: PackId, size_bytes: u64) -> Result<()> {
        self.store.seal_pack(self.act(), pack, size_bytes).await
    }

    async fn set_pack_aside(&self, pack: PackId) -> Result<()> {
        self.store.set_pack_aside(self.act(), pack).await
    }

    async fn doubt(&self, pack: PackId, range: ByteRange) -> Result<()> {
        self.store.doubt_chunks(self.act(), pack, range).await
    }

    async fn redo(&self, pack: PackId) -> Result<Vec<RedoFrame>> {
        self.store.redo(pack).await
    }

    async fn forget_redo(&self, pack: PackId, synced_bytes: u64) -> Result<()> {
        self.store.forget_redo(self.act(), pack, synced_bytes).await
    }

    async fn committed_frames(&self, pack: PackId) -> Result<Vec<FramePlace>> {
        Ok(self.store.chunks_in_pack(pack).await?.into_iter().map(|chunk| chunk.place).collect())
    }

    async fn packs(&self) -> Result<Vec<PackRecord>> {
        self.store.packs().await
    }
}

impl fmt::Debug for CatalogIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CatalogIndex")
    }
}
