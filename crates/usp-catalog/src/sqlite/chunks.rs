//! Chunk rows and pack rows.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row};
use usp_model::{
    ByteRange, ChunkId, ChunkRef, Digest, Error, ErrorKind, FramePlace, ManifestEntry, PackId, PackRecord,
    StoredChunk,
};

use super::ask::{Ask, Column, int};
use super::collect::take_from_pack;
use super::fail::{Outcome, absent, corrupt};
use super::redo;
use super::tx::Tx;
use crate::records::Swept;

pub(super) fn lookup(conn: &Connection, digests: &[Digest]) -> Outcome<Vec<Option<StoredChunk>>> {
    let sql = "SELECT id, digest, pack, offset, stored_bytes, size_bytes FROM chunks
         WHERE digest = ?1 AND NOT doubted";
    digests.iter().map(|digest| conn.one(sql, [digest.as_bytes()], stored_chunk)).collect()
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

/// Makes sure that every chunk has a row that counts as referenced in the current epoch.
///
/// A known chunk is only a hint until here: if its row was collected, it is made anew for the same frame. A new chunk uses
/// the row that someone else made meanwhile, if there is one; its own frame then lies unused. If a row would name a frame
/// in a pack that is doomed or gone, the whole change fails, and the caller stores those bytes again.
pub(super) fn ensure(tx: &Tx<'_>, chunks: &[ChunkRef]) -> Outcome<Vec<ManifestEntry>> {
    let epoch = tx.epoch()?;
    let mut entries = Vec::with_capacity(chunks.len());
    let mut new = NewChunks::default();
    for chunk in chunks {
        let id = match *chunk {
            ChunkRef::Known { id, digest, size_bytes, place } => {
                let sql = "SELECT id, size_bytes, epoch, doubted, pack, offset, stored_bytes FROM chunks WHERE id = ?1";
                match tx.one(sql, [id.0], reference)? {
                    _ if usp_rt::is_planted("hit-not-looked-at-again") => id,
                    Some(standing) if standing.is_doubted => return Err(doubted(id).into()),
                    Some(standing) => refer(tx, standing, size_bytes, epoch)?,
                    // The frame is old: in a pack that was set aside it is damaged, or not durable.
                    None if !is_sound(tx, place.pack)? => refer_by_digest(tx, &digest, size_bytes, epoch)?
                        .ok_or_else(|| pack_gone(place.pack))?,
                    None => new.make_or_refer(tx, &digest, size_bytes, &place, epoch)?,
                }
            }
            ChunkRef::New { digest, size_bytes, place } => {
                new.make_or_refer(tx, &digest, size_bytes, &place, epoch)?
            }
        };
        entries.push(ManifestEntry { chunk: id, size_bytes: chunk.size_bytes() });
    }
    new.write(tx)?;
    Ok(entries)
}

/// `None`: the digest has a row already.
fn insert(
    tx: &Tx<'_>,
    digest: &Digest,
    size_bytes: u32,
    place: &FramePlace,
    epoch: i64,
) -> Outcome<Option<ChunkId>> {
    let changed = tx.run(
        "INSERT INTO chunks (digest, pack, offset, stored_bytes, size_bytes, epoch) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (digest) DO NOTHING",
        (digest.as_bytes(), place.pack.0, int(place.offset), place.stored_bytes, size_bytes, epoch),
    )?;
    Ok((changed == 1).then(|| ChunkId(tx.last_insert_rowid())))
}

/// `None`: the digest has no row.
fn refer_by_digest(tx: &Tx<'_>, digest: &Digest, size_bytes: u32, epoch: i64) -> Outcome<Option<ChunkId>> {
    let standing = by_digest(tx, digest)?;
    standing.map(|standing| refer(tx, standing, size_bytes, epoch)).transpose()
}

fn by_digest(tx: &Tx<'_>, digest: &Digest) -> Outcome<Option<Reference>> {
    let sql =
        "SELECT id, size_bytes, epoch, doubted, pack, offset, stored_bytes FROM chunks WHERE digest = ?1";
    tx.one(sql, [digest.as_bytes()], reference)
}

struct Reference {
    id: ChunkId,
    size_bytes: u32,
    epoch: i64,
    is_doubted: bool,
    place: FramePlace,
}

fn reference(row: &Row<'_>) -> Outcome<Reference> {
    Ok(Reference {
        id: ChunkId(row.get(0)?),
        size_bytes: row.get(1)?,
        epoch: row.get(2)?,
        is_doubted: row.get(3)?,
        place: FramePlace { pack: PackId(row.get(4)?), offset: row.count(5)?, stored_bytes: row.get(6)? },
    })
}

fn refer(tx: &Tx<'_>, standing: Reference, size_bytes: u32, epoch: i64) -> Outcome<ChunkId> {
    if standing.size_bytes != size_bytes {
        let reason = format!("it has {} bytes, not {size_bytes}", standing.size_bytes);
        return Err(Error::new(ErrorKind::Internal, "refer to chunk")
            .about(standing.id)
            .because(reason)
            .into());
    }
    if standing.is_doubted {
        return Err(doubted(standing.id).into());
    }
    if standing.epoch < epoch {
        tx.run("UPDATE chunks SET epoch = ?2 WHERE id = ?1", (standing.id.0, epoch))?;
    }
    Ok(standing.id)
}

fn doubted(id: ChunkId) -> Error {
    Error::new(ErrorKind::Unavailable, "refer to chunk")
        .about(id)
        .because("bytes that were stored before failed their check; send the content again")
}

/// Marks the chunks whose frames begin within `range`.
pub(super) fn doubt(tx: &Tx<'_>, pack: PackId, range: ByteRange) -> Outcome<()> {
    let sql = "UPDATE chunks SET doubted = 1 WHERE pack = ?1 AND offset >= ?2 AND offset < ?3";
    tx.run(sql, (pack.0, int(range.start()), int(range.end())))?;
    Ok(())
}

/// What a group of new rows changes besides the rows.
#[derive(Default)]
struct NewChunks {
    count: u64,
    plain_bytes: u64,
    frame_bytes: u64,
    packs: BTreeMap<PackId, NewInPack>,
}

#[derive(Default)]
struct NewInPack {
    count: u64,
    stored_bytes: u64,
    /// Of the byte after the last of them.
    end: u64,
}

impl NewChunks {
    fn make_or_refer(
        &mut self,
        tx: &Tx<'_>,
        digest: &Digest,
        size_bytes: u32,
        place: &FramePlace,
        epoch: i64,
    ) -> Outcome<ChunkId> {
        if !self.packs.contains_key(&place.pack) && !takes_rows(tx, place.pack)? {
            // Perhaps nobody needs this frame: another may have stored the chunk elsewhere.
            return refer_by_digest(tx, digest, size_bytes, epoch)?
                .ok_or_else(|| pack_gone(place.pack).into());
        }
        if let Some(id) = insert(tx, digest, size_bytes, place, epoch)? {
            self.note(size_bytes, place);
            return Ok(id);
        }
        let standing = by_digest(tx, digest)?
            .ok_or_else(|| corrupt("refer to chunk", "a chunk is in the index only"))?;
        if standing.is_doubted && standing.place != *place {
            return self.mend(tx, &standing, size_bytes, place, epoch);
        }
        refer(tx, standing, size_bytes, epoch)
    }

    /// The row keeps its number, so every content that has the chunk reads the sound frame from now on. Its length is
    /// only believed now: a rebuild from the index does not know it.
    fn mend(
        &mut self,
        tx: &Tx<'_>,
        old: &Reference,
        size_bytes: u32,
        place: &FramePlace,
        epoch: i64,
    ) -> Outcome<ChunkId> {
        tx.run(
            "UPDATE chunks SET pack = ?2, offset = ?3, stored_bytes = ?4, epoch = ?5, size_bytes = ?6, doubted = 0
             WHERE id = ?1",
            (old.id.0, place.pack.0, int(place.offset), place.stored_bytes, epoch, size_bytes),
        )?;
        tx.take_from_meta("plain_bytes", u64::from(old.size_bytes))?;
        tx.add_to_meta("plain_bytes", u64::from(size_bytes))?;
        let gone = Swept { chunk_count: 1, stored_bytes: u64::from(old.place.stored_bytes) };
        tx.take_from_meta("frame_bytes", gone.stored_bytes)?;
        tx.add_to_meta("frame_bytes", u64::from(place.stored_bytes))?;
        take_from_pack(tx, old.place.pack, gone)?;
        self.note_in_pack(place);
        Ok(old.id)
    }

    fn note(&mut self, size_bytes: u32, place: &FramePlace) {
        self.count += 1;
        self.plain_bytes += u64::from(size_bytes);
        self.frame_bytes += u64::from(place.stored_bytes);
        self.note_in_pack(place);
    }

    fn note_in_pack(&mut self, place: &FramePlace) {
        let pack = self.packs.entry(place.pack).or_default();
        pack.count += 1;
        pack.stored_bytes += u64::from(place.stored_bytes);
        pack.end = pack.end.max(place.offset.saturating_add(u64::from(place.stored_bytes)));
    }

    fn write(self, tx: &Tx<'_>) -> Outcome<()> {
        for (pack, new) in self.packs {
            add_to_pack(tx, pack, new.count, new.stored_bytes, new.end)?;
        }
        if self.count == 0 {
            return Ok(());
        }
        tx.run(
            "UPDATE meta SET value = value + CASE name WHEN 'chunk_count' THEN ?1 WHEN 'plain_bytes' THEN ?2 ELSE ?3 END
             WHERE name IN ('chunk_count', 'plain_bytes', 'frame_bytes')",
            (int(self.count), int(self.plain_bytes), int(self.frame_bytes)),
        )?;
        Ok(())
    }
}

/// Whether rows may come to name frames of the pack: it is there and not doomed.
pub(super) fn takes_rows(tx: &Tx<'_>, pack: PackId) -> Outcome<bool> {
    let sql = "SELECT 1 FROM packs WHERE id = ?1 AND state <> 'doomed'";
    Ok(tx.one(sql, [pack.0], |_row| Ok(()))?.is_some())
}

/// Whether frames of the pack that nobody holds a copy of can be relied on.
fn is_sound(tx: &Tx<'_>, pack: PackId) -> Outcome<bool> {
    let sql = "SELECT 1 FROM packs WHERE id = ?1 AND state IN ('open', 'sealed')";
    Ok(tx.one(sql, [pack.0], |_row| Ok(()))?.is_some())
}

/// Notes that rows came to name frames of the pack, the last of which ends at `end`.
pub(super) fn add_to_pack(tx: &Tx<'_>, pack: PackId, count: u64, stored_bytes: u64, end: u64) -> Outcome<()> {
    tx.run(
        "UPDATE packs SET committed_bytes = max(committed_bytes, ?2), live_chunks = live_chunks + ?3,
             live_bytes = live_bytes + ?4 WHERE id = ?1",
        (pack.0, int(end), int(count), int(stored_bytes)),
    )?;
    Ok(())
}

fn pack_gone(pack: PackId) -> Error {
    Error::new(ErrorKind::Unavailable, "refer to chunk")
        .about(pack)
        .because("a chunk was collected meanwhile; send its bytes again")
}

pub(super) fn begin_pack(tx: &Tx<'_>) -> Outcome<PackId> {
    tx.run("INSERT INTO packs (state) VALUES ('open')", [])?;
    Ok(PackId(tx.last_insert_rowid()))
}

pub(super) fn seal_pack(tx: &Tx<'_>, pack: PackId, size_bytes: u64) -> Outcome<()> {
    let changed = tx.run(
        "UPDATE packs SET state = 'sealed', committed_bytes = ?2
         WHERE id = ?1 AND state IN ('open', 'sealed') AND committed_bytes <= ?2",
        (pack.0, int(size_bytes)),
    )?;
    if changed == 1 {
        // All of it was synced.
        return redo::forget(tx, pack, size_bytes);
    }
    let reason = "the pack has no row, was set aside, or is longer than said";
    Err(Error::new(ErrorKind::Conflict, "seal pack").about(pack).because(reason).into())
}

pub(super) fn set_pack_aside(tx: &Tx<'_>, pack: PackId) -> Outcome<()> {
    // A doomed pack stays doomed: nothing in it is needed, so nothing in it is kept for a person to look at.
    let sql =
        "UPDATE packs SET state = CASE state WHEN 'doomed' THEN state ELSE 'set_aside' END WHERE id = ?1";
    match tx.run(sql, [pack.0])? {
        0 => Err(absent("set pack aside", pack, "no such pack").into()),
        _ => Ok(()),
    }
}

pub(super) fn packs(conn: &Connection) -> Outcome<Vec<PackRecord>> {
    conn.all("SELECT id, state, committed_bytes FROM packs ORDER BY id", [], |row| {
        Ok(PackRecord { pack: PackId(row.get(0)?), state: row.text(1)?, committed_bytes: row.count(2)? })
    })
}
