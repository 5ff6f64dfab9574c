//! Runs on their way to workers and back. The catalogue's claim decides; the queue only says where to look.

use std::time::Duration;

use tokio::time::Instant;
use usp_api::{Caller, RetriedRuns, RuleTest};
use usp_auth::{Permission, authorize};
use usp_catalog::records::{ClaimRuns, ReportRun};
use usp_model::limits::LEASE_COUNT_MAX;
use usp_model::{
    Act, Error, ErrorKind, FileId, FileRef, LeasedRun, ReportOutcome, Result, RuleName, Run, RunId,
    RunOutcome, RunPage, RunQuery, RunReport, RunState, StepState, Violation,
};

use usp_rt::jittered;

use crate::rules::{Facts, new_run};
use crate::storage::Storage;

/// A long poll ends by then, so that a vanished worker is noticed.
const LEASE_WAIT_MS_MAX: u64 = 30_000;
/// The longest wait before another attempt.
const RETRY_WAIT_MS_MAX: i64 = 24 * 60 * 60 * 1_000;

/// Runs that one request tries again, and how many unless it says so.
const RETRY_COUNT_MAX: u32 = 10_000;
const RETRY_COUNT_DEFAULT: u32 = 1_000;
/// Of one transaction, so that uploads need not wait long for it.
const RETRY_PAGE: u32 = 250;

impl Storage {
    /// Hands out due runs; an answer that gets lost costs the lease time, then the runs are due again.
    ///
    /// The catalogue says which runs those are; an offer of the queue only says that it is time to ask again.
    pub(crate) async fn hand_out(
        &self,
        caller: &Caller,
        worker: &str,
        count_max: u32,
        wait_ms: u64,
    ) -> Result<Vec<LeasedRun>> {
        authorize(&caller.principal, Permission::WorkLease, None)?;
        let count_max = count_max.clamp(1, LEASE_COUNT_MAX);
        let deadline = Instant::now() + Duration::from_millis(wait_ms.min(LEASE_WAIT_MS_MAX));
        let mut spent = 0;
        loop {
            // Registered before the look, so that a run that ends between look and wait is not missed.
            let freed = self.work.freed();
            let leased = self.claim(caller, worker, count_max).await?;
            self.work.owe(leased.len().saturating_sub(spent));
            // Those that bought nothing were of runs that others took and owe offers for.
            self.work.forgive(spent.saturating_sub(leased.len()));
            spent = 0;
            if !leased.is_empty() {
                return Ok(leased);
            }
            let wait = deadline.saturating_duration_since(Instant::now());
            let is_over = tokio::select! {
                taken = self.spend_offers(count_max as usize, wait) => {
                    spent += taken;
                    taken == 0
                }
                () = freed => false,
            };
            if is_over && Instant::now() >= deadline {
                return Ok(leased);
            }
        }
    }

    /// Hands out runs to a worker that took offers from the broker itself: one for each, those whose turn it is.
    pub(crate) async fn redeem(
        &self,
        caller: &Caller,
        worker: &str,
        offers: Vec<RunId>,
    ) -> Result<Vec<LeasedRun>> {
        authorize(&caller.principal, Permission::WorkLease, None)?;
        let count = u32::try_from(offers.len()).unwrap_or(LEASE_COUNT_MAX).min(LEASE_COUNT_MAX);
        let ends = self.work.end_count();
        let leased = self.claim(caller, worker, count).await?;
        self.work.bought_nothing(offers.len().saturating_sub(leased.len()), ends);
        Ok(leased)
    }

    async fn claim(&self, caller: &Caller, worker: &str, count_max: u32) -> Result<Vec<LeasedRun>> {
        let act = self.act(caller);
        let lease_ms = i64::try_from(self.config.lease_time.as_millis()).unwrap_or(i64::MAX);
        let asked = ClaimRuns {
            count_max,
            lease_until: act.at.plus_ms(lease_ms),
            bounds: self.rule_book().bounds(),
            turn: self.work.turn.lock().clone(),
        };
        let claimed = self.catalog.claim_runs(act, asked).await?;
        *self.work.turn.lock() = claimed.turn;
        self.metrics.leased(claimed.runs.len());
        for leased in &claimed.runs {
            tracing::debug!(run.id = %leased.run.id, worker, attempt = leased.run.attempt, "run leased");
        }
        Ok(claimed.runs)
    }

    pub(crate) async fn take_report(&self, caller: &Caller, report: RunReport) -> Result<ReportOutcome> {
        authorize(&caller.principal, Permission::WorkLease, None)?;
        let lease_ms = i64::try_from(self.config.lease_time.as_millis()).unwrap_or(i64::MAX);
        let act = self.act(caller);
        let lease_until = act.at.plus_ms(lease_ms);
        let retry_wait_ms = self.retry_wait_ms(&report).await?;
        // Told also when whoever asked has gone away meanwhile.
        let _ending = report.outcome.is_some().then(|| self.work.ending());
        self.metrics.reported(report.outcome.as_ref());
        let answer = self.write_report(act, ReportRun { report, lease_until, retry_wait_ms }).await;
        if let Ok(ReportOutcome::Lost) = answer {
            self.metrics.lease_lost();
        }
        answer
    }

    async fn write_report(&self, act: Act, said: ReportRun) -> Result<ReportOutcome> {
        let moves_steps = said.report.steps.iter().any(|step| step.state != StepState::Pending);
        let id = said.report.run;
        let answer = self.catalog.report_run(act, said).await?;
        if moves_steps && self.live.has_watchers() && answer == (ReportOutcome::Held { run_cancelled: false })
        {
            let run = self.catalog.run(&id).await?;
            let file = self.catalog.file(&FileRef::Id(run.file_id), Some(run.version)).await?.file;
            self.live.run_progress(&run, file.key, self.now());
        }
        Ok(answer)
    }

    /// How long a run waits whose attempt failed in a way that another may mend.
    async fn retry_wait_ms(&self, report: &RunReport) -> Result<i64> {
        let Some(RunOutcome::Failed { is_permanent: false, .. }) = &report.outcome else { return Ok(0) };
        let run = match self.catalog.run(&report.run).await {
            Ok(run) => run,
            // The catalogue says that the lease is lost.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error),
        };
        let retry = self.rule_book().get(&run.rule).map(|rule| rule.retry.clone()).unwrap_or_default();
        let wait_ms = jittered(retry.backoff(run.attempt)).as_millis();
        Ok(i64::try_from(wait_ms).unwrap_or(i64::MAX).min(RETRY_WAIT_MS_MAX))
    }

    pub(crate) async fn add_run(&self, caller: &Caller, id: FileId, rule: RuleName) -> Result<Run> {
        self.file_for(caller, Permission::RunManage, &FileRef::Id(id), None).await?;
        let run = new_run(self.rule_book().get(&rule)?)?;
        self.catalog.create_run(self.act(caller), &id, run).await
    }

    pub(crate) async fn list_visible_runs(&self, caller: &Caller, mut query: RunQuery) -> Result<RunPage> {
        if let Some(bucket) = &query.bucket {
            self.bucket_for(caller, Permission::RunRead, bucket).await?;
        }
        if let Some(file) = query.file {
            self.file_for(caller, Permission::RunRead, &FileRef::Id(file), None).await?;
        }
        query.buckets = Self::scope(caller, Permission::RunRead);
        query.limit = query.limit.clamp(1, usp_model::limits::LIST_COUNT_MAX);
        let mut page = self.catalog.list_runs(query).await?;
        let mut shown = Vec::with_capacity(page.runs.len());
        for run in page.runs {
            if self.shows_run(caller, &run).await? {
                shown.push(run);
            }
        }
        page.runs = shown;
        Ok(page)
    }

    pub(crate) async fn run_again(&self, caller: &Caller, id: RunId) -> Result<Run> {
        self.run_for(caller, Permission::RunManage, &id).await?;
        self.catalog.retry_run(self.act(caller), &id).await
    }

    /// Tries every run again that the query finds, up to its limit; the cursor leads to the rest.
    pub(crate) async fn run_many_again(&self, caller: &Caller, mut query: RunQuery) -> Result<RetriedRuns> {
        if let Some(bucket) = &query.bucket {
            self.bucket_for(caller, Permission::RunManage, bucket).await?;
        }
        if let Some(file) = query.file {
            self.file_for(caller, Permission::RunManage, &FileRef::Id(file), None).await?;
        }
        let state = query.state.unwrap_or(RunState::Dead);
        if !matches!(state, RunState::Dead | RunState::Cancelled) {
            let reason = format!("only dead and cancelled runs can be retried, not {state} ones");
            let violations = vec![Violation::new("/state", "dead or cancelled")];
            return Err(Error::new(ErrorKind::InvalidInput, "retry runs")
                .because(reason)
                .with_violations(violations));
        }
        let count_max =
            u64::from(if query.limit == 0 { RETRY_COUNT_DEFAULT } else { query.limit.min(RETRY_COUNT_MAX) });
        query.state = Some(state);
        query.buckets = Self::scope(caller, Permission::RunManage);
        let mut answer = RetriedRuns { retried: 0, next_cursor: query.cursor.take() };
        loop {
            let left = u32::try_from(count_max.saturating_sub(answer.retried)).unwrap_or(RETRY_PAGE);
            let cursor = answer.next_cursor.take();
            let page = self
                .catalog
                .list_runs(RunQuery { limit: left.min(RETRY_PAGE), cursor, ..query.clone() })
                .await?;
            let mut ids = Vec::with_capacity(page.runs.len());
            for run in &page.runs {
                if self.shows_run(caller, run).await? {
                    ids.push(run.id);
                }
            }
            answer.retried += self.catalog.retry_runs(self.act(caller), ids).await?;
            answer.next_cursor = page.next_cursor;
            if answer.next_cursor.is_none() || answer.retried >= count_max {
                return Ok(answer);
            }
        }
    }

    pub(crate) async fn stop_run(&self, caller: &Caller, id: RunId) -> Result<Run> {
        self.run_for(caller, Permission::RunManage, &id).await?;
        self.catalog.cancel_run(self.act(caller), &id).await
    }

    pub(crate) async fn try_rule(&self, caller: &Caller, name: RuleName, file: FileRef) -> Result<RuleTest> {
        authorize(&caller.principal, Permission::RuleRead, None)?;
        let record = self.file_for(caller, Permission::FileRead, &file, None).await?;
        let book = self.rule_book();
        let rule = book.get(&name)?;
        let (matches, error) = match book.matches(&name, &Facts::of(&record.file)) {
            Ok(matches) => (matches, None),
            Err(error) => (false, Some(error.detail())),
        };
        let steps = rule.steps.iter().map(|step| format!("{} ({})", step.name, step.uses)).collect();
        Ok(RuleTest { rule: name, matches, error, steps })
    }

    pub(crate) fn rule_named(&self, caller: &Caller, name: &RuleName) -> Result<usp_model::Rule> {
        authorize(&caller.principal, Permission::RuleRead, None)?;
        self.rule_book().get(name).cloned()
    }

    pub(crate) fn rules_listed(&self, caller: &Caller) -> Result<Vec<usp_model::Rule>> {
        authorize(&caller.principal, Permission::RuleRead, None)?;
        let mut rules: Vec<_> = self.rule_book().rules().cloned().collect();
        rules.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(rules)
    }
}
