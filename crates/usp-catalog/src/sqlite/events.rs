//! The log of events, in order of commit.

use std::collections::BTreeSet;

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};
use usp_decide::log;
use usp_model::{
    BucketName, Error, Event, EventBody, EventQuery, EventSeq, FileId, FileKey, PageLimit, Timestamp,
};

use super::ask::{Ask, Column};
use super::fail::{Outcome, corrupt};
use super::tx::Tx;
use crate::stored_event;

/// What events of one row are about.
#[derive(Debug, Clone, Copy)]
pub(super) enum Subject<'a> {
    /// A file, by its row.
    File(i64),
    /// A file whose row goes with this transaction.
    GoneFile(i64, &'a FileId),
    /// An upload, by the id that its file has or will have.
    Upload(&'a FileId),
}

/// Writes events of one object in one row, and notes the last number on the transaction.
pub(super) fn emit(
    tx: &Tx<'_>,
    bucket_row: i64,
    subject: Subject<'_>,
    key: &FileKey,
    bodies: &[EventBody],
) -> Outcome<()> {
    let (file_row, file_id) = match subject {
        Subject::File(row) => (Some(row), None),
        Subject::GoneFile(row, id) => (Some(row), Some(id)),
        Subject::Upload(id) => (None, Some(id)),
    };
    let kinds = stored_event::mask_of(bodies.iter().map(EventBody::kind));
    let sql = "INSERT INTO events (seq, at, kinds, bucket, file, file_id, body)
         SELECT max(coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0),
                    coalesce((SELECT max(seq) FROM events), 0)) + ?1, ?2, ?3, ?4, ?5, ?6, ?7";
    let count = i64::try_from(bodies.len()).unwrap_or(i64::MAX);
    let body = stored_event::encode(key, bodies)?;
    tx.run(
        sql,
        (count, tx.at().unix_ms(), kinds, bucket_row, file_row, file_id.map(FileId::as_bytes), body),
    )?;
    tx.note_event(tx.last_insert_rowid());
    Ok(())
}

pub(super) fn after(conn: &Connection, query: &EventQuery) -> Outcome<Vec<Event>> {
    let Some(buckets) = log::asked_buckets(query) else { return Ok(Vec::new()) };
    let limit = PageLimit::bounded(query.limit).get();
    let (sql, values) = statement(conn, query, &buckets, limit)?;
    let rows = conn.all(&sql, params_from_iter(values), events_of_row)?;
    let is_asked_for = |event: &Event| log::is_asked_for(query, event.seq, event.kind());
    Ok(rows.into_iter().flatten().filter(is_asked_for).take(limit as usize).collect())
}

/// What `events_of_row` reads. The id of a file that is gone stands with its last event.
const ROW: &str = "SELECT e.seq, e.at, e.kinds, b.name, e.body, coalesce(e.file_id, f.file_id,
         (SELECT d.file_id FROM events d INDEXED BY events_by_file
          WHERE d.file = e.file AND d.file_id IS NOT NULL ORDER BY d.seq DESC LIMIT 1))
     FROM ";
const NAMES: &str = "CROSS JOIN event_buckets b ON b.id = e.bucket LEFT JOIN files f ON f.id = e.file";

/// Buckets of one name that are each looked up by themselves; of more, the log is read in order.
const BUCKET_ROW_COUNT_MAX: usize = 64;

/// Lives of one file id that are told of, the newest: an upload that was open when its file was deleted begins another.
const FILE_ROW_COUNT_MAX: u32 = 64;

/// Where events stand that are looked for: an index, and what is looked up in it.
type Place = (&'static str, String);

/// One row more than asked for: of the first, what was seen before is left out.
fn statement(
    conn: &Connection,
    query: &EventQuery,
    buckets: &BTreeSet<&BucketName>,
    limit: u32,
) -> Outcome<(String, Vec<Value>)> {
    let mut values = vec![Value::Integer(query.after), Value::Integer(i64::from(limit) + 1)];
    let mut conditions = " AND e.seq > ?1".to_owned();
    if !query.kinds.is_empty() {
        let kinds = bind(&mut values, Value::Integer(stored_event::mask_of(query.kinds.iter().copied())));
        conditions.push_str(&format!(" AND e.kinds & {kinds} <> 0"));
    }
    let rows = bucket_rows(conn, buckets)?;
    let mut places = Vec::new();
    if let Some(id) = &query.file {
        places = places_of_file(conn, id, &mut values)?;
    } else if buckets.len() == 1 && (1..=BUCKET_ROW_COUNT_MAX).contains(&rows.len()) {
        let in_row =
            |row| ("events_by_bucket", format!("e.bucket = {}", bind(&mut values, Value::Integer(row))));
        places.extend(rows.iter().copied().map(in_row));
    }
    if !buckets.is_empty() && (query.file.is_some() || places.is_empty()) {
        let rows: Vec<_> = rows.into_iter().map(|row| bind(&mut values, Value::Integer(row))).collect();
        conditions.push_str(&format!(" AND e.bucket IN ({})", rows.join(", ")));
    }
    let found = match places.as_slice() {
        [] => format!("events e NOT INDEXED {NAMES} WHERE TRUE {conditions}"),
        [(index, condition)] => format!("events e INDEXED BY {index} {NAMES} WHERE {condition} {conditions}"),
        many => {
            // A page of each, so that a sort never sees more than pages.
            let page = |(index, condition): &Place| {
                format!(
                    "SELECT * FROM (SELECT e.seq FROM events e INDEXED BY {index}
                     WHERE {condition} {conditions} ORDER BY e.seq LIMIT ?2)"
                )
            };
            let pages: Vec<_> = many.iter().map(page).collect();
            format!("({}) s CROSS JOIN events e ON e.seq = s.seq {NAMES}", pages.join(" UNION "))
        }
    };
    Ok((format!("{ROW} {found} ORDER BY e.seq LIMIT ?2"), values))
}

/// Events of the file's row, of the rows that had its id before and are gone, and those that carry the id.
fn places_of_file(conn: &Connection, id: &FileId, values: &mut Vec<Value>) -> Outcome<Vec<Place>> {
    let sql = "SELECT id FROM files WHERE file_id = ?1
         UNION SELECT file FROM events INDEXED BY events_by_id WHERE file_id = ?1 AND file IS NOT NULL
         ORDER BY 1 DESC LIMIT ?2";
    let file_rows = conn.all(sql, (id.as_bytes(), FILE_ROW_COUNT_MAX), |row| Ok(row.get::<_, i64>(0)?))?;
    let by_id = bind(values, Value::Blob(id.as_bytes().to_vec()));
    let mut places = vec![("events_by_id", format!("e.file_id = {by_id}"))];
    for row in file_rows {
        places.push(("events_by_file", format!("e.file = {}", bind(values, Value::Integer(row)))));
    }
    Ok(places)
}

/// Every bucket that has or had one of these names.
fn bucket_rows(conn: &Connection, names: &BTreeSet<&BucketName>) -> Outcome<Vec<i64>> {
    let mut rows = Vec::new();
    for name in names {
        let sql = "SELECT id FROM event_buckets WHERE name = ?1";
        rows.extend(conn.all(sql, [name.as_str()], |row| Ok(row.get::<_, i64>(0)?))?);
    }
    Ok(rows)
}

/// The parameter that stands for a value from here on.
fn bind(values: &mut Vec<Value>, value: Value) -> String {
    values.push(value);
    format!("?{}", values.len())
}

fn events_of_row(row: &Row<'_>) -> Outcome<Vec<Event>> {
    let (last, at, bucket): (EventSeq, _, BucketName) = (row.get(0)?, row.time(1)?, row.text(3)?);
    let stored = row.get_ref(4)?.as_blob().map_err(rusqlite::Error::from)?;
    let (key, bodies) =
        stored_event::decode(row.get(2)?, stored).map_err(|error: Error| error.about(last))?;
    let file_id: Option<[u8; 32]> = row.get(5)?;
    let file_id = file_id.map(FileId::from_bytes);
    let file_id = file_id.ok_or_else(|| corrupt("read event", "nothing says whose it is").about(last))?;
    let first = last - i64::try_from(bodies.len()).unwrap_or(i64::MAX) + 1;
    let event = |(seq, body)| Event { seq, at, bucket: bucket.clone(), file_id, key: key.clone(), body };
    Ok((first..).zip(bodies).map(event).collect())
}

pub(super) fn last(conn: &Connection) -> Outcome<EventSeq> {
    let last = conn.one("SELECT max(seq) FROM events", [], |row| Ok(row.get::<_, Option<EventSeq>>(0)?))?;
    Ok(last.flatten().unwrap_or(0))
}

/// Forgets the oldest as `usp_decide::log` has it, and the names of buckets that nothing speaks of any more. Numbers are
/// never given twice.
pub(super) fn prune(tx: &Tx<'_>, now: Timestamp, before: Timestamp, limit: u32) -> Outcome<u64> {
    let sql = "SELECT seq, at FROM events WHERE at <= ?1 ORDER BY seq LIMIT ?2";
    let oldest = tx.all(sql, (now.unix_ms(), limit), |row| Ok((row.get::<_, EventSeq>(0)?, row.time(1)?)))?;
    let Some(last) = log::pruned_to(oldest, now, before) else { return Ok(0) };
    let first = tx.one("SELECT seq, kinds FROM events ORDER BY seq LIMIT 1", [], |row| {
        Ok(row.get::<_, EventSeq>(0)? - stored_event::count_of(row.get(1)?) + 1)
    })?;
    tx.run("DELETE FROM events WHERE seq <= ?1", [last])?;
    tx.run(
        "DELETE FROM event_buckets WHERE id NOT IN (SELECT id FROM buckets)
             AND NOT EXISTS (SELECT 1 FROM events INDEXED BY events_by_bucket WHERE bucket = event_buckets.id)",
        [],
    )?;
    // Numbers have no gaps, so that they say how many events the rows held.
    Ok(first.and_then(|first| u64::try_from(last - first + 1).ok()).unwrap_or_default())
}

#[cfg(test)]
mod tests;
