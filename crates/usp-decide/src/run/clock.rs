//! Runs that a clock which was ahead, or a process that is gone, put off.

use usp_model::{RunState, Timestamp};

/// Longer than any rule lets a run wait, and than any lease.
const WAIT_MS_MAX: i64 = 25 * 60 * 60 * 1_000;

/// Runs of one state that are due later than they may be. An engine makes them due `now` with one statement; a next
/// attempt that was promised for later is promised for `now`, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PutOff {
    pub state: RunState,
    /// Those that are due after this.
    pub due_after: Timestamp,
    pub now: Timestamp,
}

impl PutOff {
    /// When a run of a state that was due at `due_at` is due from now on.
    pub fn due_at(&self, state: RunState, due_at: Timestamp) -> Timestamp {
        if state == self.state && due_at > self.due_after { self.now } else { due_at }
    }
}

/// Leases of a process that is gone: they are over, so the attempts count.
pub fn leases_before_start(now: Timestamp) -> PutOff {
    PutOff { state: RunState::Running, due_after: now, now }
}

/// What a clock that was ahead put off. Nobody queues a run for later; what waits for its next attempt or is held may be
/// due later, but never by more than any run has to wait.
pub fn put_off_by_clock(now: Timestamp) -> [PutOff; 3] {
    let latest = now.plus_ms(WAIT_MS_MAX);
    [(RunState::Queued, now), (RunState::Retrying, latest), (RunState::Running, latest)]
        .map(|(state, due_after)| PutOff { state, due_after, now })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_000_000;
    const HOUR_MS: i64 = 3_600_000;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(ms)
    }

    #[test]
    fn a_clock_that_was_ahead_puts_off_no_longer_than_runs_wait() {
        let (now, far) = (NOW_MS, NOW_MS + 25 * HOUR_MS);
        let cases = [
            (RunState::Queued, now - 1, now - 1),
            (RunState::Queued, now, now),
            (RunState::Queued, now + 1, now),
            (RunState::Queued, far + 1, now),
            (RunState::Retrying, now - 1, now - 1),
            (RunState::Retrying, now + 24 * HOUR_MS, now + 24 * HOUR_MS),
            (RunState::Retrying, far, far),
            (RunState::Retrying, far + 1, now),
            (RunState::Running, now + 1, now + 1),
            (RunState::Running, far, far),
            (RunState::Running, far + 1, now),
            (RunState::Dead, far + 1, far + 1),
            (RunState::Cancelled, far + 1, far + 1),
            (RunState::Succeeded, far + 1, far + 1),
        ];
        for (state, due_ms, expected_ms) in cases {
            let due = put_off_by_clock(at(now)).iter().fold(at(due_ms), |due, off| off.due_at(state, due));
            assert_eq!(due, at(expected_ms), "{state} due at {due_ms}");
        }
    }

    #[test]
    fn a_start_ends_every_lease_and_nothing_else() {
        let now = NOW_MS;
        let cases = [
            (RunState::Running, now - 1, now - 1),
            (RunState::Running, now, now),
            (RunState::Running, now + 1, now),
            (RunState::Running, now + HOUR_MS, now),
            (RunState::Queued, now + 1, now + 1),
            (RunState::Retrying, now + 1, now + 1),
        ];
        for (state, due_ms, expected_ms) in cases {
            let due = leases_before_start(at(now)).due_at(state, at(due_ms));
            assert_eq!(due, at(expected_ms), "{state} due at {due_ms}");
        }
    }
}
