//! What the tests share: an index in memory, and a store over it.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use parking_lot::Mutex;
use usp_content::{
    Batch, ChunkBounds, ChunkIndex, ContentConfig, ContentStore, IngestSettings, MemoryPacks, OpenPacks,
    PackStore, RecoveryReport, SealedPacks,
};
use usp_model::{
    ByteRange, ChunkId, ChunkRef, Compression, ContentDigests, Digest, DomainKey, Error, ErrorKind,
    FramePlace, ManifestId, PackId, PackRecord, PackState, PlacedChunk, RedoFrame, Result, ResumePoint,
    StoredChunk,
};
use usp_rt::{ByteBudget, Pool};

/// A chunk index that lives in memory and commits like the catalogue does.
#[derive(Debug, Default)]
pub(crate) struct FakeIndex(Mutex<Rows>);

#[derive(Debug, Default)]
struct Rows {
    /// So many seals fail before one does not.
    failing_seals: u32,
    chunks: Vec<StoredChunk>,
    by_digest: HashMap<Digest, ChunkId>,
    manifests: Vec<Vec<ChunkId>>,
    packs: BTreeMap<PackId, PackRecord>,
    redo: Vec<RedoFrame>,
}

impl FakeIndex {
    /// Commits the batches of one content, in order.
    pub(crate) fn commit(&self, batches: &[Batch]) -> ManifestId {
        self.0.lock().redo.extend(batches.iter().flat_map(|batch| batch.redo.iter().cloned()));
        self.commit_chunks(batches.iter().flat_map(|batch| batch.chunks.iter().copied()).collect())
    }

    pub(crate) fn commit_chunks(&self, chunks: Vec<ChunkRef>) -> ManifestId {
        let mut rows = self.0.lock();
        let ids = chunks.into_iter().map(|chunk| rows.commit_chunk(chunk)).collect();
        rows.manifests.push(ids);
        ManifestId(i64::try_from(rows.manifests.len() - 1).unwrap())
    }

    pub(crate) fn state(&self, pack: PackId) -> Option<PackState> {
        self.0.lock().packs.get(&pack).map(|row| row.state)
    }

    pub(crate) fn chunks(&self) -> Vec<StoredChunk> {
        self.0.lock().chunks.clone()
    }

    pub(crate) fn failing_seals(&self) -> u32 {
        self.0.lock().failing_seals
    }

    pub(crate) fn fail_seals(&self, count: u32) {
        self.0.lock().failing_seals = count;
    }

    /// The pack that was begun first.
    pub(crate) fn first_pack(&self) -> PackRecord {
        self.rows()[0]
    }

    /// Moves a chunk's row, as compaction does.
    pub(crate) fn with_chunk(&self, id: ChunkId, change: impl FnOnce(&mut StoredChunk)) {
        change(&mut self.0.lock().chunks[usize::try_from(id.0).unwrap()]);
    }

    pub(crate) fn add_pack(&self, pack: PackRecord) {
        self.0.lock().packs.insert(pack.pack, pack);
    }

    pub(crate) fn rows(&self) -> Vec<PackRecord> {
        self.0.lock().packs.values().copied().collect()
    }
}

impl Rows {
    fn commit_chunk(&mut self, chunk: ChunkRef) -> ChunkId {
        match chunk {
            ChunkRef::Known { id, size_bytes, .. } => {
                assert_eq!(self.chunks[usize::try_from(id.0).unwrap()].size_bytes, size_bytes);
                id
            }
            ChunkRef::New { digest, size_bytes, place } => {
                if let Some(id) = self.by_digest.get(&digest) {
                    return *id;
                }
                let id = ChunkId(i64::try_from(self.chunks.len()).unwrap());
                self.chunks.push(StoredChunk { id, digest, size_bytes, place });
                self.by_digest.insert(digest, id);
                let row = self.packs.get_mut(&place.pack).expect("a frame stands in a pack with a row");
                assert_ne!(
                    row.state,
                    PackState::SetAside,
                    "nothing may be committed in a pack that was set aside"
                );
                row.committed_bytes = row.committed_bytes.max(place.offset + u64::from(place.stored_bytes));
                id
            }
        }
    }
}

#[async_trait]
impl ChunkIndex for FakeIndex {
    async fn lookup(&self, digests: Vec<Digest>) -> Result<Vec<Option<StoredChunk>>> {
        let rows = self.0.lock();
        let find = |digest: &Digest| {
            rows.chunks.get(usize::try_from(rows.by_digest.get(digest)?.0).unwrap()).copied()
        };
        Ok(digests.iter().map(find).collect())
    }

    async fn digests(&self, after: ChunkId, count_max: u32) -> Result<Vec<(ChunkId, Digest)>> {
        let rows = self.0.lock();
        let later = rows.chunks.iter().skip(usize::try_from(after.0).unwrap()).take(count_max as usize);
        // Here numbers begin at 0, and pages say behind which number they end.
        Ok(later.map(|chunk| (ChunkId(chunk.id.0 + 1), chunk.digest)).collect())
    }

    async fn chunk_count(&self) -> Result<u64> {
        Ok(self.0.lock().chunks.len() as u64)
    }

    async fn resolve(
        &self,
        manifest: ManifestId,
        range: ByteRange,
        count_max: usize,
    ) -> Result<Vec<PlacedChunk>> {
        let rows = self.0.lock();
        let ids = rows.manifests.get(usize::try_from(manifest.0).unwrap());
        let ids = ids.ok_or_else(|| Error::new(ErrorKind::NotFound, "find manifest"))?;
        let mut offset = 0;
        let placed = ids.iter().map(|id| {
            let chunk = rows.chunks[usize::try_from(id.0).unwrap()];
            let placed = PlacedChunk { offset, chunk };
            offset += u64::from(chunk.size_bytes);
            placed
        });
        let in_range = placed.filter(|placed| {
            placed.offset + u64::from(placed.chunk.size_bytes) > range.start() && placed.offset < range.end()
        });
        Ok(in_range.take(count_max).collect())
    }

    async fn begin_pack(&self) -> Result<PackId> {
        let mut rows = self.0.lock();
        let pack = PackId(rows.packs.keys().last().map_or(1, |last| last.0 + 1));
        rows.packs.insert(pack, PackRecord { pack, state: PackState::Open, committed_bytes: 0 });
        Ok(pack)
    }

    async fn seal_pack(&self, pack: PackId, size_bytes: u64) -> Result<()> {
        let mut rows = self.0.lock();
        if rows.failing_seals > 0 {
            rows.failing_seals -= 1;
            return Err(Error::new(ErrorKind::StorageFull, "seal pack"));
        }
        let row = rows.packs.get_mut(&pack).expect("a sealed pack has a row");
        assert_eq!(row.state, PackState::Open, "only an open pack is sealed");
        *row = PackRecord { pack, state: PackState::Sealed, committed_bytes: size_bytes };
        rows.redo.retain(|frame| frame.place.pack != pack);
        Ok(())
    }

    async fn set_pack_aside(&self, pack: PackId) -> Result<()> {
        self.0.lock().packs.get_mut(&pack).expect("a pack that failed has a row").state = PackState::SetAside;
        Ok(())
    }

    async fn doubt(&self, pack: PackId, range: ByteRange) -> Result<()> {
        let mut rows = self.0.lock();
        let Rows { chunks, by_digest, .. } = &mut *rows;
        by_digest.retain(|_, id| {
            let place = chunks[usize::try_from(id.0).unwrap()].place;
            place.pack != pack || !(range.start()..range.end()).contains(&place.offset)
        });
        Ok(())
    }

    async fn redo(&self, pack: PackId) -> Result<Vec<RedoFrame>> {
        let rows = self.0.lock();
        let mut redo: Vec<RedoFrame> =
            rows.redo.iter().filter(|frame| frame.place.pack == pack).cloned().collect();
        redo.sort_by_key(|frame| frame.place.offset);
        Ok(redo)
    }

    async fn forget_redo(&self, pack: PackId, synced_bytes: u64) -> Result<()> {
        self.0.lock().redo.retain(|frame| frame.place.pack != pack || frame.place.offset >= synced_bytes);
        Ok(())
    }

    async fn committed_frames(&self, pack: PackId) -> Result<Vec<FramePlace>> {
        let rows = self.0.lock();
        let mut places: Vec<FramePlace> =
            rows.chunks.iter().map(|chunk| chunk.place).filter(|place| place.pack == pack).collect();
        places.sort_by_key(|place| place.offset);
        Ok(places)
    }

    async fn packs(&self) -> Result<Vec<PackRecord>> {
        Ok(self.rows())
    }
}

/// Small enough that a few hundred kilobytes fill slabs and packs.
pub(crate) fn small() -> ContentConfig {
    ContentConfig {
        chunk: ChunkBounds::around(1024).unwrap(),
        pack_size_bytes_max: 256 << 10,
        open_pack_count: 2,
        slab_size_bytes: 16 << 10,
        ..ContentConfig::default()
    }
}

pub(crate) const BUDGET_BYTES: u64 = 8 << 20;

/// A store with its index and its packs.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) config: ContentConfig,
    pub(crate) index: Arc<FakeIndex>,
    /// Where packs are written.
    pub(crate) open: Arc<dyn OpenPacks>,
    pub(crate) pack_store: PackStore,
    pub(crate) store: ContentStore,
    pub(crate) budget: ByteBudget,
}

impl World {
    pub(crate) async fn new(config: ContentConfig) -> Self {
        Self::over(config, Arc::new(MemoryPacks::default())).await
    }

    /// An empty store whose packs stay where they are written.
    pub(crate) async fn over(config: ContentConfig, open: Arc<dyn OpenPacks>) -> Self {
        let (world, report) = Self::open(config, open, Arc::default()).await;
        assert_eq!(report, RecoveryReport::default());
        world
    }

    /// An empty store whose packs move once they are sealed.
    pub(crate) async fn in_two_places(
        config: ContentConfig,
        open: Arc<dyn OpenPacks>,
        sealed: Arc<dyn SealedPacks>,
    ) -> Self {
        let pack_store = PackStore::in_two_places(Arc::clone(&open), sealed);
        let (world, report) = Self::assemble(config, open, pack_store, Arc::default()).await.unwrap();
        assert_eq!(report, RecoveryReport::default());
        world
    }

    pub(crate) async fn open(
        config: ContentConfig,
        open: Arc<dyn OpenPacks>,
        index: Arc<FakeIndex>,
    ) -> (Self, RecoveryReport) {
        Self::try_open(config, open, index).await.unwrap()
    }

    pub(crate) async fn try_open(
        config: ContentConfig,
        open: Arc<dyn OpenPacks>,
        index: Arc<FakeIndex>,
    ) -> Result<(Self, RecoveryReport)> {
        let pack_store = PackStore::in_one_place(Arc::clone(&open));
        Self::assemble(config, open, pack_store, index).await
    }

    async fn assemble(
        config: ContentConfig,
        open: Arc<dyn OpenPacks>,
        pack_store: PackStore,
        index: Arc<FakeIndex>,
    ) -> Result<(Self, RecoveryReport)> {
        let budget = ByteBudget::new(BUDGET_BYTES);
        let (packs, rows) = (pack_store.clone(), Arc::clone(&index) as Arc<dyn ChunkIndex>);
        let (store, report) =
            ContentStore::open(config, packs, rows, Pool::new("cpu", 2), budget.clone()).await?;
        Ok((Self { config, index, open, pack_store, store, budget }, report))
    }

    /// The same packs and rows, as a new process finds them.
    pub(crate) async fn reopened(&self) -> (Self, RecoveryReport) {
        self.try_reopened().await.unwrap()
    }

    pub(crate) async fn try_reopened(&self) -> Result<(Self, RecoveryReport)> {
        let (open, pack_store) = (Arc::clone(&self.open), self.pack_store.clone());
        Self::assemble(self.config, open, pack_store, Arc::clone(&self.index)).await
    }

    /// Stores a content in one go and commits it.
    pub(crate) async fn put(&self, bytes: &[u8], compression: Compression) -> Stored {
        let mut ingest = self.store.ingest(settings(compression));
        ingest.push(Bytes::copy_from_slice(bytes)).await.unwrap();
        let (batch, digests) = ingest.finish().await.unwrap();
        self.commit(vec![batch], digests).await
    }

    pub(crate) async fn commit(&self, batches: Vec<Batch>, digests: ContentDigests) -> Stored {
        for batch in &batches {
            self.store.sync(&batch.dirty).await.unwrap();
        }
        let manifest = self.index.commit(&batches);
        Stored { manifest, batches, digests }
    }

    pub(crate) async fn get(&self, manifest: ManifestId, range: ByteRange) -> Result<Vec<u8>> {
        let pieces: Vec<Bytes> = self.store.read(key(), manifest, range).try_collect().await?;
        assert!(pieces.iter().all(|piece| !piece.is_empty()), "pieces are never empty");
        Ok(pieces.concat())
    }
}

pub(crate) struct Stored {
    pub(crate) manifest: ManifestId,
    pub(crate) batches: Vec<Batch>,
    pub(crate) digests: ContentDigests,
}

impl Stored {
    /// Bytes of the frames that this content added.
    pub(crate) fn new_bytes(&self) -> u64 {
        self.batches.iter().map(|batch| batch.stored.bytes).sum()
    }

    pub(crate) fn chunks(&self) -> Vec<ChunkRef> {
        self.batches.iter().flat_map(|batch| batch.chunks.clone()).collect()
    }
}

pub(crate) fn key() -> DomainKey {
    DomainKey::from_bytes([42; 32])
}

pub(crate) fn settings(compression: Compression) -> IngestSettings {
    IngestSettings { key: key(), compression, digests: Vec::new(), resume: ResumePoint::default() }
}

/// Bytes that neither shrink nor repeat; the same for the same seed.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Bytes that shrink: numbered lines.
pub(crate) fn lines(len: usize, seed: u64) -> Vec<u8> {
    let mut text = String::new();
    let mut number = seed;
    while text.len() < len {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push_str(&format!("order {seed} line {} amount {} currency euro\n", number >> 40, number >> 52));
    }
    text.truncate(len);
    text.into_bytes()
}

/// Waits for what a task that nobody waits for brings about.
pub(crate) async fn until(holds: impl Fn() -> bool) {
    const TRY_COUNT_MAX: usize = 1_000_000;
    for _ in 0..TRY_COUNT_MAX {
        if holds() {
            return;
        }
        tokio::task::yield_now().await;
    }
    assert!(holds(), "it did not come about");
}
