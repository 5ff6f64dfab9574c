//! A copy of the database file: whole, checked and durable. For backups, and for the start after a fault.

use std::fs::File;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use usp_model::{Error, ErrorKind, PackRecord, Result};

use super::ask::Ask;
use super::chunks;
use super::fail::Fail;
use super::schema;

const ACTION: &str = "copy the catalogue";

/// What a copy says of its store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogCopy {
    /// The packs that it speaks of.
    pub packs: Vec<PackRecord>,
    /// The number that was drawn when the catalogue was made; copies and restored stores keep it. `None` in one that no
    /// later usp has opened.
    pub store_id: Option<i64>,
}

/// Writes the committed facts of `from` into a new file, while others may read and write. The copy has no log, passed SQLite's integrity check, and is on the disk with its name when this returns.
///
/// Blocks on the disk. Errors: `NotFound`; `Conflict` when `to` is there; `Corrupt` when `from` cannot be read or the
/// copy does not pass; `StorageFull`; `Unavailable`. After an error a part of `to` may be left.
pub fn copy_catalog(from: &Path, to: &Path) -> Result<CatalogCopy> {
    if !from.is_file() {
        let reason = "there is no such database";
        return Err(Error::new(ErrorKind::NotFound, ACTION).about(from.display()).because(reason));
    }
    if to.exists() {
        let reason = "there is a file of that name already";
        return Err(Error::new(ErrorKind::Conflict, ACTION).about(to.display()).because(reason));
    }
    schema::create_file(to)?;
    let failed =
        |path: &Path, source: rusqlite::Error| Fail::Sql(source).into_error(ACTION).about(path.display());
    let conn = schema::connect(from, schema::CACHE_KIB_ALONE)?;
    schema::refuse_foreign(&conn, from)?;
    let name = to.to_string_lossy();
    conn.execute("VACUUM INTO ?1", [name.as_ref()]).map_err(|source| failed(from, source))?;
    drop(conn);
    let synced = File::open(to).and_then(|file| file.sync_all());
    synced
        .and_then(|()| File::open(schema::dir_of(to))?.sync_all())
        .map_err(|source| Error::new(ErrorKind::Unavailable, ACTION).about(to.display()).caused_by(source))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let copy = Connection::open_with_flags(to, flags).map_err(|source| failed(to, source))?;
    let said = copy
        .one("PRAGMA integrity_check(1)", [], |row| Ok(row.get::<_, String>(0)?))
        .map_err(|fail| fail.into_error(ACTION).about(to.display()))?
        .unwrap_or_default();
    if said != "ok" {
        return Err(Error::new(ErrorKind::Corrupt, ACTION).about(from.display()).because(said));
    }
    let asked = |fail: Fail| fail.into_error(ACTION).about(to.display());
    let packs = chunks::packs(&copy).map_err(asked)?;
    let sql = "SELECT value FROM meta WHERE name = 'store_id'";
    let store_id = copy.one(sql, [], |row| Ok(row.get(0)?)).map_err(asked)?;
    Ok(CatalogCopy { packs, store_id })
}
