//! Finding or making a place for every chunk of a slab.
//!
//! 1. Every chunk is named by its digest. Each digest once; those that the index knows are done.
//! 2. The rest are claimed among the frames that streams have appended but not committed ([`crate::pending`]).
//! 3. What is ours is compressed, verified and appended; then others may use it.
//! 4. What others claimed is waited for. If one of them gave up, its chunks go through 2 again.
//!
//! A failure at any step fails the ingest. Claims are given up on the way out, frames that were appended stay unused.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use usp_model::{
    ChunkRef, Compression, Digest, DomainKey, Error, ErrorKind, PackId, Result, ResumePoint, StoredBytes,
    StoredChunk,
};
use usp_rt::BytePermit;

use super::Batch;
use super::redo::Redo;
use crate::codec::CodecChoice;
use crate::engine::Engine;
use crate::frame::{Frame, digest_of};
use crate::packs::Packs;
use crate::pending::{Claim, Claimed, PackPins, Wait};

/// Places the chunks of one content.
#[derive(Debug)]
pub(super) struct Placer {
    engine: Arc<Engine>,
    key: DomainKey,
    choice: Arc<Mutex<CodecChoice>>,
}

/// A chunk that was cut and named.
#[derive(Debug, Clone)]
struct Chunk {
    plain: Bytes,
    digest: Digest,
}

impl Chunk {
    /// The chunker's bounds keep it far below 4 GiB.
    fn size_bytes(&self) -> u32 {
        u32::try_from(self.plain.len()).unwrap_or(u32::MAX)
    }
}

/// Chunks with their places, in the order of the content.
#[derive(Debug, Default)]
pub(super) struct Placed {
    chunks: Vec<ChunkRef>,
    dirty: BTreeSet<PackId>,
    size_bytes: u64,
    stored: StoredBytes,
    redo: Redo,
    pins: PackPins,
}

/// Plain bytes and claim of a chunk that this stream stores.
type Owned = (Bytes, Claim);

impl Placer {
    pub(super) fn new(engine: Arc<Engine>, key: DomainKey, compression: Compression) -> Self {
        Self { engine, key, choice: Arc::new(Mutex::new(CodecChoice::new(compression))) }
    }

    /// `permits` stand for the bytes of `chunks` and are given back when all have their place.
    pub(super) async fn place(&self, plains: Vec<Bytes>, permits: Vec<BytePermit>) -> Result<Placed> {
        if plains.is_empty() {
            return Ok(Placed::default());
        }
        let chunks = self.name(plains).await?;
        let names: Vec<(Digest, u32)> =
            chunks.iter().map(|chunk| (chunk.digest, chunk.size_bytes())).collect();
        let mut seen = HashSet::new();
        let mut missing = chunks;
        missing.retain(|chunk| seen.insert(chunk.digest));
        let mut pins = PackPins::default();
        let mut known = self.look_up(&mut missing, &mut pins).await?;
        let mut new = NewFrames::default();
        while !missing.is_empty() {
            let (owned, waits) = self.claim(&mut missing, &mut known, &mut pins);
            pins.append(self.store(owned, &mut known, &mut new).await?);
            for wait in waits {
                wait.ended().await;
            }
        }
        drop(permits);
        let placed = Placed { pins, ..Placed::assemble(&names, &known, new)? };
        let counters = &self.engine.counters;
        counters.bytes_deduplicated.add(placed.stored.deduplicated_bytes);
        counters.bytes_new.add(placed.size_bytes - placed.stored.deduplicated_bytes);
        Ok(placed)
    }

    async fn name(&self, plains: Vec<Bytes>) -> Result<Vec<Chunk>> {
        let key = self.key.clone();
        let size_bytes = plains.iter().map(Bytes::len).sum();
        let job = move || {
            let named = plains.into_iter().map(|plain| Chunk { digest: digest_of(&plain, &key), plain });
            Ok(named.collect())
        };
        self.engine.compute("digest chunks", size_bytes, job).await
    }

    /// Takes out of `missing` what the index knows.
    async fn look_up(
        &self,
        missing: &mut Vec<Chunk>,
        pins: &mut PackPins,
    ) -> Result<HashMap<Digest, ChunkRef>> {
        let may_be_known = |chunk: &&Chunk| self.engine.filter.may_hold(&chunk.digest);
        let digests: Vec<Digest> = missing.iter().filter(may_be_known).map(|chunk| chunk.digest).collect();
        if digests.is_empty() {
            return Ok(HashMap::new());
        }
        let found = self.engine.index.lookup(digests).await?;
        let stored: HashMap<Digest, StoredChunk> =
            found.into_iter().flatten().map(|row| (row.digest, row)).collect();
        let mut known = HashMap::new();
        missing.retain(|chunk| {
            // A length that differs would be a damaged row: the chunk is stored again rather than trusted.
            let row = stored.get(&chunk.digest).filter(|row| row.size_bytes == chunk.size_bytes());
            match row {
                Some(row) if pins.hold(&self.engine.pending, row.place.pack) => {
                    known.insert(chunk.digest, ChunkRef::from(*row));
                    false
                }
                // Its pack is about to be deleted: the chunk may have moved, or be deleted with it.
                _ => true,
            }
        });
        Ok(known)
    }

    /// Takes out of `missing` what is ours to store and what stands already; what others store stays in it.
    fn claim(
        &self,
        missing: &mut Vec<Chunk>,
        known: &mut HashMap<Digest, ChunkRef>,
        pins: &mut PackPins,
    ) -> (Vec<Owned>, Vec<Wait>) {
        let (mut owned, mut waits) = (Vec::new(), Vec::new());
        missing.retain(|chunk| match self.engine.pending.claim(chunk.digest) {
            Claimed::Ours(claim) => {
                owned.push((chunk.plain.clone(), claim));
                false
            }
            Claimed::Placed(place, pin) => {
                pins.keep(pin);
                let (digest, size_bytes) = (chunk.digest, chunk.size_bytes());
                known.insert(digest, ChunkRef::New { digest, size_bytes, place });
                false
            }
            Claimed::Theirs(wait) => {
                waits.push(wait);
                true
            }
        });
        (owned, waits)
    }

    async fn store(
        &self,
        owned: Vec<Owned>,
        known: &mut HashMap<Digest, ChunkRef>,
        new: &mut NewFrames,
    ) -> Result<PackPins> {
        if owned.is_empty() {
            return Ok(PackPins::default());
        }
        let (plains, claims): (Vec<Bytes>, Vec<Claim>) = owned.into_iter().unzip();
        let digests: Vec<Digest> = claims.iter().map(Claim::digest).collect();
        let frames = self.encode(plains, digests).await?;
        let stored_bytes = frames.iter().map(|frame| frame.header.stored_bytes() as usize).sum();
        if !new.redo.takes(stored_bytes) {
            new.redo = Redo::Sync;
        }
        // Their payloads are shared, not copied.
        let (places, pins) = self.engine.packs.append(frames.clone()).await?;
        for ((claim, frame), place) in claims.into_iter().zip(frames).zip(places) {
            let digest = claim.digest();
            claim.settle(place);
            if self.engine.filter.add(&digest) {
                self.engine.fill_filter();
            }
            new.redo.add(&frame, place);
            new.digests.insert(digest);
            new.stored_bytes += u64::from(place.stored_bytes);
            known.insert(digest, ChunkRef::New { digest, size_bytes: frame.header.plain_bytes, place });
        }
        Ok(pins)
    }

    async fn encode(&self, plains: Vec<Bytes>, digests: Vec<Digest>) -> Result<Vec<Frame>> {
        let (codecs, choice) = (Arc::clone(&self.engine.codecs), Arc::clone(&self.choice));
        let size_bytes = plains.iter().map(Bytes::len).sum();
        let job = move || {
            codecs.with(|codecs| {
                let chunks = plains.into_iter().zip(digests);
                chunks
                    .map(|(plain, digest)| Frame::of_chunk_adaptively(plain, digest, &choice, codecs))
                    .collect()
            })
        };
        self.engine.compute("compress chunks", size_bytes, job).await
    }
}

/// What this stream stored itself.
#[derive(Debug, Default)]
struct NewFrames {
    digests: HashSet<Digest>,
    stored_bytes: u64,
    redo: Redo,
}

impl Placed {
    fn assemble(names: &[(Digest, u32)], known: &HashMap<Digest, ChunkRef>, new: NewFrames) -> Result<Self> {
        let mut placed = Self { redo: new.redo, ..Self::default() };
        let mut first_uses = new.digests.clone();
        for (digest, size_bytes) in names {
            let chunk = known.get(digest).copied();
            let chunk = chunk.ok_or_else(|| Error::new(ErrorKind::Internal, "place chunk").about(digest))?;
            if let ChunkRef::New { place, .. } = &chunk {
                placed.dirty.insert(place.pack);
                if !new.digests.contains(digest) {
                    // Whoever appended it may not have committed it yet.
                    placed.redo = Redo::Sync;
                }
            }
            if !first_uses.remove(digest) {
                placed.stored.deduplicated_bytes += u64::from(*size_bytes);
            }
            placed.size_bytes += u64::from(*size_bytes);
            placed.chunks.push(chunk);
        }
        placed.stored.bytes = new.stored_bytes;
        placed.stored.chunks = placed.chunks.len() as u64;
        Ok(placed)
    }

    /// Adds what follows in the content.
    pub(super) fn append(&mut self, mut later: Self) {
        self.chunks.append(&mut later.chunks);
        self.dirty.append(&mut later.dirty);
        self.size_bytes += later.size_bytes;
        self.stored.bytes += later.stored.bytes;
        self.stored.chunks += later.stored.chunks;
        self.stored.deduplicated_bytes += later.stored.deduplicated_bytes;
        self.redo.append(later.redo);
        self.pins.append(later.pins);
    }

    /// Frames that are committed with their rows need no sync, while `packs` has room for them.
    pub(super) fn into_batch(self, resume: ResumePoint, packs: &Arc<Packs>) -> Batch {
        let Self { chunks, mut dirty, size_bytes, stored, redo, pins } = self;
        let redo_bytes = redo.size_bytes() as u64;
        let redo = match redo {
            Redo::Frames(frames) if packs.take_redo(redo_bytes) => {
                dirty.clear();
                frames
            }
            Redo::Frames(_) | Redo::Sync => Vec::new(),
        };
        Batch { chunks, dirty, redo, resume, size_bytes, stored, pins }
    }
}
