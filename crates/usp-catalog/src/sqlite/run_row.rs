//! A run as its rows say it.

use rusqlite::{Connection, Row};
use usp_decide::run::{ChangedRun, RunRecord};
use usp_model::{FileId, FileKey, Run, RunId, Step, Timestamp};

use super::ask::{Ask, Column};
use super::columns::columns;
use super::events::{self, Subject};
use super::fail::{Outcome, absent, corrupt};
use super::rollup::roll_up;
use super::tx::Tx;

/// A run with the numbers that other rows know it by.
#[derive(Debug)]
pub(super) struct RunRow {
    pub(super) place: RunPlace,
    pub(super) record: RunRecord,
}

/// Where a run stands.
#[derive(Debug)]
pub(super) struct RunPlace {
    pub(super) id: i64,
    pub(super) file_row: i64,
    pub(super) bucket_row: i64,
    pub(super) key: FileKey,
}

columns! {
    mod column from "runs r JOIN files f ON f.id = r.file JOIN buckets b ON b.id = f.bucket" {
        ID = "r.id",
        RUN_ID = "r.run_id",
        FILE = "r.file",
        FILE_ID = "f.file_id",
        KEY = "f.key",
        BUCKET = "b.id",
        BUCKET_NAME = "b.name",
        VERSION = "r.version",
        RULE = "r.rule",
        RULE_VERSION = "r.rule_version",
        STATE = "r.state",
        ATTEMPT = "r.attempt",
        ATTEMPTS_MAX = "r.attempts_max",
        PRIORITY = "r.priority",
        CREATED_AT = "r.created_at",
        STARTED_AT = "r.started_at",
        ENDED_AT = "r.ended_at",
        NEXT_ATTEMPT_AT = "r.next_attempt_at",
        ERROR = "r.error",
        LEASE_NO = "r.lease_no",
        DUE_AT = "r.due_at",
        TRACE = "r.trace",
    }
}

columns! {
    mod step_column from "steps" {
        NAME = "name",
        USES = "uses",
        STATE = "state",
        ATTEMPT = "attempt",
        PERCENT = "percent",
        STARTED_AT = "started_at",
        ENDED_AT = "ended_at",
        ERROR = "error",
    }
}

/// What `run_row` reads; a condition on `r` follows.
pub(super) const RUN: &str = column::SELECT;

/// Without steps; `with_steps` adds them.
pub(super) fn run_row(row: &Row<'_>) -> Outcome<RunRow> {
    let run = Run {
        id: RunId::from_bytes(row.get(column::RUN_ID)?),
        file_id: FileId::from_bytes(row.get(column::FILE_ID)?),
        bucket: row.text(column::BUCKET_NAME)?,
        version: row.get(column::VERSION)?,
        rule: row.text(column::RULE)?,
        rule_version: row.get(column::RULE_VERSION)?,
        state: row.text(column::STATE)?,
        attempt: row.get(column::ATTEMPT)?,
        attempts_max: row.get(column::ATTEMPTS_MAX)?,
        priority: row.get(column::PRIORITY)?,
        created_at: row.time(column::CREATED_AT)?,
        started_at: row.time_or_none(column::STARTED_AT)?,
        ended_at: row.time_or_none(column::ENDED_AT)?,
        next_attempt_at: row.time_or_none(column::NEXT_ATTEMPT_AT)?,
        error: row.get(column::ERROR)?,
        steps: Vec::new(),
    };
    let place = RunPlace {
        id: row.get(column::ID)?,
        file_row: row.get(column::FILE)?,
        bucket_row: row.get(column::BUCKET)?,
        key: row.text(column::KEY)?,
    };
    let (lease_no, due_at) = (row.get(column::LEASE_NO)?, row.time_or_none(column::DUE_AT)?);
    Ok(RunRow { place, record: RunRecord { run, lease_no, due_at, trace: row.get(column::TRACE)? } })
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

/// Errors: `Corrupt`.
pub(super) fn by_row_id(conn: &Connection, id: i64) -> Outcome<RunRow> {
    conn.one(&format!("{RUN} WHERE r.id = ?1"), [id], run_row)?
        .ok_or_else(|| corrupt("claim runs", "a run has no file"))?
        .with_steps(conn)
}

impl RunRow {
    pub(super) fn with_steps(mut self, conn: &Connection) -> Outcome<Self> {
        let sql = format!("{} WHERE run = ?1 ORDER BY position", step_column::SELECT);
        self.record.run.steps = conn.all(&sql, [self.place.id], |row| {
            Ok(Step {
                name: row.get(step_column::NAME)?,
                uses: row.get(step_column::USES)?,
                state: row.text(step_column::STATE)?,
                attempt: row.get(step_column::ATTEMPT)?,
                percent: row.get(step_column::PERCENT)?,
                started_at: row.time_or_none(step_column::STARTED_AT)?,
                ended_at: row.time_or_none(step_column::ENDED_AT)?,
                error: row.get(step_column::ERROR)?,
            })
        })?;
        Ok(self)
    }
}

impl RunPlace {
    /// Writes what became of the run, with its event, and what follows for its file. Gives the run as it is now.
    pub(super) fn store(&self, tx: &Tx<'_>, changed: ChangedRun) -> Outcome<RunRecord> {
        self.write_run(tx, &changed.record)?;
        for index in &changed.steps {
            if let Some(step) = changed.record.run.steps.get(*index) {
                self.write_step(tx, *index, step)?;
            }
        }
        if let Some(body) = changed.event {
            events::emit(tx, self.bucket_row, Subject::File(self.file_row), &self.key, &[body])?;
        }
        if changed.rolls_up {
            roll_up(tx, self.file_row, changed.record.run.version, tx.at())?;
        }
        Ok(changed.record)
    }

    /// Every column that a run changes in its life.
    fn write_run(&self, tx: &Tx<'_>, record: &RunRecord) -> Outcome<()> {
        let run = &record.run;
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
                record.lease_no,
                record.due_at.map(Timestamp::unix_ms),
            ),
        )?;
        Ok(())
    }

    fn write_step(&self, tx: &Tx<'_>, index: usize, step: &Step) -> Outcome<()> {
        tx.run(
            "UPDATE steps SET state = ?3, attempt = ?4, percent = ?5, started_at = ?6, ended_at = ?7, error = ?8
             WHERE run = ?1 AND position = ?2",
            (
                self.id,
                i64::try_from(index).unwrap_or(i64::MAX),
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
}
