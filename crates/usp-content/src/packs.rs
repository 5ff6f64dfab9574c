//! Open packs: appending, syncing, sealing.
//!
//! 1. A slot takes frames, one appender at a time. Without an open pack it begins one: row, then file.
//! 2. Frames are written at the end of the pack. No space: the end stays, the caller gets `StorageFull`. Any other
//!    failure: the pack is set aside, the caller gets `Unavailable`, the next append begins a new pack.
//! 3. A full pack is sealed ([`crate::pack_store`]): footer and truncation by the appender; sync, move to where sealed packs
//!    lie, and row in a task of its own, so that filling the next pack waits for none of them. Whoever needs its frames to be
//!    durable waits in 4 like for any pack.
//! 4. `sync` shares one `fdatasync` among all who wait for the pack. If it fails the pack is set aside, every waiter
//!    gets `Unavailable`, and no sync of it is ever tried again.
//! 5. Every [`SYNC_AHEAD_BYTES`] a sync begins in the background, so that the disk works while the rest arrives and the
//!    sync that is waited for has little left to write.
//! 6. Frames of short contents are committed with their rows instead of being synced ([`redo`]).
//!
//! All of this runs in tasks of its own: a client that goes away leaves no half-done write behind for the next one.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinHandle;
use usp_model::{Error, ErrorKind, FramePlace, PackId, Result};

use crate::config::ContentConfig;
use crate::frame::Frame;
use crate::index::ChunkIndex;
use crate::pack::{self, FRAME_COUNT_MAX, FrameEntry, PACK_HEADER_BYTES};
use crate::pack_store::PackStore;
use crate::pending::{PackPins, Pending};
use crate::stats::Counters;

mod durability;
mod redo;

pub(crate) use durability::Durability;
use redo::RedoRoom;

/// Bytes of one pack that are left to the next sync that somebody waits for.
const SYNC_AHEAD_BYTES: u64 = 16 << 20;

/// The packs that this process writes.
#[derive(Debug)]
pub(crate) struct Packs {
    config: ContentConfig,
    store: PackStore,
    index: Arc<dyn ChunkIndex>,
    pending: Arc<Pending>,
    counters: Arc<Counters>,
    slots: Vec<Mutex<Option<OpenPack>>>,
    next_slot: AtomicUsize,
    /// Every pack that may have something to sync, and those that failed one.
    durability: parking_lot::Mutex<HashMap<PackId, Arc<Durability>>>,
    redo: RedoRoom,
    /// Complete packs and their lengths whose rows do not say so yet.
    complete: Mutex<Vec<(PackId, u64)>>,
}

/// A pack that is being appended to; only the holder of its slot sees it.
#[derive(Debug)]
struct OpenPack {
    id: PackId,
    /// Of the byte after the last frame.
    end: u64,
    entries: Vec<FrameEntry>,
    durability: Arc<Durability>,
}

impl Packs {
    pub(crate) fn new(
        config: ContentConfig,
        store: PackStore,
        index: Arc<dyn ChunkIndex>,
        pending: Arc<Pending>,
        counters: Arc<Counters>,
    ) -> Self {
        let slots = (0..config.open_pack_count.max(1)).map(|_| Mutex::default()).collect();
        Self {
            config,
            store,
            index,
            pending,
            counters,
            slots,
            next_slot: AtomicUsize::new(0),
            durability: parking_lot::Mutex::default(),
            redo: RedoRoom::default(),
            complete: Mutex::default(),
        }
    }

    /// Appends `frames` in order and answers where they stand; those packs are pinned before references to them can be blocked.
    ///
    /// Errors: `StorageFull`, `Unavailable`; then none of the frames counts.
    /// Cancel: not safe; run it in a task of its own.
    pub(crate) async fn append(self: &Arc<Self>, frames: Vec<Frame>) -> Result<(Vec<FramePlace>, PackPins)> {
        let mut places = Vec::with_capacity(frames.len());
        let mut pins = PackPins::default();
        let mut rest = frames.as_slice();
        while !rest.is_empty() {
            let mut slot = self.slot().await?;
            let mut open = self.writable(slot.take()).await?;
            let fitting = self.count_fitting(&open, rest);
            if fitting == 0 && open.entries.is_empty() {
                *slot = Some(open);
                return Err(Error::new(ErrorKind::Internal, "append frame")
                    .because("a frame is larger than a pack may become"));
            }
            let (batch, later) = rest.split_at(fitting);
            // An open pack is never doomed; once it is sealed it may be.
            pins.hold(&self.pending, open.id);
            let written = self.write(&mut open, batch, &mut places).await;
            let full = fitting < rest.len();
            rest = later;
            match written {
                // The rest goes into the next pack while this one is synced.
                Ok(()) if full => drop(self.seal(open, &mut slot).await?),
                Ok(()) => {
                    self.sync_ahead(&open);
                    *slot = Some(open);
                }
                Err(error) if error.kind() == ErrorKind::StorageFull => {
                    *slot = Some(open);
                    return Err(error);
                }
                Err(error) => return Err(self.set_aside(&open.durability, error).await),
            }
        }
        Ok((places, pins))
    }

    /// The first free slot, so that little traffic uses one pack and shares its syncs; if all are busy, each in turn.
    async fn slot(&self) -> Result<MutexGuard<'_, Option<OpenPack>>> {
        if let Some(slot) = self.slots.iter().find_map(|slot| slot.try_lock().ok()) {
            return Ok(slot);
        }
        let turn = self.next_slot.fetch_add(1, Ordering::Relaxed) % self.slots.len();
        match self.slots.get(turn) {
            Some(slot) => Ok(slot.lock().await),
            None => Err(Error::new(ErrorKind::Internal, "find an open pack")),
        }
    }

    /// `open` itself, or a new pack when there is none or a sync of it failed.
    async fn writable(&self, open: Option<OpenPack>) -> Result<OpenPack> {
        match open {
            Some(open) if !open.durability.is_lost() => Ok(open),
            _ => self.begin().await,
        }
    }

    async fn begin(&self) -> Result<OpenPack> {
        let id = self.index.begin_pack().await?;
        if let Err(error) = self.store.open().create(id, pack::encode_header(id).into()).await {
            // Its row stays without a file. If this fails too, recovery finds the row.
            if let Err(second) = self.index.set_pack_aside(id).await {
                tracing::warn!(pack.id = %id, error = %second.chain(), "a pack row without a file stays open");
            }
            return Err(unavailable_unless_full(error));
        }
        self.counters.packs_begun.add(1);
        let durability = Arc::new(Durability::new(id, PACK_HEADER_BYTES));
        self.durability.lock().insert(id, Arc::clone(&durability));
        Ok(OpenPack { id, end: PACK_HEADER_BYTES, entries: Vec::new(), durability })
    }

    /// How many of `frames`, from the first on, the pack takes before it must be sealed.
    fn count_fitting(&self, open: &OpenPack, frames: &[Frame]) -> usize {
        let mut size_bytes = open.end.saturating_add(pack::footer_bytes(open.entries.len()));
        let room = FRAME_COUNT_MAX.saturating_sub(open.entries.len());
        let fits = |frame: &&Frame| {
            size_bytes += u64::from(frame.header.stored_bytes()) + pack::ENTRY_BYTES as u64;
            size_bytes <= self.config.pack_size_bytes_max
        };
        frames.iter().take(room).take_while(fits).count()
    }

    async fn write(&self, open: &mut OpenPack, frames: &[Frame], places: &mut Vec<FramePlace>) -> Result<()> {
        if frames.is_empty() {
            return Ok(());
        }
        let mut parts = Vec::with_capacity(frames.len() * 2);
        let mut entries = Vec::with_capacity(frames.len());
        let mut end = open.end;
        for frame in frames {
            let entry = FrameEntry::of(end, &frame.header);
            end = entry.end();
            entries.push(entry);
            parts.push(Bytes::from(frame.header.encode()));
            parts.push(frame.payload.clone());
        }
        self.store.open().append(open.id, open.end, parts).await?;
        self.counters.frames.add(entries.len() as u64);
        self.counters.stored_bytes.add(end - open.end);
        places.extend(entries.iter().map(|entry| entry.place(open.id)));
        open.entries.append(&mut entries);
        open.end = end;
        open.durability.note_written(end);
        Ok(())
    }

    /// Ends the pack with its footer; the task that is returned does the rest. Without space for the footer it stays open in
    /// its slot.
    async fn seal(
        self: &Arc<Self>,
        open: OpenPack,
        slot: &mut Option<OpenPack>,
    ) -> Result<JoinHandle<Result<()>>> {
        let footer = pack::encode_footer(open.id, open.end, &open.entries);
        let size_bytes = open.end + footer.len() as u64;
        match self.store.open().append(open.id, open.end, vec![footer.into()]).await {
            Err(error) if error.kind() == ErrorKind::StorageFull => {
                *slot = Some(open);
                return Err(error);
            }
            Err(error) => return Err(self.set_aside(&open.durability, error).await),
            Ok(()) => {}
        }
        // A write that failed for want of space may have left bytes beyond the footer.
        if let Err(error) = self.store.open().truncate(open.id, size_bytes).await {
            return Err(self.set_aside(&open.durability, error).await);
        }
        open.durability.note_written(size_bytes);
        let packs = Arc::clone(self);
        Ok(tokio::spawn(async move { packs.finish(&open.durability, size_bytes).await }))
    }

    /// Until the row says so the pack counts as open: the next start seals it again at its committed length.
    async fn finish(&self, durability: &Arc<Durability>, size_bytes: u64) -> Result<()> {
        self.sync_to(durability, size_bytes).await?;
        let mut complete = self.complete.lock().await;
        complete.push((durability.pack(), size_bytes));
        self.note_complete(&mut complete, durability.pack()).await
    }

    /// Moves every complete pack to where sealed packs lie and updates its row; what fails is tried again with the next.
    ///
    /// Errors: why `wanted` is still complete and not sealed.
    async fn note_complete(&self, complete: &mut Vec<(PackId, u64)>, wanted: PackId) -> Result<()> {
        let (mut left, mut outcome) = (Vec::new(), Ok(()));
        let mut rest = std::mem::take(complete).into_iter();
        while let Some((pack, size_bytes)) = rest.next() {
            let Err(error) = self.note_sealed(pack, size_bytes).await else {
                self.durability.lock().remove(&pack);
                self.store.release(pack).await;
                self.counters.packs_sealed.add(1);
                continue;
            };
            tracing::warn!(pack.id = %pack, error = %error.chain(), "a complete pack still counts as open");
            left.push((pack, size_bytes));
            // The others would fail alike, each after a wait.
            let is_for_all = matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::OutcomeUnknown);
            if is_for_all {
                left.extend(rest.by_ref());
            }
            if pack == wanted || is_for_all {
                outcome = Err(error);
            }
        }
        *complete = left;
        if complete.iter().any(|(pack, _)| *pack == wanted) { outcome } else { Ok(()) }
    }

    async fn note_sealed(&self, pack: PackId, size_bytes: u64) -> Result<()> {
        self.store.hand_over(pack, size_bytes).await?;
        self.index.seal_pack(pack, size_bytes).await
    }

    /// Begins a sync in the background. If it fails, the next caller who syncs gets its error.
    fn sync_ahead(self: &Arc<Self>, open: &OpenPack) {
        if let Some(target) = open.durability.sync_ahead_of(SYNC_AHEAD_BYTES) {
            let (packs, durability) = (Arc::clone(self), Arc::clone(&open.durability));
            tokio::spawn(async move { packs.sync_to(&durability, target).await });
        }
    }

    /// Seals a pack before it is full, or finishes sealing one. `false` when it is neither open nor being sealed.
    ///
    /// Errors: as `append`. Cancel: not safe; run it in a task of its own.
    pub(crate) async fn seal_early(self: &Arc<Self>, pack: PackId) -> Result<bool> {
        for slot in &self.slots {
            let mut slot = slot.lock().await;
            let wanted = |open: &mut OpenPack| open.id == pack && !open.durability.is_lost();
            if let Some(open) = slot.take_if(wanted) {
                let sealing = self.seal(open, &mut slot).await?;
                drop(slot);
                let sealed = sealing.await;
                return sealed
                    .unwrap_or_else(|source| {
                        Err(Error::new(ErrorKind::Internal, "seal pack").about(pack).caused_by(source))
                    })
                    .map(|()| true);
            }
        }
        let mut complete = self.complete.lock().await;
        let is_known = complete.iter().any(|(id, _)| *id == pack);
        if is_known {
            self.note_complete(&mut complete, pack).await?;
        }
        Ok(is_known)
    }

    /// Makes every frame durable that was appended to `pack` before the call.
    ///
    /// A pack that is not known here was sealed: its frames are durable. Cancel: not safe.
    pub(crate) async fn sync(&self, pack: PackId) -> Result<()> {
        let durability = self.durability.lock().get(&pack).cloned();
        match durability {
            Some(durability) => self.sync_to(&durability, durability.written()).await,
            None => Ok(()),
        }
    }

    async fn sync_to(&self, durability: &Arc<Durability>, target: u64) -> Result<()> {
        let sync = || async {
            self.counters.syncs.add(1);
            let done = self.store.open().sync(durability.pack()).await;
            self.counters.syncs_failed.add(u64::from(done.is_err()));
            done
        };
        match durability.sync_to(target, sync).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.set_aside(durability, error).await),
        }
    }

    /// Every pack that frames were appended to and that is not sealed yet.
    pub(crate) fn open_packs(&self) -> Vec<PackId> {
        self.durability
            .lock()
            .iter()
            .filter(|(_, durability)| !durability.is_lost())
            .map(|(id, _)| *id)
            .collect()
    }

    /// Nothing more is written to the pack; what was committed in it stays readable.
    async fn set_aside(&self, durability: &Durability, cause: Error) -> Error {
        let pack = durability.pack();
        durability.mark_lost();
        if durability.is_first_report() {
            tracing::error!(pack.id = %pack, error = %cause.chain(), "a pack failed and is set aside");
            self.pending.forget_pack(pack);
            self.store.open().retire(pack).await;
            if let Err(error) = self.index.set_pack_aside(pack).await {
                tracing::error!(pack.id = %pack, error = %error.chain(), "a failed pack could not be marked");
            }
        }
        Error::new(ErrorKind::Unavailable, "write pack")
            .about(pack)
            .because(
                "the disk failed while bytes were written; nothing of this request is certain, send it again",
            )
            .caused_by(cause)
    }
}

fn unavailable_unless_full(error: Error) -> Error {
    match error.kind() {
        ErrorKind::StorageFull => error,
        _ => Error::new(ErrorKind::Unavailable, "begin pack").caused_by(error),
    }
}
