//! What a worker says of its run, fenced by the number of its lease.
//!
//! A report counts only while the run is `running` under that number. A worker that slept through its lease finds another
//! number, and nothing of what it says is written. Steps, what they publish, the outcome and the state of the file are one
//! transaction.

use usp_model::limits::REPORT_BYTES_MAX;
use usp_model::{
    Error, ErrorKind, Result, RetryPolicy, RunChange, RunOutcome, RunReport, RunState, Step, StepReport,
    StepState, Timestamp,
};

use super::{ChangedRun, ReportRun, RunRecord, reset};
use crate::file::{Tags, check_tags};

const ACTION: &str = "report run";

/// Labels and metadata of a version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VersionTags {
    pub labels: Tags,
    pub metadata: Tags,
}

/// What a report comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Reported {
    /// Someone else holds the run, or it ended; nothing is written.
    Lost,
    /// Someone cancelled the run; its worker is told, and nothing is written.
    Cancelled,
    Taken(Box<TakenReport>),
}

/// What is written of a report.
#[derive(Debug, Clone, PartialEq)]
pub struct TakenReport {
    pub run: ChangedRun,
    /// Names of steps with what they found, as JSON text; one takes the place of what stands under its name.
    pub reports: Vec<(String, String)>,
    /// What the version has from now on. `None`: no step said anything of it, or the version is gone.
    pub tags: Option<VersionTags>,
}

/// Whether labels or metadata of the run's version must be known to decide about a report.
pub fn wants_tags(report: &RunReport) -> bool {
    report.steps.iter().any(publishes_tags)
}

/// Whether the retry policy of the run's rule must be known to decide about a report.
pub fn wants_retry(report: &RunReport) -> bool {
    matches!(&report.outcome, Some(RunOutcome::Failed { is_permanent: false, .. }))
}

/// What becomes of a report about a run as it stands. `retry`: of its rule, as it began with it, needed if [`wants_retry`] says
/// so; `tags`: of its version, needed if [`wants_tags`] says so.
///
/// Errors: `InvalidInput` when a step is not the run's, what it found is too large, or too many labels result.
pub fn report(
    standing: Option<RunRecord>,
    asked: ReportRun,
    retry: &RetryPolicy,
    tags: Option<VersionTags>,
    at: Timestamp,
) -> Result<Reported> {
    let ReportRun { report, lease_until, jitter } = asked;
    let Some(mut record) = standing.filter(|record| record.lease_no == report.lease_no) else {
        return Ok(Reported::Lost);
    };
    match record.run.state {
        RunState::Running => {}
        RunState::Cancelled => return Ok(Reported::Cancelled),
        _ => return Ok(Reported::Lost),
    }
    let before = record.run.steps.clone();
    let mut published = Published { reports: Vec::new(), tags, is_tagged: false };
    for step in report.steps {
        record.merge(&step, at)?;
        published.add(step)?;
    }
    let mut run = match report.outcome {
        None => record.go_on(lease_until),
        Some(RunOutcome::Succeeded) => record.succeed(at),
        Some(RunOutcome::Failed { reason, is_permanent: true }) => record.die(reason, at),
        Some(RunOutcome::Failed { reason, is_permanent: false }) => {
            let next = record.next_attempt_at(retry, jitter, at);
            record.fail(reason, next, at)
        }
        Some(RunOutcome::Released) => record.release(at),
    };
    run.steps = differing(&before, &run.record.run.steps);
    let tags = published.tags.filter(|_tags| published.is_tagged);
    Ok(Reported::Taken(Box::new(TakenReport { run, reports: published.reports, tags })))
}

impl RunRecord {
    fn merge(&mut self, said: &StepReport, at: Timestamp) -> Result<()> {
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

    /// The worker holds it on.
    fn go_on(mut self, lease_until: Timestamp) -> ChangedRun {
        self.due_at = Some(lease_until);
        ChangedRun::of(self, &[], None, false)
    }

    fn succeed(mut self, at: Timestamp) -> ChangedRun {
        self.run.error = None;
        self.end(RunState::Succeeded, at);
        ChangedRun::of(self, &[], Some(RunChange::Succeeded), true)
    }

    /// Handed back unharmed: due at once, and the attempt does not count.
    fn release(mut self, at: Timestamp) -> ChangedRun {
        self.run.state = RunState::Queued;
        self.run.attempt = self.run.attempt.saturating_sub(1);
        self.due_at = Some(at);
        self.run.steps.iter_mut().filter(|step| step.state == StepState::Running).for_each(reset);
        ChangedRun::of(self, &[], Some(RunChange::Queued), false)
    }
}

fn is_end(state: StepState) -> bool {
    matches!(state, StepState::Succeeded | StepState::Failed | StepState::Skipped)
}

fn differing(before: &[Step], after: &[Step]) -> Vec<usize> {
    let differs = |(index, step)| (before.get(index) != Some(step)).then_some(index);
    after.iter().enumerate().filter_map(differs).collect()
}

/// Only a step that came to an end of its own shows what it found.
fn publishes(step: &StepReport) -> bool {
    matches!(step.state, StepState::Succeeded | StepState::Failed)
}

fn publishes_tags(step: &StepReport) -> bool {
    publishes(step) && !(step.labels.is_empty() && step.metadata.is_empty())
}

/// What ended steps found: reports, and labels and metadata of the version that the run is about.
struct Published {
    reports: Vec<(String, String)>,
    tags: Option<VersionTags>,
    is_tagged: bool,
}

impl Published {
    fn add(&mut self, step: StepReport) -> Result<()> {
        if !publishes(&step) {
            return Ok(());
        }
        if let Some(report) = &step.report {
            let body = report.to_string();
            if body.len() > REPORT_BYTES_MAX {
                let reason =
                    format!("its report has {} bytes; at most {REPORT_BYTES_MAX} are kept", body.len());
                return Err(Error::new(ErrorKind::InvalidInput, ACTION).about(step.name).because(reason));
            }
            self.reports.push((step.name.clone(), body));
        }
        let Some(tags) = self.tags.as_mut().filter(|_tags| publishes_tags(&step)) else { return Ok(()) };
        tags.labels.extend(step.labels);
        tags.metadata.extend(step.metadata);
        self.is_tagged = true;
        check_tags(ACTION, &tags.labels, &tags.metadata)
    }
}

#[cfg(test)]
mod tests;
