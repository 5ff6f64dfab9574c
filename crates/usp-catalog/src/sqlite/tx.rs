//! A write transaction as domain code sees it.

use std::cell::Cell;
use std::ops::Deref;

use rusqlite::Connection;
use usp_model::{Act, EventSeq, Timestamp};

use super::ask::Ask;
use super::fail::Outcome;

/// The connection inside a transaction; remembers the last event it wrote.
pub(super) struct Tx<'c> {
    conn: &'c Connection,
    act: &'c Act,
    last_event: Cell<Option<EventSeq>>,
}

impl<'c> Tx<'c> {
    pub(super) fn new(conn: &'c Connection, act: &'c Act) -> Self {
        Self { conn, act, last_event: Cell::new(None) }
    }

    /// Who changes something, and why.
    pub(super) fn act(&self) -> &Act {
        self.act
    }

    /// The time of the change.
    pub(super) fn at(&self) -> Timestamp {
        self.act.at
    }

    pub(super) fn last_event(&self) -> Option<EventSeq> {
        self.last_event.get()
    }

    /// Remembers that an event of this number was written.
    pub(super) fn note_event(&self, seq: EventSeq) {
        self.last_event.set(Some(seq));
    }

    /// The collection epoch that references made now carry.
    pub(super) fn epoch(&self) -> Outcome<i64> {
        let epoch =
            self.conn.one("SELECT value FROM meta WHERE name = 'epoch'", [], |row| Ok(row.get(0)?))?;
        Ok(epoch.unwrap_or(1))
    }
}

impl Deref for Tx<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.conn
    }
}
