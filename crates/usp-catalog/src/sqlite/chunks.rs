//! Chunk rows and pack rows.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row};
use usp_model::{
    ChunkId, ChunkRef, Digest, Error, ErrorKind, FramePlace, ManifestEntry, PackId, PackRecord, StoredChunk,
};

use super::ask::{Ask, Column, int};
use super::fail::{Outcome, absent, corrupt};
use super::tx::Tx;

pub(super) fn lookup(conn: &Connection, digests: &[Digest]) -> Outcome<Vec<Option<StoredChunk>>> {
    let sql = "SELECT id, digest, pack, offset, stored_bytes, size_bytes FROM chunks WHERE digest = ?1";
    digests.iter().map(|digest| conn.one(sql, [digest.as_bytes()], stored_chunk)).collect()
}

pub(super) fn by_id(conn: &Connection, id: ChunkId) -> Outcome<Option<StoredChunk>> {
    let sql = "SELECT id, digest, pack, offset, stored_bytes, size_bytes FROM chunks WHERE id = ?1";
    conn.one(sql, [id.0], stored_chunk)
}

fn stored_chunk(row: &Row<'_>) -> Outcome<StoredChunk> {
    Ok(StoredChunk {
        id: ChunkId(row.get(0)?),
        digest: Digest::from_bytes(row.get(1)?),
        size_bytes: row.get(5)?,
        place: FramePlace { pack: PackId(row.get(2)?), offset: row.count(3)?, stored_bytes: row.get(4)? },
    })
}

/// Makes sure that every chunk has a row that counts as referenced in the current epoch.
///
/// A known chunk is only a hint until here: without its row the whole change fails, and the caller stores those bytes
/// again. A new chunk uses the row that someone else made meanwhile, if there is one; its own frame then lies unused.
pub(super) fn ensure(tx: &Tx<'_>, chunks: &[ChunkRef]) -> Outcome<Vec<ManifestEntry>> {
    let epoch = tx.epoch()?;
    let mut entries = Vec::with_capacity(chunks.len());
    let mut new = NewChunks::default();
    for chunk in chunks {
        let id = match *chunk {
            ChunkRef::Known { id, size_bytes } => {
                let standing =
                    tx.one("SELECT id, size_bytes, epoch FROM chunks WHERE id = ?1", [id.0], reference)?;
                let standing = standing.ok_or_else(|| chunk_gone(id))?;
                refer(tx, standing, size_bytes, epoch)?
            }
            ChunkRef::New { digest, size_bytes, place } => {
                match insert(tx, &digest, size_bytes, &place, epoch)? {
                    Some(id) => {
                        new.note(size_bytes, &place);
                        id
                    }
                    None => refer_by_digest(tx, &digest, size_bytes, epoch)?,
                }
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

fn refer_by_digest(tx: &Tx<'_>, digest: &Digest, size_bytes: u32, epoch: i64) -> Outcome<ChunkId> {
    let sql = "SELECT id, size_bytes, epoch FROM chunks WHERE digest = ?1";
    let standing = tx.one(sql, [digest.as_bytes()], reference)?;
    refer(
        tx,
        standing.ok_or_else(|| corrupt("refer to chunk", "a chunk is in the index only"))?,
        size_bytes,
        epoch,
    )
}

struct Reference {
    id: ChunkId,
    size_bytes: u32,
    epoch: i64,
}

fn reference(row: &Row<'_>) -> Outcome<Reference> {
    Ok(Reference { id: ChunkId(row.get(0)?), size_bytes: row.get(1)?, epoch: row.get(2)? })
}

fn refer(tx: &Tx<'_>, standing: Reference, size_bytes: u32, epoch: i64) -> Outcome<ChunkId> {
    if standing.size_bytes != size_bytes {
        let reason = format!("it has {} bytes, not {size_bytes}", standing.size_bytes);
        return Err(Error::new(ErrorKind::Internal, "refer to chunk")
            .about(standing.id)
            .because(reason)
            .into());
    }
    if standing.epoch < epoch {
        tx.run("UPDATE chunks SET epoch = ?2 WHERE id = ?1", (standing.id.0, epoch))?;
    }
    Ok(standing.id)
}

fn chunk_gone(id: ChunkId) -> Error {
    Error::new(ErrorKind::Unavailable, "refer to chunk")
        .about(id)
        .because("the chunk was collected meanwhile; store its bytes again")
}

/// What a group of new rows changes besides the rows.
#[derive(Default)]
struct NewChunks {
    count: u64,
    plain_bytes: u64,
    frame_bytes: u64,
    pack_ends: BTreeMap<PackId, u64>,
}

impl NewChunks {
    fn note(&mut self, size_bytes: u32, place: &FramePlace) {
        self.count += 1;
        self.plain_bytes += u64::from(size_bytes);
        self.frame_bytes += u64::from(place.stored_bytes);
        let end = self.pack_ends.entry(place.pack).or_default();
        *end = (*end).max(place.offset.saturating_add(u64::from(place.stored_bytes)));
    }

    fn write(self, tx: &Tx<'_>) -> Outcome<()> {
        if self.count == 0 {
            return Ok(());
        }
        for (pack, end) in self.pack_ends {
            tx.run(
                "UPDATE packs SET committed_bytes = ?2 WHERE id = ?1 AND committed_bytes < ?2",
                (pack.0, int(end)),
            )?;
        }
        tx.add_to_meta("chunk_count", self.count)?;
        tx.add_to_meta("plain_bytes", self.plain_bytes)?;
        tx.add_to_meta("frame_bytes", self.frame_bytes)
    }
}

pub(super) fn begin_pack(tx: &Tx<'_>) -> Outcome<PackId> {
    tx.run("INSERT INTO packs (state) VALUES ('open')", [])?;
    Ok(PackId(tx.last_insert_rowid()))
}

pub(super) fn seal_pack(tx: &Tx<'_>, pack: PackId, size_bytes: u64) -> Outcome<()> {
    let changed = tx.run(
        "UPDATE packs SET state = 'sealed', committed_bytes = ?2
         WHERE id = ?1 AND state <> 'set_aside' AND committed_bytes <= ?2",
        (pack.0, int(size_bytes)),
    )?;
    if changed == 1 {
        return Ok(());
    }
    let reason = "the pack has no row, was set aside, or is longer than said";
    Err(Error::new(ErrorKind::Conflict, "seal pack").about(pack).because(reason).into())
}

pub(super) fn set_pack_aside(tx: &Tx<'_>, pack: PackId) -> Outcome<()> {
    match tx.run("UPDATE packs SET state = 'set_aside' WHERE id = ?1", [pack.0])? {
        0 => Err(absent("set pack aside", pack, "no such pack").into()),
        _ => Ok(()),
    }
}

pub(super) fn packs(conn: &Connection) -> Outcome<Vec<PackRecord>> {
    conn.all("SELECT id, state, committed_bytes FROM packs ORDER BY id", [], |row| {
        Ok(PackRecord { pack: PackId(row.get(0)?), state: row.text(1)?, committed_bytes: row.count(2)? })
    })
}
