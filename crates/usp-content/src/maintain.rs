//! Upkeep of packs: sealing, moving frames, erasing. What to do when, and what the rows say, is the caller's.

use std::sync::Arc;

use bytes::Bytes;
use usp_model::{ByteRange, Digest, Error, ErrorKind, FramePlace, PackId, RedoFrame, Result};
use usp_rt::BytePermit;

use crate::frame::Frame;
use crate::pack::{Walked, walk_frame};
use crate::pending::PackPins;
use crate::scrub::PackInspector;
use crate::store::ContentStore;

/// Frames that were appended a second time.
#[derive(Debug)]
pub struct CopiedFrames {
    /// In the order asked.
    pub places: Vec<FramePlace>,
    /// Keeps the packs of `places` from being doomed.
    pub pins: PackPins,
}

impl ContentStore {
    /// Looks at packs: scrubbing and checking go through it.
    pub fn inspector(&self) -> PackInspector {
        PackInspector::new(self.engine.pack_store.clone())
    }

    /// Forgets where a chunk stands whose frame failed its check. Call it once `lookup` no longer finds the chunk.
    pub fn forget_chunk(&self, digest: &Digest) {
        self.engine.pending.forget(digest);
    }

    /// Appends frames as they stand to open packs, without decoding them, and answers their new places in order.
    /// Sync the packs named there before rows are moved, and hold the pins until they are.
    ///
    /// Shape: as many frames as fit in memory at once; a few megabytes. Errors: `Corrupt` when a frame fails its
    /// checksum (then none is copied), and those of an append. Cancel: safe, copies are then without use.
    pub async fn copy_frames(&self, places: Vec<FramePlace>) -> Result<CopiedFrames> {
        let stored_bytes = places.iter().map(|place| u64::from(place.stored_bytes)).sum();
        let permit = self.engine.budget.acquire(stored_bytes).await;
        let mut frames = Vec::with_capacity(places.len());
        for place in places {
            frames.push(self.sound_frame(place).await?);
        }
        self.append(frames, Some(permit)).await
    }

    async fn append(&self, frames: Vec<Frame>, permit: Option<BytePermit>) -> Result<CopiedFrames> {
        let engine = Arc::clone(&self.engine);
        let appended = tokio::spawn(async move {
            let appended = engine.packs.append(frames).await;
            drop(permit);
            appended.map(|(places, pins)| CopiedFrames { places, pins })
        });
        appended
            .await
            .unwrap_or_else(|source| Err(Error::new(ErrorKind::Internal, "copy frames").caused_by(source)))
    }

    /// Appends frames of a pack that failed, from the copies that the index kept of them; otherwise as `copy_frames`.
    ///
    /// Errors: `Corrupt` when a copy fails its checksum, and those of an append.
    pub async fn store_again(&self, copies: Vec<RedoFrame>) -> Result<CopiedFrames> {
        let mut frames = Vec::with_capacity(copies.len());
        for RedoFrame { place, bytes } in copies {
            frames.push(sound(place, bytes.into())?);
        }
        self.append(frames, None).await
    }

    /// Seals an open pack before it is full, so that it can be emptied. `false` when it is not open any more.
    ///
    /// Errors: `StorageFull`, then it stays open; `Unavailable`. Cancel: safe, it goes on unseen.
    pub async fn seal(&self, pack: PackId) -> Result<bool> {
        let engine = Arc::clone(&self.engine);
        let sealing = tokio::spawn(async move { engine.packs.seal_early(pack).await });
        sealing
            .await
            .unwrap_or_else(|source| Err(Error::new(ErrorKind::Internal, "seal pack").caused_by(source)))
    }

    /// Refuses new references to frames of a sealed pack from now on, so that it can be doomed. `false` while an upload is
    /// about to commit some: try again later.
    pub fn block_references(&self, pack: PackId) -> bool {
        self.engine.pending.block_references(pack)
    }

    /// Undoes `block_references`: the pack was not doomed.
    pub fn allow_references(&self, pack: PackId) {
        self.engine.pending.allow_references(pack);
    }

    /// Deletes a pack, and forgets its frames. The caller has made sure that no row names it.
    pub async fn delete_pack(&self, pack: PackId) -> Result<()> {
        self.engine.pending.forget_pack(pack);
        self.engine.pack_store.delete(pack).await
    }

    async fn sound_frame(&self, place: FramePlace) -> Result<Frame> {
        let range = ByteRange::at(place.offset, u64::from(place.stored_bytes));
        sound(place, self.engine.pack_store.read(place.pack, range).await?)
    }
}

fn sound(place: FramePlace, bytes: Bytes) -> Result<Frame> {
    match walk_frame(place.offset, &bytes) {
        Walked::Frame(entry) if entry.place(place.pack) == place => Frame::from_stored(bytes),
        _ => None,
    }
    .ok_or_else(|| {
        Error::new(ErrorKind::Corrupt, "copy frame")
            .about(place.pack)
            .because(format!("the frame at offset {} failed its check", place.offset))
    })
}
