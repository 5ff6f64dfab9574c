//! What is opened, made and refused.

use std::os::unix::fs::PermissionsExt;

use rusqlite::Connection;
use usp_catalog::{SqliteCatalog, SqliteConfig};
use usp_model::ErrorKind;

use super::Sqlite;
use crate::contract::Engine;

fn open_error(path: std::path::PathBuf) -> usp_model::Error {
    SqliteCatalog::open(SqliteConfig::new(path)).unwrap_err()
}

#[tokio::test]
async fn the_files_are_for_their_owner_alone() {
    let sqlite = Sqlite::new();
    let _world = sqlite.world().await;
    for suffix in ["", "-wal"] {
        let mut path = sqlite.path().into_os_string();
        path.push(suffix);
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[tokio::test]
async fn a_newer_schema_is_refused_in_a_sentence_and_left_alone() {
    let sqlite = Sqlite::new();
    drop(sqlite.open().await);
    let version = || sqlite.connection().pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0));
    let known = version().unwrap();
    sqlite.connection().pragma_update(None, "user_version", 99).unwrap();
    let error = open_error(sqlite.path());
    assert!(error.detail().contains(&format!("version 99 is newer than {known}")), "{error}");
    assert_eq!(version().unwrap(), 99);
}

#[tokio::test]
async fn a_database_of_another_program_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
    assert!(open_error(path.clone()).detail().contains("another program"));
    let tables: i64 = Connection::open(&path)
        .unwrap()
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .unwrap();
    assert_eq!(tables, 1);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_corrupt() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    std::fs::write(&path, vec![b'x'; 8_192]).unwrap();
    assert_eq!(open_error(path).kind(), ErrorKind::Corrupt);
    let nowhere = dir.path().join("none/catalog.db");
    assert_eq!(open_error(nowhere).kind(), ErrorKind::Internal);
}
