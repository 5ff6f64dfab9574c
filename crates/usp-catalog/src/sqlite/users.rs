//! Users.

use rusqlite::{Connection, Row};
use usp_decide::account::{self, PatchedUser, UserPatch};
use usp_model::{Error, ErrorKind, Grant, Timestamp, User, UserName};

use super::ask::{Ask, Column, to_json};
use super::columns::columns;
use super::fail::{Outcome, absent, is_taken};
use super::tx::Tx;
use crate::records::UserRecord;

columns! {
    mod column from "users" {
        NAME = "name",
        GRANTS = "grants",
        DISABLED = "disabled",
        CREATED_AT = "created_at",
        UPDATED_AT = "updated_at",
        PASSWORD_HASH = "password_hash",
    }
}

fn user(row: &Row<'_>) -> Outcome<User> {
    Ok(User {
        name: row.text(column::NAME)?,
        grants: row.json(column::GRANTS)?,
        disabled: row.get(column::DISABLED)?,
        created_at: row.time(column::CREATED_AT)?,
        updated_at: row.time(column::UPDATED_AT)?,
    })
}

pub(super) fn create(
    tx: &Tx<'_>,
    name: UserName,
    password_hash: Option<String>,
    grants: Vec<Grant>,
    at: Timestamp,
) -> Outcome<User> {
    let user = account::new_user(name, grants, at);
    let inserted = tx.run(
        "INSERT INTO users (name, password_hash, grants, disabled, created_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        (
            user.name.as_str(),
            password_hash,
            to_json(&user.grants)?,
            user.disabled,
            user.created_at.unix_ms(),
            user.updated_at.unix_ms(),
        ),
    );
    match inserted {
        Ok(_) => Ok(user),
        Err(error) if is_taken(&error) => {
            let reason = format!("a user named {} exists already", user.name);
            Err(Error::new(ErrorKind::Conflict, "create user").about(user.name).because(reason).into())
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) fn record(conn: &Connection, name: &UserName) -> Outcome<UserRecord> {
    let found = conn.one(&format!("{} WHERE name = ?1", column::SELECT), [name.as_str()], |row| {
        Ok(UserRecord { user: user(row)?, password_hash: row.get(column::PASSWORD_HASH)? })
    })?;
    Ok(found.ok_or_else(|| absent("find user", name, "no such user"))?)
}

pub(super) fn list(conn: &Connection) -> Outcome<Vec<User>> {
    conn.all(&format!("{} ORDER BY name", column::SELECT), [], user)
}

pub(super) fn update(tx: &Tx<'_>, name: &UserName, patch: UserPatch, at: Timestamp) -> Outcome<User> {
    let UserRecord { user, password_hash } = record(tx, name)?;
    let PatchedUser { user, password_hash, ends_sessions } = account::patched(user, password_hash, patch, at);
    tx.run(
        "UPDATE users SET password_hash = ?2, grants = ?3, disabled = ?4, updated_at = ?5 WHERE name = ?1",
        (name.as_str(), password_hash, to_json(&user.grants)?, user.disabled, user.updated_at.unix_ms()),
    )?;
    if ends_sessions {
        tx.run("DELETE FROM refresh_tokens WHERE user = ?1", [name.as_str()])?;
    }
    Ok(user)
}

/// Keys and tokens go with the row.
pub(super) fn delete(tx: &Tx<'_>, name: &UserName) -> Outcome<()> {
    match tx.run("DELETE FROM users WHERE name = ?1", [name.as_str()])? {
        0 => Err(absent("delete user", name, "no such user").into()),
        _ => Ok(()),
    }
}
