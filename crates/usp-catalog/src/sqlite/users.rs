//! Users.

use rusqlite::{Connection, Row};
use usp_model::{Error, ErrorKind, Grant, Timestamp, User, UserName};

use super::ask::{Ask, Column, to_json};
use super::fail::{Outcome, absent, is_taken};
use super::tx::Tx;
use crate::records::UserRecord;

const USER: &str = "SELECT name, grants, disabled, created_at, updated_at, password_hash FROM users";

fn user(row: &Row<'_>) -> Outcome<User> {
    Ok(User {
        name: row.text(0)?,
        grants: row.json(1)?,
        disabled: row.get(2)?,
        created_at: row.time(3)?,
        updated_at: row.time(4)?,
    })
}

pub(super) fn create(
    tx: &Tx<'_>,
    name: UserName,
    password_hash: Option<String>,
    grants: Vec<Grant>,
    at: Timestamp,
) -> Outcome<User> {
    let inserted = tx.run(
        "INSERT INTO users (name, password_hash, grants, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?4)",
        (name.as_str(), password_hash, to_json(&grants)?, at.unix_ms()),
    );
    match inserted {
        Ok(_) => Ok(User { name, grants, disabled: false, created_at: at, updated_at: at }),
        Err(error) if is_taken(&error) => {
            let reason = format!("a user named {name} exists already");
            Err(Error::new(ErrorKind::Conflict, "create user").about(name).because(reason).into())
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) fn record(conn: &Connection, name: &UserName) -> Outcome<UserRecord> {
    let found = conn.one(&format!("{USER} WHERE name = ?1"), [name.as_str()], |row| {
        Ok(UserRecord { user: user(row)?, password_hash: row.get(5)? })
    })?;
    Ok(found.ok_or_else(|| absent("find user", name, "no such user"))?)
}

pub(super) fn list(conn: &Connection) -> Outcome<Vec<User>> {
    conn.all(&format!("{USER} ORDER BY name"), [], user)
}

/// What changes of a user; `None` leaves it.
pub(super) struct UserPatch {
    pub(super) password_hash: Option<String>,
    pub(super) grants: Option<Vec<Grant>>,
    pub(super) disabled: Option<bool>,
}

pub(super) fn update(tx: &Tx<'_>, name: &UserName, patch: UserPatch, at: Timestamp) -> Outcome<User> {
    let standing = record(tx, name)?;
    let ends_sessions = patch.password_hash.is_some() || patch.disabled == Some(true);
    let password_hash = patch.password_hash.or(standing.password_hash);
    let user = User {
        grants: patch.grants.unwrap_or(standing.user.grants),
        disabled: patch.disabled.unwrap_or(standing.user.disabled),
        updated_at: at,
        ..standing.user
    };
    tx.run(
        "UPDATE users SET password_hash = ?2, grants = ?3, disabled = ?4, updated_at = ?5 WHERE name = ?1",
        (name.as_str(), password_hash, to_json(&user.grants)?, user.disabled, at.unix_ms()),
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
