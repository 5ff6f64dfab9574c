use rusqlite::Connection;
use tempfile::TempDir;
use usp_model::{Act, BucketPolicy, FileState};

use super::*;
use crate::sqlite::ask::Ask;
use crate::sqlite::key_order::{self, Along};
use crate::sqlite::run_list::{self, RunsAlong};
use crate::sqlite::tags::TagKind;
use crate::sqlite::tx::Tx;
use crate::sqlite::{buckets, schema};

fn open(dir: &TempDir) -> Connection {
    let conn = schema::open_writer(&dir.path().join("catalog.db"), 16_384).unwrap();
    let act = Act::duty("test", Timestamp::from_unix_ms(0));
    buckets::create(&Tx::new(&conn, &act), &name(), BucketPolicy::default(), act.at).unwrap();
    conn
}

fn name() -> BucketName {
    BucketName::parse("default").unwrap()
}

/// `count` files under `dir-N/…`, 100 to a directory; one in 1,000 is `failed`.
fn fill(conn: &Connection, count: u32) {
    conn.run("BEGIN", []).unwrap();
    conn.run(
        "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?1)
         INSERT INTO files (file_id, bucket, key, version, manifest, size_bytes, media_type, etag, digests, sha256,
             state, release, released, created_at, updated_at, owner, metadata, labels, stored_bytes, stored_chunks,
             deduplicated_bytes)
         SELECT randomblob(32), 1, printf('dir-%06d/%08d', i / 100, i), 1, 1, 10, 'text/csv', 'e', '{}', NULL,
             iif(i % 1000 = 999, 'failed', 'ready'), 'immediate', 1, i, i, 'alice', '{}', '{}', 1, 1, 0 FROM n",
        [count],
    )
    .unwrap();
    conn.run("COMMIT", []).unwrap();
}

fn plan(conn: &Connection, sql: &str) -> Vec<String> {
    let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let count = statement.parameter_count();
    let nulls = params_from_iter(std::iter::repeat_n(Value::Null, count));
    let rows = statement.query_map(nulls, |row| row.get::<_, String>(3)).unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn lists_walk_an_index_and_never_scan_or_sort() {
    let dir = TempDir::new().unwrap();
    let conn = open(&dir);
    let alongs = [
        Along::Key,
        Along::Sha256(Vec::new()),
        Along::Tag(TagKind::Label, String::new(), String::new()),
        Along::State(FileState::Failed),
    ];
    let mut statements: Vec<String> = Vec::new();
    for is_ascending in [true, false] {
        statements.extend(alongs.iter().map(|along| key_order::sql(along, is_ascending)));
        statements.push(created_sql(is_ascending));
    }
    statements.extend([RunsAlong::All, RunsAlong::File, RunsAlong::State].map(run_list::sql));
    for sql in statements {
        let plan = plan(&conn, &sql);
        assert!(plan.iter().all(|line| line.starts_with("SEARCH ")), "{sql}: {plan:#?}");
    }
}

#[test]
fn a_page_looks_at_a_bounded_number_of_rows_and_the_next_goes_on_behind_them() {
    let dir = TempDir::new().unwrap();
    let conn = open(&dir);
    fill(&conn, EXAMINED_COUNT_MAX * 2 + 100);
    for sort in [FileSort::KeyAscending, FileSort::KeyDescending, FileSort::CreatedAscending] {
        let mut query = FileQuery { media_type: Some("image/*".to_owned()), sort, ..FileQuery::default() };
        let mut page_count = 0;
        loop {
            let page = list(&conn, &name(), &query).unwrap();
            assert!(page.files.is_empty());
            page_count += 1;
            query.cursor = page.next_cursor;
            if query.cursor.is_none() {
                break;
            }
        }
        assert_eq!(page_count, 3);
    }
}

#[test]
fn a_delimiter_reads_one_row_per_prefix() {
    let dir = TempDir::new().unwrap();
    let conn = open(&dir);
    fill(&conn, EXAMINED_COUNT_MAX * 3);
    let query = FileQuery { delimiter: Some("/".to_owned()), limit: 1_000, ..FileQuery::default() };
    let page = list(&conn, &name(), &query).unwrap();
    // With a row looked at for each file, a third of the prefixes would be the most that one page can show.
    assert_eq!((page.prefixes.len(), page.next_cursor), (300, None));
}

#[test]
fn a_rare_state_is_found_without_looking_at_the_others() {
    let dir = TempDir::new().unwrap();
    let conn = open(&dir);
    fill(&conn, EXAMINED_COUNT_MAX * 2);
    let query = FileQuery { state: Some(FileState::Failed), limit: 1_000, ..FileQuery::default() };
    let page = list(&conn, &name(), &query).unwrap();
    assert_eq!((page.files.len(), page.next_cursor), (20, None));
}
