use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;
use usp_model::{Act, BucketPolicy, EventKind};

use super::*;
use crate::sqlite::{buckets, schema};

/// With a bucket `twice` that was deleted and made again.
fn open(dir: &TempDir) -> Connection {
    let conn = schema::open_writer(&dir.path().join("catalog.db"), 16_384).unwrap();
    let act = Act::duty("test", Timestamp::from_unix_ms(0));
    let tx = Tx::new(&conn, &act);
    for text in ["once", "twice"] {
        buckets::create(&tx, &name(text), BucketPolicy::default(), act.at).unwrap();
    }
    buckets::delete(&tx, &name("twice")).unwrap();
    buckets::create(&tx, &name("twice"), BucketPolicy::default(), act.at).unwrap();
    conn
}

fn name(text: &str) -> BucketName {
    BucketName::parse(text).unwrap()
}

fn queries() -> Vec<EventQuery> {
    let (all, id) = (EventQuery::default(), FileId::from_bytes([1; 32]));
    let mut queries = vec![
        all.clone(),
        EventQuery { bucket: Some(name("once")), ..all.clone() },
        EventQuery { bucket: Some(name("twice")), ..all.clone() },
        EventQuery { bucket: Some(name("never")), ..all.clone() },
        EventQuery { buckets: Some(vec![name("once"), name("twice")]), ..all.clone() },
        EventQuery { file: Some(id), ..all.clone() },
        EventQuery { file: Some(id), bucket: Some(name("twice")), ..all },
    ];
    let of_kind = |query: &EventQuery| EventQuery { kinds: vec![EventKind::FileReady], ..query.clone() };
    queries.extend(queries.iter().map(of_kind).collect::<Vec<_>>());
    queries
}

#[test]
fn the_log_is_searched_from_a_point_on_and_never_scanned() {
    let dir = TempDir::new().unwrap();
    let conn = open(&dir);
    for query in queries() {
        let buckets = log::asked_buckets(&query).unwrap();
        let (sql, values) = statement(&conn, &query, &buckets, 100).unwrap();
        let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let rows = statement.query_map(params_from_iter(values), |row| row.get::<_, String>(3)).unwrap();
        let plan: Vec<_> = rows.map(Result::unwrap).collect();
        let is_read = |line: &&String| line.contains(" e ") || line.contains(" d ");
        assert!(plan.iter().filter(is_read).all(|line| line.starts_with("SEARCH ")), "{sql}: {plan:#?}");
        let is_by_place = sql.contains("UNION");
        assert!(is_by_place || !plan.iter().any(|line| line.contains("TEMP B-TREE")), "{sql}: {plan:#?}");
    }
}

/// Work of the database for one page, in hundreds of its instructions.
fn cost(conn: &mut Connection, query: &EventQuery) -> u64 {
    let count = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&count);
    let hook = move || {
        counter.fetch_add(1, Ordering::Relaxed);
        false
    };
    conn.progress_handler(100, Some(hook)).unwrap();
    assert_eq!(after(conn, query).unwrap().len(), 10);
    conn.progress_handler(0, None::<fn() -> bool>).unwrap();
    count.load(Ordering::Relaxed)
}

#[test]
fn a_page_costs_the_same_however_many_events_there_are() {
    let dir = TempDir::new().unwrap();
    let mut conn = open(&dir);
    let file = FileId::from_bytes([1; 32]);
    let body = stored_event::encode(&FileKey::parse("a").unwrap(), &[created()]).unwrap();
    let fill = |conn: &Connection, count: u32| {
        conn.run("BEGIN", []).unwrap();
        let sql = "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?1)
             INSERT INTO events (at, kinds, bucket, file, body) SELECT i, 1, 2 + i % 2, 1 + i % 3, ?2 FROM n";
        conn.run(sql, (count, &body)).unwrap();
        // The ends of the files, one of which had the id twice.
        let sql = "INSERT INTO events (at, kinds, bucket, file, file_id, body) VALUES (0, 1, 2, ?1, ?2, ?3)";
        for (row, id) in [(1, [1; 32]), (2, [1; 32]), (3, [3; 32])] {
            conn.run(sql, (row, id, &body)).unwrap();
        }
        conn.run("COMMIT", []).unwrap();
    };
    let queries = [
        EventQuery { limit: 10, ..EventQuery::default() },
        EventQuery { limit: 10, bucket: Some(name("twice")), ..EventQuery::default() },
        EventQuery { limit: 10, file: Some(file), ..EventQuery::default() },
    ];
    fill(&conn, 100);
    let few = queries.clone().map(|query| cost(&mut conn, &query));
    fill(&conn, 20_000);
    let many = queries.map(|query| cost(&mut conn, &query));
    for (few, many) in few.into_iter().zip(many) {
        assert!(many <= few + 5, "{few} hundred instructions for 100 events, {many} for 20,100");
    }
}

#[test]
fn the_name_of_a_bucket_goes_once_neither_it_nor_an_event_is_left() {
    let dir = TempDir::new().unwrap();
    let conn = open(&dir);
    let act = Act::duty("test", Timestamp::from_unix_ms(9_000));
    let tx = Tx::new(&conn, &act);
    let key = FileKey::parse("a").unwrap();
    let id = FileId::from_bytes([1; 32]);
    // Of the `twice` that is gone, of the one that stands, and of the first again.
    for bucket_row in [2, 3, 2] {
        emit(&tx, bucket_row, Subject::Upload(&id), &key, &[created()]).unwrap();
    }
    let rows =
        || conn.all("SELECT id FROM event_buckets ORDER BY id", [], |row| Ok(row.get::<_, i64>(0)?)).unwrap();
    let prune =
        |limit| prune(&tx, Timestamp::from_unix_ms(10_000), Timestamp::from_unix_ms(9_500), limit).unwrap();
    for (count, expected) in [(2, vec![1, 2, 3]), (1, vec![1, 3]), (0, vec![1, 3])] {
        assert_eq!((prune(2), rows()), (count, expected));
    }
}

fn created() -> EventBody {
    let upload_id = usp_model::UploadId::from_bytes([1; 32]);
    let change = usp_model::UploadChange::Created;
    EventBody::Upload(usp_model::UploadEvent { change, upload_id, size_bytes: None, received_bytes: 0 })
}
