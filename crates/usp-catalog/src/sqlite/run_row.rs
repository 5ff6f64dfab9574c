//! A run as its rows say it.

use rusqlite::{Connection, Row};
use usp_decide::event;
use usp_model::{FileId, FileKey, Run, RunChange, RunId, Step, Timestamp};

use super::ask::{Ask, Column};
use super::events::{self, Subject};
use super::fail::{Outcome, absent};
use super::tx::Tx;

/// A run with the numbers that other rows know it by.
#[derive(Debug)]
pub(super) struct RunRow {
    pub(super) id: i64,
    pub(super) file_row: i64,
    pub(super) bucket_row: i64,
    pub(super) key: FileKey,
    pub(super) lease_no: i64,
    pub(super) due_at: Option<Timestamp>,
    pub(super) trace: Option<String>,
    pub(super) run: Run,
}

/// The columns that `run_row` reads; a condition on `r` follows.
pub(super) const RUN: &str = "SELECT r.id, r.run_id, r.file, f.file_id, b.name, r.version, r.rule, r.rule_version,
         r.state, r.attempt, r.attempts_max, r.priority, r.created_at, r.started_at, r.ended_at, r.next_attempt_at,
         r.error, r.lease_no, r.due_at, r.trace, b.id, f.key
     FROM runs r JOIN files f ON f.id = r.file JOIN buckets b ON b.id = f.bucket ";

/// Without steps; `with_steps` adds them.
pub(super) fn run_row(row: &Row<'_>) -> Outcome<RunRow> {
    let run = Run {
        id: RunId::from_bytes(row.get(1)?),
        file_id: FileId::from_bytes(row.get(3)?),
        bucket: row.text(4)?,
        version: row.get(5)?,
        rule: row.text(6)?,
        rule_version: row.get(7)?,
        state: row.text(8)?,
        attempt: row.get(9)?,
        attempts_max: row.get(10)?,
        priority: row.get(11)?,
        created_at: row.time(12)?,
        started_at: row.time_or_none(13)?,
        ended_at: row.time_or_none(14)?,
        next_attempt_at: row.time_or_none(15)?,
        error: row.get(16)?,
        steps: Vec::new(),
    };
    Ok(RunRow {
        id: row.get(0)?,
        file_row: row.get(2)?,
        lease_no: row.get(17)?,
        due_at: row.time_or_none(18)?,
        trace: row.get(19)?,
        bucket_row: row.get(20)?,
        key: row.text(21)?,
        run,
    })
}

pub(super) fn find(conn: &Connection, id: &RunId) -> Outcome<Option<RunRow>> {
    conn.one(&format!("{RUN} WHERE r.run_id = ?1"), [id.as_bytes()], run_row)?
        .map(|row| row.with_steps(conn))
        .transpose()
}

/// Errors: `NotFound`.
pub(super) fn get(conn: &Connection, id: &RunId) -> Outcome<RunRow> {
    Ok(find(conn, id)?.ok_or_else(|| absent("find run", id, "no such run"))?)
}

impl RunRow {
    pub(super) fn with_steps(mut self, conn: &Connection) -> Outcome<Self> {
        let sql = "SELECT name, uses, state, attempt, percent, started_at, ended_at, error
             FROM steps WHERE run = ?1 ORDER BY position";
        self.run.steps = conn.all(sql, [self.id], |row| {
            Ok(Step {
                name: row.get(0)?,
                uses: row.get(1)?,
                state: row.text(2)?,
                attempt: row.get(3)?,
                percent: row.get(4)?,
                started_at: row.time_or_none(5)?,
                ended_at: row.time_or_none(6)?,
                error: row.get(7)?,
            })
        })?;
        Ok(self)
    }

    /// Writes every column that a run changes in its life, as `self` has them now.
    pub(super) fn write(&self, tx: &Tx<'_>) -> Outcome<()> {
        self.write_run(tx)?;
        self.write_steps(tx, &[])
    }

    pub(super) fn write_run(&self, tx: &Tx<'_>) -> Outcome<()> {
        let run = &self.run;
        tx.run(
            "UPDATE runs SET state = ?2, attempt = ?3, started_at = ?4, ended_at = ?5, next_attempt_at = ?6,
                 error = ?7, lease_no = ?8, due_at = ?9 WHERE id = ?1",
            (
                self.id,
                run.state.as_str(),
                run.attempt,
                run.started_at.map(Timestamp::unix_ms),
                run.ended_at.map(Timestamp::unix_ms),
                run.next_attempt_at.map(Timestamp::unix_ms),
                &run.error,
                self.lease_no,
                self.due_at.map(Timestamp::unix_ms),
            ),
        )?;
        Ok(())
    }

    /// Writes the steps that differ from what their rows hold; what is not in `standing` is written.
    pub(super) fn write_steps(&self, tx: &Tx<'_>, standing: &[Step]) -> Outcome<()> {
        for (index, step) in self.run.steps.iter().enumerate() {
            if standing.get(index) != Some(step) {
                self.write_step(tx, i64::try_from(index).unwrap_or(i64::MAX), step)?;
            }
        }
        Ok(())
    }

    fn write_step(&self, tx: &Tx<'_>, position: i64, step: &Step) -> Outcome<()> {
        tx.run(
            "UPDATE steps SET state = ?3, attempt = ?4, percent = ?5, started_at = ?6, ended_at = ?7, error = ?8
             WHERE run = ?1 AND position = ?2",
            (
                self.id,
                position,
                step.state.as_str(),
                step.attempt,
                step.percent,
                step.started_at.map(Timestamp::unix_ms),
                step.ended_at.map(Timestamp::unix_ms),
                &step.error,
            ),
        )?;
        Ok(())
    }

    pub(super) fn emit(&self, tx: &Tx<'_>, change: RunChange) -> Outcome<()> {
        let body = event::of_run(&self.run, change, self.trace.as_deref());
        events::emit(tx, self.bucket_row, Subject::File(self.file_row), &self.key, &[body])
    }
}
