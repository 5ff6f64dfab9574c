//! Opening the database file: settings, checks, migrations.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use tracing::info;
use usp_model::{Error, ErrorKind, Result};

/// "uspc" in ASCII, so that `file` and a stray path are told apart from other databases.
const APPLICATION_ID: i32 = 0x7573_7063;
/// Older versions have the WAL-reset bug that can corrupt the file.
const SQLITE_VERSION_MIN: i32 = 3_051_003;
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Page cache of a connection that does one thing and is closed.
pub(super) const CACHE_KIB_ALONE: u32 = 16 * 1024;
const STATEMENT_COUNT_MAX: usize = 256;
/// Migration n takes the schema from version n - 1 to n. A released one is never changed.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0002.sql"),
    include_str!("migrations/0003.sql"),
    include_str!("migrations/0004.sql"),
    include_str!("migrations/0005.sql"),
    include_str!("migrations/0006.sql"),
    include_str!("migrations/0007.sql"),
    include_str!("migrations/0008.sql"),
];

const ACTION: &str = "open catalogue";

/// Makes the file if there is none, brings its schema up to date, and gives the connection that writes.
pub(super) fn open_writer(path: &Path, cache_kib: u32) -> Result<Connection> {
    check_library()?;
    create_file(path)?;
    let mut conn = connect(path, cache_kib)?;
    let mode: String = conn
        .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
        .map_err(|source| open_error(path, source))?;
    if mode != "wal" {
        return Err(Error::new(ErrorKind::Internal, ACTION).about(path.display()).because(format!(
            "the file system does not allow write-ahead logging (journal mode stayed '{mode}'); use a local disk"
        )));
    }
    // A migration that builds a table anew needs its keys unchecked; only what a commit reads is enforced.
    let synchronous = if usp_rt::is_planted("synchronous-normal") { "NORMAL" } else { "FULL" };
    conn.execute_batch(&format!(
        "PRAGMA synchronous = {synchronous}; PRAGMA wal_autocheckpoint = 0; PRAGMA foreign_keys = OFF;"
    ))
    .map_err(|source| open_error(path, source))?;
    migrate(&mut conn, path)?;
    conn.execute_batch("PRAGMA foreign_keys = ON;").map_err(|source| open_error(path, source))?;
    Ok(conn)
}

/// A connection that only reads.
pub(super) fn open_reader(path: &Path, cache_kib: u32) -> Result<Connection> {
    let conn = connect(path, cache_kib)?;
    conn.execute_batch("PRAGMA query_only = ON;").map_err(|source| open_error(path, source))?;
    Ok(conn)
}

fn check_library() -> Result<()> {
    if rusqlite::version_number() >= SQLITE_VERSION_MIN {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Internal, ACTION)
        .because(format!("SQLite {} can corrupt its log; 3.51.3 or later is needed", rusqlite::version())))
}

/// The file is readable by its owner alone, and its name is durable before anything is written to it.
pub(super) fn create_file(path: &Path) -> Result<()> {
    let failed = |source: std::io::Error| {
        Error::new(ErrorKind::Internal, ACTION).about(path.display()).caused_by(source)
    };
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => {
            file.sync_all().map_err(failed)?;
            File::open(dir_of(path)).and_then(|dir| dir.sync_all()).map_err(failed)
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

pub(super) fn dir_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
        _ => PathBuf::from("."),
    }
}

pub(super) fn connect(path: &Path, cache_kib: u32) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(|source| open_error(path, source))?;
    // Plans never depend on bound values: otherwise binding a value makes SQLite plan many statements anew.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
        .map_err(|source| open_error(path, source))?;
    conn.busy_timeout(BUSY_TIMEOUT).map_err(|source| open_error(path, source))?;
    conn.set_prepared_statement_cache_capacity(STATEMENT_COUNT_MAX);
    conn.execute_batch(&format!(
        "PRAGMA mmap_size = 0; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;
         PRAGMA temp_store = MEMORY; PRAGMA cache_size = -{cache_kib};"
    ))
    .map_err(|source| open_error(path, source))?;
    Ok(conn)
}

/// The schema version that this usp writes.
pub(super) fn version() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// Errors: `Internal` for a database of another program, or of a newer usp. Gives the schema version.
pub(super) fn refuse_foreign(conn: &Connection, path: &Path) -> Result<i64> {
    let known = version();
    let found = pragma(conn, "user_version").map_err(|source| open_error(path, source))?;
    let id = pragma(conn, "application_id").map_err(|source| open_error(path, source))?;
    let refused =
        |reason: String| Error::new(ErrorKind::Internal, ACTION).about(path.display()).because(reason);
    let is_empty = table_count(conn).map_err(|source| open_error(path, source))? == 0;
    if id != i64::from(APPLICATION_ID) && !is_empty {
        return Err(refused("the file is a database of another program; name another path".to_owned()));
    }
    if found > known {
        return Err(refused(format!(
            "its schema version {found} is newer than {known}, the newest that this usp knows; start a newer usp"
        )));
    }
    Ok(found)
}

/// Brings the schema up to date, one transaction for each version. A step may write whole tables anew, so it keeps what it
/// needs meanwhile in files, says that it begins, and leaves no log for the first commit to move.
fn migrate(conn: &mut Connection, path: &Path) -> Result<()> {
    let found = refuse_foreign(conn, path)?;
    if found >= version() {
        return Ok(());
    }
    let failed = |source| open_error(path, source);
    if found > 0 {
        check_room(path)?;
    }
    conn.execute_batch("PRAGMA temp_store = FILE;").map_err(failed)?;
    for (version, sql) in (1_i64..).zip(MIGRATIONS).skip_while(|(version, _)| *version <= found) {
        if found > 0 {
            info!(
                schema.version = version,
                "catalogue schema is brought up to date; do not stop usp meanwhile"
            );
        }
        apply(conn, version, sql).map_err(failed)?;
        conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_row| Ok(())).map_err(failed)?;
        info!(schema.version = version, "catalogue schema migrated");
    }
    conn.execute_batch("PRAGMA temp_store = MEMORY;").map_err(failed)
}

/// Errors: `StorageFull` unless twice the size of the database is free: its log and the new tables stand beside the old ones.
fn check_room(path: &Path) -> Result<()> {
    let failed = |source: std::io::Error| {
        Error::new(ErrorKind::Internal, ACTION).about(path.display()).caused_by(source)
    };
    let size_bytes = std::fs::metadata(path).map_err(failed)?.len();
    let disk = rustix::fs::statvfs(dir_of(path)).map_err(|errno| failed(errno.into()))?;
    let (free_bytes, needed_bytes) =
        (disk.f_bavail.saturating_mul(disk.f_frsize), size_bytes.saturating_mul(2));
    if free_bytes >= needed_bytes {
        return Ok(());
    }
    let reason = format!(
        "its schema must be brought up to date, which needs {needed_bytes} bytes of free space beside it, and there are \
         {free_bytes}: free some and start again; nothing was changed"
    );
    Err(Error::new(ErrorKind::StorageFull, ACTION).about(path.display()).because(reason))
}

fn apply(conn: &mut Connection, version: i64, sql: &str) -> rusqlite::Result<()> {
    let tx = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    tx.execute_batch(sql)?;
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", version)?;
    tx.commit()
}

fn pragma(conn: &Connection, name: &str) -> rusqlite::Result<i64> {
    conn.pragma_query_value(None, name, |row| row.get(0))
}

fn table_count(conn: &Connection) -> rusqlite::Result<i64> {
    conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
}

fn open_error(path: &Path, source: rusqlite::Error) -> Error {
    let error = super::fail::Fail::Sql(source).into_error(ACTION);
    error.about(path.display())
}
