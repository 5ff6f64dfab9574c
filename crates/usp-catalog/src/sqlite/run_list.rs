//! Pages of runs, newest first.

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use usp_decide::list::takes_run;
use usp_model::{PageLimit, RunPage, RunQuery};

use super::cursor::{self, Fingerprint};
use super::fail::Outcome;
use super::file_list::EXAMINED_COUNT_MAX;
use super::files;
use super::run_row::{RUN, run_row};

/// Like a page of files it looks at a bounded number of rows, so it may be short and still have a cursor.
pub(super) fn list(conn: &Connection, query: &RunQuery) -> Outcome<RunPage> {
    let bare = RunQuery { limit: 0, cursor: None, ..query.clone() };
    let name = Fingerprint::of(&format!("runs {bare:?}"));
    let mut before = i64::MAX;
    if let Some(cursor) = &query.cursor {
        let place = <[u8; 8]>::try_from(name.place_of(cursor)?).map_err(|_other| cursor::refused())?;
        before = i64::from_be_bytes(place);
    }
    let (along, value) = along(conn, query)?;
    let count_max = PageLimit::bounded(query.limit).get() as usize;
    let mut statement = conn.prepare_cached(&sql(along))?;
    let mut rows = statement.query(params_from_iter(std::iter::once(Value::Integer(before)).chain(value)))?;
    let mut page = RunPage::default();
    let mut examined_count = 0;
    while let Some(row) = rows.next()? {
        if page.runs.len() >= count_max || examined_count >= EXAMINED_COUNT_MAX {
            page.next_cursor = Some(name.cursor_at(&before.to_be_bytes()));
            break;
        }
        examined_count += 1;
        let row = run_row(row)?;
        before = row.place.id;
        if takes_run(query, &row.record.run) {
            page.runs.push(row.with_steps(conn)?.record.run);
        }
    }
    Ok(page)
}

/// What the walk goes along.
#[derive(Debug, Clone, Copy)]
pub(super) enum RunsAlong {
    All,
    File,
    State,
}

fn along(conn: &Connection, query: &RunQuery) -> Outcome<(RunsAlong, Option<Value>)> {
    if let Some(file) = &query.file {
        return Ok((RunsAlong::File, Some(Value::Integer(files::by_id(conn, file)?.file_row))));
    }
    Ok(match query.state {
        Some(state) => (RunsAlong::State, Some(Value::Text(state.as_str().to_owned()))),
        None => (RunsAlong::All, None),
    })
}

pub(super) fn sql(along: RunsAlong) -> String {
    let (index, condition) = match along {
        RunsAlong::All => ("NOT INDEXED", ""),
        RunsAlong::File => ("INDEXED BY runs_by_file", "AND r.file = ?2"),
        RunsAlong::State => ("INDEXED BY runs_by_state", "AND r.state = ?2"),
    };
    // The order of the join is the order of the walk.
    let tables = RUN
        .replace("FROM runs r JOIN", &format!("FROM runs r {index} CROSS JOIN"))
        .replace("JOIN buckets", "CROSS JOIN buckets");
    format!("{tables} WHERE r.id < ?1 {condition} ORDER BY r.id DESC")
}
