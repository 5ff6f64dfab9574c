//! Finding or making a place for every chunk of a slab.
//!
//! 1. Each digest once; those that the index knows are done.
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
    ChunkRef, Compression, Digest, Error, ErrorKind, PackId, Result, ResumePoint, StoredBytes, StoredChunk,
};
use usp_rt::BytePermit;

use super::Batch;
use super::cut::Chunk;
use crate::codec::CodecChoice;
use crate::frame::Frame;
use crate::pending::{Claim, Claimed, PackPins, Wait};
use crate::store::Shared;

/// Places the chunks of one content.
#[derive(Debug)]
pub(super) struct Placer {
    shared: Arc<Shared>,
    choice: Arc<Mutex<CodecChoice>>,
}

/// Chunks with their places, in the order of the content.
#[derive(Debug, Default)]
pub(super) struct Placed {
    chunks: Vec<ChunkRef>,
    dirty: BTreeSet<PackId>,
    size_bytes: u64,
    stored: StoredBytes,
    pins: PackPins,
}

/// Plain bytes and claim of a chunk that this stream stores.
type Owned = (Bytes, Claim);

impl Placer {
    pub(super) fn new(shared: Arc<Shared>, compression: Compression) -> Self {
        Self { shared, choice: Arc::new(Mutex::new(CodecChoice::new(compression))) }
    }

    /// `permits` stand for the bytes of `chunks` and are given back when all have their place.
    pub(super) async fn place(&self, chunks: Vec<Chunk>, permits: Vec<BytePermit>) -> Result<Placed> {
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
        let placed = Placed { pins, ..Placed::assemble(&names, &known, &new)? };
        let counters = &self.shared.counters;
        counters.bytes_deduplicated.add(placed.stored.deduplicated_bytes);
        counters.bytes_new.add(placed.size_bytes - placed.stored.deduplicated_bytes);
        Ok(placed)
    }

    /// Takes out of `missing` what the index knows.
    async fn look_up(
        &self,
        missing: &mut Vec<Chunk>,
        pins: &mut PackPins,
    ) -> Result<HashMap<Digest, ChunkRef>> {
        let digests = missing.iter().map(|chunk| chunk.digest).collect();
        let found = self.shared.index.lookup(digests).await?;
        let stored: HashMap<Digest, StoredChunk> =
            found.into_iter().flatten().map(|row| (row.digest, row)).collect();
        let mut known = HashMap::new();
        missing.retain(|chunk| {
            // A length that differs would be a damaged row: the chunk is stored again rather than trusted.
            let row = stored.get(&chunk.digest).filter(|row| row.size_bytes == chunk.size_bytes());
            match row {
                Some(row) if pins.hold(&self.shared.pending, row.place.pack) => {
                    known.insert(chunk.digest, ChunkRef::from(*row));
                    false
                }
                // Its pack is on its way out: the chunk may have moved, or go with it.
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
        missing.retain(|chunk| match self.shared.pending.claim(chunk.digest) {
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
        let headers: Vec<_> = frames.iter().map(|frame| frame.header).collect();
        let (places, pins) = self.shared.packs.append(frames).await?;
        for ((claim, header), place) in claims.into_iter().zip(headers).zip(places) {
            let digest = claim.digest();
            claim.settle(place);
            new.digests.insert(digest);
            new.stored_bytes += u64::from(place.stored_bytes);
            known.insert(digest, ChunkRef::New { digest, size_bytes: header.plain_bytes, place });
        }
        Ok(pins)
    }

    async fn encode(&self, plains: Vec<Bytes>, digests: Vec<Digest>) -> Result<Vec<Frame>> {
        let (codecs, choice) = (Arc::clone(&self.shared.codecs), Arc::clone(&self.choice));
        let job = move || {
            codecs.with(|codecs| {
                let chunks = plains.into_iter().zip(digests);
                chunks
                    .map(|(plain, digest)| Frame::of_chunk_adaptively(plain, digest, &choice, codecs))
                    .collect()
            })
        };
        self.shared.on_cpu("compress chunks", job).await
    }
}

/// What this stream stored itself.
#[derive(Debug, Default)]
struct NewFrames {
    digests: HashSet<Digest>,
    stored_bytes: u64,
}

impl Placed {
    fn assemble(names: &[(Digest, u32)], known: &HashMap<Digest, ChunkRef>, new: &NewFrames) -> Result<Self> {
        let mut placed = Self::default();
        let mut first_uses = new.digests.clone();
        for (digest, size_bytes) in names {
            let chunk = known.get(digest).copied();
            let chunk = chunk.ok_or_else(|| Error::new(ErrorKind::Internal, "place chunk").about(digest))?;
            if let ChunkRef::New { place, .. } = &chunk {
                placed.dirty.insert(place.pack);
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
        self.pins.append(later.pins);
    }

    pub(super) fn into_batch(self, resume: ResumePoint) -> Batch {
        let Self { chunks, dirty, size_bytes, stored, pins } = self;
        Batch { chunks, dirty, resume, size_bytes, stored, pins }
    }
}
