//! A circuit breaker: whoever asks a role that is away hears so at once, instead of waiting in a queue of time-outs.
//!
//! 1. Closed: every call goes through; each that does not reach the other side counts, each that does forgets the count.
//! 2. Open, after [`FAILURE_COUNT_MAX`] in a row: calls are refused for a pause that doubles from try to try.
//! 3. Half open, after the pause: one call goes through and decides; the others are refused meanwhile.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use usp_rt::jittered;

const FAILURE_COUNT_MAX: u32 = 5;
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// Short, because a role that comes back is found by the next call after it.
const PAUSE_MAX: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(crate) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failure_count: u32,
    open_until: Option<Instant>,
    pause: Duration,
}

impl Breaker {
    /// Lets a call through. Errors: how long to wait.
    pub(crate) fn admit(&self) -> Result<(), Duration> {
        let now = Instant::now();
        let mut state = self.0.lock();
        match state.open_until {
            Some(until) if until > now => Err(until - now),
            Some(_) => {
                // This call decides; if it never comes back, the next one does.
                state.open_until = Some(now + state.pause);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The other side answered, whatever it said.
    pub(crate) fn reached(&self) {
        *self.0.lock() = State::default();
    }

    /// The call did not reach the other side, or broke on its way.
    pub(crate) fn missed(&self) {
        let mut state = self.0.lock();
        state.failure_count = state.failure_count.saturating_add(1);
        if state.failure_count >= FAILURE_COUNT_MAX {
            state.pause = (state.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
            state.open_until = Some(Instant::now() + jittered(state.pause));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_opens_after_failures_in_a_row_and_lets_one_call_decide() {
        let breaker = Breaker::default();
        for _ in 1..FAILURE_COUNT_MAX {
            breaker.missed();
        }
        breaker.reached();
        for _ in 1..FAILURE_COUNT_MAX {
            breaker.missed();
            assert!(breaker.admit().is_ok());
        }
        breaker.missed();
        let wait = breaker.admit().unwrap_err();
        assert!(wait <= PAUSE_MIN);
        advance(PAUSE_MIN).await;
        assert!(breaker.admit().is_ok());
        assert!(breaker.admit().is_err(), "a second call went through beside the one that decides");
        breaker.reached();
        assert!(breaker.admit().is_ok() && breaker.admit().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_to_their_bound() {
        let breaker = Breaker::default();
        for _ in 0..FAILURE_COUNT_MAX + 20 {
            breaker.missed();
        }
        let wait = breaker.admit().unwrap_err();
        assert!(wait >= PAUSE_MAX / 2 && wait <= PAUSE_MAX);
    }
}
