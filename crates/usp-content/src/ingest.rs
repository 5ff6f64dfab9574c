//! Storing one content.
//!
//! Bytes are buffered in a slab. A full slab is cut into chunks and hashed, each in stream order and both at the same time,
//! while the next one is filled. A task per slab digests its chunks, looks them up, compresses, verifies and appends them
//! while the next slab is cut. That task holds the permit for the slab's bytes until they are appended, so a slow disk
//! slows the sender and never grows memory. It depends on no other ingest: one that waits for memory holds no permit. Short
//! slabs are computed on the current thread.
//!
//! Nothing is durable before [`ContentStore::sync`](crate::ContentStore::sync), and nothing counts before the caller
//! committed the batch.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use usp_model::{
    ChunkRef, Compression, ContentDigests, DigestAlgorithm, DomainKey, Error, ErrorKind, PackId, RedoFrame,
    Result, ResumePoint, StoredBytes,
};
use usp_rt::Begun;

use crate::config::ContentConfig;
use crate::engine::{Engine, SHORT_BYTES_MAX};
use crate::hashing::ContentHasher;
use crate::pending::PackPins;

mod cut;
mod place;
mod redo;
mod slab;

use cut::{Cutter, Edges};
use place::{Placed, Placer};
use slab::Slab;

/// What an ingest is to do.
#[derive(Debug, Clone)]
pub struct IngestSettings {
    /// Keys the digests of the dedup domain.
    pub key: DomainKey,
    /// What chunks are compressed with.
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
    /// Frames to be committed in the same transaction as `chunks`, because their packs are not among `dirty`.
    pub redo: Vec<RedoFrame>,
    /// Where to go on after this batch. Empty after `finish`.
    pub resume: ResumePoint,
    /// Plain bytes of `chunks`.
    pub size_bytes: u64,
    /// What storing `chunks` cost, and what deduplication saved.
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
    engine: Arc<Engine>,
    placer: Arc<Placer>,
    cutter: CutterPlace,
    slab: Slab,
    in_flight: VecDeque<JoinHandle<Result<Placed>>>,
    done: Placed,
    head: Vec<u8>,
    received_bytes: u64,
    uncommitted_bytes: u64,
    /// True while a call runs; still true at the next one if that call failed or was dropped half-way.
    broken: bool,
    /// Why this ingest cannot begin; the first call returns it.
    refusal: Option<Error>,
}

/// The cutter, or what is known of it while it cuts a slab.
#[derive(Debug)]
enum CutterPlace {
    Here(Box<Cutter>),
    Cutting(Cutting),
    /// It was never made, or a cancelled call lost it.
    Nowhere,
}

/// A slab that is being hashed and cut.
#[derive(Debug)]
struct Cutting {
    hashed: Begun<ContentHasher>,
    /// Sent by the task that places the chunks.
    edges: oneshot::Receiver<Edges>,
}

/// What media type sniffing looks at.
const HEAD_BYTES_MAX: usize = 8 << 10;

impl Ingest {
    pub(crate) fn new(engine: Arc<Engine>, settings: IngestSettings) -> Self {
        let IngestSettings { key, compression, digests, resume } = settings;
        let (cutter, refusal) = match Cutter::new(engine.config.chunk, &digests, resume) {
            Ok(cutter) => (CutterPlace::Here(Box::new(cutter)), None),
            Err(error) => (CutterPlace::Nowhere, Some(error)),
        };
        Self {
            placer: Arc::new(Placer::new(Arc::clone(&engine), key, compression)),
            cutter,
            refusal,
            slab: Slab::first(),
            engine,
            in_flight: VecDeque::new(),
            done: Placed::default(),
            head: Vec::new(),
            received_bytes: 0,
            uncommitted_bytes: 0,
            broken: false,
        }
    }

    /// Takes the next bytes of the content; waits while there is no memory for them.
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
        self.cut(Edges::cut).await?;
        let cutter = self.settle_cut().await?;
        let resume = cutter.resume_point();
        self.cutter = CutterPlace::Here(cutter);
        let batch = self.take_batch(resume).await?;
        self.broken = false;
        Ok(batch)
    }

    /// Appends the rest, whose last chunk ends where the content ends, and answers the digests of the whole content.
    ///
    /// Errors: as `push`. Cancel: not safe; run it in a task of its own, so that a short content needs no other.
    pub async fn finish(mut self) -> Result<(Batch, ContentDigests)> {
        self.begin()?;
        let mut cutter = self.settle_cut().await?;
        if self.in_flight.is_empty() && self.slab.len() <= SHORT_BYTES_MAX {
            let (slab, permits) = self.slab.take();
            let chunks = cutter.take(slab, Edges::cut_to_the_end);
            self.done.append(self.placer.place(chunks, permits).await?);
        } else {
            self.cutter = CutterPlace::Here(cutter);
            self.cut(Edges::cut_to_the_end).await?;
            cutter = self.settle_cut().await?;
        }
        let batch = self.take_batch(ResumePoint::default()).await?;
        Ok((batch, cutter.finish()))
    }

    /// Marks the ingest as broken until the call that begins here has succeeded.
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
        self.engine.counters.bytes_in.add(bytes.len() as u64);
        // A slow sender's slab is cut before it is full: until then it holds memory that others need.
        if self.slab.is_older_than(self.engine.config.slab_time_max) {
            self.cut(Edges::cut).await?;
        }
        while !bytes.is_empty() {
            let slab_bytes_max = self.engine.config.slab_size_bytes;
            let room = self.slab.make_room(bytes.len(), slab_bytes_max, &self.engine.budget).await;
            if room == 0 {
                self.cut(Edges::cut).await?;
                continue;
            }
            self.slab.fill(&bytes.split_to(room.min(bytes.len())));
        }
        Ok(())
    }

    /// Begins to cut the buffered bytes, once the slab before them is cut.
    async fn cut(&mut self, how: fn(&mut Edges, Bytes) -> Vec<Bytes>) -> Result<()> {
        let mut cutter = self.settle_cut().await?;
        let (slab, permits) = self.slab.take();
        if slab.len() <= SHORT_BYTES_MAX {
            let chunks = cutter.take(slab, how);
            self.cutter = CutterPlace::Here(cutter);
            let placer = Arc::clone(&self.placer);
            return self.begin_placing(async move { placer.place(chunks, permits).await }).await;
        }
        let Cutter { mut hasher, mut edges } = *cutter;
        let hashed = slab.clone();
        let hashed = self.engine.cpu.begin(move || {
            hasher.update(&hashed);
            hasher
        });
        let cut = self.engine.cpu.begin(move || {
            let chunks = how(&mut edges, slab);
            (edges, chunks)
        });
        let (edges_sender, edges) = oneshot::channel();
        self.cutter = CutterPlace::Cutting(Cutting { hashed, edges });
        let placer = Arc::clone(&self.placer);
        self.begin_placing(async move {
            let (edges, chunks) = cut.ended().await.map_err(not_cut)?;
            // Nobody receives them once the ingest was dropped.
            let _dropped = edges_sender.send(edges);
            placer.place(chunks, permits).await
        })
        .await
    }

    /// Waits for the slab that is being cut; the cutter is left to the caller.
    async fn settle_cut(&mut self) -> Result<Box<Cutter>> {
        match std::mem::replace(&mut self.cutter, CutterPlace::Nowhere) {
            CutterPlace::Here(cutter) => Ok(cutter),
            CutterPlace::Cutting(Cutting { hashed, edges }) => {
                let edges = edges.await.map_err(not_cut)?;
                let hasher = hashed.ended().await.map_err(not_cut)?;
                Ok(Box::new(Cutter { hasher, edges }))
            }
            CutterPlace::Nowhere => Err(unusable()),
        }
    }

    /// Begins to place a slab, then waits while there are too many of them.
    async fn begin_placing(
        &mut self,
        placing: impl Future<Output = Result<Placed>> + Send + 'static,
    ) -> Result<()> {
        // Never aborted: other streams may wait for chunks of this slab, and no write may end half-way.
        self.in_flight.push_back(tokio::spawn(placing));
        while self.in_flight.len() > ContentConfig::SLABS_IN_FLIGHT_MAX {
            self.settle_oldest().await?;
        }
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
        Ok(std::mem::take(&mut self.done).into_batch(resume, &self.engine.packs))
    }
}

fn not_cut(source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Internal, "cut chunks").caused_by(source)
}

fn unusable() -> Error {
    Error::new(ErrorKind::Internal, "store content")
        .because("an earlier step of this upload failed or was cancelled; begin again at the last offset")
}
