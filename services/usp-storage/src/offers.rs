//! Offers and runs do not come out even by themselves. Runs that were handed out without an offer leave theirs on the
//! queue, and offers that bought nothing, because the rules were full, are gone when there is room again.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use usp_catalog::records::Turn;
use usp_model::Result;
use usp_queue::Offer;
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
    /// Offers of a broker that were traded for nothing, and not made up for.
    wasted: AtomicUsize,
    /// Ends of runs, counted from the first, that wasted offers were made up for.
    made_up_to: AtomicU64,
    /// Told when a run ended that a wasted offer would have been for.
    short: Notify,
}

impl Work {
    pub(crate) fn owe(&self, count: usize) {
        if count > 0 {
            self.owed.fetch_add(count, Ordering::Relaxed);
            self.owing.notify_one();
        }
    }

    /// Offers that were taken although someone else owes them need not be taken again.
    pub(crate) fn forgive(&self, count: usize) {
        if count > 0 {
            let less = |owed: usize| Some(owed.saturating_sub(count));
            let _before = self.owed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        }
    }

    /// Completes at the next end of a run; ends before this call do not count.
    pub(crate) fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }

    pub(crate) fn end_count(&self) -> u64 {
        self.end_count.load(Ordering::SeqCst)
    }

    /// A run that is about to end; it has when what this gives is dropped.
    pub(crate) fn ending(&self) -> Ending<'_> {
        Ending(self)
    }

    fn run_ended(&self) {
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
                self.made_up_to.fetch_min(ends_before, Ordering::SeqCst);
                self.short.notify_one();
            }
        }
    }

    /// How many offers to make: one for each run that ended, and for no more than were wasted. Only one task asks.
    fn missing(&self) -> Missing {
        let ends = self.end_count();
        let ended = ends.saturating_sub(self.made_up_to.swap(ends, Ordering::SeqCst));
        let wasted = self.wasted.load(Ordering::SeqCst);
        Missing { offers: wasted.min(usize::try_from(ended).unwrap_or(usize::MAX)), wasted }
    }

    fn made_up_for(&self, count: usize) {
        // Only one task takes away.
        self.wasted.fetch_sub(count, Ordering::SeqCst);
    }
}

pub(crate) struct Ending<'a>(&'a Work);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.run_ended();
    }
}

struct Missing {
    offers: usize,
    wasted: usize,
}

impl Storage {
    /// Makes an offer for each run that ended after offers had been wasted, until `shutdown`. One that nobody needs is
    /// traded for nothing in turn.
    pub(crate) async fn keep_replacing(&self, shutdown: &Shutdown) {
        loop {
            tokio::select! {
                () = self.work.short.notified() => {}
                () = shutdown.cancelled() => return,
            }
            let missing = self.work.missing();
            if missing.offers == 0 {
                continue;
            }
            let replaced = tokio::select! {
                replaced = self.replace_offers(missing.offers) => replaced,
                () = shutdown.cancelled() => return,
            };
            match replaced {
                Ok(true) => self.work.made_up_for(missing.offers),
                // There were more offers than runs. Runs to come bring their own.
                Ok(false) => self.work.made_up_for(missing.wasted),
                Err(error) => tracing::debug!(error = %error.chain(), "offers are left to the sweeper"),
            }
        }
    }

    /// Makes `count` offers of whichever run is due; `false` when none is.
    ///
    /// They name no run that is due: its own offer may be on its way, or still in the hands of whom it bought nothing,
    /// and the queue would take the two for one.
    async fn replace_offers(&self, count: usize) -> Result<bool> {
        let due = self.catalog.due_runs(self.now(), 1).await?;
        let Some(first) = due.first() else { return Ok(false) };
        for _ in 0..count {
            self.queue.offer(Offer::of_any(first.priority)?).await?;
        }
        Ok(true)
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
