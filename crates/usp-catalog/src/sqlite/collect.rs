//! Collection: what nobody refers to goes, row by row; what a pack still holds moves; an empty pack is doomed. The rules
//! are in `usp_decide::collect` and `usp_decide::pack`.

use std::collections::BTreeMap;

use rusqlite::Connection;
use usp_decide::chunk::{PackChange, TotalsChange};
use usp_decide::collect as decide;
use usp_decide::pack::{self, Doom};
use usp_model::{ChunkId, ManifestId, PackId, PackRecord, Segment, StoredChunk, Timestamp};

use super::ask::{Ask, Column, int};
use super::chunks::{self, stored_chunk};
use super::fail::{Fail, Outcome};
use super::tx::Tx;
use crate::records::{ChunkMove, PackUsage, ReferencePage, ReferencePlace, Swept};

pub(super) fn raise_epoch(tx: &Tx<'_>) -> Outcome<i64> {
    tx.run("UPDATE meta SET value = value + 1 WHERE name = 'epoch'", [])?;
    tx.epoch()
}

pub(super) fn references(
    conn: &Connection,
    after: Option<ReferencePlace>,
    segment_count_max: u32,
) -> Outcome<ReferencePage> {
    let (manifest, start) = after.map_or((0, -1), |after| (after.manifest.0, int(after.start_offset)));
    let segments = conn.all(
        "SELECT manifest, start_offset, body FROM segments
         WHERE (manifest, start_offset) > (?1, ?2) ORDER BY manifest, start_offset LIMIT ?3",
        (manifest, start, segment_count_max),
        |row| {
            let place = ReferencePlace { manifest: ManifestId(row.get(0)?), start_offset: row.count(1)? };
            let body = row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?;
            // A segment that cannot be read must stop the collection: what it names would look like garbage.
            let segment = Segment::decode(body).map_err(|error| error.about(place.manifest))?;
            Ok((place, segment))
        },
    )?;
    let is_last = segments.len() < segment_count_max as usize;
    let next = segments.last().map(|(place, _)| *place).filter(|_| !is_last);
    let entries = segments.iter().flat_map(|(_, segment)| segment.entries());
    Ok(ReferencePage { chunks: entries.map(|entry| entry.chunk).collect(), next })
}

pub(super) fn stale_chunks(
    conn: &Connection,
    after: ChunkId,
    epoch: i64,
    count_max: u32,
) -> Outcome<Vec<StoredChunk>> {
    conn.all(
        "SELECT id, digest, pack, offset, stored_bytes, size_bytes FROM chunks
         WHERE id > ?1 AND epoch < ?2 ORDER BY id LIMIT ?3",
        (after.0, epoch, count_max),
        stored_chunk,
    )
}

/// Deletes the rows of these chunks that are stale.
pub(super) fn sweep(tx: &Tx<'_>, ids: &[ChunkId], epoch: i64) -> Outcome<Swept> {
    let epoch = if usp_rt::is_planted("no-epoch-fence") { i64::MAX } else { epoch };
    let mut swept = Swept::default();
    let mut totals = TotalsChange::default();
    let mut packs: BTreeMap<PackId, PackChange> = BTreeMap::new();
    let sql = "SELECT id, digest, pack, offset, stored_bytes, size_bytes, epoch FROM chunks WHERE id = ?1";
    for id in ids {
        let found = tx.one(sql, [id.0], |row| Ok((stored_chunk(row)?, row.get(6)?)))?;
        let Some((chunk, _)) = found.filter(|(_, row_epoch)| decide::is_stale(*row_epoch, epoch)) else {
            continue;
        };
        tx.run("DELETE FROM chunks WHERE id = ?1", [id.0])?;
        let (pack, total) = decide::swept(&chunk);
        *packs.entry(chunk.place.pack).or_default() += pack;
        totals += total;
        swept.chunk_count += 1;
        swept.stored_bytes += u64::from(chunk.place.stored_bytes);
    }
    for (pack, change) in packs {
        chunks::change_pack(tx, pack, change)?;
    }
    chunks::change_totals(tx, totals)?;
    Ok(swept)
}

const PACK_USAGE: &str = "SELECT id, state, committed_bytes, live_chunks, live_bytes FROM packs ";

fn usage_of(row: &rusqlite::Row<'_>) -> Outcome<PackUsage> {
    let record =
        PackRecord { pack: PackId(row.get(0)?), state: row.text(1)?, committed_bytes: row.count(2)? };
    Ok(PackUsage { record, live_chunks: row.count(3)?, live_bytes: row.count(4)? })
}

pub(super) fn pack_usage(conn: &Connection) -> Outcome<Vec<PackUsage>> {
    conn.all(&format!("{PACK_USAGE} ORDER BY id"), [], usage_of)
}

pub(super) fn pack_usage_of(conn: &Connection, pack: PackId) -> Outcome<Option<PackUsage>> {
    conn.one(&format!("{PACK_USAGE} WHERE id = ?1"), [pack.0], usage_of)
}

pub(super) fn chunks_in_pack(conn: &Connection, pack: PackId) -> Outcome<Vec<StoredChunk>> {
    conn.all(
        "SELECT id, digest, pack, offset, stored_bytes, size_bytes FROM chunks WHERE pack = ?1 ORDER BY offset",
        [pack.0],
        stored_chunk,
    )
}

/// A chunk in doubt stays so: its checksums may hold and its digest not.
pub(super) fn move_chunks(tx: &Tx<'_>, moves: &[ChunkMove]) -> Outcome<u64> {
    let mut moved_count = 0;
    for ChunkMove { chunk, from, to } in moves {
        decide::check_target(to.pack, chunks::pack_state(tx, to.pack)?)?;
        if !decide::may_move(chunks::place(tx, *chunk)?.as_ref(), from) {
            continue;
        }
        tx.run(
            "UPDATE chunks SET pack = ?2, offset = ?3, stored_bytes = ?4 WHERE id = ?1",
            (chunk.0, to.pack.0, int(to.offset), to.stored_bytes),
        )?;
        moved_count += 1;
        let (left, came) = decide::moved(from, to);
        chunks::change_pack(tx, from.pack, left)?;
        chunks::change_pack(tx, to.pack, came)?;
    }
    Ok(moved_count)
}

pub(super) fn doom(tx: &Tx<'_>, pack: PackId, at: Timestamp) -> Outcome<bool> {
    let state = chunks::pack_state(tx, pack)?;
    if !state.map_or(Ok(false), |state| Ok::<_, Fail>(pack::may_be_doomed(state, row_count(tx, pack)?)))? {
        return Ok(false);
    }
    let sql = "UPDATE packs SET state = 'doomed', doomed_epoch = ?2, doomed_at = ?3 WHERE id = ?1";
    tx.run(sql, (pack.0, tx.epoch()?, at.unix_ms()))?;
    Ok(true)
}

/// Rows that name a frame of the pack, counted up to one: whether there are any.
fn row_count(conn: &Connection, pack: PackId) -> Outcome<u64> {
    let found = conn.one("SELECT 1 FROM chunks WHERE pack = ?1 LIMIT 1", [pack.0], |_row| Ok(()))?;
    Ok(u64::from(found.is_some()))
}

/// Runs on the writer, so that what it says holds when it is said; and it goes on to hold, because a commit makes no row
/// for a doomed pack.
pub(super) fn erasable(tx: &Tx<'_>, doomed_before: Timestamp) -> Outcome<Vec<PackUsage>> {
    let epoch = tx.epoch()?;
    let sql = "SELECT id, state, committed_bytes, live_chunks, live_bytes, doomed_epoch, doomed_at FROM packs
         WHERE state = 'doomed' AND doomed_epoch <= ?1 ORDER BY id";
    let doomed = tx.all(sql, [pack::erasable_epoch(epoch)], |row| {
        Ok((usage_of(row)?, Doom { epoch: row.get(5)?, at: row.time(6)? }))
    })?;
    let mut erasable = Vec::new();
    for (usage, doom) in doomed {
        if pack::may_be_erased(doom, row_count(tx, usage.record.pack)?, epoch, doomed_before) {
            erasable.push(usage);
        }
    }
    Ok(erasable)
}

pub(super) fn forget(tx: &Tx<'_>, pack: PackId) -> Outcome<()> {
    let standing = match chunks::pack_state(tx, pack)? {
        Some(state) => Some((state, row_count(tx, pack)?)),
        None => None,
    };
    pack::forget(pack, standing)?;
    tx.run("DELETE FROM packs WHERE id = ?1", [pack.0])?;
    Ok(())
}
