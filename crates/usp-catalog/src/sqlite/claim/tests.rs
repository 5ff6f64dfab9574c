use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;
use usp_decide::claim::{LANE_COUNT_MAX, Turn};
use usp_model::{Act, BucketName, BucketPolicy, RetryPolicy, RuleStep};

use super::*;
use crate::sqlite::{buckets, schema};

fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(ms)
}

fn act() -> Act {
    Act::duty("test", at(1))
}

fn open(dir: &TempDir) -> Connection {
    let conn = schema::open_writer(&dir.path().join("catalog.db"), 16_384).unwrap();
    let act = act();
    let tx = Tx::new(&conn, &act);
    for name in ["one", "two"] {
        buckets::create(&tx, &BucketName::parse(name).unwrap(), BucketPolicy::default(), at(0)).unwrap();
    }
    let step =
        RuleStep { name: "s".to_owned(), uses: "sniff".to_owned(), with: BTreeMap::new(), timeout_s: 60 };
    let rule = Rule {
        name: RuleName::parse("r").unwrap(),
        description: String::new(),
        version: 1,
        when: String::new(),
        steps: vec![step],
        retry: RetryPolicy::default(),
        timeout_s: 60,
        priority: 0,
        concurrency: None,
        release: None,
        required: false,
    };
    rules::put(&tx, rule, at(0)).unwrap();
    conn
}

/// Adds `count` files to a bucket, each with one run that waits.
fn fill(conn: &Connection, bucket: i64, count: u32) {
    conn.run("BEGIN", []).unwrap();
    conn.run(
        "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?1)
         INSERT INTO files (file_id, bucket, key, version, manifest, size_bytes, media_type, etag, digests, sha256,
             state, release, released, created_at, updated_at, owner, metadata, labels, stored_bytes, stored_chunks,
             deduplicated_bytes)
         SELECT randomblob(32), ?2, printf('%08d', i), 1, 1, 10, 'text/csv', 'e', '{}', NULL,
             'processing', 'immediate', 1, i, i, 'alice', '{}', '{}', 1, 1, 0 FROM n",
        (count, bucket),
    )
    .unwrap();
    conn.run(
        "INSERT INTO runs (run_id, file, version, rule, rule_version, state, attempts_max, priority, required,
             created_at, due_at, bucket)
         SELECT randomblob(32), id, 1, 'r', 1, 'queued', 5, 0, 0, 0, 0, bucket FROM files WHERE bucket = ?1",
        [bucket],
    )
    .unwrap();
    conn.run("COMMIT", []).unwrap();
}

fn ask(count_max: u32, turn: Turn) -> ClaimRuns {
    ClaimRuns { count_max, lease_until: at(30_000), bounds: Arc::default(), turn }
}

/// Work of the database for one claim, in hundreds of its instructions.
fn cost(conn: &mut Connection, asked: &ClaimRuns) -> (u64, ClaimedRuns) {
    let count = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&count);
    conn.progress_handler(
        100,
        Some(move || {
            counter.fetch_add(1, Ordering::Relaxed);
            false
        }),
    )
    .unwrap();
    let claimed = claim(&Tx::new(conn, &act()), asked).unwrap();
    conn.progress_handler(0, None::<fn() -> bool>).unwrap();
    (count.load(Ordering::Relaxed), claimed)
}

#[test]
fn a_claim_costs_the_same_however_many_runs_wait() {
    let dir = TempDir::new().unwrap();
    let mut conn = open(&dir);
    fill(&conn, 1, 100);
    let (few, claimed) = cost(&mut conn, &ask(10, Turn::default()));
    assert_eq!(claimed.runs.len(), 10);
    fill(&conn, 2, 50_000);
    let (many, claimed) = cost(&mut conn, &ask(10, claimed.turn));
    assert_eq!(claimed.runs.len(), 10);
    assert!(many <= few * 3 + 20, "{few} hundred instructions with 100 runs, {many} with 50,100");
    let (found, _) = cost(&mut conn, &ask(0, Turn::default()));
    assert!(found <= 20, "a claim of nothing took {found} hundred instructions");
}

#[test]
fn a_backlog_of_one_bucket_does_not_hold_up_another() {
    let dir = TempDir::new().unwrap();
    let conn = open(&dir);
    fill(&conn, 1, 10_000);
    fill(&conn, 2, 30);
    let mut turn = Turn::default();
    let mut served = BTreeMap::new();
    for _ in 0..12 {
        let claimed = claim(&Tx::new(&conn, &act()), &ask(5, turn)).unwrap();
        turn = claimed.turn;
        for leased in claimed.runs {
            *served.entry(leased.run.bucket.to_string()).or_insert(0) += 1;
        }
    }
    assert_eq!(served, BTreeMap::from([("one".to_owned(), 30), ("two".to_owned(), 30)]));
}

#[test]
fn what_the_sweeper_looks_for_has_some_of_each_bucket() {
    let dir = TempDir::new().unwrap();
    let conn = open(&dir);
    fill(&conn, 1, 5_000);
    fill(&conn, 2, 20);
    let due = due(&conn, at(1), 100).unwrap();
    assert_eq!(due.len(), 70, "half of them for each bucket, as far as there are");
}

/// More lanes than one claim serves, in all of which a run waits for its next attempt.
fn fill_with_lanes_that_wait(conn: &Connection) {
    conn.run("BEGIN", []).unwrap();
    for number in 0..2 * LANE_COUNT_MAX {
        let name = BucketName::parse(&format!("waits-{number}")).unwrap();
        buckets::create(&Tx::new(conn, &act()), &name, BucketPolicy::default(), at(0)).unwrap();
    }
    conn.run("COMMIT", []).unwrap();
    let ids =
        conn.all("SELECT id FROM buckets WHERE name LIKE 'waits-%'", [], |row| Ok(row.get(0)?)).unwrap();
    ids.into_iter().for_each(|id: i64| fill(conn, id, 1));
    let later = "UPDATE runs SET state = 'retrying', priority = 10, due_at = 3600000";
    conn.run(later, []).unwrap();
}

#[test]
fn lanes_in_which_nothing_is_due_hold_up_nobody() {
    let dir = TempDir::new().unwrap();
    let mut conn = open(&dir);
    fill_with_lanes_that_wait(&conn);
    fill(&conn, 1, 3);
    assert_eq!(due(&conn, at(1), 100).unwrap().len(), 3);
    let (cost, claimed) = cost(&mut conn, &ask(10, Turn::default()));
    assert_eq!(claimed.runs.len(), 3, "runs of a lower priority that are due");
    assert!(cost < 2_000, "{cost} hundred instructions");
}
