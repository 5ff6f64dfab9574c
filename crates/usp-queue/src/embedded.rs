//! The queue inside the process: memory only, because the catalogue can fill it again at any time.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use usp_model::{QueueKind, QueueStatus, Result, RunId};

use crate::queue::{Delivery, DeliveryTag, Offer, Offered, Queue};

/// Offers held at once: some 20 MiB. What does not fit stays in the catalogue and is offered again.
const OFFER_COUNT_MAX: usize = 100_000;

/// Due offers by priority, then age; the others by the time they become due.
pub struct EmbeddedQueue {
    state: Mutex<State>,
    changed: Notify,
    lease_time: Duration,
}

#[derive(Default)]
struct State {
    /// By (falling priority, age).
    due: BTreeMap<(i64, u64), Waiting>,
    /// By (due time, age).
    later: BTreeMap<(Instant, u64), Waiting>,
    places: HashMap<RunId, Place>,
    leased: HashMap<DeliveryTag, (Waiting, Instant)>,
    /// Numbers offers and deliveries; rises, never repeats.
    next: u64,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    run: RunId,
    priority: i32,
    delivery_count: u32,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Due((i64, u64)),
    Later((Instant, u64)),
}

impl EmbeddedQueue {
    /// A delivery that is neither acknowledged nor extended for `lease_time` is due again.
    pub fn new(lease_time: Duration) -> Self {
        Self { state: Mutex::new(State::default()), changed: Notify::new(), lease_time }
    }

    /// Takes what is due now, and says when to look again.
    fn take(&self, count_max: usize) -> (Vec<Delivery>, Option<Instant>) {
        let now = Instant::now();
        let mut state = self.state.lock();
        state.return_expired(now);
        state.promote(now);
        let mut taken = Vec::new();
        while taken.len() < count_max {
            let Some((_, mut waiting)) = state.due.pop_first() else { break };
            state.places.remove(&waiting.run);
            waiting.delivery_count += 1;
            let tag = DeliveryTag(state.number());
            state.leased.insert(tag, (waiting, now + self.lease_time));
            taken.push(Delivery { tag, run: waiting.run, delivery_count: waiting.delivery_count });
        }
        (taken, state.next_change())
    }

    /// Ends a delivery; gives back the offer if it was still this taker's.
    fn end(&self, tag: DeliveryTag) -> Option<Waiting> {
        let mut state = self.state.lock();
        state.return_expired(Instant::now());
        state.leased.remove(&tag).map(|(waiting, _)| waiting)
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn insert(&mut self, waiting: Waiting, due_at: Instant, now: Instant) {
        let age = self.number();
        let place = if due_at <= now {
            let key = (-i64::from(waiting.priority), age);
            self.due.insert(key, waiting);
            Place::Due(key)
        } else {
            self.later.insert((due_at, age), waiting);
            Place::Later((due_at, age))
        };
        self.places.insert(waiting.run, place);
    }

    /// Takes a waiting offer out, with the time from which it is due.
    fn withdraw(&mut self, run: &RunId, now: Instant) -> Option<(Waiting, Instant)> {
        match self.places.remove(run)? {
            Place::Due(key) => self.due.remove(&key).map(|waiting| (waiting, now)),
            Place::Later(key) => self.later.remove(&key).map(|waiting| (waiting, key.0)),
        }
    }

    fn promote(&mut self, now: Instant) {
        while let Some(entry) = self.later.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let waiting = entry.remove();
            self.insert(waiting, now, now);
        }
    }

    fn return_expired(&mut self, now: Instant) {
        let expired: Vec<DeliveryTag> =
            self.leased.iter().filter(|(_, (_, until))| *until <= now).map(|(tag, _)| *tag).collect();
        for tag in expired {
            if let Some((waiting, _)) = self.leased.remove(&tag)
                && !self.places.contains_key(&waiting.run)
            {
                self.insert(waiting, now, now);
            }
        }
    }

    fn next_change(&self) -> Option<Instant> {
        let later = self.later.keys().next().map(|(at, _)| *at);
        let expiry = self.leased.values().map(|(_, until)| *until).min();
        [later, expiry].into_iter().flatten().min()
    }
}

#[async_trait]
impl Queue for EmbeddedQueue {
    async fn offer(&self, offer: Offer) -> Result<Offered> {
        let now = Instant::now();
        let offered = {
            let mut state = self.state.lock();
            let due_at = now + offer.delay;
            match state.withdraw(&offer.run, now) {
                Some((mut waiting, was_due_at)) => {
                    waiting.priority = waiting.priority.max(offer.priority);
                    state.insert(waiting, due_at.min(was_due_at), now);
                    Offered::AlreadyWaiting
                }
                None if state.places.len() >= OFFER_COUNT_MAX => return Ok(Offered::Full),
                None => {
                    let waiting = Waiting { run: offer.run, priority: offer.priority, delivery_count: 0 };
                    state.insert(waiting, due_at, now);
                    Offered::Accepted
                }
            }
        };
        self.changed.notify_one();
        Ok(offered)
    }

    async fn lease(&self, count_max: usize, wait: Duration) -> Result<Vec<Delivery>> {
        let deadline = Instant::now() + wait;
        loop {
            // Registered before the look, so that an offer between look and wait is not missed.
            let changed = self.changed.notified();
            let (taken, next_change) = self.take(count_max);
            if !taken.is_empty() || Instant::now() >= deadline || count_max == 0 {
                // Another taker may have been waiting for what is left.
                self.changed.notify_one();
                return Ok(taken);
            }
            let until = next_change.map_or(deadline, |at| at.min(deadline));
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    async fn extend(&self, tag: DeliveryTag) -> Result<bool> {
        let now = Instant::now();
        let mut state = self.state.lock();
        state.return_expired(now);
        let Some((_, until)) = state.leased.get_mut(&tag) else { return Ok(false) };
        *until = now + self.lease_time;
        Ok(true)
    }

    async fn ack(&self, tag: DeliveryTag) -> Result<bool> {
        Ok(self.end(tag).is_some())
    }

    async fn release(&self, tag: DeliveryTag, delay: Duration) -> Result<bool> {
        let Some(waiting) = self.end(tag) else { return Ok(false) };
        self.offer(Offer { run: waiting.run, priority: waiting.priority, delay, event: None }).await?;
        Ok(true)
    }

    async fn waiting_count(&self) -> Result<u64> {
        Ok(self.state.lock().places.len() as u64)
    }

    fn trouble(&self) -> Option<String> {
        None
    }

    async fn status(&self) -> QueueStatus {
        let state = self.state.lock();
        QueueStatus {
            kind: QueueKind::Embedded,
            url: None,
            connected: true,
            trouble: None,
            server_version: None,
            waiting: state.places.len() as u64,
            in_hand: state.leased.len() as u64,
            streams: Vec::new(),
        }
    }
}

impl fmt::Debug for EmbeddedQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("EmbeddedQueue")
            .field("waiting", &state.places.len())
            .field("leased", &state.leased.len())
            .finish_non_exhaustive()
    }
}
