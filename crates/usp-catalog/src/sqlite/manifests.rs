//! Manifests: written segment by segment, read from any offset.

use rusqlite::{Connection, Row};
use usp_decide::commit::ManifestSize;
use usp_decide::manifest::{self, Released};
use usp_model::limits::SEGMENT_ENTRY_COUNT_MAX;
use usp_model::{ByteRange, ChunkRef, ManifestEntry, ManifestId, PlacedChunk, Segment};

use super::ask::{Ask, Column, int};
use super::chunks;
use super::fail::{Outcome, absent, corrupt};
use super::tx::Tx;

pub(super) fn create(tx: &Tx<'_>) -> Outcome<ManifestId> {
    tx.run("INSERT INTO manifests DEFAULT VALUES", [])?;
    Ok(ManifestId(tx.last_insert_rowid()))
}

/// Lets go of one reference. With the last one its segments go, too; chunk rows stay until they are collected.
pub(super) fn release(tx: &Tx<'_>, id: ManifestId) -> Outcome<()> {
    match refs(tx, id)?.map(manifest::release) {
        Some(Released::Kept { refs }) => set_refs(tx, id, refs),
        Some(Released::Gone) => delete(tx, id),
        None => Ok(()),
    }
}

/// Takes one more reference. Errors: `NotFound` when the content was deleted.
pub(super) fn share(tx: &Tx<'_>, id: ManifestId) -> Outcome<()> {
    let refs = manifest::share(id, refs(tx, id)?)?;
    set_refs(tx, id, refs)
}

fn refs(conn: &Connection, id: ManifestId) -> Outcome<Option<u32>> {
    conn.one("SELECT refs FROM manifests WHERE id = ?1", [id.0], |row| Ok(row.get(0)?))
}

fn set_refs(tx: &Tx<'_>, id: ManifestId, refs: u32) -> Outcome<()> {
    tx.run("UPDATE manifests SET refs = ?2 WHERE id = ?1", (id.0, refs))?;
    Ok(())
}

fn delete(tx: &Tx<'_>, id: ManifestId) -> Outcome<()> {
    tx.run("DELETE FROM manifests WHERE id = ?1", [id.0])?;
    Ok(())
}

/// A manifest of exactly these chunks, whose rows are made first.
pub(super) fn of_chunks(tx: &Tx<'_>, chunks: &[ChunkRef], size: ManifestSize) -> Outcome<ManifestId> {
    let entries = chunks::ensure(tx, chunks)?;
    let sql = "INSERT INTO manifests (size_bytes, chunk_count) VALUES (?1, ?2)";
    tx.run(sql, (int(size.size_bytes), int(size.chunk_count)))?;
    let manifest = ManifestId(tx.last_insert_rowid());
    let mut start = 0;
    for part in entries.chunks(SEGMENT_ENTRY_COUNT_MAX) {
        start = put_segment(tx, manifest, start, part)?;
    }
    Ok(manifest)
}

/// Adds chunks behind `before`, making their rows first. Fills up the last segment before it begins another.
pub(super) fn append(
    tx: &Tx<'_>,
    manifest: ManifestId,
    before: ManifestSize,
    chunks: &[ChunkRef],
) -> Outcome<()> {
    if chunks.is_empty() {
        return Ok(());
    }
    let added = chunks::ensure(tx, chunks)?;
    let last = last_segment(tx, manifest)?;
    let has_room = last.as_ref().is_some_and(|last| last.segment.entries().len() < SEGMENT_ENTRY_COUNT_MAX);
    let (mut start, mut entries) = match last {
        Some(last) if has_room => (last.start, last.segment.entries().to_vec()),
        _ => (before.size_bytes, Vec::new()),
    };
    entries.extend(added);
    for part in entries.chunks(SEGMENT_ENTRY_COUNT_MAX) {
        start = put_segment(tx, manifest, start, part)?;
    }
    set_size(tx, manifest, before.with(chunks))
}

fn set_size(tx: &Tx<'_>, manifest: ManifestId, size: ManifestSize) -> Outcome<()> {
    let sql = "UPDATE manifests SET size_bytes = ?2, chunk_count = ?3 WHERE id = ?1";
    tx.run(sql, (manifest.0, int(size.size_bytes), int(size.chunk_count)))?;
    Ok(())
}

/// Moves all that `from` has behind what `to` has, and deletes `from`. `to` must be the newer one: a walk over all segments
/// in the order of their manifests (`collect::references`) would miss what moves to where it has been.
///
/// One row at a time: a statement that changes many keeps them all in memory until it ends.
pub(super) fn take_over(tx: &Tx<'_>, to: ManifestId, from: ManifestId) -> Outcome<()> {
    if to.0 <= from.0 {
        return Err(corrupt("join manifests", "the older one cannot take over").about(to).into());
    }
    let (before, added) = (size(tx, to)?, size(tx, from)?);
    let sql = "SELECT start_offset FROM segments WHERE manifest = ?1 ORDER BY start_offset";
    let segments: Vec<i64> = tx.all(sql, [from.0], |row| Ok(row.get(0)?))?;
    for start_offset in segments {
        tx.run(
            "UPDATE segments SET manifest = ?3, start_offset = start_offset + ?4, end_offset = end_offset + ?4
             WHERE manifest = ?1 AND start_offset = ?2",
            (from.0, start_offset, to.0, int(before.size_bytes)),
        )?;
    }
    set_size(tx, to, before.joined(added))?;
    delete(tx, from)
}

/// Gives the offset after the segment.
fn put_segment(tx: &Tx<'_>, manifest: ManifestId, start: u64, entries: &[ManifestEntry]) -> Outcome<u64> {
    let segment = Segment::new(entries.to_vec())?;
    let end = start.saturating_add(segment.size_bytes());
    tx.run(
        "INSERT INTO segments (manifest, start_offset, end_offset, body) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (manifest, start_offset) DO UPDATE SET end_offset = excluded.end_offset, body = excluded.body",
        (manifest.0, int(start), int(end), segment.encode()),
    )?;
    Ok(end)
}

pub(super) fn size(conn: &Connection, manifest: ManifestId) -> Outcome<ManifestSize> {
    let sql = "SELECT size_bytes, chunk_count FROM manifests WHERE id = ?1";
    let found = conn.one(sql, [manifest.0], manifest_size)?;
    Ok(found.ok_or_else(|| no_manifest(manifest))?)
}

/// As `size`, and nothing of one that is gone.
pub(super) fn size_or_none(conn: &Connection, manifest: ManifestId) -> Outcome<ManifestSize> {
    let sql = "SELECT size_bytes, chunk_count FROM manifests WHERE id = ?1";
    Ok(conn.one(sql, [manifest.0], manifest_size)?.unwrap_or_default())
}

fn manifest_size(row: &Row<'_>) -> Outcome<ManifestSize> {
    Ok(ManifestSize { size_bytes: row.count(0)?, chunk_count: row.count(1)? })
}

struct PlacedSegment {
    start: u64,
    end: u64,
    segment: Segment,
}

fn placed(row: &Row<'_>) -> Outcome<PlacedSegment> {
    let segment = Segment::decode(row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?)?;
    let (start, end) = (row.count(0)?, row.count(1)?);
    if start.saturating_add(segment.size_bytes()) != end {
        return Err(corrupt("read manifest segment", "its entries do not fill its range").into());
    }
    Ok(PlacedSegment { start, end, segment })
}

fn last_segment(conn: &Connection, manifest: ManifestId) -> Outcome<Option<PlacedSegment>> {
    segment_at(conn, manifest, u64::MAX)
}

/// The segment that holds `offset`, or the last one before it.
fn segment_at(conn: &Connection, manifest: ManifestId, offset: u64) -> Outcome<Option<PlacedSegment>> {
    conn.one(
        "SELECT start_offset, end_offset, body FROM segments
         WHERE manifest = ?1 AND start_offset <= ?2 ORDER BY start_offset DESC LIMIT 1",
        (manifest.0, int(offset)),
        placed,
    )
}

/// The chunks that hold `range`, at most `count_max`, in order.
pub(super) fn resolve(
    conn: &Connection,
    manifest: ManifestId,
    range: ByteRange,
    count_max: usize,
) -> Outcome<Vec<PlacedChunk>> {
    let size_bytes = size(conn, manifest)?.size_bytes;
    let end = range.end().min(size_bytes);
    let mut offset = range.start();
    let mut found = Vec::new();
    while offset < end && found.len() < count_max {
        let segment = segment_at(conn, manifest, offset)?
            .filter(|segment| segment.end > offset)
            .ok_or_else(|| corrupt("read manifest", "it has a hole").about(manifest))?;
        let mut chunk_start = segment.start;
        for entry in segment.segment.entries() {
            let chunk_end = chunk_start.saturating_add(u64::from(entry.size_bytes));
            if chunk_end > offset {
                if chunk_start >= end || found.len() >= count_max {
                    break;
                }
                found.push(place(conn, entry, chunk_start)?);
            }
            chunk_start = chunk_end;
        }
        offset = segment.end;
    }
    Ok(found)
}

fn place(conn: &Connection, entry: &ManifestEntry, offset: u64) -> Outcome<PlacedChunk> {
    let chunk = chunks::by_id(conn, entry.chunk)?
        .filter(|chunk| chunk.size_bytes == entry.size_bytes)
        .ok_or_else(|| corrupt("find chunk", "a manifest names it, but it has no row").about(entry.chunk))?;
    Ok(PlacedChunk { offset, chunk })
}

fn no_manifest(manifest: ManifestId) -> usp_model::Error {
    absent("find content", manifest, "the content was deleted")
}
