//! One content on its way in.
//!
//! Bytes gather in a slab. A full slab is cut into chunks and digested on the CPU pool, in stream order; its chunks are
//! then looked up, compressed, verified and appended by a task of its own while the next slab is cut. The permit for a
//! slab's bytes travels with it until they are appended, so a slow disk slows the sender and never grows memory.
//!
//! Nothing is durable before [`ContentStore::sync`](crate::ContentStore::sync), and nothing counts before the caller
//! committed the batch.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinHandle;
use usp_model::{
    ChunkRef, Compression, ContentDigests, DigestAlgorithm, DomainKey, Error, ErrorKind, PackId, Result,
    ResumePoint, StoredBytes,
};

use crate::pending::PackPins;
use crate::store::Shared;

mod cut;
mod place;
mod slab;

use cut::Cutter;
use place::{Placed, Placer};
use slab::Slab;

/// What an ingest is to do.
#[derive(Debug, Clone)]
pub struct IngestSettings {
    /// Keys the digests of the dedup domain.
    pub key: DomainKey,
    pub compression: Compression,
    /// Digests of the whole content to make besides SHA-256. With a resume point they are left out: only the SHA-256
    /// can be taken up again.
    pub digests: Vec<DigestAlgorithm>,
    /// Where a former ingest of the same content stopped; the default is its start.
    pub resume: ResumePoint,
}

/// Chunks that are appended and wait for their commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// In the order of the content.
    pub chunks: Vec<ChunkRef>,
    /// Packs to sync before the commit.
    pub dirty: BTreeSet<PackId>,
    /// Where to go on after this batch. Empty after `finish`.
    pub resume: ResumePoint,
    /// Plain bytes of `chunks`.
    pub size_bytes: u64,
    pub stored: StoredBytes,
    /// Keeps the packs that `chunks` name from being doomed: hold it until the commit has answered.
    pub pins: PackPins,
}

/// Cuts, deduplicates and stores one content.
///
/// Shape: calls come one after the other; a content of any size takes the memory of a few slabs, if the caller takes a
/// checkpoint now and then. Cancel: a call that was dropped before it answered leaves an ingest that only answers
/// errors; what it appended is never referenced.
#[derive(Debug)]
pub struct Ingest {
    shared: Arc<Shared>,
    placer: Arc<Placer>,
    /// Absent while a slab is being cut, and for good when that was cancelled.
    cutter: Option<Cutter>,
    slab: Slab,
    in_flight: VecDeque<JoinHandle<Result<Placed>>>,
    done: Placed,
    head: Vec<u8>,
    received_bytes: u64,
    uncommitted_bytes: u64,
    /// True while a call runs; still true at the next one if that call failed or was dropped half-way.
    broken: bool,
    /// Why this ingest never began: told once, by the first call.
    refusal: Option<Error>,
}

/// Slabs of one ingest that are being placed while the next is cut.
const IN_FLIGHT_COUNT_MAX: usize = 2;
/// What media type sniffing looks at.
const HEAD_BYTES_MAX: usize = 8 << 10;

impl Ingest {
    pub(crate) fn new(shared: Arc<Shared>, settings: IngestSettings) -> Self {
        let cutter = Cutter::new(shared.config.chunk, settings.key, &settings.digests, &settings.resume);
        let (cutter, refusal) = match cutter {
            Ok(cutter) => (Some(cutter), None),
            Err(error) => (None, Some(error)),
        };
        Self {
            placer: Arc::new(Placer::new(Arc::clone(&shared), settings.compression)),
            broken: cutter.is_none(),
            cutter,
            refusal,
            slab: Slab::first(settings.resume.tail),
            shared,
            in_flight: VecDeque::new(),
            done: Placed::default(),
            head: Vec::new(),
            received_bytes: 0,
            uncommitted_bytes: 0,
        }
    }

    /// Takes the next bytes of the content; waits while memory or disk are busy.
    ///
    /// Errors: `StorageFull`, `Unavailable`, and what the index answers; after an error the ingest is of no use.
    pub async fn push(&mut self, bytes: Bytes) -> Result<()> {
        self.begin()?;
        self.gather(bytes).await?;
        self.broken = false;
        Ok(())
    }

    /// Bytes pushed in this ingest.
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// Bytes pushed since the last batch was taken: what an interruption would cost. Take a checkpoint at 64 MiB or so.
    pub fn uncommitted_bytes(&self) -> u64 {
        self.uncommitted_bytes
    }

    /// The first bytes pushed in this ingest, 8 KiB at most.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// Appends everything up to the last boundary and answers it; the bytes after it go into the resume point.
    ///
    /// Errors: as `push`.
    pub async fn checkpoint(&mut self) -> Result<Batch> {
        self.begin()?;
        self.cut(Cutter::cut).await?;
        let cutter = self.cutter.as_ref().ok_or_else(unusable)?;
        let resume = cutter.resume_point(self.slab.bytes());
        let batch = self.take_batch(resume).await?;
        self.broken = false;
        Ok(batch)
    }

    /// Appends the rest, whose last chunk ends where the content ends, and answers the digests of the whole content.
    ///
    /// Errors: as `push`.
    pub async fn finish(mut self) -> Result<(Batch, ContentDigests)> {
        self.begin()?;
        self.cut(Cutter::cut_to_the_end).await?;
        let batch = self.take_batch(ResumePoint::default()).await?;
        let cutter = self.cutter.take().ok_or_else(unusable)?;
        Ok((batch, cutter.finish()))
    }

    /// Enters a call that leaves `broken` behind unless it comes to its good end.
    fn begin(&mut self) -> Result<()> {
        if let Some(refusal) = self.refusal.take() {
            return Err(refusal);
        }
        if std::mem::replace(&mut self.broken, true) { Err(unusable()) } else { Ok(()) }
    }

    async fn gather(&mut self, mut bytes: Bytes) -> Result<()> {
        let head_missing = HEAD_BYTES_MAX - self.head.len();
        self.head.extend(bytes.iter().take(head_missing));
        self.received_bytes += bytes.len() as u64;
        self.uncommitted_bytes += bytes.len() as u64;
        self.shared.counters.bytes_in.add(bytes.len() as u64);
        while !bytes.is_empty() {
            let slab_bytes_max = self.shared.config.slab_size_bytes;
            let room = self.slab.make_room(bytes.len(), slab_bytes_max, &self.shared.budget).await;
            if room == 0 {
                self.cut(Cutter::cut).await?;
                continue;
            }
            self.slab.fill(&bytes.split_to(room.min(bytes.len())));
        }
        Ok(())
    }

    /// Cuts what has gathered and begins to place it; what follows the last boundary begins the next slab.
    async fn cut(&mut self, how: fn(&mut Cutter, Slab) -> cut::Cut) -> Result<()> {
        let slab = std::mem::replace(&mut self.slab, Slab::after(Vec::new()));
        let mut cutter = self.cutter.take().ok_or_else(unusable)?;
        let cut = self.shared.on_cpu("cut chunks", move || {
            let cut = how(&mut cutter, slab);
            Ok((cutter, cut))
        });
        let (cutter, cut) = cut.await?;
        self.cutter = Some(cutter);
        self.slab = Slab::after(cut.tail);
        if cut.chunks.is_empty() {
            return Ok(());
        }
        while self.in_flight.len() >= IN_FLIGHT_COUNT_MAX {
            self.settle_oldest().await?;
        }
        // Never aborted: whoever else waits for a chunk of this slab gets it, and no write is cut in the middle.
        let placer = Arc::clone(&self.placer);
        self.in_flight.push_back(tokio::spawn(async move { placer.place(cut.chunks, cut.permits).await }));
        Ok(())
    }

    async fn settle_oldest(&mut self) -> Result<()> {
        let Some(task) = self.in_flight.pop_front() else {
            return Ok(());
        };
        let placed = task
            .await
            .unwrap_or_else(|source| Err(Error::new(ErrorKind::Internal, "store chunks").caused_by(source)));
        self.done.append(placed?);
        Ok(())
    }

    async fn take_batch(&mut self, resume: ResumePoint) -> Result<Batch> {
        while !self.in_flight.is_empty() {
            self.settle_oldest().await?;
        }
        self.uncommitted_bytes = 0;
        Ok(std::mem::take(&mut self.done).into_batch(resume))
    }
}

fn unusable() -> Error {
    Error::new(ErrorKind::Internal, "store content")
        .because("an earlier step of this upload failed or was cancelled; begin again at the last offset")
}
