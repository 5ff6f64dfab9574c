use std::os::unix::fs::PermissionsExt;

use rusqlite::Connection;
use usp_catalog::{Catalog, SqliteCatalog, SqliteConfig};
use usp_model::{ErrorKind, FileRef};

use crate::world::{World, at, bucket, new_run, new_upload, tags};

fn open_error(path: std::path::PathBuf) -> usp_model::Error {
    SqliteCatalog::open(SqliteConfig::new(path)).unwrap_err()
}

#[tokio::test]
async fn everything_acknowledged_is_there_after_a_restart() {
    let world = World::new().await;
    let mut new = world.new_version("a", 1);
    new.runs = vec![new_run("profile")];
    new.labels = tags(&[("k", "v")]);
    let file = world.catalog.commit_version(new).await.unwrap().file;
    let upload = world.catalog.create_upload(new_upload("b")).await.unwrap();
    let before = (
        world.catalog.bucket(&bucket("default")).await.unwrap().domain_key,
        world.catalog.runs_of_file(&file.id).await.unwrap(),
        world.catalog.list_rules().await.unwrap(),
        world.catalog.usage().await.unwrap(),
        world.catalog.totals().await.unwrap(),
        world.catalog.packs().await.unwrap(),
        world.events().await,
    );
    let world = world.reopened();
    let after = (
        world.catalog.bucket(&bucket("default")).await.unwrap().domain_key,
        world.catalog.runs_of_file(&file.id).await.unwrap(),
        world.catalog.list_rules().await.unwrap(),
        world.catalog.usage().await.unwrap(),
        world.catalog.totals().await.unwrap(),
        world.catalog.packs().await.unwrap(),
        world.events().await,
    );
    assert_eq!(before, after);
    assert_eq!(world.catalog.file(&FileRef::Id(file.id), None).await.unwrap().file, file);
    assert_eq!(world.catalog.upload(&upload.id).await.unwrap().upload, upload);
    assert_eq!(*world.catalog.event_signal().borrow(), world.catalog.last_event().await.unwrap());
    world.catalog.ping().await.unwrap();
}

#[tokio::test]
async fn the_files_are_for_their_owner_alone() {
    let world = World::new().await;
    for suffix in ["", "-wal"] {
        let mut path = world.path().into_os_string();
        path.push(suffix);
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[tokio::test]
async fn a_newer_schema_is_refused_in_a_sentence_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    drop(SqliteCatalog::open(SqliteConfig::new(&path)).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = open_error(path.clone());
    assert!(error.detail().contains("version 99 is newer than 7"), "{error}");
    let version: i64 =
        Connection::open(&path).unwrap().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, 99);
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

#[tokio::test]
async fn the_database_holds_its_own_invariants_after_much_use() {
    let world = World::new().await;
    for number in 0..50 {
        let mut new = world.new_version(&format!("k{}", number % 10), number);
        new.labels = tags(&[("n", &number.to_string())]);
        new.runs = vec![new_run("profile")];
        let file = world.catalog.commit_version(new).await.unwrap().file;
        if number % 7 == 0 {
            world.catalog.delete_file(&file.id, None, at(1)).await.unwrap();
        }
    }
    let path = world.path();
    let conn = Connection::open(&path).unwrap();
    let text = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
    let number = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(text("PRAGMA integrity_check"), "ok");
    assert_eq!(number("SELECT count(*) FROM pragma_foreign_key_check"), 0);
    let tags_agree = "SELECT (SELECT count(*) FROM tags) - (SELECT count(*) FROM files)";
    assert_eq!(number(tags_agree), 0, "one label each");
    let owned =
        "SELECT count(*) FROM manifests m WHERE NOT EXISTS (SELECT 1 FROM files WHERE manifest = m.id)
         AND NOT EXISTS (SELECT 1 FROM versions WHERE manifest = m.id)";
    assert_eq!(number(owned), 0, "no manifest without an owner");
    let sums = "SELECT file_count = (SELECT count(*) FROM files) AND current_bytes = (SELECT sum(size_bytes) FROM files)
         AND version_count = (SELECT count(*) FROM files) + (SELECT count(*) FROM versions) FROM usage";
    assert_eq!(number(sums), 1);
}
