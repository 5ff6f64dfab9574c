//! API keys and refresh tokens. Neither a key nor a token is here, only hashes of them.

use rusqlite::{Connection, Row};
use usp_decide::account::{self, RefreshToken, Rotate};
use usp_model::{ApiKey, ApiKeyId, Error, ErrorKind, Timestamp, UserName};

use super::ask::{Ask, Column, to_json};
use super::columns::columns;
use super::fail::{Outcome, absent, is_taken};
use super::tx::Tx;
use super::users;
use crate::records::{ApiKeyRecord, RefreshRow, Rotation};

columns! {
    mod column from "api_keys" {
        ID = "id",
        NAME = "name",
        USER = "user",
        GRANTS = "grants",
        CREATED_AT = "created_at",
        EXPIRES_AT = "expires_at",
        LAST_USED_AT = "last_used_at",
        SECRET_HASH = "secret_hash",
    }
}

columns! {
    mod token_column from "refresh_tokens" {
        FAMILY = "family",
        USER = "user",
        IS_USED = "is_used",
        EXPIRES_AT = "expires_at",
    }
}

fn api_key(row: &Row<'_>) -> Outcome<ApiKey> {
    Ok(ApiKey {
        id: row.text(column::ID)?,
        name: row.get(column::NAME)?,
        user: row.text(column::USER)?,
        grants: row.json(column::GRANTS)?,
        created_at: row.time(column::CREATED_AT)?,
        expires_at: row.time_or_none(column::EXPIRES_AT)?,
        last_used_at: row.time_or_none(column::LAST_USED_AT)?,
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
    let found = conn.one(&format!("{} WHERE id = ?1", column::SELECT), [id.as_str()], |row| {
        Ok(ApiKeyRecord { key: api_key(row)?, secret_hash: row.get(column::SECRET_HASH)? })
    })?;
    Ok(found.ok_or_else(|| absent("find API key", id, "no such API key"))?)
}

pub(super) fn list(conn: &Connection, user: Option<&UserName>) -> Outcome<Vec<ApiKey>> {
    let keys = column::SELECT;
    match user {
        Some(user) => conn.all(&format!("{keys} WHERE user = ?1 ORDER BY id"), [user.as_str()], api_key),
        None => conn.all(&format!("{keys} ORDER BY id"), [], api_key),
    }
}

/// The last use of a key on record. `None`: the key was deleted meanwhile, which is not an error.
fn last_use(conn: &Connection, id: &ApiKeyId) -> Outcome<Option<Option<Timestamp>>> {
    let sql = "SELECT last_used_at FROM api_keys WHERE id = ?1";
    conn.one(sql, [id.as_str()], |row| Ok(row.time_or_none(0)?))
}

pub(super) fn wants_touch(conn: &Connection, id: &ApiKeyId, at: Timestamp) -> Outcome<bool> {
    Ok(last_use(conn, id)?.is_some_and(|last| account::wants_touch(last, at)))
}

pub(super) fn touch(tx: &Tx<'_>, id: &ApiKeyId, at: Timestamp) -> Outcome<()> {
    if let Some(used_at) = last_use(tx, id)?.and_then(|last| account::touched(last, at)) {
        let sql = "UPDATE api_keys SET last_used_at = ?2 WHERE id = ?1";
        tx.run(sql, (id.as_str(), used_at.unix_ms()))?;
    }
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
        (account::last_expiry_that_is_over(now).unix_ms(), limit),
    )?;
    Ok(forgotten as u64)
}

pub(super) fn rotate(
    tx: &Tx<'_>,
    hash: [u8; 32],
    next_hash: [u8; 32],
    next_expires_at: Timestamp,
    now: Timestamp,
) -> Outcome<Rotation> {
    match account::rotate(token(tx, hash)?, now) {
        Rotate::Refused => Ok(Rotation::Refused),
        Rotate::EndFamily(family) => {
            tx.run("DELETE FROM refresh_tokens WHERE family = ?1", [family])?;
            Ok(Rotation::Refused)
        }
        Rotate::Succeed { family, user } => {
            tx.run("UPDATE refresh_tokens SET is_used = 1 WHERE hash = ?1", [hash])?;
            let next = RefreshRow { hash: next_hash, family, user, expires_at: next_expires_at };
            insert_token(tx, &next)?;
            Ok(Rotation::Rotated { user: next.user })
        }
    }
}

fn token(conn: &Connection, hash: [u8; 32]) -> Outcome<Option<RefreshToken>> {
    conn.one(&format!("{} WHERE hash = ?1", token_column::SELECT), [hash], |row| {
        Ok(RefreshToken {
            family: row.get(token_column::FAMILY)?,
            user: row.text(token_column::USER)?,
            is_used: row.get(token_column::IS_USED)?,
            expires_at: row.time(token_column::EXPIRES_AT)?,
        })
    })
}
