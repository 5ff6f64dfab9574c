//! Offers whose time has not come. Memory only: whatever is lost here the sweeper offers again.

use std::collections::{BTreeMap, HashMap};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use usp_model::RunId;

use crate::queue::Offer;

/// Some 20 MiB.
const OFFER_COUNT_MAX: usize = 100_000;

#[derive(Debug, Default)]
pub(super) struct Later {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// By (due time, age).
    by_time: BTreeMap<(Instant, u64), Offer>,
    places: HashMap<RunId, (Instant, u64)>,
    next: u64,
}

impl Later {
    /// Keeps `offer` until `due_at`. `false`: there is no room.
    pub(super) fn put(&self, offer: Offer, due_at: Instant) -> bool {
        let mut state = self.state.lock();
        if state.places.len() >= OFFER_COUNT_MAX {
            return false;
        }
        state.next += 1;
        let place = (due_at, state.next);
        if let Some(old) = state.places.insert(offer.run, place) {
            state.by_time.remove(&old);
        }
        state.by_time.insert(place, offer);
        drop(state);
        self.changed.notify_one();
        true
    }

    /// Takes the run's offer out, with the time from which it is due.
    pub(super) fn withdraw(&self, run: &RunId) -> Option<(Offer, Instant)> {
        let mut state = self.state.lock();
        let place = state.places.remove(run)?;
        state.by_time.remove(&place).map(|offer| (offer, place.0))
    }

    pub(super) fn count(&self) -> usize {
        self.state.lock().places.len()
    }

    /// Waits until offers are due and takes them, `count_max` at most.
    pub(super) async fn due(&self, count_max: usize) -> Vec<Offer> {
        loop {
            let changed = self.changed.notified();
            let (taken, next) = self.take(count_max);
            if !taken.is_empty() {
                return taken;
            }
            match next {
                Some(at) => tokio::select! {
                    () = changed => {}
                    () = sleep_until(at) => {}
                },
                None => changed.await,
            }
        }
    }

    fn take(&self, count_max: usize) -> (Vec<Offer>, Option<Instant>) {
        let now = Instant::now();
        let mut state = self.state.lock();
        let mut taken = Vec::new();
        while taken.len() < count_max {
            let Some(first) = state.by_time.first_entry().filter(|first| first.key().0 <= now) else { break };
            let offer = first.remove();
            state.places.remove(&offer.run);
            taken.push(offer);
        }
        (taken, state.by_time.keys().next().map(|(at, _)| *at))
    }
}
