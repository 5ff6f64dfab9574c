//! Due runs on their way to the queue.
//!
//! Each run is offered as it is queued, found by its event, which is fast. And from time to time the catalogue is asked what
//! is due, which is sure: whatever was missed, or the queue lost, is offered again.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use usp_model::{Event, EventBody, EventKind, EventQuery, EventSeq, Result, Timestamp};
use usp_queue::{Offer, Offered};
use usp_rt::Shutdown;

use super::Runs;
use crate::core::{RepeatedWarning, ms, pause};
use crate::rule_book::RuleBook;

const EVENT_PAGE: u32 = 500;
/// Offers on their way to a broker that have no answer yet.
const OFFERS_AT_ONCE: usize = 256;
/// Offers between two looks at whether there is room.
const SWEEP_PAGE: usize = 1_000;
/// Runs looked up in one sweep. An offer wakes whoever waits for work, and who has work asks for more, so a longer
/// backlog needs no more offers.
const SWEEP_COUNT: u32 = 1_000;

impl Runs {
    pub(super) async fn offer_queued_runs(&self, shutdown: &Shutdown) {
        const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);
        let mut signal = self.events.event_signal();
        // What was queued before now is found by `offer_due_runs`.
        let mut after = *signal.borrow_and_update();
        let mut warning = RepeatedWarning::default();
        loop {
            match self.offer_queued_after(after).await {
                Ok(seen) => {
                    warning.clear();
                    after = seen;
                }
                Err(error) => {
                    warning.log("offering queued runs", &error);
                    if pause(PAUSE_AFTER_FAILURE, shutdown).await {
                        return;
                    }
                    continue;
                }
            }
            tokio::select! {
                changed = signal.changed() => if changed.is_err() { return },
                () = shutdown.cancelled() => return,
            }
        }
    }

    /// Offers every run that was queued, or waits for its next attempt, after an event; gives the last event seen.
    async fn offer_queued_after(&self, mut after: EventSeq) -> Result<EventSeq> {
        loop {
            let query = EventQuery {
                after,
                kinds: vec![EventKind::RunQueued, EventKind::RunRetrying],
                limit: EVENT_PAGE,
                ..EventQuery::default()
            };
            let newest = *self.events.event_signal().borrow();
            let page = self.events.events(query).await?;
            let book = self.rules.book();
            let now = self.core.now();
            let offers = page.iter().filter_map(|event| offer_of(event, &book, now));
            self.offer_all(offers.collect()).await?;
            after = page.last().map_or(after, |event| event.seq);
            if page.len() < EVENT_PAGE as usize {
                return Ok(after.max(newest));
            }
        }
    }

    /// Makes all offers, in order, without waiting for each one's answer.
    ///
    /// Shape: `false` once one found no room; those behind it may have been made all the same.
    async fn offer_all(&self, offers: Vec<Offer>) -> Result<bool> {
        let offered = stream::iter(offers).map(|offer| self.queue.offer(offer)).buffered(OFFERS_AT_ONCE);
        let offered: Vec<Offered> = offered.try_collect().await?;
        Ok(!offered.contains(&Offered::Full))
    }

    pub(super) async fn offer_due_runs(&self, shutdown: &Shutdown) {
        let mut warning = RepeatedWarning::default();
        loop {
            match self.offer_due_once().await {
                Ok(()) => warning.clear(),
                Err(error) => warning.log("offering due runs", &error),
            }
            if pause(self.core.config.sweep_interval, shutdown).await {
                return;
            }
        }
    }

    /// Offers what is due now or before the next sweep.
    async fn offer_due_once(&self) -> Result<()> {
        let now = self.core.now();
        let ahead_ms = ms(self.core.config.sweep_interval);
        let due = self.facts.due_runs(now.plus_ms(ahead_ms), SWEEP_COUNT).await?;
        let mut offers = due.into_iter().map(|due| {
            let delay_ms = u64::try_from(due.due_at.unix_ms() - now.unix_ms()).unwrap_or(0);
            Offer { run: due.id, priority: due.priority, delay: Duration::from_millis(delay_ms), event: None }
        });
        loop {
            let some: Vec<Offer> = offers.by_ref().take(SWEEP_PAGE).collect();
            if some.is_empty() || !self.offer_all(some).await? {
                return Ok(());
            }
        }
    }
}

/// The event names the rule, whose priority now is the run's unless the rule has just changed; the catalogue knows best.
fn offer_of(event: &Event, book: &RuleBook, now: Timestamp) -> Option<Offer> {
    let EventBody::Run(run) = &event.body else { return None };
    let priority = book.get(&run.rule).map_or(0, |rule| rule.priority);
    let due_at = run.next_attempt_at.unwrap_or(now);
    let delay_ms = u64::try_from(due_at.unix_ms() - now.unix_ms()).unwrap_or(0);
    Some(Offer { run: run.run_id, priority, delay: Duration::from_millis(delay_ms), event: Some(event.seq) })
}
