//! API keys and refresh tokens. Neither a key nor a token is here, only hashes of them.

use rusqlite::{Connection, Row};
use usp_model::{ApiKey, ApiKeyId, Error, ErrorKind, Timestamp, UserName};

use super::ask::{Ask, Column, to_json};
use super::fail::{Outcome, absent, is_taken};
use super::tx::Tx;
use super::users;
use crate::records::{ApiKeyRecord, RefreshRow, Rotation};

/// A key in use is noted once a minute, not with every request.
const TOUCH_MS: i64 = 60_000;

const KEY: &str =
    "SELECT id, name, user, grants, created_at, expires_at, last_used_at, secret_hash FROM api_keys";

fn api_key(row: &Row<'_>) -> Outcome<ApiKey> {
    Ok(ApiKey {
        id: row.text(0)?,
        name: row.get(1)?,
        user: row.text(2)?,
        grants: row.json(3)?,
        created_at: row.time(4)?,
        expires_at: row.time_or_none(5)?,
        last_used_at: row.time_or_none(6)?,
    })
}

pub(super) fn create(tx: &Tx<'_>, key: &ApiKey, secret_hash: [u8; 32]) -> Outcome<()> {
    users::record(tx, &key.user)?;
    let inserted = tx.run(
        "INSERT INTO api_keys (id, name, user, grants, secret_hash, created_at, expires_at, last_used_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        (
            key.id.as_str(),
            &key.name,
            key.user.as_str(),
            to_json(&key.grants)?,
            secret_hash,
            key.created_at.unix_ms(),
            key.expires_at.map(Timestamp::unix_ms),
            key.last_used_at.map(Timestamp::unix_ms),
        ),
    );
    match inserted {
        Ok(_) => Ok(()),
        Err(error) if is_taken(&error) => {
            let taken = Error::new(ErrorKind::Conflict, "create API key").about(&key.id);
            Err(taken.because("an API key with this id exists already").into())
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) fn record(conn: &Connection, id: &ApiKeyId) -> Outcome<ApiKeyRecord> {
    let found = conn.one(&format!("{KEY} WHERE id = ?1"), [id.as_str()], |row| {
        Ok(ApiKeyRecord { key: api_key(row)?, secret_hash: row.get(7)? })
    })?;
    Ok(found.ok_or_else(|| absent("find API key", id, "no such API key"))?)
}

pub(super) fn list(conn: &Connection, user: Option<&UserName>) -> Outcome<Vec<ApiKey>> {
    match user {
        Some(user) => conn.all(&format!("{KEY} WHERE user = ?1 ORDER BY id"), [user.as_str()], api_key),
        None => conn.all(&format!("{KEY} ORDER BY id"), [], api_key),
    }
}

/// Whether the last use on record is so old that it is worth a write.
pub(super) fn wants_touch(conn: &Connection, id: &ApiKeyId, at: Timestamp) -> Outcome<bool> {
    let sql = "SELECT last_used_at IS NULL OR last_used_at + ?2 <= ?3 FROM api_keys WHERE id = ?1";
    Ok(conn.one(sql, (id.as_str(), TOUCH_MS, at.unix_ms()), |row| Ok(row.get(0)?))?.unwrap_or(false))
}

/// A key that was deleted meanwhile is not an error.
pub(super) fn touch(tx: &Tx<'_>, id: &ApiKeyId, at: Timestamp) -> Outcome<()> {
    let sql = "UPDATE api_keys SET last_used_at = ?2 WHERE id = ?1 AND coalesce(last_used_at, 0) < ?2";
    tx.run(sql, (id.as_str(), at.unix_ms()))?;
    Ok(())
}

pub(super) fn delete(tx: &Tx<'_>, id: &ApiKeyId) -> Outcome<()> {
    match tx.run("DELETE FROM api_keys WHERE id = ?1", [id.as_str()])? {
        0 => Err(absent("delete API key", id, "no such API key").into()),
        _ => Ok(()),
    }
}

/// Errors: `NotFound` (user).
pub(super) fn add_token(tx: &Tx<'_>, row: &RefreshRow) -> Outcome<()> {
    users::record(tx, &row.user)?;
    insert_token(tx, row)
}

fn insert_token(tx: &Tx<'_>, row: &RefreshRow) -> Outcome<()> {
    tx.run(
        "INSERT INTO refresh_tokens (hash, family, user, expires_at) VALUES (?1, ?2, ?3, ?4)",
        (row.hash, row.family, row.user.as_str(), row.expires_at.unix_ms()),
    )?;
    Ok(())
}

/// Forgets tokens whose time is over, `limit` at most.
pub(super) fn prune_tokens(tx: &Tx<'_>, now: Timestamp, limit: u32) -> Outcome<u64> {
    let forgotten = tx.run(
        "DELETE FROM refresh_tokens WHERE hash IN
             (SELECT hash FROM refresh_tokens WHERE expires_at <= ?1 LIMIT ?2)",
        (now.unix_ms(), limit),
    )?;
    Ok(forgotten as u64)
}

/// A used token that comes again was stolen, or its successor was: the whole family ends.
pub(super) fn rotate(
    tx: &Tx<'_>,
    hash: [u8; 32],
    next_hash: [u8; 32],
    next_expires_at: Timestamp,
    now: Timestamp,
) -> Outcome<Rotation> {
    let sql = "SELECT family, user, is_used FROM refresh_tokens WHERE hash = ?1 AND expires_at > ?2";
    let standing = tx.one(sql, (hash, now.unix_ms()), |row| {
        Ok((row.get::<_, [u8; 16]>(0)?, row.text::<UserName>(1)?, row.get::<_, bool>(2)?))
    })?;
    let Some((family, user, is_used)) = standing else { return Ok(Rotation::Refused) };
    if is_used {
        tx.run("DELETE FROM refresh_tokens WHERE family = ?1", [family])?;
        return Ok(Rotation::Refused);
    }
    tx.run("UPDATE refresh_tokens SET is_used = 1 WHERE hash = ?1", [hash])?;
    insert_token(
        tx,
        &RefreshRow { hash: next_hash, family, user: user.clone(), expires_at: next_expires_at },
    )?;
    Ok(Rotation::Rotated { user })
}
