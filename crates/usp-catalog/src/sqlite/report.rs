//! What a worker says of its run, fenced by the number of its lease.
//!
//! A report counts only while the run is `running` under that number. A worker that slept through its lease finds
//! another number and writes nothing. Steps, what they publish, the outcome and the file's state are one transaction.

use serde_json::Value;
use usp_model::limits::REPORT_BYTES_MAX;
use usp_model::{
    Error, ErrorKind, ReportOutcome, RunChange, RunOutcome, RunState, Step, StepReport, StepState, Timestamp,
};

use super::ask::Ask;
use super::fail::Outcome;
use super::rollup::roll_up;
use super::run_row::{self, RunRow};
use super::runs::reset;
use super::tags::{TagKind, Tagged};
use super::tx::Tx;
use super::version_row;
use crate::records::ReportRun;
use usp_decide::file::check_tags;

const ACTION: &str = "report run";

pub(super) fn report_run(tx: &Tx<'_>, asked: ReportRun) -> Outcome<ReportOutcome> {
    let ReportRun { report, lease_until, retry_wait_ms } = asked;
    let at = tx.at();
    let Some(mut row) = run_row::find(tx, &report.run)? else { return Ok(ReportOutcome::Lost) };
    if row.lease_no != report.lease_no && !usp_rt::is_planted("lease-without-number") {
        return Ok(ReportOutcome::Lost);
    }
    match row.run.state {
        RunState::Running => {}
        RunState::Cancelled => return Ok(ReportOutcome::Held { run_cancelled: true }),
        _ => return Ok(ReportOutcome::Lost),
    }
    for step in &report.steps {
        row.merge(step, at)?;
        publish(tx, &row, step, at)?;
    }
    match report.outcome {
        None => {
            row.due_at = Some(lease_until);
            row.write(tx)?;
        }
        Some(RunOutcome::Succeeded) => row.succeed(tx, at)?,
        Some(RunOutcome::Failed { reason, is_permanent }) => {
            row.fail(tx, reason, is_permanent, retry_wait_ms, at)?
        }
        Some(RunOutcome::Released) => row.release(tx, at)?,
    }
    Ok(ReportOutcome::Held { run_cancelled: false })
}

impl RunRow {
    fn merge(&mut self, said: &StepReport, at: Timestamp) -> Outcome<()> {
        const PERCENT_MAX: u8 = 100;
        let attempt = self.run.attempt;
        let ago = |ms: Option<u32>| at.plus_ms(-i64::from(ms.unwrap_or(0)));
        let step = self.run.steps.iter_mut().find(|step| step.name == said.name).ok_or_else(|| {
            Error::new(ErrorKind::InvalidInput, ACTION).about(&said.name).because("the run has no such step")
        })?;
        if said.state == StepState::Running && step.attempt == attempt && is_end(step.state) {
            // Said before the end, and late: a worker does not wait for each of its reports.
            return Ok(());
        }
        if said.state != StepState::Pending && step.attempt != attempt {
            reset(step);
            step.attempt = attempt;
        }
        if said.state == StepState::Running {
            step.ended_at = None;
        }
        if matches!(said.state, StepState::Running | StepState::Succeeded | StepState::Failed) {
            step.started_at = step.started_at.or(Some(ago(said.began_ms_ago)));
        }
        if is_end(said.state) {
            step.ended_at = step.ended_at.or(Some(ago(said.ended_ms_ago)));
        }
        step.state = said.state;
        step.percent = said.percent.min(PERCENT_MAX);
        step.error.clone_from(&said.error);
        Ok(())
    }

    fn succeed(&mut self, tx: &Tx<'_>, at: Timestamp) -> Outcome<()> {
        self.run.error = None;
        self.end(RunState::Succeeded, at);
        self.write(tx)?;
        self.emit(tx, RunChange::Succeeded)?;
        roll_up(tx, self.file_row, self.run.version, at)
    }

    fn fail(
        &mut self,
        tx: &Tx<'_>,
        reason: String,
        is_permanent: bool,
        wait_ms: i64,
        at: Timestamp,
    ) -> Outcome<()> {
        self.run.error = Some(reason);
        if is_permanent || self.run.attempt >= self.run.attempts_max {
            return self.die(tx, at);
        }
        let next = at.plus_ms(wait_ms.max(0));
        self.run.state = RunState::Retrying;
        self.run.next_attempt_at = Some(next);
        self.due_at = Some(next);
        self.stop_steps(StepState::Failed, at);
        self.write(tx)?;
        self.emit(tx, RunChange::Retrying)
    }

    fn release(&mut self, tx: &Tx<'_>, at: Timestamp) -> Outcome<()> {
        self.run.state = RunState::Queued;
        self.run.attempt = self.run.attempt.saturating_sub(1);
        self.due_at = Some(at);
        self.stop_steps(StepState::Pending, at);
        self.write(tx)?;
        self.emit(tx, RunChange::Queued)
    }

    fn stop_steps(&mut self, state: StepState, at: Timestamp) {
        for step in self.run.steps.iter_mut().filter(|step| step.state == StepState::Running) {
            stop(step, state, at);
        }
    }
}

fn stop(step: &mut Step, state: StepState, at: Timestamp) {
    if state == StepState::Pending {
        reset(step);
    } else {
        step.state = state;
        step.ended_at = Some(at);
    }
}

fn is_end(state: StepState) -> bool {
    matches!(state, StepState::Succeeded | StepState::Failed | StepState::Skipped)
}

/// Shows what an ended step found: its report, and labels and metadata of the version that the run is about.
fn publish(tx: &Tx<'_>, row: &RunRow, step: &StepReport, at: Timestamp) -> Outcome<()> {
    if !matches!(step.state, StepState::Succeeded | StepState::Failed) {
        return Ok(());
    }
    if let Some(report) = &step.report {
        put_report(tx, row, &step.name, report)?;
    }
    if !step.labels.is_empty() || !step.metadata.is_empty() {
        put_tags(tx, row, step, at)?;
    }
    Ok(())
}

fn put_report(tx: &Tx<'_>, row: &RunRow, step: &str, report: &Value) -> Outcome<()> {
    let body = report.to_string();
    if body.len() > REPORT_BYTES_MAX {
        let reason = format!("its report has {} bytes; at most {REPORT_BYTES_MAX} are kept", body.len());
        return Err(Error::new(ErrorKind::InvalidInput, ACTION).about(step).because(reason).into());
    }
    tx.run(
        "INSERT INTO reports (file, version, step, body) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (file, version, step) DO UPDATE SET body = excluded.body",
        (row.file_row, row.run.version, step, body),
    )?;
    Ok(())
}

fn put_tags(tx: &Tx<'_>, row: &RunRow, step: &StepReport, at: Timestamp) -> Outcome<()> {
    let Some(standing) = version_row::version(tx, row.file_row, row.run.version)? else { return Ok(()) };
    let (mut labels, mut metadata) = (standing.file.labels.clone(), standing.file.metadata.clone());
    labels.extend(step.labels.clone());
    metadata.extend(step.metadata.clone());
    check_tags(ACTION, &labels, &metadata)?;
    let is_current = version_row::set_tags(tx, row.file_row, row.run.version, &labels, &metadata, at)?;
    if is_current {
        let tagged =
            Tagged { file_row: row.file_row, bucket_row: standing.bucket_row, key: &standing.file.key };
        tagged.replace(tx, TagKind::Label, &standing.file.labels, &labels)?;
        tagged.replace(tx, TagKind::Metadata, &standing.file.metadata, &metadata)?;
    }
    Ok(())
}
