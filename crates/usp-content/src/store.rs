//! The content store: one value that stores contents, makes them durable, and reads them.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::try_join_all;
use usp_model::{
    ByteRange, ContentDigests, DomainKey, Error, ErrorKind, ManifestId, PackId, PlacedChunk, Result,
    ResumePoint,
};
use usp_rt::{ByteBudget, Pool};

use crate::codec::CodecPool;
use crate::config::ContentConfig;
use crate::engine::Engine;
use crate::filter::DigestFilter;
use crate::hashing::ContentHasher;
use crate::index::ChunkIndex;
use crate::ingest::{Ingest, IngestSettings};
use crate::pack_store::PackStore;
use crate::packs::Packs;
use crate::pending::Pending;
use crate::read::{Form, ReadStream, Source};
use crate::recovery::{self, RecoveryReport};
use crate::stats::{ContentStats, Counters};

/// Keeps every chunk once. Clones share one store.
#[derive(Debug, Clone)]
pub struct ContentStore {
    pub(crate) engine: Arc<Engine>,
}

/// Bytes that all reads together may hold ahead of their clients. A read that gets none goes chunk by chunk.
const READ_AHEAD_BYTES_MAX: u64 = 32 << 20;

/// Pieces that are hashed in one go, if they are there.
const HASHED_COUNT_MAX: usize = 32;

impl ContentStore {
    /// Opens the store and makes what a crash left behind harmless, before anything is appended.
    ///
    /// Every open pack is cut to its committed length, its frames are checked, and it is sealed. Files that no row names go to
    /// lost+found. Rows without a file are reported, and set aside when nothing was committed in them.
    /// Only one store may be open over the same packs.
    ///
    /// Errors: `InvalidInput` for the settings; `StorageFull`, `Unavailable` and what the index answers.
    /// Source: docs/formats/pack.md, "Operations".
    pub async fn open(
        config: ContentConfig,
        pack_store: PackStore,
        index: Arc<dyn ChunkIndex>,
        cpu: Pool,
        budget: ByteBudget,
    ) -> Result<(Self, RecoveryReport)> {
        config.validate()?;
        let report = recovery::recover(&pack_store, &*index).await?;
        let chunk_count = index.chunk_count().await?;
        let (pending, counters) = (Arc::new(Pending::default()), Arc::new(Counters::default()));
        let packs = Packs::new(
            config,
            pack_store.clone(),
            Arc::clone(&index),
            Arc::clone(&pending),
            Arc::clone(&counters),
        );
        let engine = Engine {
            config,
            pack_store,
            index,
            packs: Arc::new(packs),
            pending,
            codecs: Arc::new(CodecPool::default()),
            cpu,
            budget,
            read_ahead: ByteBudget::new(READ_AHEAD_BYTES_MAX),
            counters,
            filter: DigestFilter::for_chunks(chunk_count),
        };
        let store = Self { engine: Arc::new(engine) };
        if chunk_count > 0 {
            store.engine.fill_filter();
        }
        Ok((store, report))
    }

    /// Begins to store a content, or continues one. The first call reports a damaged resume point (`Corrupt`).
    pub fn ingest(&self, settings: IngestSettings) -> Ingest {
        Ingest::new(Arc::clone(&self.engine), settings)
    }

    /// Makes every frame durable that was appended to `packs` before the call, with one sync per pack that all who
    /// wait for it share.
    ///
    /// Errors: `Unavailable` when the disk failed: nothing since the last good sync is certain, and the pack takes no
    /// more bytes. Cancel: safe, the sync goes on without its caller.
    pub async fn sync(&self, packs: &BTreeSet<PackId>) -> Result<()> {
        let syncs = packs.iter().map(|&pack| {
            let engine = Arc::clone(&self.engine);
            // A task of its own: a failure is recorded even if the caller was cancelled.
            let sync = tokio::spawn(async move { engine.packs.sync(pack).await });
            async {
                sync.await.unwrap_or_else(|source| {
                    Err(Error::new(ErrorKind::Unavailable, "sync packs").caused_by(source))
                })
            }
        });
        try_join_all(syncs).await.map(|_| ())
    }

    /// The plain bytes of `range` of a content.
    ///
    /// Shape: non-empty pieces in order, each at most the longest chunk, whose lengths sum to `range.len()`.
    /// Errors: `Corrupt` when a frame fails a check or the manifest ends early, `Unavailable`, and what the index answers;
    /// the stream ends after the first. Cancel: safe, drop it.
    pub fn read(&self, key: DomainKey, manifest: ManifestId, range: ByteRange) -> ReadStream {
        self.read_known(key, manifest, range, Vec::new())
    }

    /// As `read`, for a caller that has resolved the first chunks of the range already.
    pub fn read_known(
        &self,
        key: DomainKey,
        manifest: ManifestId,
        range: ByteRange,
        known: Vec<PlacedChunk>,
    ) -> ReadStream {
        let engine = Arc::clone(&self.engine);
        ReadStream::new(Source { engine, key, manifest, form: Form::Plain }, range, known)
    }

    /// A whole content of `size_bytes` in Zstandard frames, as it is stored where that can be: nothing is recompressed.
    ///
    /// Shape: pieces that together are a sequence of frames, whose contents one after the other are the content; a window of
    /// at most the longest chunk. Errors, Cancel: as `read`. Source: RFC 8878, RFC 9659.
    pub fn read_zstd(&self, key: DomainKey, manifest: ManifestId, size_bytes: u64) -> ReadStream {
        let engine = Arc::clone(&self.engine);
        let source = Source { engine, key, manifest, form: Form::Zstd };
        ReadStream::new(source, ByteRange::whole(size_bytes), Vec::new())
    }

    /// Reads stored contents one behind the other: their SHA-256 as one, and where an ingest goes on behind them.
    ///
    /// Errors, Cancel: as `read`.
    pub async fn digest(
        &self,
        key: &DomainKey,
        contents: &[(ManifestId, u64)],
    ) -> Result<(ContentDigests, ResumePoint)> {
        let mut hasher = ContentHasher::new(&[], &ResumePoint::default())?;
        for &(manifest, size_bytes) in contents {
            let pieces = self.read(key.clone(), manifest, ByteRange::whole(size_bytes));
            let mut pieces = pieces.ready_chunks(HASHED_COUNT_MAX);
            while let Some(ready) = pieces.next().await {
                let ready: Vec<Bytes> = ready.into_iter().collect::<Result<_>>()?;
                let hashed = self.engine.cpu.run(move || {
                    ready.iter().for_each(|piece| hasher.update(piece));
                    hasher
                });
                hasher = hashed
                    .await
                    .map_err(|source| Error::new(ErrorKind::Internal, "digest content").caused_by(source))?;
            }
        }
        let resume = hasher.resume_point(&[]);
        Ok((hasher.finish(), resume))
    }

    /// Makes what was appended durable, for a graceful stop. Open packs stay open; the next `open` seals them.
    pub async fn close(&self) -> Result<()> {
        self.sync(&self.engine.packs.open_packs().into_iter().collect()).await
    }

    /// What the store did since it was opened.
    pub fn stats(&self) -> ContentStats {
        self.engine.counters.snapshot()
    }
}
