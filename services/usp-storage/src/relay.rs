//! What storage does by itself: offer due runs to the queue, end what expired, forget old events.
//!
//! The relay follows the event log and offers each run as it is queued, which is fast. The sweeper asks the catalogue
//! what is due, which is sure: whatever the relay or the queue lost is offered again.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;
use usp_model::{Error, Event, EventBody, EventKind, EventQuery, EventSeq, Result, Timestamp};
use usp_queue::{Offer, Offered};
use usp_rt::Shutdown;

use crate::rules::RuleBook;
use crate::storage::Storage;

const RELAY_PAGE: u32 = 500;
/// Offers on their way to a broker that have no answer yet.
const OFFERS_AT_ONCE: usize = 256;
/// Offers between two looks at whether there is room.
const SWEEP_PAGE: usize = 1_000;
/// Runs looked up in one sweep. An offer wakes whoever waits for work, and who has work asks for more, so a longer
/// backlog needs no more offers.
const SWEEP_COUNT: u32 = 1_000;
/// Rows of one transaction, so that uploads need not wait long for it.
const FORGET_COUNT: u32 = 500;
/// Files of one transaction: each goes with all its versions.
const EXPIRE_COUNT: u32 = 20;
/// How old what gauges show may be.
const MEASURE_INTERVAL: Duration = Duration::from_secs(10);
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(30);

impl Storage {
    /// Works until `shutdown`. A failure is logged and tried again; none ends the work.
    pub async fn run(&self, shutdown: Shutdown) {
        tokio::join!(
            self.relay(&shutdown),
            self.sweep(&shutdown),
            self.keep_spending(&shutdown),
            self.keep_replacing(&shutdown),
            self.keep_house(&shutdown),
            self.keep_collecting(&shutdown),
            self.keep_scrubbing(&shutdown),
            self.keep_room(&shutdown),
            self.keep_measuring(&shutdown),
        );
    }

    async fn relay(&self, shutdown: &Shutdown) {
        const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);
        let mut signal = self.catalog.event_signal();
        // What was queued before now is the sweeper's.
        let mut after = *signal.borrow_and_update();
        let mut waits = Waits::default();
        loop {
            match self.offer_queued(after).await {
                Ok(seen) => {
                    waits.end();
                    after = seen;
                }
                Err(error) => {
                    waits.tell("the relay", &error);
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
    async fn offer_queued(&self, mut after: EventSeq) -> Result<EventSeq> {
        loop {
            let query = EventQuery {
                after,
                kinds: vec![EventKind::RunQueued, EventKind::RunRetrying],
                limit: RELAY_PAGE,
                ..EventQuery::default()
            };
            let newest = *self.catalog.event_signal().borrow();
            let page = self.catalog.events(query).await?;
            let book = self.rule_book();
            let now = self.now();
            let offers = page.iter().filter_map(|event| offer_of(event, &book, now));
            self.offer_all(offers.collect()).await?;
            after = page.last().map_or(after, |event| event.seq);
            if page.len() < RELAY_PAGE as usize {
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

    async fn sweep(&self, shutdown: &Shutdown) {
        let mut waits = Waits::default();
        loop {
            match self.offer_due().await {
                Ok(()) => waits.end(),
                Err(error) => waits.tell("the sweeper", &error),
            }
            if let Err(error) = self.rescue_stranded().await {
                tracing::warn!(error = %error.chain(), "chunks of a failed pack wait for another place");
            }
            if pause(self.config.sweep_interval, shutdown).await {
                return;
            }
        }
    }

    /// Offers what is due now or before the next sweep.
    async fn offer_due(&self) -> Result<()> {
        let now = self.now();
        let ahead_ms = i64::try_from(self.config.sweep_interval.as_millis()).unwrap_or(0);
        let due = self.catalog.due_runs(now.plus_ms(ahead_ms), SWEEP_COUNT).await?;
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

    async fn keep_house(&self, shutdown: &Shutdown) {
        let mut is_behind = false;
        loop {
            let kept = async {
                if is_behind {
                    let runs = self.catalog.pull_up_runs(self.duty("upkeep")).await?;
                    tracing::warn!(runs, "the clock went back; runs that it would have put off are due now");
                    is_behind = false;
                }
                self.forget_the_past().await
            };
            if let Err(error) = kept.await {
                tracing::warn!(error = %error.chain(), "housekeeping waits");
            }
            let (then, begun) = (self.now(), Instant::now());
            if pause(HOUSEKEEPING_INTERVAL, shutdown).await {
                return;
            }
            is_behind |= has_gone_back(then, self.now(), begun.elapsed());
        }
    }

    async fn keep_measuring(&self, shutdown: &Shutdown) {
        loop {
            if let Err(error) = self.measure().await {
                tracing::debug!(error = %error.chain(), "nothing was measured");
            }
            if pause(MEASURE_INTERVAL, shutdown).await {
                return;
            }
        }
    }

    /// What gauges show: sums that are cheap to ask for, but not at every scrape.
    async fn measure(&self) -> Result<()> {
        let (totals, now) = (self.catalog.totals().await?, self.now());
        let due = self.catalog.due_runs(now, SWEEP_COUNT).await?;
        let oldest = due.iter().map(|run| run.due_at).min().unwrap_or(now);
        let age_s = (now.unix_ms() - oldest.unix_ms()).max(0) / 1_000;
        self.metrics.measured(&totals, self.queue.waiting_count().await?, age_s);
        Ok(())
    }

    async fn keep_collecting(&self, shutdown: &Shutdown) {
        let interval = self.config.collect_interval;
        while !interval.is_zero() && !pause(interval, shutdown).await {
            // Cut anywhere it leaves nothing that the next cycle does not take up.
            let ended = tokio::select! {
                ended = self.collect_at_leisure() => ended,
                () = shutdown.cancelled() => return,
            };
            if let Err(error) = ended {
                tracing::warn!(error = %error.chain(), "collection waits for its next turn");
            }
        }
    }

    /// Scrubs after an unclean end, goes on with what was cut off, and then once per interval.
    async fn keep_scrubbing(&self, shutdown: &Shutdown) {
        const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(60);
        if self.config.scrub_interval.is_zero() {
            return;
        }
        let mut is_wanted = self.was_unclean();
        while !shutdown.is_cancelled() {
            let ended = match self.scrub_at_leisure(is_wanted, shutdown).await {
                Ok(()) => self.next_scrub_in().await,
                Err(error) => Err(error),
            };
            is_wanted = true;
            let wait = match ended {
                // It was stopped by hand, or usp stops: it goes on at the next start.
                Ok(None) => self.config.scrub_interval,
                Ok(Some(wait)) => wait,
                Err(error) => {
                    tracing::warn!(error = %error.chain(), "scrubbing waits");
                    PAUSE_AFTER_FAILURE
                }
            };
            if pause(wait, shutdown).await {
                return;
            }
        }
    }

    /// Ends uploads whose time is over, forgets old events and keys, some per transaction, until there are no more.
    /// Storage does it by itself every half minute; this is for whoever cannot wait.
    pub async fn forget_the_past(&self) -> Result<()> {
        let now = self.now();
        let retention_ms = i64::try_from(self.config.event_retention.as_millis()).unwrap_or(i64::MAX);
        loop {
            let receiving = self.appending.lock().clone();
            let uploads = self.catalog.expire_uploads(self.duty("upkeep"), FORGET_COUNT, receiving).await?;
            let events = self
                .catalog
                .prune_events(self.duty("upkeep"), now.plus_ms(-retention_ms), FORGET_COUNT)
                .await?;
            let keys = self.catalog.prune_keys(self.duty("upkeep"), FORGET_COUNT).await?;
            // One that cannot be deleted holds up no other care.
            let files =
                self.catalog.expire_files(self.duty("upkeep"), EXPIRE_COUNT).await.unwrap_or_else(|error| {
                    tracing::warn!(error = %error.chain(), "files whose time is over were not deleted");
                    0
                });
            if uploads + events + files > 0 {
                tracing::info!(
                    uploads,
                    events,
                    files,
                    "expired uploads and files ended, old events forgotten"
                );
            }
            let is_over = uploads.max(events).max(keys) < u64::from(FORGET_COUNT);
            if is_over && files < u64::from(EXPIRE_COUNT) {
                return Ok(());
            }
        }
    }
}

/// Whether the clock shows less time than has passed, by more than it is corrected in everyday life.
fn has_gone_back(then: Timestamp, now: Timestamp, passed: Duration) -> bool {
    const CORRECTION_MS: i64 = 2_000;
    let passed_ms = i64::try_from(passed.as_millis()).unwrap_or(i64::MAX);
    now.unix_ms().saturating_sub(then.unix_ms()) < passed_ms.saturating_sub(CORRECTION_MS)
}

/// What someone waits for, told once as long as it stays the same.
#[derive(Default)]
pub(crate) struct Waits(Option<String>);

impl Waits {
    pub(crate) fn tell(&mut self, who: &'static str, error: &Error) {
        let reason = error.chain();
        if self.0.as_ref() == Some(&reason) {
            tracing::debug!(who, error = reason, "still waiting");
        } else {
            tracing::warn!(who, error = reason, "waiting");
            self.0 = Some(reason);
        }
    }

    pub(crate) fn end(&mut self) {
        self.0 = None;
    }
}

/// `true` once it is time to stop.
async fn pause(wait: Duration, shutdown: &Shutdown) -> bool {
    tokio::select! {
        () = tokio::time::sleep(wait) => false,
        () = shutdown.cancelled() => true,
    }
}

/// The event names the rule, whose priority now is the run's unless the rule has just changed; the sweeper knows best.
fn offer_of(event: &Event, book: &RuleBook, now: Timestamp) -> Option<Offer> {
    let EventBody::Run(run) = &event.body else { return None };
    let priority = book.get(&run.rule).map_or(0, |rule| rule.priority);
    let due_at = run.next_attempt_at.unwrap_or(now);
    let delay_ms = u64::try_from(due_at.unix_ms() - now.unix_ms()).unwrap_or(0);
    Some(Offer { run: run.run_id, priority, delay: Duration::from_millis(delay_ms), event: Some(event.seq) })
}
