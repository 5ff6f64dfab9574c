//! Where a worker learns that there is work.
//!
//! With a broker: 1. pull offers, as many as there are free slots; 2. ask storage for as many runs; 3. acknowledge the
//! offers. An offer is worth one run, not a certain one: storage hands out whose turn it is. [dead between 1 and 3: the
//! offers come back after the lease time; dead after 3: the runs are due again after theirs]
//!
//! Without one, or while it cannot be reached, storage is asked directly.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use usp_api::{Caller, StorageApi};
use usp_model::limits::LEASE_COUNT_MAX;
use usp_model::{LeasedRun, Result, RunId};
use usp_queue::{Delivery, Queue};

/// How often offers are kept while storage does not answer; a lease is 5 s at least.
const KEEP_INTERVAL: Duration = Duration::from_secs(1);
/// How long offers rest that storage could not be asked about.
const RELEASE_DELAY: Duration = Duration::from_secs(1);

pub(crate) struct Source {
    pub(crate) storage: Arc<dyn StorageApi>,
    pub(crate) caller: Caller,
    pub(crate) worker: String,
    /// Where offers come from, if not from storage.
    pub(crate) queue: Option<Arc<dyn Queue>>,
}

impl Source {
    /// Runs to work on, `count_max` at most; waits up to `wait` for the first one.
    pub(crate) async fn next(&self, count_max: u32, wait: Duration) -> Result<Vec<LeasedRun>> {
        let Some(queue) = &self.queue else { return self.ask_storage(count_max, wait).await };
        let begun = Instant::now();
        let count_max = count_max.min(LEASE_COUNT_MAX);
        match queue.lease(count_max as usize, wait).await {
            Ok(offers) if offers.is_empty() => Ok(Vec::new()),
            Ok(offers) => self.redeem(queue, offers).await,
            Err(error) => {
                tracing::debug!(error = %error.chain(), "no offers from the broker; storage is asked instead");
                self.ask_storage(count_max, wait.saturating_sub(begun.elapsed())).await
            }
        }
    }

    async fn ask_storage(&self, count_max: u32, wait: Duration) -> Result<Vec<LeasedRun>> {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self.storage.lease_runs(&self.caller, self.worker.clone(), count_max, wait_ms).await
    }

    /// Trades offers for runs. What storage answered is dealt with; without an answer the offers go back.
    async fn redeem(&self, queue: &Arc<dyn Queue>, offers: Vec<Delivery>) -> Result<Vec<LeasedRun>> {
        let runs: Vec<RunId> = offers.iter().map(|offer| offer.run).collect();
        let asked = self.storage.lease_offered(&self.caller, self.worker.clone(), runs);
        let mut asked = std::pin::pin!(asked);
        let mut keep = interval(KEEP_INTERVAL);
        keep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        keep.tick().await;
        let leased = loop {
            tokio::select! {
                leased = &mut asked => break leased,
                _ = keep.tick() => {
                    for offer in &offers {
                        note(queue.extend(offer.tag).await);
                    }
                }
            }
        };
        for offer in &offers {
            note(match &leased {
                Ok(_) => queue.ack(offer.tag).await,
                Err(_) => queue.release(offer.tag, RELEASE_DELAY).await,
            });
        }
        leased
    }
}

/// An offer that was not kept, or not acknowledged, comes back and finds its run taken.
fn note(told: Result<bool>) {
    if let Err(error) = told {
        tracing::debug!(error = %error.chain(), "the broker was not told about an offer");
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("worker", &self.worker)
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}
