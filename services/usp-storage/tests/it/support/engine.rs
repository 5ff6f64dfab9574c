//! The engine below the storage under test: the one place that names it.

use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;
use usp_catalog::{Catalog, SqliteCatalog, SqliteConfig};

/// Opens the catalogue of the directory.
pub(super) fn open(dir: &Path) -> Arc<dyn Catalog> {
    SqliteCatalog::open(SqliteConfig::new(dir.join("catalog.db"))).unwrap()
}

/// Keeps every change out of the catalogue until it is dropped.
pub(crate) struct HeldWrites(Connection);

pub(super) fn hold_writes(dir: &Path) -> HeldWrites {
    let other = Connection::open(dir.join("catalog.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    HeldWrites(other)
}

/// Puts a written rule there as another release may have left it.
pub(super) fn leave_rule(dir: &Path, name: &str, body: &str) {
    let HeldWrites(other) = hold_writes(dir);
    other.execute("INSERT INTO written_rules (name, body) VALUES (?1, ?2)", (name, body)).unwrap();
    other.execute_batch("COMMIT").unwrap();
}
