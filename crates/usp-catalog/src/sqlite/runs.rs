//! The life of a run: made, begun, retried, cancelled. Who is next is decided in `claim`, what its worker says is in
//! `report`.

use rusqlite::Connection;
use usp_model::{Error, ErrorKind, File, FileId, Run, RunChange, RunId, RunState, StepState, Timestamp};

use super::ask::Ask;
use super::fail::Outcome;
use super::files;
use super::rollup::roll_up;
use super::run_row::{self, RUN, RunRow, run_row};
use super::tx::Tx;
use crate::records::NewRun;

/// Runs that one file shows: far more than rules and retries make.
const RUN_COUNT_MAX: u32 = 1_000;

/// Queues a run of the file's version, with its event.
pub(super) fn insert(tx: &Tx<'_>, file_row: i64, file: &File, new: &NewRun, at: Timestamp) -> Outcome<Run> {
    tx.run(
        "INSERT INTO runs (run_id, file, version, rule, rule_version, state, attempts_max, priority, required,
             created_at, due_at, trace, bucket)
         VALUES (?1, ?2, ?3, ?4, ?5, 'queued', ?6, ?7, ?8, ?9, ?9, ?10, (SELECT bucket FROM files WHERE id = ?2))",
        (
            new.id.as_bytes(),
            file_row,
            file.version,
            new.rule.as_str(),
            new.rule_version,
            new.retry.attempts_max,
            new.priority,
            new.required,
            at.unix_ms(),
            &tx.act().trace,
        ),
    )?;
    let id = tx.last_insert_rowid();
    for (position, (name, uses)) in (0_i64..).zip(&new.steps) {
        let sql = "INSERT INTO steps (run, position, name, uses) VALUES (?1, ?2, ?3, ?4)";
        tx.run(sql, (id, position, name, uses))?;
    }
    let row = run_row::get(tx, &new.id)?;
    row.emit(tx, RunChange::Queued)?;
    Ok(row.run)
}

pub(super) fn create(tx: &Tx<'_>, file: &FileId, new: &NewRun, at: Timestamp) -> Outcome<Run> {
    let row = files::by_id(tx, file)?;
    let run = insert(tx, row.file_row, &row.file, new, at)?;
    roll_up(tx, row.file_row, row.file.version, at)?;
    Ok(run)
}

pub(super) fn of_file(conn: &Connection, file: &FileId) -> Outcome<Vec<Run>> {
    let file_row = files::by_id(conn, file)?.file_row;
    let sql = format!("{RUN} WHERE r.file = ?1 ORDER BY r.id DESC LIMIT ?2");
    let rows = conn.all(&sql, (file_row, RUN_COUNT_MAX), run_row)?;
    rows.into_iter().map(|row| Ok(row.with_steps(conn)?.run)).collect()
}

pub(super) fn ids_of_version(conn: &Connection, file_row: i64, version: u32) -> Outcome<Vec<RunId>> {
    let sql = "SELECT run_id FROM runs WHERE file = ?1 AND version = ?2 ORDER BY id LIMIT ?3";
    conn.all(sql, (file_row, version, RUN_COUNT_MAX), |row| Ok(RunId::from_bytes(row.get(0)?)))
}

impl RunRow {
    /// Hands the run to a worker under a new lease number.
    pub(super) fn begin_attempt(
        &mut self,
        tx: &Tx<'_>,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Outcome<()> {
        self.lease_no += 1;
        self.due_at = Some(lease_until);
        self.run.state = RunState::Running;
        self.run.attempt = self.run.attempt.saturating_add(1);
        self.run.started_at = self.run.started_at.or(Some(now));
        self.run.next_attempt_at = None;
        let before = self.run.steps.clone();
        for step in &mut self.run.steps {
            // What succeeded is published already; the worker may skip it or do it again with the same outcome.
            if step.state != StepState::Succeeded {
                reset(step);
            }
        }
        self.write_run(tx)?;
        self.write_steps(tx, &before)?;
        self.emit(tx, RunChange::Started)
    }

    /// Ends the run for want of hope; `error` says why.
    pub(super) fn die(&mut self, tx: &Tx<'_>, at: Timestamp) -> Outcome<()> {
        self.end(RunState::Dead, at);
        self.write(tx)?;
        self.emit(tx, RunChange::Dead)?;
        roll_up(tx, self.file_row, self.run.version, at)
    }

    /// Nothing more happens by itself from here on.
    pub(super) fn end(&mut self, state: RunState, at: Timestamp) {
        self.run.state = state;
        self.run.ended_at = Some(at);
        self.run.next_attempt_at = None;
        self.due_at = None;
        for step in &mut self.run.steps {
            match step.state {
                StepState::Running if state == RunState::Dead => {
                    step.state = StepState::Failed;
                    step.ended_at = Some(at);
                }
                StepState::Running | StepState::Pending if state != RunState::Succeeded => {
                    step.state = StepState::Skipped;
                }
                _ => {}
            }
        }
    }
}

pub(super) fn reset(step: &mut usp_model::Step) {
    step.state = StepState::Pending;
    step.percent = 0;
    step.started_at = None;
    step.ended_at = None;
    step.error = None;
}

pub(super) fn retry(tx: &Tx<'_>, id: &RunId, at: Timestamp) -> Outcome<Run> {
    let mut row = run_row::get(tx, id)?;
    if !matches!(row.run.state, RunState::Dead | RunState::Cancelled) {
        let reason = format!("the run is {}; only dead and cancelled runs can be retried", row.run.state);
        return Err(Error::new(ErrorKind::Conflict, "retry run").about(id).because(reason).into());
    }
    row.begin_anew(tx, at)?;
    Ok(row.run)
}

pub(super) fn retry_many(tx: &Tx<'_>, ids: &[RunId], at: Timestamp) -> Outcome<u64> {
    let mut count = 0;
    for id in ids {
        let Some(mut row) = run_row::find(tx, id)? else { continue };
        if matches!(row.run.state, RunState::Dead | RunState::Cancelled) {
            row.begin_anew(tx, at)?;
            count += 1;
        }
    }
    Ok(count)
}

impl RunRow {
    /// Queues the run with all its attempts, and takes its file back to `processing`.
    fn begin_anew(&mut self, tx: &Tx<'_>, at: Timestamp) -> Outcome<()> {
        self.run.state = RunState::Queued;
        self.run.attempt = 0;
        self.run.started_at = None;
        self.run.ended_at = None;
        self.run.error = None;
        self.due_at = Some(at);
        self.run.steps.iter_mut().for_each(reset);
        self.write(tx)?;
        self.emit(tx, RunChange::Queued)?;
        roll_up(tx, self.file_row, self.run.version, at)
    }
}

pub(super) fn cancel(tx: &Tx<'_>, id: &RunId, at: Timestamp) -> Outcome<Run> {
    let mut row = run_row::get(tx, id)?;
    if row.run.state.is_final() {
        let reason = format!("the run is {} already", row.run.state);
        return Err(Error::new(ErrorKind::Conflict, "cancel run").about(id).because(reason).into());
    }
    row.cancel(tx, at)?;
    roll_up(tx, row.file_row, row.run.version, at)?;
    Ok(row.run)
}

/// Cancels every run of the file that has not ended; the rows go with the file.
pub(super) fn cancel_all_of_file(tx: &Tx<'_>, file_row: i64, at: Timestamp) -> Outcome<()> {
    let sql = format!("{RUN} WHERE r.file = ?1 AND r.due_at IS NOT NULL");
    for mut row in tx.all(&sql, [file_row], run_row)? {
        row.cancel(tx, at)?;
    }
    Ok(())
}

impl RunRow {
    fn cancel(&mut self, tx: &Tx<'_>, at: Timestamp) -> Outcome<()> {
        self.end(RunState::Cancelled, at);
        self.write(tx)?;
        self.emit(tx, RunChange::Cancelled)
    }
}

/// Makes runs that an earlier process held due now. Their lease is over, so the attempt counts.
pub(super) fn end_leases(tx: &Tx<'_>, now: Timestamp) -> Outcome<()> {
    tx.run("UPDATE runs SET due_at = ?1 WHERE state = 'running' AND due_at > ?1", [now.unix_ms()])?;
    Ok(())
}

/// Makes runs due that a clock which was ahead put off.
pub(super) fn pull_up(tx: &Tx<'_>, now: Timestamp) -> Outcome<u64> {
    /// Longer than any rule lets a run wait, and than any lease.
    const WAIT_MS_MAX: i64 = 25 * 60 * 60 * 1_000;
    let pulled = tx.run(
        "UPDATE runs SET due_at = ?1,
             next_attempt_at = CASE WHEN next_attempt_at > ?1 THEN ?1 ELSE next_attempt_at END
         WHERE (state = 'queued' AND due_at > ?1) OR (state IN ('retrying', 'running') AND due_at > ?2)",
        (now.unix_ms(), now.unix_ms().saturating_add(WAIT_MS_MAX)),
    )?;
    Ok(pulled as u64)
}
