//! Sums, and what a start mends.

use rusqlite::Connection;
use usp_model::{StoreTotals, Timestamp, Usage};

use super::ask::{Ask, Column};
use super::fail::Outcome;
use super::tx::Tx;
use super::{runs, uploads};

/// Over all buckets first, then each by name. The sums are kept by the transactions that change them.
pub(super) fn usage(conn: &Connection) -> Outcome<Vec<Usage>> {
    let sql =
        "SELECT b.name, u.file_count, u.version_count, u.logical_bytes, u.stored_bytes, u.deduplicated_bytes
         FROM usage u JOIN buckets b ON b.id = u.bucket ORDER BY b.name";
    let each = conn.all(sql, [], |row| {
        Ok(Usage {
            bucket: Some(row.text(0)?),
            files: row.count(1)?,
            versions: row.count(2)?,
            logical_bytes: row.count(3)?,
            stored_bytes: row.count(4)?,
            deduplicated_bytes: row.count(5)?,
        })
    })?;
    let all = each.iter().fold(Usage::default(), |sum, one| Usage {
        bucket: None,
        files: sum.files.saturating_add(one.files),
        versions: sum.versions.saturating_add(one.versions),
        logical_bytes: sum.logical_bytes.saturating_add(one.logical_bytes),
        stored_bytes: sum.stored_bytes.saturating_add(one.stored_bytes),
        deduplicated_bytes: sum.deduplicated_bytes.saturating_add(one.deduplicated_bytes),
    });
    Ok(std::iter::once(all).chain(each).collect())
}

/// Chunks are counted as they come; what is counted here has a narrow index or few rows.
pub(super) fn totals(conn: &Connection) -> Outcome<StoreTotals> {
    let sql = "SELECT (SELECT value FROM meta WHERE name = 'chunk_count'),
             (SELECT value FROM meta WHERE name = 'plain_bytes'),
             (SELECT value FROM meta WHERE name = 'frame_bytes'),
             (SELECT count(*) FROM packs),
             (SELECT count(*) FROM uploads WHERE state = 'open'),
             (SELECT count(*) FROM runs WHERE state IN ('queued', 'retrying')),
             (SELECT count(*) FROM runs WHERE state = 'dead')";
    let found = conn.one(sql, [], |row| {
        Ok(StoreTotals {
            chunks: row.count(0)?,
            plain_bytes: row.count(1)?,
            frame_bytes: row.count(2)?,
            packs: row.count(3)?,
            open_uploads: row.count(4)?,
            runs_waiting: row.count(5)?,
            runs_dead: row.count(6)?,
        })
    })?;
    Ok(found.unwrap_or_default())
}

pub(super) fn recover(tx: &Tx<'_>, now: Timestamp) -> Outcome<()> {
    tx.run("UPDATE meta SET value = value + 1 WHERE name = 'generation'", [])?;
    uploads::end_unannounced(tx)?;
    runs::end_leases(tx, now)?;
    runs::pull_up(tx, now)?;
    Ok(())
}
