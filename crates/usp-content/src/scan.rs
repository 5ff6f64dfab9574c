//! Walking the frames of a pack, checksum by checksum.

use bytes::{Buf, Bytes};
use usp_model::{ByteRange, Error, ErrorKind, PackId, Result};

use crate::frame;
use crate::pack::{
    self, ENTRY_BYTES, FrameEntry, PACK_HEADER_BYTES, TRAILER_BYTES, Trailer, Walked, walk_frame,
};
use crate::pack_store::{PackStore, ReadPacks};

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

/// A sound pack or frame of a version to come is no damage: nothing may be cut off or set aside for it.
///
/// Shape: `bytes` begin where a pack or a frame begins. Errors: `Internal`, naming both versions.
pub(crate) fn refuse_newer(pack: PackId, bytes: &[u8]) -> Result<()> {
    let found = pack::newer_version(bytes)
        .map(|version| ("format", u64::from(version)))
        .or_else(|| frame::newer_version(bytes).map(|version| ("frame", u64::from(version))));
    let Some((what, version)) = found else { return Ok(()) };
    let reason = format!(
        "it is of {what} version {version}, newer than 1, the newest that this usp knows; start a newer usp (nothing was \
         changed)"
    );
    Err(Error::new(ErrorKind::Internal, "read pack").about(pack).because(reason))
}

/// Whether the pack begins with its own header. Shape: the pack has at least 64 bytes.
pub(crate) async fn header_is_sound(packs: &PackStore, pack: PackId) -> Result<bool> {
    let header = packs.read(pack, ByteRange::at(0, PACK_HEADER_BYTES)).await?;
    refuse_newer(pack, &header)?;
    Ok(pack::decode_header(&header) == Some(pack))
}

/// Walks from the first frame to `end`, trusting nothing but what it reads.
pub(crate) async fn walk(packs: &PackStore, pack: PackId, size_bytes: u64, end: u64) -> Result<Walk> {
    if size_bytes < end {
        return Ok(Walk { damaged_at: Some(size_bytes), ..Walk::default() });
    }
    if !header_is_sound(packs, pack).await? {
        return Ok(Walk { damaged_at: Some(0), ..Walk::default() });
    }
    walk_from(packs, pack, PACK_HEADER_BYTES, end).await
}

/// Walks from the frame at `offset` to `end`. Shape: the pack has at least `end` bytes.
pub(crate) async fn walk_from(packs: &PackStore, pack: PackId, mut offset: u64, end: u64) -> Result<Walk> {
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
                window = packs.read(pack, ByteRange::at(offset, wanted)).await?;
            }
            Walked::NeedsBytes(_) | Walked::Damaged => {
                refuse_newer(pack, &window)?;
                found.damaged_at = Some(offset);
                break;
            }
        }
    }
    Ok(found)
}

/// The footer of a sealed pack of `size_bytes`; `None` when it is damaged or the pack has none.
pub(crate) async fn read_footer<P: ReadPacks + ?Sized>(
    packs: &P,
    pack: PackId,
    size_bytes: u64,
) -> Result<Option<Vec<FrameEntry>>> {
    let Some(start) =
        size_bytes.checked_sub(TRAILER_BYTES as u64).filter(|&start| start >= PACK_HEADER_BYTES)
    else {
        return Ok(None);
    };
    let bytes = packs.read(pack, ByteRange::new(start, size_bytes)?).await?;
    let Some(trailer) = Trailer::decode(&bytes, size_bytes).filter(|trailer| trailer.pack == pack) else {
        return Ok(None);
    };
    let entries_bytes = u64::from(trailer.entry_count).saturating_mul(ENTRY_BYTES as u64);
    let bytes = packs.read(pack, ByteRange::at(trailer.offset, entries_bytes)).await?;
    Ok(trailer.entries(&bytes))
}
