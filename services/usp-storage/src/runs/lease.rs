//! Runs on their way to workers.

use std::time::Duration;

use tokio::time::Instant;
use usp_api::Caller;
use usp_auth::{Permission, authorize};
use usp_catalog::records::ClaimRuns;
use usp_model::limits::LEASE_COUNT_MAX;
use usp_model::{Act, LeasedRun, Result, RunId};

use super::Runs;
use crate::core::ms;

/// A long poll ends by then, so that a vanished worker is noticed.
const LEASE_WAIT_MS_MAX: u64 = 30_000;

impl Runs {
    /// Hands out due runs; an answer that gets lost costs the lease time, then the runs are due again.
    ///
    /// The catalogue says which runs those are; an offer of the queue only says that it is time to ask again.
    pub(crate) async fn lease_runs(
        &self,
        caller: &Caller,
        act: Act,
        worker: &str,
        count_max: u32,
        wait_ms: u64,
    ) -> Result<Vec<LeasedRun>> {
        authorize(&caller.principal, Permission::WorkLease, None)?;
        let count_max = count_max.clamp(1, LEASE_COUNT_MAX);
        let deadline = Instant::now() + Duration::from_millis(wait_ms.min(LEASE_WAIT_MS_MAX));
        let mut taken = 0;
        loop {
            // Registered before the look, so that a run that ends between look and wait is not missed.
            let run_end = self.offers.run_end();
            let leased = self.claim(&act, worker, count_max).await?;
            self.offers.left_on_queue(leased.len().saturating_sub(taken));
            // Those beyond were of runs that others claimed, who left their offers on the queue.
            self.offers.taken_for_others(taken.saturating_sub(leased.len()));
            taken = 0;
            if !leased.is_empty() {
                return Ok(leased);
            }
            let wait = deadline.saturating_duration_since(Instant::now());
            let is_over = tokio::select! {
                count = self.take_offers(count_max as usize, wait) => {
                    taken += count;
                    count == 0
                }
                () = run_end => false,
            };
            if is_over && Instant::now() >= deadline {
                return Ok(leased);
            }
        }
    }

    /// Hands out runs to a worker that took offers from the broker itself: one for each, those whose turn it is.
    pub(crate) async fn lease_offered(
        &self,
        caller: &Caller,
        act: Act,
        worker: &str,
        offers: Vec<RunId>,
    ) -> Result<Vec<LeasedRun>> {
        authorize(&caller.principal, Permission::WorkLease, None)?;
        let count = u32::try_from(offers.len()).unwrap_or(LEASE_COUNT_MAX).min(LEASE_COUNT_MAX);
        let ends = self.offers.end_count();
        let leased = self.claim(&act, worker, count).await?;
        self.offers.wasted(offers.len().saturating_sub(leased.len()), ends);
        Ok(leased)
    }

    async fn claim(&self, act: &Act, worker: &str, count_max: u32) -> Result<Vec<LeasedRun>> {
        // A long poll asks again and again.
        let act = self.core.redated(act);
        let asked = ClaimRuns {
            count_max,
            lease_until: act.at.plus_ms(ms(self.core.config.lease_time)),
            bounds: self.rules.book().bounds(),
            turn: self.offers.turn.lock().clone(),
        };
        let claimed = self.facts.claim_runs(act, asked).await?;
        *self.offers.turn.lock() = claimed.turn;
        self.core.metrics.leased(claimed.runs.len());
        for leased in &claimed.runs {
            tracing::debug!(run.id = %leased.run.id, worker, attempt = leased.run.attempt, "run leased");
        }
        Ok(claimed.runs)
    }
}
