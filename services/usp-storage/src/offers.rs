//! Offers and runs do not come out even by themselves. Runs that were handed out without an offer leave theirs on the
//! queue, and offers that bought nothing, because the rules were full, are gone when there is room again.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use usp_catalog::records::Turn;
use usp_model::Result;
use usp_queue::{Offer, Offered};
use usp_rt::Shutdown;

use crate::storage::Storage;

/// What those who ask for work share.
#[derive(Debug, Default)]
pub(crate) struct Work {
    pub(crate) turn: Mutex<Turn>,
    /// Told when a run ended: a rule may hold one more now.
    freed: Notify,
    end_count: AtomicU64,
    /// Runs that were handed out whose offers are still on the queue.
    owed: AtomicUsize,
    /// Told when offers are owed.
    owing: Notify,
    /// Offers of a broker that were traded for nothing.
    wasted: AtomicUsize,
    /// Told when a run ended after offers were wasted.
    short: Notify,
}

impl Work {
    pub(crate) fn owe(&self, count: usize) {
        if count > 0 {
            self.owed.fetch_add(count, Ordering::Relaxed);
            self.owing.notify_one();
        }
    }

    /// Completes at the next end of a run; ends before this call do not count.
    pub(crate) fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }

    pub(crate) fn end_count(&self) -> u64 {
        self.end_count.load(Ordering::SeqCst)
    }

    pub(crate) fn run_ended(&self) {
        self.end_count.fetch_add(1, Ordering::SeqCst);
        self.freed.notify_waiters();
        if self.wasted.load(Ordering::SeqCst) > 0 {
            self.short.notify_one();
        }
    }

    /// Notes that so many offers were traded for nothing. `ends_before` is the number of ends before the catalogue was
    /// asked: a run that ended since did not know that anybody would miss an offer.
    pub(crate) fn bought_nothing(&self, count: usize, ends_before: u64) {
        if count > 0 {
            self.wasted.fetch_add(count, Ordering::SeqCst);
            if self.end_count() != ends_before {
                self.short.notify_one();
            }
        }
    }

    fn made_up_for(&self, count: usize) {
        // Only one task takes away.
        self.wasted.fetch_sub(count, Ordering::SeqCst);
    }
}

impl Storage {
    /// Makes an offer for each run that ended after offers had been wasted, until `shutdown`. Any run that is due will
    /// do: an offer is worth one run, not a certain one.
    pub(crate) async fn keep_replacing(&self, shutdown: &Shutdown) {
        let mut seen = self.work.end_count();
        loop {
            tokio::select! {
                () = self.work.short.notified() => {}
                () = shutdown.cancelled() => return,
            }
            let ends = self.work.end_count();
            let freed = usize::try_from(ends.saturating_sub(seen)).unwrap_or(usize::MAX);
            seen = ends;
            let wasted = self.work.wasted.load(Ordering::SeqCst);
            let replaced = tokio::select! {
                replaced = self.replace_offers(wasted.min(freed.max(1))) => replaced,
                () = shutdown.cancelled() => return,
            };
            match replaced {
                // Nothing is due that has no offer: there were more offers than runs.
                Ok(0) => self.work.made_up_for(wasted),
                Ok(made) => self.work.made_up_for(made),
                Err(error) => tracing::debug!(error = %error.chain(), "offers are left to the sweeper"),
            }
        }
    }

    /// Offers up to `count` runs that are due and have no offer. Gives how many it found.
    async fn replace_offers(&self, count: usize) -> Result<usize> {
        /// Runs that have an offer already, as many as workers hold in their hands at a time.
        const PASSED_OVER: usize = 64;
        let limit = u32::try_from(count + PASSED_OVER).unwrap_or(u32::MAX);
        let mut made = 0;
        for due in self.catalog.due_runs(self.now(), limit).await? {
            if made == count {
                break;
            }
            let offer = Offer { run: due.id, priority: due.priority, delay: Duration::ZERO, event: None };
            if self.queue.offer(offer).await? == Offered::Accepted {
                made += 1;
            }
        }
        Ok(made)
    }

    /// Takes the offers of runs that were handed out off the queue, until `shutdown`. One that is missed costs a look
    /// that finds nothing; whoever waits for a run does not wait for this.
    pub(crate) async fn keep_spending(&self, shutdown: &Shutdown) {
        loop {
            tokio::select! {
                () = self.work.owing.notified() => {}
                () = shutdown.cancelled() => return,
            }
            let owed = self.work.owed.swap(0, Ordering::Relaxed);
            self.spend_offers(owed, Duration::ZERO).await;
        }
    }

    /// Takes offers off the queue: as many as runs were claimed, or what wakes whoever waits. Gives their number.
    ///
    /// Without the queue the catalogue is asked four times a second instead.
    pub(crate) async fn spend_offers(&self, count_max: usize, wait: Duration) -> usize {
        const ASK_EVERY: Duration = Duration::from_millis(250);
        let offers = match self.queue.lease(count_max, wait).await {
            Ok(offers) => offers,
            Err(error) => {
                tracing::debug!(error = %error.chain(), "no offers from the queue; the catalogue is asked instead");
                tokio::time::sleep(wait.min(ASK_EVERY)).await;
                return 0;
            }
        };
        for offer in &offers {
            if let Err(error) = self.queue.ack(offer.tag).await {
                tracing::debug!(run.id = %offer.run, error = %error, "an offer was not acknowledged");
            }
        }
        offers.len()
    }
}
