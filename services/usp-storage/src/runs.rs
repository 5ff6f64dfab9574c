//! Runs: made, shown, tried again, cancelled, handed out to workers and reported on.
//!
//! The catalogue's claim decides who works on what; the queue only says when it is worth asking.

use std::sync::Arc;

use usp_api::{Caller, RetriedRuns};
use usp_auth::{Permission, allows, authorize};
use usp_catalog::{EventFacts, RunFacts};
use usp_model::{
    Act, Error, ErrorKind, FileId, FileRef, PageLimit, QueueStatus, Result, RuleName, Run, RunId, RunPage,
    RunQuery, RunState, Violation,
};
use usp_queue::Queue;
use usp_rt::Shutdown;

use crate::access::{absent, scope, sees_unreleased};
use crate::buckets::Buckets;
use crate::core::Core;
use crate::files::Files;
use crate::progress::ProgressChannel;
use crate::rule_book::{RulesInForce, new_run};

mod dispatch;
mod lease;
mod offers;
mod report;

use offers::OfferLedger;

/// Runs that one request tries again, and how many unless it says so.
const RETRY_COUNT_MAX: u32 = 10_000;
const RETRY_COUNT_DEFAULT: u32 = 1_000;
/// Of one transaction, so that uploads need not wait long for it.
const RETRY_PAGE: u32 = 250;

/// The part of storage that knows runs. Clones share everything.
#[derive(Clone)]
pub(crate) struct Runs {
    core: Arc<Core>,
    facts: Arc<dyn RunFacts>,
    /// For the runs that were queued.
    events: Arc<dyn EventFacts>,
    files: Files,
    buckets: Buckets,
    rules: RulesInForce,
    queue: Arc<dyn Queue>,
    progress: Arc<ProgressChannel>,
    offers: Arc<OfferLedger>,
}

/// What [`Runs`] stands on.
pub(crate) struct RunsParts {
    pub(crate) core: Arc<Core>,
    pub(crate) facts: Arc<dyn RunFacts>,
    pub(crate) events: Arc<dyn EventFacts>,
    pub(crate) files: Files,
    pub(crate) buckets: Buckets,
    pub(crate) rules: RulesInForce,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) progress: Arc<ProgressChannel>,
}

impl Runs {
    pub(crate) fn new(parts: RunsParts) -> Self {
        let RunsParts { core, facts, events, files, buckets, rules, queue, progress } = parts;
        let offers = Arc::default();
        Self { core, facts, events, files, buckets, rules, queue, progress, offers }
    }

    /// Keeps the queue supplied with offers until `shutdown`. A failure is logged and tried again; none ends the work.
    pub(crate) async fn work(&self, shutdown: &Shutdown) {
        tokio::join!(
            self.offer_queued_runs(shutdown),
            self.offer_due_runs(shutdown),
            self.take_back_offers(shutdown),
            self.replace_lost_offers(shutdown),
        );
    }

    /// The run, if the caller holds `permission` in its bucket. Errors: `NotFound`, `Denied`.
    async fn for_caller(&self, caller: &Caller, permission: Permission, id: &RunId) -> Result<Run> {
        let gone = || Error::new(ErrorKind::NotFound, "find run").because("there is no such run");
        let run = self.facts.run(id).await.map_err(|error| absent(error, gone))?;
        if !allows(&caller.principal, Permission::RunRead, Some(&run.bucket)) {
            return Err(gone());
        }
        if !self.shows(caller, &run).await? {
            return Err(gone());
        }
        authorize(&caller.principal, permission, Some(&run.bucket))?;
        Ok(run)
    }

    /// Whether the caller may know of the run: one of a file that waits for its release is hidden like the file.
    async fn shows(&self, caller: &Caller, run: &Run) -> Result<bool> {
        if sees_unreleased(caller, &run.bucket) {
            return Ok(true);
        }
        self.files.is_released(run.file_id, Some(run.version)).await
    }

    pub(crate) async fn get_run(&self, caller: &Caller, id: RunId) -> Result<Run> {
        self.for_caller(caller, Permission::RunRead, &id).await
    }

    /// How the queue of runs is doing; answers also when the broker cannot be reached.
    pub(crate) async fn queue_status(&self, caller: &Caller) -> Result<QueueStatus> {
        // Workers ask too: one that waits on a broker must know whether storage speaks there.
        authorize(&caller.principal, Permission::WorkLease, None)
            .or_else(|_| authorize(&caller.principal, Permission::StatsRead, None))?;
        Ok(self.queue.status().await)
    }

    pub(crate) async fn create_run(
        &self,
        caller: &Caller,
        act: Act,
        id: FileId,
        rule: RuleName,
    ) -> Result<Run> {
        self.files.for_caller(caller, Permission::RunManage, &FileRef::Id(id), None).await?;
        let run = new_run(self.rules.book().get(&rule)?)?;
        self.facts.create_run(act, &id, run).await
    }

    pub(crate) async fn list_runs(&self, caller: &Caller, mut query: RunQuery) -> Result<RunPage> {
        if let Some(bucket) = &query.bucket {
            self.buckets.for_caller(caller, Permission::RunRead, bucket).await?;
        }
        if let Some(file) = query.file {
            self.files.for_caller(caller, Permission::RunRead, &FileRef::Id(file), None).await?;
        }
        query.buckets = scope(caller, Permission::RunRead);
        query.limit = PageLimit::bounded(query.limit).get();
        let mut page = self.facts.list_runs(query).await?;
        let mut shown = Vec::with_capacity(page.runs.len());
        for run in page.runs {
            if self.shows(caller, &run).await? {
                shown.push(run);
            }
        }
        page.runs = shown;
        Ok(page)
    }

    pub(crate) async fn retry_run(&self, caller: &Caller, act: Act, id: RunId) -> Result<Run> {
        self.for_caller(caller, Permission::RunManage, &id).await?;
        self.facts.retry_run(act, &id).await
    }

    pub(crate) async fn cancel_run(&self, caller: &Caller, act: Act, id: RunId) -> Result<Run> {
        self.for_caller(caller, Permission::RunManage, &id).await?;
        self.facts.cancel_run(act, &id).await
    }

    /// Tries every run again that the query finds, up to its limit; the cursor leads to the rest.
    pub(crate) async fn retry_runs(
        &self,
        caller: &Caller,
        act: Act,
        mut query: RunQuery,
    ) -> Result<RetriedRuns> {
        if let Some(bucket) = &query.bucket {
            self.buckets.for_caller(caller, Permission::RunManage, bucket).await?;
        }
        if let Some(file) = query.file {
            self.files.for_caller(caller, Permission::RunManage, &FileRef::Id(file), None).await?;
        }
        let state = retryable(query.state)?;
        let count_max =
            u64::from(if query.limit == 0 { RETRY_COUNT_DEFAULT } else { query.limit.min(RETRY_COUNT_MAX) });
        query.state = Some(state);
        query.buckets = scope(caller, Permission::RunManage);
        let mut answer = RetriedRuns { retried: 0, next_cursor: query.cursor.take() };
        loop {
            let left = u32::try_from(count_max.saturating_sub(answer.retried)).unwrap_or(RETRY_PAGE);
            let cursor = answer.next_cursor.take();
            let next = RunQuery { limit: left.min(RETRY_PAGE), cursor, ..query.clone() };
            let page = self.facts.list_runs(next).await?;
            let mut ids = Vec::with_capacity(page.runs.len());
            for run in &page.runs {
                if self.shows(caller, run).await? {
                    ids.push(run.id);
                }
            }
            answer.retried += self.facts.retry_runs(self.core.redated(&act), ids).await?;
            answer.next_cursor = page.next_cursor;
            if answer.next_cursor.is_none() || answer.retried >= count_max {
                return Ok(answer);
            }
        }
    }
}

/// The state of the runs that are tried again. Errors: `InvalidInput` for one in which nothing can be.
fn retryable(state: Option<RunState>) -> Result<RunState> {
    let state = state.unwrap_or(RunState::Dead);
    if matches!(state, RunState::Dead | RunState::Cancelled) {
        return Ok(state);
    }
    let reason = format!("only dead and cancelled runs can be retried, not {state} ones");
    let violations = vec![Violation::new("/state", "dead or cancelled")];
    Err(Error::new(ErrorKind::InvalidInput, "retry runs").because(reason).with_violations(violations))
}
