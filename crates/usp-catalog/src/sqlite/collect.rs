//! Collection: what nobody refers to goes, row by row; what a pack still holds moves; an empty pack is doomed.
//!
//! Why none of this races with a commit: docs/adr/0010-collection.md.

use std::collections::BTreeMap;

use rusqlite::Connection;
use usp_model::{
    ChunkId, Error, ErrorKind, ManifestId, PackId, PackRecord, PackState, Segment, StoredChunk, Timestamp,
};

use super::ask::{Ask, Column, int};
use super::chunks::{self, stored_chunk};
use super::fail::Outcome;
use super::tx::Tx;
use crate::records::{ChunkMove, PackUsage, ReferencePage, ReferencePlace, Swept};

/// Epochs between the doom of a pack and the end of its file.
const CYCLE_COUNT: i64 = 2;

pub(super) fn raise_epoch(tx: &Tx<'_>) -> Outcome<i64> {
    tx.add_to_meta("epoch", 1)?;
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

/// A commit that refers to a chunk raises its epoch in its own transaction, and both run on the one writer: either the
/// reference was there before and the row stays, or the commit finds no row and makes one.
pub(super) fn sweep(tx: &Tx<'_>, ids: &[ChunkId], epoch: i64) -> Outcome<Swept> {
    let epoch = if usp_rt::is_planted("no-epoch-fence") { i64::MAX } else { epoch };
    let mut swept = Swept::default();
    let mut plain_bytes = 0_u64;
    let mut packs: BTreeMap<PackId, Swept> = BTreeMap::new();
    for id in ids {
        let sql = "DELETE FROM chunks WHERE id = ?1 AND epoch < ?2
                   RETURNING id, digest, pack, offset, stored_bytes, size_bytes";
        // All rows of a RETURNING must be taken, or the statement is not at its end.
        for chunk in tx.all(sql, (id.0, epoch), stored_chunk)? {
            plain_bytes += u64::from(chunk.size_bytes);
            swept.add(&chunk);
            packs.entry(chunk.place.pack).or_default().add(&chunk);
        }
    }
    for (pack, swept) in packs {
        take_from_pack(tx, pack, swept)?;
    }
    tx.take_from_meta("chunk_count", swept.chunk_count)?;
    tx.take_from_meta("plain_bytes", plain_bytes)?;
    tx.take_from_meta("frame_bytes", swept.stored_bytes)?;
    Ok(swept)
}

impl Swept {
    fn add(&mut self, chunk: &StoredChunk) {
        self.chunk_count += 1;
        self.stored_bytes += u64::from(chunk.place.stored_bytes);
    }
}

pub(super) fn take_from_pack(tx: &Tx<'_>, pack: PackId, gone: Swept) -> Outcome<()> {
    tx.run(
        "UPDATE packs SET live_chunks = live_chunks - ?2, live_bytes = live_bytes - ?3 WHERE id = ?1",
        (pack.0, int(gone.chunk_count), int(gone.stored_bytes)),
    )?;
    Ok(())
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
    for moved in moves {
        let ChunkMove { chunk, from, to } = moved;
        if !chunks::takes_rows(tx, to.pack)? {
            let gone = Error::new(ErrorKind::Unavailable, "move chunks").about(to.pack);
            return Err(gone.because("the pack that frames were copied to is gone").into());
        }
        let changed = tx.run(
            "UPDATE chunks SET pack = ?2, offset = ?3, stored_bytes = ?4
             WHERE id = ?1 AND pack = ?5 AND offset = ?6",
            (chunk.0, to.pack.0, int(to.offset), to.stored_bytes, from.pack.0, int(from.offset)),
        )?;
        if changed == 1 {
            moved_count += 1;
            take_from_pack(
                tx,
                from.pack,
                Swept { chunk_count: 1, stored_bytes: u64::from(from.stored_bytes) },
            )?;
            let stored_bytes = u64::from(to.stored_bytes);
            chunks::add_to_pack(tx, to.pack, 1, stored_bytes, to.offset.saturating_add(stored_bytes))?;
        }
    }
    Ok(moved_count)
}

pub(super) fn doom(tx: &Tx<'_>, pack: PackId, at: Timestamp) -> Outcome<bool> {
    let changed = tx.run(
        "UPDATE packs SET state = 'doomed', doomed_epoch = ?2, doomed_at = ?3
         WHERE id = ?1 AND state = 'sealed' AND NOT EXISTS (SELECT 1 FROM chunks WHERE pack = ?1)",
        (pack.0, tx.epoch()?, at.unix_ms()),
    )?;
    Ok(changed == 1)
}

/// Runs on the writer, so that what it says holds when it is said; and it goes on to hold, because a commit makes no row
/// for a doomed pack.
pub(super) fn erasable(tx: &Tx<'_>, doomed_before: Timestamp) -> Outcome<Vec<PackUsage>> {
    tx.all(
        &format!(
            "{PACK_USAGE} WHERE state = 'doomed' AND doomed_epoch <= ?1 AND doomed_at <= ?2
             AND NOT EXISTS (SELECT 1 FROM chunks WHERE pack = packs.id) ORDER BY id"
        ),
        (tx.epoch()? - CYCLE_COUNT, doomed_before.unix_ms()),
        usage_of,
    )
}

pub(super) fn forget(tx: &Tx<'_>, pack: PackId) -> Outcome<()> {
    let sql = "DELETE FROM packs WHERE id = ?1 AND state = ?2
               AND NOT EXISTS (SELECT 1 FROM chunks WHERE pack = ?1)";
    if tx.run(sql, (pack.0, PackState::Doomed.as_str()))? == 1 {
        return Ok(());
    }
    let reason = "the pack is not doomed, or a chunk is said to stand in it";
    Err(Error::new(ErrorKind::Conflict, "forget pack").about(pack).because(reason).into())
}
