//! The balance of offers and runs, which do not come out even by themselves.
//!
//! A run that was claimed without its offer leaves that one on the queue: it is taken off later. An offer that was traded
//! for nothing, because the rules held as many runs as they may, is missing once a run ends: another one is made.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use usp_catalog::records::Turn;
use usp_model::Result;
use usp_queue::Offer;
use usp_rt::Shutdown;

use super::Runs;

/// What those who ask for work share.
#[derive(Debug, Default)]
pub(super) struct OfferLedger {
    /// Where the next claim goes on.
    pub(super) turn: Mutex<Turn>,
    /// Notified when a run ended: a rule may hold one more now.
    run_ended: Notify,
    end_count: AtomicU64,
    /// Offers that are still on the queue although their runs were claimed.
    left_on_queue: AtomicUsize,
    /// Notified when there are any.
    has_left: Notify,
    /// Offers of a broker that were traded for nothing, and not replaced yet.
    wasted: AtomicUsize,
    /// Ends of runs, counted from the first, for which wasted offers were replaced.
    replaced_up_to: AtomicU64,
    /// Notified when a run ended that a wasted offer would have been for.
    is_missing: Notify,
}

impl OfferLedger {
    /// Notes that the offers of so many claimed runs are still on the queue.
    pub(super) fn left_on_queue(&self, count: usize) {
        if count > 0 {
            self.left_on_queue.fetch_add(count, Ordering::Relaxed);
            self.has_left.notify_one();
        }
    }

    /// Notes that so many offers were taken whose runs others had claimed: those need not be taken again.
    pub(super) fn taken_for_others(&self, count: usize) {
        if count > 0 {
            let less = |left: usize| Some(left.saturating_sub(count));
            let _before = self.left_on_queue.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        }
    }

    /// Completes at the next end of a run; ends before this call do not count.
    pub(super) fn run_end(&self) -> Notified<'_> {
        self.run_ended.notified()
    }

    pub(super) fn end_count(&self) -> u64 {
        self.end_count.load(Ordering::SeqCst)
    }

    /// A run that is about to end; it has ended when what this gives is dropped.
    pub(super) fn ending(&self) -> Ending<'_> {
        Ending(self)
    }

    fn note_end(&self) {
        self.end_count.fetch_add(1, Ordering::SeqCst);
        self.run_ended.notify_waiters();
        if self.wasted.load(Ordering::SeqCst) > 0 {
            self.is_missing.notify_one();
        }
    }

    /// Notes that so many offers were traded for nothing. `ends_before` is the number of ends before the catalogue was
    /// asked: a run that ended since did not know that anybody would miss an offer.
    pub(super) fn wasted(&self, count: usize, ends_before: u64) {
        if count > 0 {
            self.wasted.fetch_add(count, Ordering::SeqCst);
            if self.end_count() != ends_before {
                self.replaced_up_to.fetch_min(ends_before, Ordering::SeqCst);
                self.is_missing.notify_one();
            }
        }
    }

    /// How many offers to make: one for each run that ended, and for no more than were wasted. Only one task asks.
    fn missing(&self) -> Missing {
        let ends = self.end_count();
        let ended = ends.saturating_sub(self.replaced_up_to.swap(ends, Ordering::SeqCst));
        let wasted = self.wasted.load(Ordering::SeqCst);
        Missing { offers: wasted.min(usize::try_from(ended).unwrap_or(usize::MAX)), wasted }
    }

    fn replaced(&self, count: usize) {
        // Only one task takes away.
        self.wasted.fetch_sub(count, Ordering::SeqCst);
    }
}

/// See [`OfferLedger::ending`].
pub(super) struct Ending<'a>(&'a OfferLedger);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.note_end();
    }
}

struct Missing {
    offers: usize,
    wasted: usize,
}

impl Runs {
    /// Makes an offer for each run that ended after offers had been wasted, until `shutdown`. One that nobody needs is
    /// traded for nothing in turn.
    pub(super) async fn replace_lost_offers(&self, shutdown: &Shutdown) {
        loop {
            tokio::select! {
                () = self.offers.is_missing.notified() => {}
                () = shutdown.cancelled() => return,
            }
            let missing = self.offers.missing();
            if missing.offers == 0 {
                continue;
            }
            let replaced = tokio::select! {
                replaced = self.replace_offers(missing.offers) => replaced,
                () = shutdown.cancelled() => return,
            };
            match replaced {
                Ok(true) => self.offers.replaced(missing.offers),
                // There were more offers than runs. Runs to come bring their own.
                Ok(false) => self.offers.replaced(missing.wasted),
                Err(error) => tracing::debug!(error = %error.chain(), "offers are left to the sweeper"),
            }
        }
    }

    /// Makes `count` offers of whichever run is due; `false` when none is.
    ///
    /// They name no run that is due: its own offer may be on its way, or held by a worker that got nothing for it, and the
    /// queue would take the two for one.
    async fn replace_offers(&self, count: usize) -> Result<bool> {
        let due = self.facts.due_runs(self.core.now(), 1).await?;
        let Some(first) = due.first() else { return Ok(false) };
        for _ in 0..count {
            self.queue.offer(Offer::of_any(first.priority)?).await?;
        }
        Ok(true)
    }

    /// Takes the offers of runs that were handed out off the queue, until `shutdown`. One that is missed costs a look
    /// that finds nothing; whoever waits for a run does not wait for this.
    pub(super) async fn take_back_offers(&self, shutdown: &Shutdown) {
        loop {
            tokio::select! {
                () = self.offers.has_left.notified() => {}
                () = shutdown.cancelled() => return,
            }
            let left = self.offers.left_on_queue.swap(0, Ordering::Relaxed);
            self.take_offers(left, Duration::ZERO).await;
        }
    }

    /// Takes offers off the queue: as many as runs were claimed, or what wakes whoever waits. Gives their number.
    ///
    /// Without the queue the catalogue is asked four times a second instead.
    pub(super) async fn take_offers(&self, count_max: usize, wait: Duration) -> usize {
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
