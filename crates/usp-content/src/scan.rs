//! Walking the frames of a pack, checksum by checksum.

use bytes::{Buf, Bytes};
use usp_model::{ByteRange, PackId, Result};

use crate::backend::PackBackend;
use crate::pack::{
    self, ENTRY_BYTES, FrameEntry, PACK_HEADER_BYTES, TRAILER_BYTES, Trailer, Walked, walk_frame,
};

/// Bytes that a scan holds of the pack.
const WINDOW_BYTES: u64 = 1 << 20;

/// What a walk over a pack found.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    /// The sound frames from the first one on.
    pub(crate) entries: Vec<FrameEntry>,
    /// Where they stop before the end; nothing can be said from there on.
    pub(crate) damaged_at: Option<u64>,
}

/// Whether the pack begins with its own header. Shape: the pack has at least 64 bytes.
pub(crate) async fn header_is_sound(backend: &dyn PackBackend, pack: PackId) -> Result<bool> {
    let header = backend.read(pack, ByteRange::at(0, PACK_HEADER_BYTES)).await?;
    Ok(pack::decode_header(&header) == Some(pack))
}

/// Walks from the first frame to `end`, trusting nothing but what it reads.
pub(crate) async fn walk(backend: &dyn PackBackend, pack: PackId, size_bytes: u64, end: u64) -> Result<Walk> {
    if size_bytes < end {
        return Ok(Walk { damaged_at: Some(size_bytes), ..Walk::default() });
    }
    if !header_is_sound(backend, pack).await? {
        return Ok(Walk { damaged_at: Some(0), ..Walk::default() });
    }
    walk_from(backend, pack, PACK_HEADER_BYTES, end).await
}

/// Walks from the frame at `offset` to `end`. Shape: the pack has at least `end` bytes.
pub(crate) async fn walk_from(
    backend: &dyn PackBackend,
    pack: PackId,
    mut offset: u64,
    end: u64,
) -> Result<Walk> {
    let mut found = Walk::default();
    let mut window = Bytes::new();
    while offset < end {
        match walk_frame(offset, &window) {
            Walked::Frame(entry) => {
                offset = entry.end();
                window.advance(entry.place(pack).stored_bytes as usize);
                found.entries.push(entry);
            }
            Walked::NeedsBytes(bytes) if bytes as u64 <= end - offset => {
                let wanted = WINDOW_BYTES.max(bytes as u64).min(end - offset);
                window = backend.read(pack, ByteRange::at(offset, wanted)).await?;
            }
            Walked::NeedsBytes(_) | Walked::Damaged => {
                found.damaged_at = Some(offset);
                break;
            }
        }
    }
    Ok(found)
}

/// The footer of a sealed pack of `size_bytes`; `None` when it is damaged or the pack has none.
pub(crate) async fn read_footer(
    backend: &dyn PackBackend,
    pack: PackId,
    size_bytes: u64,
) -> Result<Option<Vec<FrameEntry>>> {
    let Some(start) =
        size_bytes.checked_sub(TRAILER_BYTES as u64).filter(|&start| start >= PACK_HEADER_BYTES)
    else {
        return Ok(None);
    };
    let bytes = backend.read(pack, ByteRange::new(start, size_bytes)?).await?;
    let Some(trailer) = Trailer::decode(&bytes, size_bytes).filter(|trailer| trailer.pack == pack) else {
        return Ok(None);
    };
    let entries_bytes = u64::from(trailer.entry_count).saturating_mul(ENTRY_BYTES as u64);
    let bytes = backend.read(pack, ByteRange::at(trailer.offset, entries_bytes)).await?;
    Ok(trailer.entries(&bytes))
}

/// The frames among `entries` that are not what their entry says, one window of the pack at a time.
pub(crate) async fn damaged_among(
    backend: &dyn PackBackend,
    pack: PackId,
    entries: &[FrameEntry],
) -> Result<Vec<u64>> {
    let mut damaged = Vec::new();
    let mut rest = entries;
    while let Some(first) = rest.first() {
        let fits = |entry: &FrameEntry| entry.end() - first.offset <= WINDOW_BYTES;
        let count = rest.iter().take_while(|entry| fits(entry)).count().max(1);
        let (group, later) = rest.split_at(count.min(rest.len()));
        rest = later;
        let end = group.last().map_or(first.end(), FrameEntry::end);
        let mut window = backend.read(pack, ByteRange::new(first.offset, end)?).await?;
        for entry in group {
            let frame = window.split_to((entry.place(pack).stored_bytes as usize).min(window.len()));
            if walk_frame(entry.offset, &frame) != Walked::Frame(*entry) {
                damaged.push(entry.offset);
            }
        }
    }
    Ok(damaged)
}
