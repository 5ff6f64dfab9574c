//! When to try again, and how long to wait before it.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::ClientError;

/// Attempts of one call, the first included.
const ATTEMPT_COUNT_MAX: u32 = 4;
const WAIT_MIN: Duration = Duration::from_millis(200);
const WAIT_MAX: Duration = Duration::from_secs(5);
/// A server that asks for more patience than this is believed, but not waited for: the caller decides.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);

/// What repeating a call would mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// As often as one likes: the second time changes nothing.
    Harmless,
    /// Only while it is certain that the server did not begin.
    OnlyUnbegun,
    /// The body can be sent once.
    Impossible,
}

/// How long to wait before attempt `attempt + 1`; `None` ends the call with `error`.
pub(crate) fn wait_after(error: &ClientError, attempt: u32, repeat: Repeat) -> Option<Duration> {
    if attempt >= ATTEMPT_COUNT_MAX || repeat == Repeat::Impossible {
        return None;
    }
    match error {
        ClientError::Unreachable { .. } => Some(backoff(attempt)),
        ClientError::Broken { .. } => (repeat == Repeat::Harmless).then(|| backoff(attempt)),
        ClientError::Refused(problem) => {
            let worth_it = problem.status == 429 || (problem.status == 503 && repeat == Repeat::Harmless);
            let wait = problem.retry_after.unwrap_or_else(|| backoff(attempt));
            (worth_it && wait <= RETRY_AFTER_MAX).then_some(wait)
        }
        ClientError::Unexpected { .. } | ClientError::Local(_) => None,
    }
}

/// Doubles from `WAIT_MIN` to `WAIT_MAX`; the upper half of each wait is drawn, so that clients do not march in step.
pub(crate) fn backoff(attempt: u32) -> Duration {
    let doubled = WAIT_MIN.saturating_mul(1 << attempt.saturating_sub(1).min(16));
    let half = doubled.min(WAIT_MAX) / 2;
    // Fresh keys per call: as good as dice for this.
    let draw = RandomState::new().hash_one(attempt) % 1024;
    half + half.mul_f64(f64::from(u16::try_from(draw).unwrap_or(0)) / 1024.0)
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;
    use reqwest::header::HeaderMap;

    use super::*;
    use crate::Problem;

    fn refused(status: u16, retry_after_s: Option<u64>) -> ClientError {
        let status = StatusCode::from_u16(status).unwrap();
        let mut problem = Problem::read(status, &HeaderMap::new(), b"");
        problem.retry_after = retry_after_s.map(Duration::from_secs);
        ClientError::Refused(Box::new(problem))
    }

    fn broken() -> ClientError {
        ClientError::Broken { url: String::new(), reason: String::new() }
    }

    #[test]
    fn what_may_have_happened_is_repeated_only_when_that_is_harmless() {
        assert!(wait_after(&broken(), 1, Repeat::Harmless).is_some());
        assert!(wait_after(&broken(), 1, Repeat::OnlyUnbegun).is_none());
        assert!(wait_after(&refused(503, None), 1, Repeat::OnlyUnbegun).is_none());
        assert!(wait_after(&refused(429, None), 1, Repeat::OnlyUnbegun).is_some());
        assert!(wait_after(&refused(429, None), 1, Repeat::Impossible).is_none());
        assert!(wait_after(&refused(500, None), 1, Repeat::Harmless).is_none());
    }

    #[test]
    fn attempts_and_patience_end() {
        assert!(wait_after(&broken(), ATTEMPT_COUNT_MAX, Repeat::Harmless).is_none());
        assert_eq!(wait_after(&refused(503, Some(3)), 1, Repeat::Harmless), Some(Duration::from_secs(3)));
        assert!(wait_after(&refused(503, Some(3600)), 1, Repeat::Harmless).is_none());
    }

    #[test]
    fn waits_grow_up_to_their_bound() {
        for attempt in 1..40 {
            let full = WAIT_MIN.saturating_mul(1 << (attempt - 1).min(16)).min(WAIT_MAX);
            let wait = backoff(attempt);
            assert!(wait >= full / 2 && wait <= full, "{attempt}: {wait:?}");
        }
    }
}
