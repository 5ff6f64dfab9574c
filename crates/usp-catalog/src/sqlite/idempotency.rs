//! Keys of idempotency: a request that is sent again within a day answers with what the first one made.

use rusqlite::Connection;
use usp_decide::idempotency;
use usp_model::{FileId, Timestamp, UserName};

use super::ask::{Ask, Column};
use super::fail::Outcome;
use super::tx::Tx;
use super::{runs, uploads, version_row};
use crate::records::{CommittedVersion, NewVersion};

struct Seen {
    file_row: i64,
    version: u32,
}

fn find(conn: &Connection, owner: &UserName, key: &str, now: Timestamp) -> Outcome<Option<Seen>> {
    let sql = "SELECT file, version, created_at FROM idempotency_keys WHERE owner = ?1 AND key = ?2";
    let used = conn.one(sql, (owner.as_str(), key), |row| {
        Ok((Seen { file_row: row.get(0)?, version: row.get(1)? }, row.time(2)?))
    })?;
    Ok(used.filter(|(_, used_at)| idempotency::is_remembered(*used_at, now)).map(|(seen, _)| seen))
}

pub(super) fn file_of(
    conn: &Connection,
    owner: &UserName,
    key: &str,
    now: Timestamp,
) -> Outcome<Option<FileId>> {
    let Some(seen) = find(conn, owner, key, now)? else { return Ok(None) };
    Ok(version_row::current(conn, seen.file_row)?.map(|row| row.file.id))
}

/// What the key made, if it was used; the upload that repeated it is not needed and ends.
/// Errors: `Conflict` when it was used for another bucket or key.
pub(super) fn replay(tx: &Tx<'_>, new: &NewVersion) -> Outcome<Option<CommittedVersion>> {
    let Some(key) = &new.idempotency_key else { return Ok(None) };
    let Some(seen) = find(tx, &new.owner, key, tx.at())? else { return Ok(None) };
    let Some(row) = version_row::version(tx, seen.file_row, seen.version)? else { return Ok(None) };
    idempotency::check_replay(new, &row.file)?;
    if let Some(upload) = &new.upload {
        uploads::end_quietly(tx, upload)?;
    }
    let runs = runs::ids_of_version(tx, seen.file_row, seen.version)?;
    Ok(Some(CommittedVersion { file: row.into_record(tx)?.file, is_new_file: false, runs }))
}

pub(super) fn remember(tx: &Tx<'_>, new: &NewVersion, file_row: i64, version: u32) -> Outcome<()> {
    let Some(key) = &new.idempotency_key else { return Ok(()) };
    tx.run(
        "INSERT INTO idempotency_keys (owner, key, file, version, created_at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (owner, key) DO UPDATE SET file = ?3, version = ?4, created_at = ?5",
        (new.owner.as_str(), key, file_row, version, tx.at().unix_ms()),
    )?;
    Ok(())
}

/// Forgets keys whose day is over, `limit` at most.
pub(super) fn prune(tx: &Tx<'_>, now: Timestamp, limit: u32) -> Outcome<u64> {
    let forgotten = tx.run(
        "DELETE FROM idempotency_keys WHERE (owner, key) IN
             (SELECT owner, key FROM idempotency_keys WHERE created_at <= ?1 LIMIT ?2)",
        (idempotency::forgotten_until(now).unix_ms(), limit),
    )?;
    Ok(forgotten as u64)
}
