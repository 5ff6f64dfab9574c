//! Chunk rows and pack rows.

use std::collections::BTreeSet;

use rusqlite::{Connection, Row};
use usp_decide::chunk::{ChunkRow, Chunks, Mend, NewRow, PackChange, Referrals, RowRef, TotalsChange};
use usp_decide::pack;
use usp_model::{
    ByteRange, ChunkId, ChunkRef, Digest, FramePlace, ManifestEntry, PackId, PackRecord, PackState,
    StoredChunk,
};

use super::ask::{Ask, Column, int};
use super::fail::{Outcome, absent, corrupt};
use super::redo;
use super::tx::Tx;

pub(super) fn lookup(conn: &Connection, digests: &[Digest]) -> Outcome<Vec<Option<StoredChunk>>> {
    let sql = format!("{ROW} WHERE digest = ?1");
    let offered = |digest: &Digest| {
        let row = conn.one(&sql, [digest.as_bytes()], chunk_row)?;
        Ok(row.filter(ChunkRow::is_offered).map(|row| row.chunk))
    };
    digests.iter().map(offered).collect()
}

pub(super) fn digests(conn: &Connection, after: ChunkId, count_max: u32) -> Outcome<Vec<(ChunkId, Digest)>> {
    let sql = "SELECT id, digest FROM chunks WHERE id > ?1 ORDER BY id LIMIT ?2";
    conn.all(sql, (after.0, count_max), |row| Ok((ChunkId(row.get(0)?), Digest::from_bytes(row.get(1)?))))
}

pub(super) fn by_id(conn: &Connection, id: ChunkId) -> Outcome<Option<StoredChunk>> {
    let sql = "SELECT id, digest, pack, offset, stored_bytes, size_bytes FROM chunks WHERE id = ?1";
    conn.one(sql, [id.0], stored_chunk)
}

pub(super) fn stored_chunk(row: &Row<'_>) -> Outcome<StoredChunk> {
    Ok(StoredChunk {
        id: ChunkId(row.get(0)?),
        digest: Digest::from_bytes(row.get(1)?),
        size_bytes: row.get(5)?,
        place: FramePlace { pack: PackId(row.get(2)?), offset: row.count(3)?, stored_bytes: row.get(4)? },
    })
}

/// Makes sure that every chunk has a row that counts as referred to in the current epoch, as `usp_decide::chunk` has it.
pub(super) fn ensure(tx: &Tx<'_>, refs: &[ChunkRef]) -> Outcome<Vec<ManifestEntry>> {
    let mut chunks = load(tx, refs)?;
    let rows = chunks.refer(refs)?;
    let made = write(tx, chunks.into_referrals())?;
    let numbered = |row: RowRef| match row {
        RowRef::Standing(id) => Ok(id),
        RowRef::New(index) => {
            made.get(index).copied().ok_or_else(|| corrupt("refer to chunk", "no such row"))
        }
    };
    let entry = |(chunk, row): (&ChunkRef, RowRef)| {
        Ok(ManifestEntry { chunk: numbered(row)?, size_bytes: chunk.size_bytes() })
    };
    refs.iter().zip(rows).map(entry).collect()
}

fn load(tx: &Tx<'_>, refs: &[ChunkRef]) -> Outcome<Chunks> {
    let mut chunks = Chunks::new(tx.epoch()?);
    let mut packs = BTreeSet::new();
    for chunk in refs {
        if let ChunkRef::Known { id, .. } = chunk {
            let standing = row_by_id(tx, *id)?.or_else(|| planted_row(chunk));
            if let Some(row) = standing {
                chunks.add_row(row);
                continue;
            }
        }
        let (digest, place) = match chunk {
            ChunkRef::Known { digest, place, .. } | ChunkRef::New { digest, place, .. } => (digest, place),
        };
        let sql = format!("{ROW} WHERE digest = ?1");
        if let Some(row) = tx.one(&sql, [digest.as_bytes()], chunk_row)? {
            chunks.add_row(row);
        }
        if packs.insert(place.pack)
            && let Some(state) = pack_state(tx, place.pack)?
        {
            chunks.add_pack(place.pack, state);
        }
    }
    Ok(chunks)
}

const ROW: &str = "SELECT id, digest, pack, offset, stored_bytes, size_bytes, epoch, doubted FROM chunks";

fn chunk_row(row: &Row<'_>) -> Outcome<ChunkRow> {
    Ok(ChunkRow { chunk: stored_chunk(row)?, epoch: row.get(6)?, is_doubted: row.get(7)? })
}

fn row_by_id(tx: &Tx<'_>, id: ChunkId) -> Outcome<Option<ChunkRow>> {
    tx.one(&format!("{ROW} WHERE id = ?1"), [id.0], chunk_row)
}

/// A build with this bug believes what was looked up while the content arrived.
fn planted_row(chunk: &ChunkRef) -> Option<ChunkRow> {
    match *chunk {
        ChunkRef::Known { id, digest, size_bytes, place }
            if usp_rt::is_planted("hit-not-looked-at-again") =>
        {
            let chunk = StoredChunk { id, digest, size_bytes, place };
            Some(ChunkRow { chunk, epoch: i64::MAX, is_doubted: false })
        }
        ChunkRef::Known { .. } | ChunkRef::New { .. } => None,
    }
}

/// Writes what references came to; gives the numbers of the new rows in their order.
fn write(tx: &Tx<'_>, referrals: Referrals) -> Outcome<Vec<ChunkId>> {
    let epoch = tx.epoch()?;
    let mut made = Vec::with_capacity(referrals.new.len());
    for NewRow { digest, size_bytes, place } in &referrals.new {
        tx.run(
            "INSERT INTO chunks (digest, pack, offset, stored_bytes, size_bytes, epoch) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            (digest.as_bytes(), place.pack.0, int(place.offset), place.stored_bytes, size_bytes, epoch),
        )?;
        made.push(ChunkId(tx.last_insert_rowid()));
    }
    for id in referrals.raised {
        tx.run("UPDATE chunks SET epoch = ?2 WHERE id = ?1", (id.0, epoch))?;
    }
    for Mend { row, size_bytes, place } in referrals.mended {
        tx.run(
            "UPDATE chunks SET pack = ?2, offset = ?3, stored_bytes = ?4, epoch = ?5, size_bytes = ?6, doubted = 0
             WHERE id = ?1",
            (row.0, place.pack.0, int(place.offset), place.stored_bytes, epoch, size_bytes),
        )?;
    }
    for (pack, change) in referrals.packs {
        change_pack(tx, pack, change)?;
    }
    change_totals(tx, referrals.totals)?;
    Ok(made)
}

pub(super) fn change_pack(tx: &Tx<'_>, pack: PackId, change: PackChange) -> Outcome<()> {
    tx.run(
        "UPDATE packs SET committed_bytes = max(committed_bytes, ?2), live_chunks = live_chunks + ?3,
             live_bytes = live_bytes + ?4 WHERE id = ?1",
        (pack.0, int(change.end), change.live_chunks, change.live_bytes),
    )?;
    Ok(())
}

pub(super) fn change_totals(tx: &Tx<'_>, change: TotalsChange) -> Outcome<()> {
    if change == TotalsChange::default() {
        return Ok(());
    }
    tx.run(
        "UPDATE meta SET value = value + CASE name WHEN 'chunk_count' THEN ?1 WHEN 'plain_bytes' THEN ?2 ELSE ?3 END
         WHERE name IN ('chunk_count', 'plain_bytes', 'frame_bytes')",
        (change.chunks, change.plain_bytes, change.frame_bytes),
    )?;
    Ok(())
}

/// Marks the chunks whose frames begin within `range`.
pub(super) fn doubt(tx: &Tx<'_>, pack: PackId, range: ByteRange) -> Outcome<()> {
    let sql = "UPDATE chunks SET doubted = 1 WHERE pack = ?1 AND offset >= ?2 AND offset < ?3";
    tx.run(sql, (pack.0, int(range.start()), int(range.end())))?;
    Ok(())
}

/// Where the frame of a chunk stands now.
pub(super) fn place(conn: &Connection, id: ChunkId) -> Outcome<Option<FramePlace>> {
    conn.one("SELECT pack, offset, stored_bytes FROM chunks WHERE id = ?1", [id.0], |row| {
        Ok(FramePlace { pack: PackId(row.get(0)?), offset: row.count(1)?, stored_bytes: row.get(2)? })
    })
}

pub(super) fn pack_state(conn: &Connection, pack: PackId) -> Outcome<Option<PackState>> {
    conn.one("SELECT state FROM packs WHERE id = ?1", [pack.0], |row| row.text(0))
}

pub(super) fn begin_pack(tx: &Tx<'_>) -> Outcome<PackId> {
    tx.run("INSERT INTO packs (state) VALUES ('open')", [])?;
    Ok(PackId(tx.last_insert_rowid()))
}

pub(super) fn seal_pack(tx: &Tx<'_>, id: PackId, size_bytes: u64) -> Outcome<()> {
    let sql = format!("{PACK} WHERE id = ?1");
    let sealed = pack::seal(id, tx.one(&sql, [id.0], pack_record)?.as_ref(), size_bytes)?;
    tx.run(
        "UPDATE packs SET state = ?2, committed_bytes = ?3 WHERE id = ?1",
        (id.0, sealed.state.as_str(), int(sealed.committed_bytes)),
    )?;
    // All of it was synced.
    redo::forget(tx, id, size_bytes)
}

pub(super) fn set_pack_aside(tx: &Tx<'_>, id: PackId) -> Outcome<()> {
    let standing = pack_state(tx, id)?.ok_or_else(|| absent("set pack aside", id, "no such pack"))?;
    let sql = "UPDATE packs SET state = ?2 WHERE id = ?1";
    tx.run(sql, (id.0, pack::set_aside(standing).as_str()))?;
    Ok(())
}

const PACK: &str = "SELECT id, state, committed_bytes FROM packs";

fn pack_record(row: &Row<'_>) -> Outcome<PackRecord> {
    Ok(PackRecord { pack: PackId(row.get(0)?), state: row.text(1)?, committed_bytes: row.count(2)? })
}

pub(super) fn packs(conn: &Connection) -> Outcome<Vec<PackRecord>> {
    conn.all(&format!("{PACK} ORDER BY id"), [], pack_record)
}
