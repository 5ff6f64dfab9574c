//! Frames that commits rely on and that may not be on the disk yet.
//!
//! A row is written in the transaction that makes the chunk row of its frame, and deleted once the pack was synced behind
//! it. What stands here after a crash is written to its place again; what stands here for a pack that failed is stored
//! anew from here.

use std::sync::LazyLock;

use rusqlite::Connection;
use usp_decide::pack;
use usp_model::{ChunkId, FramePlace, PackId, PackState, RedoFrame};

use super::ask::{Ask, Column, int};
use super::collect;
use super::fail::Outcome;
use super::tx::Tx;
use crate::records::ChunkMove;

static STRANDED: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT c.id, r.pack, r.offset, r.bytes FROM redo r
         JOIN packs p ON p.id = r.pack AND p.state IN ({})
         JOIN chunks c ON c.pack = r.pack AND c.offset = r.offset
         ORDER BY r.id LIMIT ?1",
        states(pack::strands_frames)
    )
});

static FORGET_UNNAMED: LazyLock<String> = LazyLock::new(|| {
    format!(
        "DELETE FROM redo WHERE pack IN (SELECT id FROM packs WHERE state IN ({}))
             AND NOT EXISTS (SELECT 1 FROM chunks c WHERE c.pack = redo.pack AND c.offset = redo.offset)",
        states(pack::strands_frames)
    )
});

static FORGET_SYNCED: LazyLock<String> = LazyLock::new(|| {
    format!(
        "DELETE FROM redo WHERE pack = ?1 AND offset < ?2
             OR pack IN (SELECT id FROM packs WHERE state IN ({}))",
        states(pack::is_synced)
    )
});

/// The states of which `holds` is true, as a list in a statement.
fn states(holds: fn(PackState) -> bool) -> String {
    let states = PackState::ALL.iter().filter(|state| holds(**state));
    states.map(|state| format!("'{state}'")).collect::<Vec<_>>().join(", ")
}

pub(super) fn add(tx: &Tx<'_>, frames: &[RedoFrame]) -> Outcome<()> {
    for RedoFrame { place, bytes } in frames {
        let sql = "INSERT INTO redo (pack, offset, bytes) VALUES (?1, ?2, ?3)";
        tx.run(sql, (place.pack.0, int(place.offset), bytes))?;
    }
    Ok(())
}

pub(super) fn of_pack(conn: &Connection, pack: PackId) -> Outcome<Vec<RedoFrame>> {
    let sql = "SELECT pack, offset, bytes FROM redo WHERE pack = ?1 ORDER BY offset";
    conn.all(sql, [pack.0], |row| {
        let bytes: Vec<u8> = row.get(2)?;
        let stored_bytes = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let place = FramePlace { pack: PackId(row.get(0)?), offset: row.count(1)?, stored_bytes };
        Ok(RedoFrame { place, bytes })
    })
}

/// Frames of packs that failed, with the chunks that need them.
pub(super) fn stranded(conn: &Connection, count_max: u32) -> Outcome<Vec<(ChunkId, RedoFrame)>> {
    conn.all(&STRANDED, [count_max], |row| {
        let bytes: Vec<u8> = row.get(3)?;
        let stored_bytes = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let place = FramePlace { pack: PackId(row.get(1)?), offset: row.count(2)?, stored_bytes };
        Ok((ChunkId(row.get(0)?), RedoFrame { place, bytes }))
    })
}

/// A frame and the row that names it are committed together: without such a row nobody needs the frame.
pub(super) fn rescue(tx: &Tx<'_>, moves: &[ChunkMove]) -> Outcome<u64> {
    let moved_count = collect::move_chunks(tx, moves)?;
    tx.run(&FORGET_UNNAMED, [])?;
    Ok(moved_count)
}

pub(super) fn forget(tx: &Tx<'_>, pack: PackId, synced_bytes: u64) -> Outcome<()> {
    tx.run(&FORGET_SYNCED, (pack.0, int(synced_bytes)))?;
    Ok(())
}
