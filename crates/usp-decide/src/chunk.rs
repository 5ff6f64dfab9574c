//! What references to chunks come to, when a content is committed.
//!
//! Known chunks are hints until here: another may have collected, moved or doubted them since they were looked up. An
//! engine loads into [`Chunks`] what references may come to, asks [`Chunks::refer`] for one content after the other, and writes
//! what the [`Referrals`] say. The overlay goes on from content to content: what the one before made, the next one refers to.

use std::collections::{BTreeMap, HashMap};
use std::ops::AddAssign;

use usp_model::{
    ChunkId, ChunkRef, Digest, Error, ErrorKind, FramePlace, PackId, PackState, Result, StoredChunk,
};

use crate::pack;

/// A chunk row as decisions need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkRow {
    pub chunk: StoredChunk,
    /// The collection epoch in which it was last referred to.
    pub epoch: i64,
    /// Its frame failed a check: it is there for readers only.
    pub is_doubted: bool,
}

impl ChunkRow {
    /// Whether the row is told to those who look for a chunk that they could refer to.
    pub fn is_offered(&self) -> bool {
        !self.is_doubted
    }
}

/// A row that a content refers to: one that stands, or the n-th that [`Referrals::new`] makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RowRef {
    Standing(ChunkId),
    New(usize),
}

/// A row to be made, counting as referred to in the current epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRow {
    pub digest: Digest,
    pub size_bytes: u32,
    pub place: FramePlace,
}

/// A doubted row that gets a sound frame and the length of its content. It keeps its number, so every content that has the
/// chunk reads the sound frame from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mend {
    pub row: ChunkId,
    pub size_bytes: u32,
    pub place: FramePlace,
}

/// What changes in one pack.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PackChange {
    pub live_chunks: i64,
    pub live_bytes: i64,
    /// The pack counts as committed up to here at least.
    pub end: u64,
}

/// What changes in the sums of the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TotalsChange {
    pub chunks: i64,
    pub plain_bytes: i64,
    pub frame_bytes: i64,
}

impl AddAssign for PackChange {
    fn add_assign(&mut self, more: Self) {
        self.live_chunks += more.live_chunks;
        self.live_bytes += more.live_bytes;
        self.end = self.end.max(more.end);
    }
}

impl AddAssign for TotalsChange {
    fn add_assign(&mut self, more: Self) {
        self.chunks += more.chunks;
        self.plain_bytes += more.plain_bytes;
        self.frame_bytes += more.frame_bytes;
    }
}

/// What contents refer to, and what is written for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Referrals {
    pub new: Vec<NewRow>,
    /// Rows whose epoch becomes the current one.
    pub raised: Vec<ChunkId>,
    pub mended: Vec<Mend>,
    pub packs: BTreeMap<PackId, PackChange>,
    pub totals: TotalsChange,
}

/// Chunk rows and packs as they stand, and as contents that were decided before leave them.
///
/// To be added for each reference: the row of its digest and the state of its pack, and for a known chunk the row of its
/// number (if that stands, the other two are not needed).
#[derive(Debug, Clone)]
pub struct Chunks {
    epoch: i64,
    rows: HashMap<RowRef, ChunkRow>,
    by_digest: HashMap<Digest, RowRef>,
    packs: HashMap<PackId, PackState>,
    referrals: Referrals,
}

impl Chunks {
    /// `epoch`: the collection epoch that references made now carry.
    pub fn new(epoch: i64) -> Self {
        Self {
            epoch,
            rows: HashMap::new(),
            by_digest: HashMap::new(),
            packs: HashMap::new(),
            referrals: Referrals::default(),
        }
    }

    /// Takes a row that stands. What is never added counts as not there.
    pub fn add_row(&mut self, row: ChunkRow) {
        let row_ref = RowRef::Standing(row.chunk.id);
        self.by_digest.insert(row.chunk.digest, row_ref);
        self.rows.insert(row_ref, row);
    }

    pub fn add_pack(&mut self, pack: PackId, state: PackState) {
        self.packs.insert(pack, state);
    }

    /// Makes sure that every chunk of a content has a row that counts as referred to in the current epoch.
    ///
    /// A new chunk uses the row that another made meanwhile, if there is one; its own frame then lies unused. Shape: one row
    /// for each reference, in order. Errors: `Unavailable` when a row would name a frame in a pack that is doomed or gone, or
    /// one that is doubted (those bytes must be sent again), `Internal` when lengths differ. After an error the overlay
    /// may hold a part of the content: an engine that goes on takes a copy of it from before.
    pub fn refer(&mut self, chunks: &[ChunkRef]) -> Result<Vec<RowRef>> {
        chunks.iter().map(|chunk| self.refer_to(chunk)).collect()
    }

    /// What is to be written for all contents that were decided.
    pub fn into_referrals(self) -> Referrals {
        self.referrals
    }

    fn refer_to(&mut self, chunk: &ChunkRef) -> Result<RowRef> {
        match *chunk {
            ChunkRef::New { digest, size_bytes, place } => self.make_or_refer(digest, size_bytes, place),
            ChunkRef::Known { id, digest, size_bytes, place } => {
                let row_ref = RowRef::Standing(id);
                if self.rows.contains_key(&row_ref) {
                    return self.refer_to_row(row_ref, size_bytes);
                }
                // The row was collected. Its frame is old: in a pack that was set aside it is damaged, or not durable.
                if self.packs.get(&place.pack).is_some_and(|state| pack::is_sound(*state)) {
                    return self.make_or_refer(digest, size_bytes, place);
                }
                self.refer_to_digest(digest, size_bytes, place.pack)
            }
        }
    }

    fn make_or_refer(&mut self, digest: Digest, size_bytes: u32, place: FramePlace) -> Result<RowRef> {
        if !self.packs.get(&place.pack).is_some_and(|state| pack::takes_rows(*state)) {
            // Perhaps nobody needs this frame: another may have stored the chunk elsewhere.
            return self.refer_to_digest(digest, size_bytes, place.pack);
        }
        let Some(row_ref) = self.by_digest.get(&digest).copied() else {
            return Ok(self.make(digest, size_bytes, place));
        };
        match self.rows.get_mut(&row_ref) {
            Some(row) if row.is_doubted && row.chunk.place != place => {
                let old = row.chunk;
                row.chunk = StoredChunk { size_bytes, place, ..old };
                (row.is_doubted, row.epoch) = (false, self.epoch);
                self.mend(&old, size_bytes, place);
                Ok(row_ref)
            }
            _ => self.refer_to_row(row_ref, size_bytes),
        }
    }

    fn make(&mut self, digest: Digest, size_bytes: u32, place: FramePlace) -> RowRef {
        let row_ref = RowRef::New(self.referrals.new.len());
        // Its number is the engine's to give.
        let chunk = StoredChunk { id: ChunkId(0), digest, size_bytes, place };
        self.rows.insert(row_ref, ChunkRow { chunk, epoch: self.epoch, is_doubted: false });
        self.by_digest.insert(digest, row_ref);
        self.referrals.new.push(NewRow { digest, size_bytes, place });
        self.referrals.totals.chunks += 1;
        self.referrals.totals.plain_bytes += i64::from(size_bytes);
        self.referrals.totals.frame_bytes += i64::from(place.stored_bytes);
        self.referrals.count_in(&place);
        row_ref
    }

    fn mend(&mut self, old: &StoredChunk, size_bytes: u32, place: FramePlace) {
        let referrals = &mut self.referrals;
        referrals.mended.push(Mend { row: old.id, size_bytes, place });
        referrals.totals.plain_bytes += i64::from(size_bytes) - i64::from(old.size_bytes);
        referrals.totals.frame_bytes += i64::from(place.stored_bytes) - i64::from(old.place.stored_bytes);
        let before = referrals.packs.entry(old.place.pack).or_default();
        before.live_chunks -= 1;
        before.live_bytes -= i64::from(old.place.stored_bytes);
        referrals.count_in(&place);
    }

    fn refer_to_digest(&mut self, digest: Digest, size_bytes: u32, pack: PackId) -> Result<RowRef> {
        match self.by_digest.get(&digest).copied() {
            Some(row_ref) => self.refer_to_row(row_ref, size_bytes),
            None => Err(pack_gone(pack)),
        }
    }

    fn refer_to_row(&mut self, row_ref: RowRef, size_bytes: u32) -> Result<RowRef> {
        let row = self.rows.get_mut(&row_ref).ok_or_else(|| {
            Error::new(ErrorKind::Internal, "refer to chunk").because("the row is not in the overlay")
        })?;
        if row.is_doubted {
            return Err(doubted(row.chunk.id));
        }
        if row.chunk.size_bytes != size_bytes {
            let reason = format!("it has {} bytes, not {size_bytes}", row.chunk.size_bytes);
            return Err(Error::new(ErrorKind::Internal, "refer to chunk")
                .about(row.chunk.id)
                .because(reason));
        }
        if row.epoch < self.epoch {
            row.epoch = self.epoch;
            self.referrals.raised.push(row.chunk.id);
        }
        Ok(row_ref)
    }
}

impl Referrals {
    fn count_in(&mut self, place: &FramePlace) {
        let end = place.offset.saturating_add(u64::from(place.stored_bytes));
        let more = PackChange { live_chunks: 1, live_bytes: i64::from(place.stored_bytes), end };
        *self.packs.entry(place.pack).or_default() += more;
    }
}

fn doubted(id: ChunkId) -> Error {
    Error::new(ErrorKind::Unavailable, "refer to chunk")
        .about(id)
        .because("bytes that were stored before failed their check; send the content again")
}

fn pack_gone(pack: PackId) -> Error {
    Error::new(ErrorKind::Unavailable, "refer to chunk")
        .about(pack)
        .because("a chunk was collected meanwhile; send its bytes again")
}

#[cfg(test)]
mod tests;
