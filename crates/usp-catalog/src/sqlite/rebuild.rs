//! The rows of chunks and packs, written anew from what lies in the packs.
//!
//! Manifests speak of chunks by number, and packs speak of them by digest: which number is which digest stands in the
//! catalogue alone, twice: in the table and in the index over it. Everything else of these rows (where a chunk stands, how long
//! it is, what a pack holds) follows from the packs. So a rebuild keeps the numbers and finds the places (docs/formats/
//! catalogue.md, "What can be rebuilt").
//!
//! It works in a new file, so that a damaged page of the old one harms nothing: every other table is copied, chunks and packs
//! are made. The caller puts the new file in the place of the old one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rusqlite::{Connection, Row};
use usp_model::{
    Act, Digest, DomainKey, Error, ErrorKind, FramePlace, PackId, PackRecord, RedoFrame, Result, Segment,
    Timestamp,
};

use super::ask::{Ask, Column, int};
use super::fail::{Fail, Outcome};
use super::tx::Tx;
use super::{check, chunks, redo, schema};

const ACTION: &str = "rebuild the index";
/// `doubted` of a row that has no place yet: 2, and 3 if it was in doubt before.
const UNPLACED: i64 = 2;

/// A frame that was found in a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundFrame {
    pub digest: Digest,
    /// Plain bytes.
    pub size_bytes: u32,
    pub place: FramePlace,
    /// Its plain bytes were compared with the digest, not only its checksums.
    pub is_proven: bool,
}

/// What a rebuild did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RebuildReport {
    pub packs: u64,
    /// Rows whose number was known and whose frame was found.
    pub placed: u64,
    /// Rows for frames of which no number was known.
    pub added: u64,
    /// Rows without a frame anywhere: their contents cannot be read until the bytes are uploaded again.
    pub lost: u64,
    /// Numbers that contents name and that no row knows any more: these contents need a backup of the catalogue.
    pub unknown: u64,
}

/// A new database beside the old one, in one transaction. Dropped before `finish`, it is worth nothing.
#[derive(Debug)]
pub struct IndexRebuild {
    conn: Connection,
    /// The pack rows of the old file, if they could be read.
    rows: BTreeMap<PackId, PackRecord>,
    report: RebuildReport,
}

impl IndexRebuild {
    /// Copies everything but chunks and packs of `from` into the new file `to`. Blocks on the disk.
    ///
    /// Errors: `Internal` for a file of another program or another schema version; `Corrupt` when more than chunks and
    /// packs cannot be read; `StorageFull`.
    pub fn begin(from: &Path, to: &Path) -> Result<Self> {
        let old = schema::connect(from, schema::CACHE_KIB_ALONE)?;
        let version = schema::refuse_foreign(&old, from)?;
        drop(old);
        let conn = schema::open_writer(to, schema::CACHE_KIB_ALONE)?;
        if version != schema::version() {
            let reason = format!(
                "its schema version {version} is not {}: use the usp that wrote it last",
                schema::version()
            );
            return Err(Error::new(ErrorKind::Internal, ACTION).about(from.display()).because(reason));
        }
        let rows = begin(&conn, from).map_err(|fail| fail.into_error(ACTION).about(from.display()))?;
        Ok(Self { conn, rows, report: RebuildReport::default() })
    }

    /// What the old catalogue said of a pack. A doomed one needs no frames.
    pub fn known(&self, pack: PackId) -> Option<PackRecord> {
        self.rows.get(&pack).copied()
    }

    /// Frames of the pack that the old catalogue holds, because nobody knew whether they were on the disk.
    pub fn kept(&self, pack: PackId) -> Result<Vec<RedoFrame>> {
        redo::of_pack(&self.conn, pack).map_err(|fail| fail.into_error(ACTION))
    }

    /// The keys of all dedup domains: with one of them a frame proves its digest.
    pub fn domain_keys(&self) -> Result<Vec<DomainKey>> {
        let read = |row: &Row<'_>| Ok(DomainKey::from_bytes(row.get(0)?));
        self.conn.all("SELECT key FROM domains", [], read).map_err(|fail| fail.into_error(ACTION))
    }

    /// Whether a frame of this digest failed a check before: then it must prove itself.
    pub fn is_in_doubt(&self, digest: &Digest) -> Result<bool> {
        let sql = "SELECT 1 FROM chunks WHERE digest = ?1 AND doubted IN (1, 3)";
        let found = self.conn.one(sql, [digest.as_bytes()], |_row| Ok(()));
        Ok(found.map_err(|fail| fail.into_error(ACTION))?.is_some())
    }

    /// Makes the row of a pack, and places the chunks whose frames stand in it. Of two frames of one chunk the later counts.
    pub fn pack(&mut self, row: PackRecord, frames: &[FoundFrame]) -> Result<()> {
        self.place(row, frames).map_err(|fail| fail.into_error(ACTION).about(row.pack))
    }

    fn place(&mut self, row: PackRecord, frames: &[FoundFrame]) -> Outcome<()> {
        self.conn.run(
            "INSERT OR REPLACE INTO packs (id, state, committed_bytes) VALUES (?1, ?2, ?3)",
            (row.pack.0, row.state.as_str(), int(row.committed_bytes)),
        )?;
        self.report.packs += 1;
        for frame in frames {
            let place = frame.place;
            let changed = self.conn.run(
                "UPDATE chunks SET pack = ?2, offset = ?3, stored_bytes = ?4, size_bytes = ?5,
                     doubted = CASE WHEN doubted IN (1, 3) AND NOT ?6 THEN 1 ELSE 0 END WHERE digest = ?1",
                (
                    frame.digest.as_bytes(),
                    place.pack.0,
                    int(place.offset),
                    place.stored_bytes,
                    frame.size_bytes,
                    frame.is_proven,
                ),
            )?;
            if changed == 0 {
                self.conn.run(
                    "INSERT INTO chunks (digest, pack, offset, stored_bytes, size_bytes, epoch)
                     VALUES (?1, ?2, ?3, ?4, ?5, (SELECT value FROM meta WHERE name = 'epoch'))",
                    (
                        frame.digest.as_bytes(),
                        place.pack.0,
                        int(place.offset),
                        place.stored_bytes,
                        frame.size_bytes,
                    ),
                )?;
                self.report.added += 1;
            }
        }
        Ok(())
    }

    /// Counts every sum, checks the new file and makes it durable. Gives what was done.
    pub fn finish(mut self) -> Result<RebuildReport> {
        self.end().map_err(|fail| fail.into_error(ACTION))?;
        let Self { conn, report, .. } = self;
        // The log is emptied and goes: the file stands alone.
        conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE;")
            .map_err(|source| Fail::Sql(source).into_error(ACTION))?;
        Ok(report)
    }

    fn end(&mut self) -> Outcome<()> {
        let conn = &self.conn;
        let count = |sql: &str| Ok::<_, Fail>(conn.one(sql, [], |row| row.count(0))?.unwrap_or_default());
        let lost = count("SELECT count(*) FROM chunks WHERE doubted >= 2")?;
        if lost > 0 {
            // They keep their numbers, so that whoever uploads their bytes again mends the contents that have them.
            conn.run("INSERT INTO packs (state) VALUES ('set_aside')", [])?;
            let nowhere = conn.last_insert_rowid();
            let sql =
                "UPDATE chunks SET pack = ?1, offset = 0, stored_bytes = 1, doubted = 1 WHERE doubted >= ?2";
            conn.run(sql, (nowhere, UNPLACED))?;
        }
        let rows = count("SELECT count(*) FROM chunks")?;
        self.report.lost = lost;
        self.report.placed = rows.saturating_sub(lost).saturating_sub(self.report.added);
        self.report.unknown = unknown_numbers(conn)?;
        let act = Act::duty("rebuild", Timestamp::from_unix_ms(0));
        check::mend_sums(&Tx::new(conn, &act))?;
        conn.run("COMMIT", [])?;
        conn.flush_prepared_statement_cache();
        conn.execute_batch("DETACH old;")?;
        let wrong = check::file(conn)?;
        if let Some(first) = wrong.first() {
            return Err(Error::new(ErrorKind::Corrupt, ACTION).because(first.text.clone()).into());
        }
        Ok(())
    }
}

/// Copies what is kept and gives the pack rows of the old file.
fn begin(conn: &Connection, from: &Path) -> Outcome<BTreeMap<PackId, PackRecord>> {
    conn.execute_batch("PRAGMA foreign_keys = OFF;")?;
    conn.execute("ATTACH ?1 AS old", [from.to_string_lossy().as_ref()])?;
    conn.run("BEGIN IMMEDIATE", [])?;
    let tables: Vec<String> = conn.all(
        "SELECT name FROM main.sqlite_schema
         WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT IN ('chunks', 'packs')",
        [],
        |row| Ok(row.get(0)?),
    )?;
    for table in tables {
        conn.execute_batch(&format!(
            "DELETE FROM main.\"{table}\"; INSERT INTO main.\"{table}\" SELECT * FROM old.\"{table}\";"
        ))?;
    }
    // A statement that writes and meets a damaged page would spoil the transaction: these tables are read apart.
    let old = schema::connect(from, schema::CACHE_KIB_ALONE)?;
    let rows = chunks::packs(&old).unwrap_or_else(|fail| {
        tracing::warn!(error = %fail.into_error(ACTION).chain(), "the rows of packs could not be read");
        Vec::new()
    });
    keep_numbers(conn, &old)?;
    keep_sequences(conn)?;
    Ok(rows.into_iter().map(|row| (row.pack, row)).collect())
}

/// Which number is which digest: from the table, and where that is damaged, from the index over it.
fn keep_numbers(conn: &Connection, old: &Connection) -> Outcome<()> {
    const FROM_TABLE: &str = "SELECT id, digest, size_bytes, epoch, doubted FROM chunks NOT INDEXED
         WHERE length(digest) = 32 AND size_bytes > 0";
    const FROM_INDEX: &str = "SELECT id, digest, 1, NULL, 0 FROM chunks INDEXED BY sqlite_autoindex_chunks_1
         WHERE length(digest) = 32";
    for sql in [FROM_TABLE, FROM_INDEX] {
        if let Err(fail) = keep_rows(conn, old, sql)? {
            let error = fail.into_error(ACTION);
            tracing::warn!(error = %error.chain(), "not all rows of chunks can be read; the other copy of them is used");
        }
    }
    Ok(())
}

/// Writes what can be read; inside, why not all of it could be.
fn keep_rows(conn: &Connection, old: &Connection, sql: &str) -> Outcome<Outcome<()>> {
    let mut statement = match old.prepare(sql) {
        Ok(statement) => statement,
        Err(error) => return Ok(Err(error.into())),
    };
    let mut rows = match statement.query([]) {
        Ok(rows) => rows,
        Err(error) => return Ok(Err(error.into())),
    };
    loop {
        let row = match rows.next() {
            Ok(Some(row)) => row,
            Ok(None) => return Ok(Ok(())),
            Err(error) => return Ok(Err(error.into())),
        };
        let (id, digest): (i64, [u8; 32]) = (row.get(0)?, row.get(1)?);
        let (size_bytes, epoch): (u32, Option<i64>) = (row.get(2)?, row.get(3)?);
        let is_doubted: bool = row.get::<_, i64>(4)? == 1;
        conn.run(
            "INSERT OR IGNORE INTO chunks (id, digest, pack, offset, stored_bytes, size_bytes, epoch, doubted)
             VALUES (?1, ?2, 0, 0, 1, ?3, coalesce(?4, (SELECT value FROM meta WHERE name = 'epoch')), ?5)",
            (id, digest, size_bytes, epoch, UNPLACED + i64::from(is_doubted)),
        )?;
    }
}

/// No number is given twice: neither one that was given before, nor one that a content still names.
fn keep_sequences(conn: &Connection) -> Outcome<()> {
    conn.execute_batch("DELETE FROM main.sqlite_sequence; INSERT INTO main.sqlite_sequence SELECT * FROM old.sqlite_sequence;")?;
    let named = named_numbers(conn, |_number| {})?;
    let known = conn.one("SELECT coalesce(max(id), 0) FROM chunks", [], |row| Ok(row.get::<_, i64>(0)?))?;
    let last = named.max(known.unwrap_or_default());
    let sql = "UPDATE main.sqlite_sequence SET seq = max(seq, ?1) WHERE name = 'chunks'";
    if conn.run(sql, [last])? == 0 {
        conn.run("INSERT INTO main.sqlite_sequence (name, seq) VALUES ('chunks', ?1)", [last])?;
    }
    Ok(())
}

/// How many numbers contents name that have no row.
fn unknown_numbers(conn: &Connection) -> Outcome<u64> {
    let mut missing = BTreeSet::new();
    let mut wrong = None;
    named_numbers(conn, |number| {
        match conn.one("SELECT 1 FROM chunks WHERE id = ?1", [number], |_row| Ok(())) {
            Ok(Some(())) => {}
            Ok(None) => {
                missing.insert(number);
            }
            Err(fail) => wrong = Some(fail),
        }
    })?;
    wrong.map_or(Ok(missing.len() as u64), Err)
}

/// Every number that a content names; gives the highest.
fn named_numbers(conn: &Connection, mut each: impl FnMut(i64)) -> Outcome<i64> {
    let mut statement = conn.prepare("SELECT body FROM main.segments")?;
    let mut rows = statement.query([])?;
    let mut last = 0;
    while let Some(row) = rows.next()? {
        // One that cannot be read is for a check to tell.
        let segment = Segment::decode(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?);
        for entry in segment.iter().flat_map(Segment::entries) {
            last = last.max(entry.chunk.0);
            each(entry.chunk.0);
        }
    }
    Ok(last)
}

impl RebuildReport {
    /// Every content can be read.
    pub fn is_whole(&self) -> bool {
        self.lost == 0 && self.unknown == 0
    }
}
