//! Databases of earlier schema versions are brought up to date.

use std::path::Path;

use rusqlite::Connection;
use serde_json::{Value, json};
use usp_catalog::Catalog;
use usp_model::{
    Event, EventBody, EventKind, EventQuery, FileChange, FileEvent, FileId, FileRef, FileState, MediaType,
    PackState, RunChange, RunEvent, RunId, RunState, UploadChange, UploadEvent, UploadId,
};

use super::Sqlite;
use crate::contract::Engine;
use crate::contract::world::{act, at, bucket, key, rule_name};

/// Each takes the schema from the version before to its own.
const MIGRATIONS: [&str; 7] = [
    include_str!("../../../src/sqlite/migrations/0001.sql"),
    include_str!("../../../src/sqlite/migrations/0002.sql"),
    include_str!("../../../src/sqlite/migrations/0003.sql"),
    include_str!("../../../src/sqlite/migrations/0004.sql"),
    include_str!("../../../src/sqlite/migrations/0005.sql"),
    include_str!("../../../src/sqlite/migrations/0006.sql"),
    include_str!("../../../src/sqlite/migrations/0007.sql"),
];

impl Sqlite {
    /// A database as a usp of this schema version made it, still empty.
    fn of_version(&self, version: usize) -> Connection {
        let conn = self.connection();
        for migration in &MIGRATIONS[..version] {
            conn.execute_batch(migration).unwrap();
        }
        conn.pragma_update(None, "application_id", 0x7573_7063).unwrap();
        conn.pragma_update(None, "user_version", i64::try_from(version).unwrap()).unwrap();
        conn
    }
}

#[tokio::test]
async fn a_catalogue_of_version_1_is_brought_up_to_date() {
    let sqlite = Sqlite::new();
    let conn = sqlite.of_version(1);
    conn.execute_batch(
        "INSERT INTO packs (state, committed_bytes) VALUES ('sealed', 900), ('set_aside', 0), ('open', 64);
         INSERT INTO chunks (digest, pack, offset, stored_bytes, size_bytes, epoch)
         VALUES (zeroblob(32), 1, 64, 100, 200, 1), (randomblob(32), 1, 164, 50, 60, 1);",
    )
    .unwrap();
    drop(conn);
    let catalog = sqlite.open().await;
    let usage = catalog.pack_usage().await.unwrap();
    assert_eq!((usage[0].live_chunks, usage[0].live_bytes, usage[0].record.committed_bytes), (2, 150, 900));
    assert_eq!(usage[1].record.state, PackState::SetAside);
    assert_eq!(catalog.begin_pack(act(0)).await.unwrap().0, 4);
    let conn = sqlite.connection();
    let broken = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(broken("SELECT count(*) FROM pragma_foreign_key_check"), 0);
    assert_eq!(broken("SELECT count(*) FROM pragma_foreign_key_list('chunks') WHERE \"table\" = 'packs'"), 1);
}

/// The events of a database of version 7, each as that version wrote it: kind, bucket, file, content.
struct Log {
    conn: Connection,
    next_ms: i64,
}

impl Log {
    fn write(&mut self, kind: EventKind, bucket: &str, file: FileId, content: &Value) {
        let sql = "INSERT INTO events (at, kind, bucket, file_id, data) VALUES (?1, ?2, ?3, ?4, ?5)";
        let at = at(self.next_ms).unix_ms();
        self.next_ms += 1;
        self.conn.execute(sql, (at, kind.as_str(), bucket, file.as_bytes(), content.to_string())).unwrap();
    }

    fn file(&mut self, kind: EventKind, bucket: &str, file: FileId, key: &str, state: FileState) {
        let content = json!({
            "key": key, "version": 2, "size": 7, "state": state, "media_type": "text/x-own", "released": true,
        });
        self.write(kind, bucket, file, &content);
    }

    fn upload(&mut self, kind: EventKind, file: FileId, key: &str, size: Option<u64>) {
        let upload_id = UploadId::from_bytes(*file.as_bytes());
        let content = json!({ "upload_id": upload_id, "key": key, "size": size, "received": 3 });
        self.write(kind, "default", file, &content);
    }

    fn run(&mut self, kind: EventKind, file: FileId, state: RunState, more: &Value) {
        let mut content = json!({
            "run_id": RunId::from_bytes(*file.as_bytes()), "rule": "profile", "rule_version": 4, "version": 2,
            "state": state, "attempt": 3,
        });
        content.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.write(kind, "default", file, &content);
    }
}

fn file_id(number: u8) -> FileId {
    FileId::from_bytes([number; 32])
}

const STANDING: u8 = 1;
const DELETED: u8 = 2;
const UPLOAD: u8 = 3;
const IN_GONE: u8 = 4;
const FORGOTTEN: u8 = 5;
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A file that stands, one that was deleted, an upload, a file of a bucket that was deleted, and a run of a file of which
/// nothing else is told any more.
fn fill_version_7(sqlite: &Sqlite) {
    let conn = sqlite.of_version(7);
    conn.execute_batch(
        "INSERT INTO domains (name, key) VALUES (NULL, zeroblob(32));
         INSERT INTO buckets (name, domain, policy, created_at, updated_at) VALUES ('default', 1, '{}', 0, 0);
         INSERT INTO usage (bucket) VALUES (1);",
    )
    .unwrap();
    conn.execute(
        "INSERT INTO files (file_id, bucket, key, version, manifest, size_bytes, media_type, etag, digests, sha256,
             state, release, released, created_at, updated_at, owner, metadata, labels, stored_bytes, stored_chunks,
             deduplicated_bytes)
         VALUES (?1, 1, 'stands \"now\"', 2, 1, 7, 'text/x-own', 'e', '{}', NULL, 'ready', 'immediate', 1, 0, 0,
             'alice', '{}', '{}', 1, 1, 0)",
        [file_id(STANDING).as_bytes()],
    )
    .unwrap();
    let mut log = Log { conn, next_ms: 1 };
    let (standing, deleted, upload) = (file_id(STANDING), file_id(DELETED), file_id(UPLOAD));
    log.upload(EventKind::UploadCreated, standing, "stands \"now\"", Some(7));
    log.file(EventKind::FileReady, "default", standing, "stands \"now\"", FileState::Ready);
    log.run(EventKind::RunQueued, standing, RunState::Queued, &json!({ "traceparent": TRACE }));
    log.run(
        EventKind::RunRetrying,
        deleted,
        RunState::Retrying,
        &json!({ "next_attempt_at": at(99).to_string() }),
    );
    log.run(EventKind::RunDead, deleted, RunState::Dead, &json!({ "step": "first", "error": "no luck" }));
    log.file(EventKind::FileDeleted, "default", deleted, "deleted/ä", FileState::Failed);
    log.upload(EventKind::UploadTerminated, upload, "never", None);
    log.file(EventKind::FileDeleted, "gone", file_id(IN_GONE), "in-gone", FileState::Ready);
    log.run(EventKind::RunStarted, file_id(FORGOTTEN), RunState::Running, &json!({}));
}

fn file_body(change: FileChange, state: FileState) -> EventBody {
    let media_type = MediaType::parse("text/x-own").unwrap();
    EventBody::File(FileEvent { change, version: 2, size_bytes: 7, media_type, state, released: true })
}

fn upload_body(change: UploadChange, file: u8, size_bytes: Option<u64>) -> EventBody {
    let upload_id = UploadId::from_bytes([file; 32]);
    EventBody::Upload(UploadEvent { change, upload_id, size_bytes, received_bytes: 3 })
}

fn run_body(change: RunChange, file: u8, state: RunState) -> RunEvent {
    RunEvent {
        change,
        run_id: RunId::from_bytes([file; 32]),
        rule: rule_name("profile"),
        rule_version: 4,
        version: 2,
        state,
        attempt: 3,
        step: None,
        error: None,
        next_attempt_at: None,
        trace: None,
    }
}

/// What `fill_version_7` wrote, as it must be told from now on.
fn told_of_version_7() -> Vec<Event> {
    let queued =
        RunEvent { trace: Some(TRACE.to_owned()), ..run_body(RunChange::Queued, STANDING, RunState::Queued) };
    let retrying = RunEvent {
        next_attempt_at: Some(at(99)),
        ..run_body(RunChange::Retrying, DELETED, RunState::Retrying)
    };
    let (step, error) = (Some("first".to_owned()), Some("no luck".to_owned()));
    let dead = RunEvent { step, error, ..run_body(RunChange::Dead, DELETED, RunState::Dead) };
    let started = run_body(RunChange::Started, FORGOTTEN, RunState::Running);
    let told = [
        (STANDING, "default", "stands \"now\"", upload_body(UploadChange::Created, STANDING, Some(7))),
        (STANDING, "default", "stands \"now\"", file_body(FileChange::Ready, FileState::Ready)),
        (STANDING, "default", "stands \"now\"", EventBody::Run(queued)),
        (DELETED, "default", "deleted/ä", EventBody::Run(retrying)),
        (DELETED, "default", "deleted/ä", EventBody::Run(dead)),
        (DELETED, "default", "deleted/ä", file_body(FileChange::Deleted, FileState::Failed)),
        (UPLOAD, "default", "never", upload_body(UploadChange::Terminated, UPLOAD, None)),
        (IN_GONE, "gone", "in-gone", file_body(FileChange::Deleted, FileState::Ready)),
        (FORGOTTEN, "default", "(not known)", EventBody::Run(started)),
    ];
    let event = |(seq, (file, name, text, body)): (i64, _)| Event {
        seq,
        at: at(seq),
        bucket: bucket(name),
        file_id: file_id(file),
        key: key(text),
        body,
    };
    (1..).zip(told).map(event).collect()
}

async fn found(catalog: &dyn Catalog, query: EventQuery) -> Vec<Event> {
    catalog.events(EventQuery { limit: 100, ..query }).await.unwrap()
}

#[tokio::test]
async fn events_of_version_7_are_told_with_their_keys_and_found_by_every_filter() {
    let sqlite = Sqlite::new();
    fill_version_7(&sqlite);
    let catalog = sqlite.open().await;
    let told = told_of_version_7();
    assert_eq!(found(&*catalog, EventQuery::default()).await, told);
    assert_eq!((catalog.last_event().await.unwrap(), *catalog.event_signal().borrow()), (9, 9));
    for (file, places) in
        [(STANDING, 0..3), (DELETED, 3..6), (UPLOAD, 6..7), (IN_GONE, 7..8), (FORGOTTEN, 8..9)]
    {
        let query = EventQuery { file: Some(file_id(file)), ..EventQuery::default() };
        assert_eq!(found(&*catalog, query).await, told[places]);
    }
    let in_gone = EventQuery { bucket: Some(bucket("gone")), ..EventQuery::default() };
    assert_eq!(found(&*catalog, in_gone).await, told[7..8]);
    for kind in EventKind::ALL {
        let query = EventQuery { kinds: vec![*kind], ..EventQuery::default() };
        let expected: Vec<_> = told.iter().filter(|event| event.kind() == *kind).cloned().collect();
        assert_eq!(found(&*catalog, query).await, expected);
    }
    // Its row goes, and with it what said whose events they are.
    catalog.delete_file(act(0), &file_id(STANDING), None).await.unwrap();
    let standing = EventQuery { file: Some(file_id(STANDING)), ..EventQuery::default() };
    let standing = found(&*catalog, standing).await;
    assert_eq!((&standing[..3], standing.len()), (&told[..3], 4));
    assert_eq!((standing[3].seq, standing[3].kind()), (10, EventKind::FileDeleted));
}

#[tokio::test]
async fn numbers_of_events_go_on_where_version_7_left_them_although_all_were_forgotten() {
    let sqlite = Sqlite::new();
    fill_version_7(&sqlite);
    sqlite.connection().execute("DELETE FROM events", []).unwrap();
    let catalog = sqlite.open().await;
    assert_eq!(catalog.last_event().await.unwrap(), 0);
    catalog.delete_file(act(0), &file_id(STANDING), None).await.unwrap();
    assert_eq!(catalog.last_event().await.unwrap(), 10);
}

/// As every later version must read it: docs/formats/catalogue.md.
#[tokio::test]
async fn events_of_the_first_version_are_told_with_their_keys() {
    let fixture =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../services/usp/testdata/v1/store/catalog.db");
    let sqlite = Sqlite::new();
    std::fs::copy(fixture, sqlite.path()).unwrap();
    let said: Vec<(i64, String)> = {
        let conn = sqlite.connection();
        let mut statement = conn.prepare("SELECT seq, kind FROM events ORDER BY seq").unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    };
    assert!(said.len() > 10);
    let catalog = sqlite.open().await;
    let told = found(&*catalog, EventQuery::default()).await;
    let kinds: Vec<_> = told.iter().map(|event| (event.seq, event.kind().as_str().to_owned())).collect();
    assert_eq!(kinds, said[..kinds.len()]);
    assert!(told.iter().all(|event| event.key.as_str() != "(not known)"));
    for event in &told {
        let of_file = EventQuery { file: Some(event.file_id), ..EventQuery::default() };
        let of_file = found(&*catalog, of_file).await;
        assert!(of_file.contains(event) && of_file.iter().all(|other| other.key == event.key), "{event:?}");
        // Some were deleted, and an upload is no file yet.
        if let Ok(record) = catalog.file(&FileRef::Id(event.file_id), None).await {
            assert_eq!(event.key, record.file.key);
        }
    }
}
