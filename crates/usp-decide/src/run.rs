//! The life of a run: what each thing that happens to it makes of it.
//!
//! ```text
//! queued ── begin ──> running ── succeed ──────────────────────────────> succeeded
//!   ^                  │  │ └─── fail, end_lease: attempts are left ───> retrying ── begin ──> running
//!   └──── release ─────┘  └───── fail for good, or the last attempt ───> dead
//! any that has not ended ─────── cancel ───────────────────────────────> cancelled
//! dead, cancelled ────────────── retry ────────────────────────────────> queued
//! ```
//!
//! A transition takes the run as it stands and gives a [`ChangedRun`]: the run as it is from now on, the steps whose rows
//! differ, the event, and whether the state of the version follows anew ([`crate::rollup`]). What a worker says is in
//! [`report`], what a clock that jumped put off in [`clock`].

pub mod clock;
pub mod report;

use usp_model::{
    Error, ErrorKind, EventBody, File, FileKey, ReportOutcome, Result, RetryPolicy, Rule, RuleName, RuleStep,
    Run, RunChange, RunId, RunReport, RunState, Step, StepState, Timestamp,
};

use crate::event;

/// A run that a rule makes of a version.
#[derive(Debug, Clone)]
pub struct NewRun {
    pub id: RunId,
    pub rule: RuleName,
    pub rule_version: u32,
    pub retry: RetryPolicy,
    pub priority: i32,
    /// A dead run that is required makes the file `failed`.
    pub required: bool,
    /// Name and kind of each step, in order.
    pub steps: Vec<(String, String)>,
}

/// The longest wait before another attempt.
const RETRY_WAIT_MS_MAX: i64 = 24 * 60 * 60 * 1_000;

/// What a worker said, and what storage makes of it.
#[derive(Debug, Clone)]
pub struct ReportRun {
    pub report: RunReport,
    /// Until when the run is held from now on, if it goes on.
    pub lease_until: Timestamp,
    /// From 0 to 1, drawn anew: where between half and all of its time the wait before another attempt ends.
    pub jitter: f64,
    /// Whether somebody watches: the answer then has the run as it stood before the outcome.
    pub is_watched: bool,
}

/// What became of a report.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportedRun {
    pub outcome: ReportOutcome,
    /// The run with the steps that were reported, before what follows from the outcome. `None`: nobody watches, or
    /// nothing was written.
    pub progress: Option<RunProgress>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct RunProgress {
    pub run: Run,
    /// Of the file.
    pub key: FileKey,
}

/// A step of a rule as a run row keeps it.
pub fn step_names(steps: &[RuleStep]) -> Vec<(String, String)> {
    steps.iter().map(|step| (step.name.clone(), step.uses.clone())).collect()
}

/// A run with what only storage knows of it.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRecord {
    pub run: Run,
    /// Rises with every lease; what carries another number is refused.
    pub lease_no: i64,
    /// While it waits: when it may begin. While it is held: when its lease is over. `None` once it has ended.
    pub due_at: Option<Timestamp>,
    /// The W3C trace context of the request that asked for the run.
    pub trace: Option<String>,
}

/// What became of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangedRun {
    pub record: RunRecord,
    /// Positions of the steps whose rows differ from what they were, from 0, in order.
    pub steps: Vec<usize>,
    /// What is said of it. `None`: the run goes on as before.
    pub event: Option<EventBody>,
    /// The state of the version follows from its runs anew.
    pub rolls_up: bool,
}

/// What came of taking a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Begun {
    /// An attempt, under a new lease number.
    Attempt(ChangedRun),
    /// It cannot be worked on and is dead.
    Dead(ChangedRun),
}

impl NewRun {
    /// The run as it is made with its version, queued: the commit gives the version the state that it has with its runs.
    pub fn queued_with_version(&self, file: &File, trace: Option<String>, at: Timestamp) -> ChangedRun {
        ChangedRun { rolls_up: false, ..self.queued(file, trace, at) }
    }

    /// The run as it begins: queued, due at once. All its steps are new.
    pub fn queued(&self, file: &File, trace: Option<String>, at: Timestamp) -> ChangedRun {
        let step = |(name, uses): &(String, String)| Step {
            name: name.clone(),
            uses: uses.clone(),
            state: StepState::Pending,
            attempt: 0,
            percent: 0,
            started_at: None,
            ended_at: None,
            error: None,
        };
        let run = Run {
            id: self.id,
            file_id: file.id,
            bucket: file.bucket.clone(),
            version: file.version,
            rule: self.rule.clone(),
            rule_version: self.rule_version,
            state: RunState::Queued,
            attempt: 0,
            attempts_max: self.retry.attempts_max,
            priority: self.priority,
            created_at: at,
            started_at: None,
            ended_at: None,
            next_attempt_at: None,
            error: None,
            steps: self.steps.iter().map(step).collect(),
        };
        let record = RunRecord { run, lease_no: 0, due_at: Some(at), trace };
        ChangedRun::of(record, &[], Some(RunChange::Queued), true)
    }
}

impl ChangedRun {
    fn of(record: RunRecord, before: &[Step], change: Option<RunChange>, rolls_up: bool) -> Self {
        let differs = |(index, step): (usize, &Step)| (before.get(index) != Some(step)).then_some(index);
        let steps = record.run.steps.iter().enumerate().filter_map(differs).collect();
        let event = change.map(|change| event::of_run(&record.run, change, record.trace.as_deref()));
        Self { record, steps, event, rolls_up }
    }
}

impl RunRecord {
    /// Whether its time has come: to begin, or for its lease to end.
    pub fn is_due(&self, at: Timestamp) -> bool {
        self.due_at.is_some_and(|due_at| due_at <= at)
    }

    /// Whether a worker held it and gave no sign until now: [`end_lease`](Self::end_lease) goes before anything else.
    pub fn is_lease_over(&self, at: Timestamp) -> bool {
        self.run.state == RunState::Running && self.is_due(at)
    }

    /// Hands the run to a worker until `lease_until`. What succeeded before is published already; the worker may skip it
    /// or do it again with the same outcome. Without its rule a run is dead: nothing says what to do.
    pub fn begin(mut self, rule: Option<&Rule>, at: Timestamp, lease_until: Timestamp) -> Begun {
        if rule.is_none() {
            let reason = format!("rule {} has no version {}", self.run.rule, self.run.rule_version);
            return Begun::Dead(self.die(reason, at));
        }
        let before = self.run.steps.clone();
        self.lease_no += 1;
        self.due_at = Some(lease_until);
        self.run.state = RunState::Running;
        self.run.attempt = self.run.attempt.saturating_add(1);
        self.run.started_at = self.run.started_at.or(Some(at));
        self.run.next_attempt_at = None;
        self.run.steps.iter_mut().filter(|step| step.state != StepState::Succeeded).for_each(reset);
        Begun::Attempt(ChangedRun::of(self, &before, Some(RunChange::Started), false))
    }

    /// What a worker that fell silent did not say: that the attempt failed. The run waits again, due at once, or is dead
    /// without attempts left.
    pub fn end_lease(self, at: Timestamp) -> ChangedRun {
        self.fail("the worker gave no sign before its lease was over".to_owned(), at, at)
    }

    /// The attempt failed. The next one may begin at `next`, if there is one.
    fn fail(mut self, reason: String, next: Timestamp, at: Timestamp) -> ChangedRun {
        if self.run.attempt >= self.run.attempts_max {
            return self.die(reason, at);
        }
        let before = self.run.steps.clone();
        self.run.error = Some(reason);
        self.run.state = RunState::Retrying;
        self.run.next_attempt_at = Some(next);
        self.due_at = Some(next);
        for step in self.run.steps.iter_mut().filter(|step| step.state == StepState::Running) {
            step.state = StepState::Failed;
            step.ended_at = Some(at);
        }
        ChangedRun::of(self, &before, Some(RunChange::Retrying), false)
    }

    /// When the next attempt begins after one that failed: `retry` is that of the rule as the run began with it.
    ///
    /// Doubling waits, between half and all of each, so that runs that failed together do not come back together; a day at
    /// most.
    fn next_attempt_at(&self, retry: &RetryPolicy, jitter: f64, at: Timestamp) -> Timestamp {
        let half = retry.backoff(self.run.attempt) / 2;
        let wait = half + half.mul_f64(jitter.clamp(0.0, 1.0));
        at.plus_ms(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX).min(RETRY_WAIT_MS_MAX))
    }

    /// Ends the run for want of hope; `reason` says why.
    fn die(mut self, reason: String, at: Timestamp) -> ChangedRun {
        let before = self.run.steps.clone();
        self.run.error = Some(reason);
        self.end(RunState::Dead, at);
        ChangedRun::of(self, &before, Some(RunChange::Dead), true)
    }

    /// Nothing more happens by itself from here on.
    fn end(&mut self, state: RunState, at: Timestamp) {
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

    /// Queues the run with all its attempts, due at once. Errors: `Conflict` unless it is dead or cancelled.
    pub fn retry(mut self, at: Timestamp) -> Result<ChangedRun> {
        if !matches!(self.run.state, RunState::Dead | RunState::Cancelled) {
            let reason =
                format!("the run is {}; only dead and cancelled runs can be retried", self.run.state);
            return Err(Error::new(ErrorKind::Conflict, "retry run").about(self.run.id).because(reason));
        }
        let before = self.run.steps.clone();
        self.run.state = RunState::Queued;
        self.run.attempt = 0;
        self.run.started_at = None;
        self.run.ended_at = None;
        self.run.error = None;
        self.due_at = Some(at);
        self.run.steps.iter_mut().for_each(reset);
        Ok(ChangedRun::of(self, &before, Some(RunChange::Queued), true))
    }

    /// Ends the run at someone's wish. Its worker hears of it with its next report. Errors: `Conflict` once it has ended.
    pub fn cancel(self, at: Timestamp) -> Result<ChangedRun> {
        if self.run.state.is_final() {
            let reason = format!("the run is {} already", self.run.state);
            return Err(Error::new(ErrorKind::Conflict, "cancel run").about(self.run.id).because(reason));
        }
        Ok(self.cancelled(at, true))
    }

    /// Ends the run with its file, whose state matters no more. `None`: it has ended before.
    pub fn cancel_with_file(self, at: Timestamp) -> Option<ChangedRun> {
        (!self.run.state.is_final()).then(|| self.cancelled(at, false))
    }

    fn cancelled(mut self, at: Timestamp, rolls_up: bool) -> ChangedRun {
        let before = self.run.steps.clone();
        self.end(RunState::Cancelled, at);
        ChangedRun::of(self, &before, Some(RunChange::Cancelled), rolls_up)
    }
}

/// Takes a step back to before its first attempt, but for the number of the last one.
fn reset(step: &mut Step) {
    step.state = StepState::Pending;
    step.percent = 0;
    step.started_at = None;
    step.ended_at = None;
    step.error = None;
}

#[cfg(test)]
mod tests;
