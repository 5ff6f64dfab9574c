//! The life of a run: made, retried, cancelled, made due, as `usp_decide::run` decides. Who is next is in `claim`, what
//! its worker says is in `report`.

use rusqlite::Connection;
use usp_decide::run::ChangedRun;
use usp_decide::run::clock::{PutOff, leases_before_start, put_off_by_clock};
use usp_model::{File, FileId, Run, RunId, Timestamp};

use super::ask::Ask;
use super::events::{self, Subject};
use super::fail::Outcome;
use super::files;
use super::rollup::roll_up;
use super::run_row::{self, RUN, RunRow, run_row};
use super::tx::Tx;
use crate::records::NewRun;

/// Runs that one file shows: far more than rules and retries make.
const RUN_COUNT_MAX: u32 = 1_000;

/// Queues a run of a version that is made by the same commit.
pub(super) fn insert(tx: &Tx<'_>, file_row: i64, file: &File, new: &NewRun, at: Timestamp) -> Outcome<Run> {
    let queued = new.queued_with_version(file, tx.act().trace.clone(), at);
    store_new(tx, file_row, file, new, queued)
}

/// Queues a run of the current version of a file.
pub(super) fn create(tx: &Tx<'_>, file: &FileId, new: &NewRun, at: Timestamp) -> Outcome<Run> {
    let row = files::by_id(tx, file)?;
    let queued = new.queued(&row.file, tx.act().trace.clone(), at);
    store_new(tx, row.file_row, &row.file, new, queued)
}

/// Writes a run that is new, with its steps and its event, and what follows for its version.
fn store_new(tx: &Tx<'_>, file_row: i64, file: &File, new: &NewRun, queued: ChangedRun) -> Outcome<Run> {
    let (record, run) = (&queued.record, &queued.record.run);
    let sql = "INSERT INTO runs (run_id, file, version, rule, rule_version, state, attempts_max, priority, required,
             created_at, due_at, trace, bucket)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, bucket FROM files WHERE id = ?2
         RETURNING id, bucket";
    let values = (
        run.id.as_bytes(),
        file_row,
        run.version,
        run.rule.as_str(),
        run.rule_version,
        run.state.as_str(),
        run.attempts_max,
        run.priority,
        new.required,
        run.created_at.unix_ms(),
        record.due_at.map(Timestamp::unix_ms),
        &record.trace,
    );
    let inserted = tx.one(sql, values, |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
    let Some((id, bucket_row)) = inserted else {
        return Err(super::fail::corrupt("queue run", "its file has no row").about(file.id).into());
    };
    for (position, step) in (0_i64..).zip(&run.steps) {
        let sql = "INSERT INTO steps (run, position, name, uses) VALUES (?1, ?2, ?3, ?4)";
        tx.run(sql, (id, position, &step.name, &step.uses))?;
    }
    if let Some(body) = &queued.event {
        events::emit(tx, bucket_row, Subject::File(file_row), &file.key, std::slice::from_ref(body))?;
    }
    if queued.rolls_up {
        roll_up(tx, file_row, queued.record.run.version, tx.at())?;
    }
    Ok(queued.record.run)
}

pub(super) fn of_file(conn: &Connection, file: &FileId) -> Outcome<Vec<Run>> {
    let file_row = files::by_id(conn, file)?.file_row;
    let sql = format!("{RUN} WHERE r.file = ?1 ORDER BY r.id DESC LIMIT ?2");
    let rows = conn.all(&sql, (file_row, RUN_COUNT_MAX), run_row)?;
    rows.into_iter().map(|row| Ok(row.with_steps(conn)?.record.run)).collect()
}

pub(super) fn ids_of_version(conn: &Connection, file_row: i64, version: u32) -> Outcome<Vec<RunId>> {
    let sql = "SELECT run_id FROM runs WHERE file = ?1 AND version = ?2 ORDER BY id LIMIT ?3";
    conn.all(sql, (file_row, version, RUN_COUNT_MAX), |row| Ok(RunId::from_bytes(row.get(0)?)))
}

pub(super) fn retry(tx: &Tx<'_>, id: &RunId, at: Timestamp) -> Outcome<Run> {
    let RunRow { place, record } = run_row::get(tx, id)?;
    Ok(place.store(tx, record.retry(at)?)?.run)
}

pub(super) fn retry_many(tx: &Tx<'_>, ids: &[RunId], at: Timestamp) -> Outcome<u64> {
    let mut count = 0;
    for id in ids {
        let Some(RunRow { place, record }) = run_row::find(tx, id)? else { continue };
        if let Ok(retried) = record.retry(at) {
            place.store(tx, retried)?;
            count += 1;
        }
    }
    Ok(count)
}

pub(super) fn cancel(tx: &Tx<'_>, id: &RunId, at: Timestamp) -> Outcome<Run> {
    let RunRow { place, record } = run_row::get(tx, id)?;
    Ok(place.store(tx, record.cancel(at)?)?.run)
}

/// Cancels every run of the file that has not ended; the rows go with the file.
pub(super) fn cancel_all_of_file(tx: &Tx<'_>, file_row: i64, at: Timestamp) -> Outcome<()> {
    let sql = format!("{RUN} WHERE r.file = ?1 AND r.due_at IS NOT NULL");
    for row in tx.all(&sql, [file_row], run_row)? {
        let RunRow { place, record } = row;
        if let Some(cancelled) = record.cancel_with_file(at) {
            place.store(tx, cancelled)?;
        }
    }
    Ok(())
}

/// Makes runs that an earlier process held due now.
pub(super) fn end_leases(tx: &Tx<'_>, now: Timestamp) -> Outcome<()> {
    make_due(tx, &leases_before_start(now))?;
    Ok(())
}

/// Makes runs due that a clock which was ahead put off.
pub(super) fn pull_up(tx: &Tx<'_>, now: Timestamp) -> Outcome<u64> {
    put_off_by_clock(now).iter().map(|off| make_due(tx, off)).sum()
}

fn make_due(tx: &Tx<'_>, off: &PutOff) -> Outcome<u64> {
    let sql = "UPDATE runs INDEXED BY runs_by_state SET due_at = ?1,
             next_attempt_at = CASE WHEN next_attempt_at > ?1 THEN ?1 ELSE next_attempt_at END
         WHERE state = ?2 AND due_at > ?3";
    Ok(tx.run(sql, (off.now.unix_ms(), off.state.as_str(), off.due_after.unix_ms()))? as u64)
}
