//! The log of events, in order of commit.

use std::collections::BTreeSet;

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};
use usp_model::limits::{LIST_COUNT_DEFAULT, LIST_COUNT_MAX};
use usp_model::{BucketName, Event, EventQuery, EventSeq, FileId, Timestamp};

use super::ask::{Ask, Column};
use super::fail::Outcome;
use super::tx::Tx;

pub(super) fn after(conn: &Connection, query: &EventQuery) -> Outcome<Vec<Event>> {
    let Some(buckets) = asked_buckets(query) else { return Ok(Vec::new()) };
    let (sql, values) = statement(query, &buckets);
    conn.all(&sql, params_from_iter(values), event)
}

/// The buckets to show: `Some(empty)` means all, `None` means that nothing can match.
fn asked_buckets(query: &EventQuery) -> Option<BTreeSet<&BucketName>> {
    let visible = query.buckets.as_ref().map(|buckets| buckets.iter().collect::<BTreeSet<_>>());
    match (&query.bucket, visible) {
        (None, None) => Some(BTreeSet::new()),
        (Some(one), None) => Some(BTreeSet::from([one])),
        (Some(one), Some(visible)) => visible.contains(one).then(|| BTreeSet::from([one])),
        (None, Some(visible)) => (!visible.is_empty()).then_some(visible),
    }
}

fn statement(query: &EventQuery, buckets: &BTreeSet<&BucketName>) -> (String, Vec<Value>) {
    let limit = if query.limit == 0 { LIST_COUNT_DEFAULT } else { query.limit.min(LIST_COUNT_MAX) };
    let mut values = vec![Value::Integer(query.after), Value::Integer(i64::from(limit))];
    // One file or one bucket has an index of its own; anything else reads the log in order.
    let index = if query.file.is_some() {
        "INDEXED BY events_by_file"
    } else if buckets.len() == 1 {
        "INDEXED BY events_by_bucket"
    } else {
        "NOT INDEXED"
    };
    let mut sql = format!("SELECT seq, at, kind, bucket, file_id, data FROM events {index} WHERE seq > ?1");
    if let Some(file) = &query.file {
        sql.push_str(&one_of("file_id", &mut values, [Value::Blob(file.as_bytes().to_vec())]));
    }
    if !buckets.is_empty() {
        let names = buckets.iter().map(|bucket| Value::Text(bucket.as_str().to_owned()));
        sql.push_str(&one_of("bucket", &mut values, names));
    }
    if !query.kinds.is_empty() {
        let kinds = query.kinds.iter().map(|kind| Value::Text(kind.as_str().to_owned()));
        sql.push_str(&one_of("kind", &mut values, kinds));
    }
    sql.push_str(" ORDER BY seq LIMIT ?2");
    (sql, values)
}

/// A condition on `column`, with its values bound behind those that are there.
fn one_of(column: &str, values: &mut Vec<Value>, wanted: impl IntoIterator<Item = Value>) -> String {
    let first = values.len() + 1;
    values.extend(wanted);
    let places: Vec<String> = (first..=values.len()).map(|number| format!("?{number}")).collect();
    match places.as_slice() {
        [one] => format!(" AND {column} = {one}"),
        many => format!(" AND {column} IN ({})", many.join(", ")),
    }
}

fn event(row: &Row<'_>) -> Outcome<Event> {
    Ok(Event {
        seq: row.get(0)?,
        at: row.time(1)?,
        kind: row.text(2)?,
        bucket: row.text(3)?,
        file_id: FileId::from_bytes(row.get(4)?),
        data: row.json(5)?,
    })
}

pub(super) fn last(conn: &Connection) -> Outcome<EventSeq> {
    let last = conn.one("SELECT max(seq) FROM events", [], |row| Ok(row.get::<_, Option<EventSeq>>(0)?))?;
    Ok(last.flatten().unwrap_or(0))
}

/// Forgets from the oldest on, up to the first that is young enough, whatever those say that a clock which was ahead dated
/// after `now`. Numbers are never given twice.
pub(super) fn prune(tx: &Tx<'_>, now: Timestamp, before: Timestamp, limit: u32) -> Outcome<u64> {
    let sql = "SELECT seq, at FROM events WHERE at <= ?1 ORDER BY seq LIMIT ?2";
    let oldest = tx.all(sql, (now.unix_ms(), limit), |row| Ok((row.get::<_, EventSeq>(0)?, row.time(1)?)))?;
    let old = oldest.iter().take_while(|(_, at)| *at < before);
    let Some((last, _)) = old.last() else { return Ok(0) };
    Ok(tx.run("DELETE FROM events WHERE seq <= ?1", [last])? as u64)
}
