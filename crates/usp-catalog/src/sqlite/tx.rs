//! A write transaction as domain code sees it.

use std::cell::Cell;
use std::ops::Deref;

use rusqlite::Connection;
use serde_json::Value;
use usp_model::{BucketName, EventKind, EventSeq, FileId, Timestamp};

use super::ask::{Ask, int};
use super::fail::Outcome;

/// The connection inside a transaction; remembers the last event it wrote.
pub(super) struct Tx<'c> {
    conn: &'c Connection,
    last_event: Cell<Option<EventSeq>>,
}

impl<'c> Tx<'c> {
    pub(super) fn new(conn: &'c Connection) -> Self {
        Self { conn, last_event: Cell::new(None) }
    }

    pub(super) fn last_event(&self) -> Option<EventSeq> {
        self.last_event.get()
    }

    /// Writes an event with the change that it reports.
    pub(super) fn emit(
        &self,
        at: Timestamp,
        kind: EventKind,
        bucket: &BucketName,
        file_id: &FileId,
        content: &Value,
    ) -> Outcome<()> {
        self.conn.run(
            "INSERT INTO events (at, kind, bucket, file_id, data) VALUES (?1, ?2, ?3, ?4, ?5)",
            (at.unix_ms(), kind.as_str(), bucket.as_str(), file_id.as_bytes(), content.to_string()),
        )?;
        self.last_event.set(Some(self.conn.last_insert_rowid()));
        Ok(())
    }

    /// The collection epoch that references made now carry.
    pub(super) fn epoch(&self) -> Outcome<i64> {
        let epoch =
            self.conn.one("SELECT value FROM meta WHERE name = 'epoch'", [], |row| Ok(row.get(0)?))?;
        Ok(epoch.unwrap_or(1))
    }

    /// Adds to a store-wide counter.
    pub(super) fn add_to_meta(&self, name: &str, more: u64) -> Outcome<()> {
        self.conn.run("UPDATE meta SET value = value + ?2 WHERE name = ?1", (name, int(more)))?;
        Ok(())
    }

    /// Takes from a store-wide counter.
    pub(super) fn take_from_meta(&self, name: &str, less: u64) -> Outcome<()> {
        self.conn.run("UPDATE meta SET value = value - ?2 WHERE name = ?1", (name, int(less)))?;
        Ok(())
    }
}

impl Deref for Tx<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.conn
    }
}
