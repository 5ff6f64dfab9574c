//! Making an open pack whole again after a crash.
//!
//! 1. Frames that were committed without a sync are written to their places.
//! 2. The pack is walked. Where no sound frame stands, and no committed one is meant to, stood a frame that a crash took
//!    before anybody relied on it: the hole is filled with a frame of zeros, so that frames stand back to back.

use bytes::Bytes;
use usp_model::{FramePlace, PackId, Result};

use crate::frame::{FRAME_HEADER_BYTES, PLAIN_BYTES_MAX, filler, stored_bytes};
use crate::index::ChunkIndex;
use crate::pack::PACK_HEADER_BYTES;
use crate::pack_store::PackStore;
use crate::scan::{Walk, walk, walk_from};

const FRAME_BYTES_MIN: u64 = FRAME_HEADER_BYTES as u64 + 1;

/// Step 1. Durable when it returns.
pub(super) async fn write_again(
    packs: &PackStore,
    index: &dyn ChunkIndex,
    pack: PackId,
    committed_bytes: u64,
) -> Result<()> {
    if usp_rt::is_planted("recovery-writes-nothing-again") {
        return Ok(());
    }
    let frames = index.redo(pack).await?;
    let mut is_dirty = false;
    for frame in frames {
        let end = frame.place.offset.saturating_add(frame.bytes.len() as u64);
        if end <= committed_bytes {
            packs.open().append(pack, frame.place.offset, vec![frame.bytes.into()]).await?;
            is_dirty = true;
        }
    }
    if is_dirty { packs.open().sync(pack).await } else { Ok(()) }
}

/// Step 2. Answers every frame up to `committed_bytes`, fillers too, and where a committed one is damaged. What it fills
/// is durable after the next sync.
pub(super) async fn walk_and_fill(
    packs: &PackStore,
    pack: PackId,
    size_bytes: u64,
    committed_bytes: u64,
    committed: &[FramePlace],
) -> Result<Walk> {
    let mut found = walk(packs, pack, size_bytes, committed_bytes).await?;
    if size_bytes < committed_bytes {
        return Ok(found);
    }
    loop {
        drop_overlapping(&mut found, committed);
        let Some(at) = found.damaged_at.filter(|&at| at >= PACK_HEADER_BYTES) else { return Ok(found) };
        let next = committed.iter().map(|place| place.offset).find(|&offset| offset >= at);
        let end = next.unwrap_or(committed_bytes);
        if end.saturating_sub(at) < FRAME_BYTES_MIN {
            return Ok(found);
        }
        fill(packs, pack, at, end).await?;
        let mut later = walk_from(packs, pack, at, committed_bytes).await?;
        found.entries.append(&mut later.entries);
        found.damaged_at = later.damaged_at;
    }
}

/// A frame that reaches into a committed one is what an older write left there: it counts as a hole.
fn drop_overlapping(found: &mut Walk, committed: &[FramePlace]) {
    let mut places = committed.iter().map(|place| place.offset).peekable();
    let reaches_into_next = found.entries.iter().position(|entry| {
        while places.next_if(|&offset| offset <= entry.offset).is_some() {}
        places.peek().is_some_and(|&next| next < entry.end())
    });
    if let Some(index) = reaches_into_next {
        found.damaged_at = found.entries.get(index).map(|entry| entry.offset);
        found.entries.truncate(index);
    }
}

async fn fill(packs: &PackStore, pack: PackId, mut from: u64, end: u64) -> Result<()> {
    let frame_bytes_max = u64::from(stored_bytes(PLAIN_BYTES_MAX));
    while from < end {
        let left = end - from;
        // What remains after a frame must have room for another.
        let size_bytes = if left > frame_bytes_max { frame_bytes_max - FRAME_BYTES_MIN } else { left };
        let frame = filler(u32::try_from(size_bytes).unwrap_or(u32::MAX));
        packs.open().append(pack, from, vec![Bytes::from(frame)]).await?;
        from += size_bytes;
    }
    Ok(())
}
