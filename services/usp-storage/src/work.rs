//! Runs on their way to workers and back. The catalogue's claim decides; the queue only says where to look.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::Instant;
use usp_api::{Caller, RuleTest};
use usp_auth::{Permission, authorize};
use usp_catalog::records::Claim;
use usp_model::{
    ErrorKind, FileId, FileRef, LeasedRun, ReportOutcome, Result, RuleName, Run, RunId, RunPage, RunQuery,
    RunReport, StepState,
};
use usp_queue::Delivery;

use crate::rules::{Facts, new_run};
use crate::storage::Storage;

/// Runs handed out in one answer.
const LEASE_COUNT_MAX: u32 = 256;
/// A long poll ends by then, so that a vanished worker is noticed.
const LEASE_WAIT_MS_MAX: u64 = 30_000;
/// The longest wait before another attempt.
const RETRY_WAIT_MS_MAX: i64 = 24 * 60 * 60 * 1_000;

impl Storage {
    /// Hands out due runs; an answer that gets lost costs the lease time, then the runs are due again.
    pub(crate) async fn hand_out(
        &self,
        caller: &Caller,
        worker: &str,
        count_max: u32,
        wait_ms: u64,
    ) -> Result<Vec<LeasedRun>> {
        authorize(&caller.principal, Permission::WorkLease, None)?;
        let count_max = count_max.clamp(1, LEASE_COUNT_MAX) as usize;
        let deadline = Instant::now() + Duration::from_millis(wait_ms.min(LEASE_WAIT_MS_MAX));
        loop {
            let wait = deadline.saturating_duration_since(Instant::now());
            let deliveries = match self.queue.lease(count_max, wait).await {
                Ok(deliveries) => deliveries,
                Err(error) => {
                    tracing::debug!(error = %error.chain(), "no offers from the queue; the catalogue is asked instead");
                    return self.claim_due(worker, count_max).await;
                }
            };
            let is_over = deliveries.is_empty();
            let claims = join_all(deliveries.into_iter().map(|delivery| self.claim(delivery, worker))).await;
            let leased: Vec<LeasedRun> = claims.into_iter().flatten().collect();
            if !leased.is_empty() || is_over {
                return Ok(leased);
            }
        }
    }

    /// Takes what the catalogue says is due, without the queue.
    async fn claim_due(&self, worker: &str, count_max: usize) -> Result<Vec<LeasedRun>> {
        let now = self.now();
        let due = self.catalog.due_runs(now, u32::try_from(count_max).unwrap_or(LEASE_COUNT_MAX)).await?;
        let due: Vec<RunId> = due.into_iter().filter(|run| run.due_at <= now).map(|run| run.id).collect();
        let claims = join_all(due.iter().map(|run| self.claim_run(run, worker))).await;
        Ok(claims.into_iter().filter_map(|claimed| claimed.ok().flatten()).collect())
    }

    /// Hands out runs to a worker that took offers from the broker itself.
    pub(crate) async fn redeem(
        &self,
        caller: &Caller,
        worker: &str,
        offers: Vec<RunId>,
    ) -> Result<Vec<LeasedRun>> {
        authorize(&caller.principal, Permission::WorkLease, None)?;
        let claims = offers.iter().take(LEASE_COUNT_MAX as usize).map(|run| self.claim_run(run, worker));
        Ok(join_all(claims).await.into_iter().filter_map(|claimed| claimed.ok().flatten()).collect())
    }

    /// Takes one run, or finds that there is nothing to take. A failure leaves the offer to come back by itself.
    async fn claim(&self, delivery: Delivery, worker: &str) -> Option<LeasedRun> {
        let leased = self.claim_run(&delivery.run, worker).await.ok()?;
        if let Err(error) = self.queue.ack(delivery.tag).await {
            tracing::debug!(run.id = %delivery.run, error = %error, "an offer was not acknowledged");
        }
        leased
    }

    async fn claim_run(&self, run: &RunId, worker: &str) -> Result<Option<LeasedRun>> {
        let now = self.now();
        let lease_ms = i64::try_from(self.config.lease_time.as_millis()).unwrap_or(i64::MAX);
        let claimed = self.catalog.claim_run(run, now, now.plus_ms(lease_ms)).await;
        let leased = match claimed {
            Ok(Claim::Leased(leased)) => Some(*leased),
            Ok(Claim::NotDue) => None,
            // Deleted with its file.
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(run.id = %run, error = %error.chain(), "a run could not be claimed");
                return Err(error);
            }
        };
        if let Some(leased) = &leased {
            tracing::debug!(run.id = %leased.run.id, worker, attempt = leased.run.attempt, "run leased");
        }
        Ok(leased)
    }

    pub(crate) async fn take_report(&self, caller: &Caller, mut report: RunReport) -> Result<ReportOutcome> {
        authorize(&caller.principal, Permission::WorkLease, None)?;
        let lease_ms = i64::try_from(self.config.lease_time.as_millis()).unwrap_or(i64::MAX);
        report.at = self.now();
        report.lease_until = report.at.plus_ms(lease_ms);
        report.retry_wait_ms = report.retry_wait_ms.clamp(0, RETRY_WAIT_MS_MAX);
        let moves_steps = report.steps.iter().any(|step| step.state != StepState::Pending);
        if !moves_steps || !self.live.has_watchers() {
            return self.catalog.report_run(report).await;
        }
        // Someone watches: the steps go first, so that they are seen before what follows from them.
        let outcome = report.outcome.take();
        let steps_only = self.catalog.report_run(report.clone()).await?;
        if let ReportOutcome::Held { run_cancelled: false } = steps_only {
            self.live.run_progress(&self.catalog.run(&report.run).await?, self.now());
        }
        match (steps_only, outcome) {
            (ReportOutcome::Held { run_cancelled: false }, Some(outcome)) => {
                self.catalog
                    .report_run(RunReport { steps: Vec::new(), outcome: Some(outcome), ..report })
                    .await
            }
            (answer, _) => Ok(answer),
        }
    }

    pub(crate) async fn add_run(&self, caller: &Caller, id: FileId, rule: RuleName) -> Result<Run> {
        self.file_for(caller, Permission::RunManage, &FileRef::Id(id), None).await?;
        let run = new_run(self.rule_book().get(&rule)?)?;
        self.catalog.create_run(&id, run, self.now()).await
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
        self.catalog.retry_run(&id, self.now()).await
    }

    pub(crate) async fn stop_run(&self, caller: &Caller, id: RunId) -> Result<Run> {
        self.run_for(caller, Permission::RunManage, &id).await?;
        self.catalog.cancel_run(&id, self.now()).await
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
