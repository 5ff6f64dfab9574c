//! Upkeep of packs: scrubbing, listing, moving frames, erasing. What to do when, and what the rows say, is the caller's.

use std::sync::Arc;

use bytes::Bytes;
use usp_model::{ByteRange, Error, ErrorKind, FramePlace, PackId, RedoFrame, Result};
use usp_rt::BytePermit;

use crate::frame::Frame;
use crate::pack::{self, FrameEntry, PACK_HEADER_BYTES, Walked, walk_frame};
use crate::pending::PackPins;
use crate::scan;
use crate::store::ContentStore;

/// What a scrub of one pack found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScrubReport {
    /// Bytes that were read and checked.
    pub size_bytes: u64,
    pub frame_count: u64,
    /// Offsets of the frames that failed their check; 0 stands for the pack header.
    pub damaged: Vec<u64>,
    /// The footer of a sealed pack cannot be read. Its frames are found by walking; after a damaged one the rest is
    /// not reached, and only the first is named.
    pub footer_damaged: bool,
}

impl ScrubReport {
    pub fn is_sound(&self) -> bool {
        self.damaged.is_empty() && !self.footer_damaged
    }
}

/// What scrubbing needs to know of a pack, as its row says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// A sealed pack of this size.
    Sealed(u64),
    /// An open pack, or one set aside while open, in which commits rely on so many bytes.
    Committed(u64),
}

/// Frames that stand a second time.
#[derive(Debug)]
pub struct CopiedFrames {
    /// In the order asked.
    pub places: Vec<FramePlace>,
    pub pins: PackPins,
}

impl ContentStore {
    /// Checks every committed byte of a pack against its checksums. Needs no key: it finds accidents, not forgeries.
    ///
    /// Errors: `NotFound`, `Unavailable`. Cancel: safe, nothing is written.
    pub async fn scrub(&self, pack: PackId, extent: Extent) -> Result<ScrubReport> {
        let backend = &*self.shared.backend;
        let size_bytes = backend.len(pack).await?;
        let (Extent::Sealed(end) | Extent::Committed(end)) = extent;
        let mut report = ScrubReport { size_bytes: end, ..ScrubReport::default() };
        if size_bytes < end.max(PACK_HEADER_BYTES) {
            report.damaged.push(size_bytes);
            return Ok(report);
        }
        if let Extent::Sealed(_) = extent {
            report.footer_damaged = size_bytes != end;
            match scan::read_footer(backend, pack, end).await? {
                Some(entries) => {
                    if !scan::header_is_sound(backend, pack).await? {
                        report.damaged.push(0);
                    }
                    report.frame_count = entries.len() as u64;
                    report.damaged.extend(scan::damaged_among(backend, pack, &entries).await?);
                    return Ok(report);
                }
                None => report.footer_damaged = true,
            }
        }
        let found = scan::walk(backend, pack, size_bytes, end).await?;
        report.frame_count = found.entries.len() as u64;
        // A damaged footer ends the walk like a damaged frame would; its length tells them apart.
        let footer_bytes = pack::footer_bytes(found.entries.len());
        let stopped_at = found.damaged_at.filter(|at| !report.footer_damaged || at + footer_bytes != end);
        report.damaged.extend(stopped_at);
        Ok(report)
    }

    /// The frames of a sealed pack as its footer lists them: with these the chunk index can be rebuilt.
    ///
    /// Errors: `NotFound`, `Unavailable`, `Corrupt` when the footer fails its check.
    pub async fn frames(&self, pack: PackId) -> Result<Vec<FrameEntry>> {
        let backend = &*self.shared.backend;
        let size_bytes = backend.len(pack).await?;
        let footer = scan::read_footer(backend, pack, size_bytes).await?;
        footer.ok_or_else(|| Error::new(ErrorKind::Corrupt, "read the footer of pack").about(pack))
    }

    /// Appends frames as they stand to open packs, without decoding them, and answers their new places in order.
    /// Sync the packs named there before rows are moved, and hold the pins until they are.
    ///
    /// Shape: as many frames as fit in memory at once; a few megabytes. Errors: `Corrupt` when a frame fails its
    /// checksum (then none is copied), and those of an append. Cancel: safe, copies are then without use.
    pub async fn copy_frames(&self, places: Vec<FramePlace>) -> Result<CopiedFrames> {
        let stored_bytes = places.iter().map(|place| u64::from(place.stored_bytes)).sum();
        let permit = self.shared.budget.acquire(stored_bytes).await;
        let mut frames = Vec::with_capacity(places.len());
        for place in places {
            frames.push(self.sound_frame(place).await?);
        }
        self.append(frames, Some(permit)).await
    }

    async fn append(&self, frames: Vec<Frame>, permit: Option<BytePermit>) -> Result<CopiedFrames> {
        let shared = Arc::clone(&self.shared);
        let appended = tokio::spawn(async move {
            let appended = shared.packs.append(frames).await;
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
        let shared = Arc::clone(&self.shared);
        let sealing = tokio::spawn(async move { shared.packs.seal_early(pack).await });
        sealing
            .await
            .unwrap_or_else(|source| Err(Error::new(ErrorKind::Internal, "seal pack").caused_by(source)))
    }

    /// Keeps everyone from referring to frames of a sealed pack from now on, so that it can be doomed. `false` while an
    /// upload is about to refer to some: try again later.
    pub fn condemn(&self, pack: PackId) -> bool {
        self.shared.pending.condemn(pack)
    }

    /// Takes back what `condemn` said: the pack was not doomed.
    pub fn acquit(&self, pack: PackId) {
        self.shared.pending.acquit(pack);
    }

    /// Erases a pack, and what this process remembers of it. The caller has made sure that no row names it.
    pub async fn erase(&self, pack: PackId) -> Result<()> {
        self.shared.pending.forget_pack(pack);
        self.shared.backend.delete(pack).await
    }

    async fn sound_frame(&self, place: FramePlace) -> Result<Frame> {
        let range = ByteRange::at(place.offset, u64::from(place.stored_bytes));
        sound(place, self.shared.backend.read(place.pack, range).await?)
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
