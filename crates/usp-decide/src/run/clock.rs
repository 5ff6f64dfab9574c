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

    fn off(state: RunState, due_after_ms: i64) -> PutOff {
        let now = Timestamp::from_unix_ms(NOW_MS);
        PutOff { state, due_after: Timestamp::from_unix_ms(due_after_ms), now }
    }

    #[test]
    fn a_clock_that_was_ahead_puts_off_no_longer_than_runs_wait() {
        let far = NOW_MS + 25 * HOUR_MS;
        let expected =
            [off(RunState::Queued, NOW_MS), off(RunState::Retrying, far), off(RunState::Running, far)];
        assert_eq!(put_off_by_clock(Timestamp::from_unix_ms(NOW_MS)), expected);
    }

    #[test]
    fn a_start_ends_every_lease_and_nothing_else() {
        let now = Timestamp::from_unix_ms(NOW_MS);
        assert_eq!(leases_before_start(now), off(RunState::Running, NOW_MS));
    }
}
