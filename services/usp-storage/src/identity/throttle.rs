//! Guessing passwords is slowed down.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use usp_model::{Error, ErrorKind, Result, Timestamp, UserName};

/// Slows guessing: a name with too many failures has to wait, whoever asks.
#[derive(Debug, Default)]
pub(super) struct SignInThrottle {
    failures: Mutex<HashMap<UserName, (u32, Timestamp)>>,
}

impl SignInThrottle {
    const FAILURES_FREE: u32 = 10;
    const WINDOW_MS: i64 = 5 * 60_000;
    const NAME_COUNT_MAX: usize = 10_000;

    pub(super) fn check(&self, user: &UserName, now: Timestamp) -> Result<()> {
        let failures = self.failures.lock();
        let Some((count, since)) = failures.get(user) else { return Ok(()) };
        let until = since.plus_ms(Self::WINDOW_MS);
        if *count < Self::FAILURES_FREE || until <= now {
            return Ok(());
        }
        let wait_ms = u64::try_from(until.unix_ms() - now.unix_ms()).unwrap_or(0);
        Err(Error::new(ErrorKind::RateLimited, "sign in")
            .because("too many failed attempts for this name; wait and try again")
            .retry_after(Duration::from_millis(wait_ms)))
    }

    pub(super) fn note(&self, user: &UserName, succeeded: bool, now: Timestamp) {
        let mut failures = self.failures.lock();
        if succeeded {
            failures.remove(user);
            return;
        }
        if failures.len() >= Self::NAME_COUNT_MAX {
            failures.retain(|_, (_, since)| since.plus_ms(Self::WINDOW_MS) > now);
        }
        if failures.len() >= Self::NAME_COUNT_MAX && !failures.contains_key(user) {
            return;
        }
        let (count, since) = failures.entry(user.clone()).or_insert((0, now));
        if since.plus_ms(Self::WINDOW_MS) <= now {
            (*count, *since) = (0, now);
        }
        *count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_failures_make_a_name_wait_and_a_success_forgives() {
        let throttle = SignInThrottle::default();
        let (alice, bob) = (UserName::parse("alice").unwrap(), UserName::parse("bob").unwrap());
        let now = Timestamp::from_unix_ms(1_000_000);
        for _ in 0..SignInThrottle::FAILURES_FREE {
            throttle.check(&alice, now).unwrap();
            throttle.note(&alice, false, now);
        }
        assert_eq!(throttle.check(&alice, now).unwrap_err().kind(), ErrorKind::RateLimited);
        throttle.check(&bob, now).unwrap();
        throttle.check(&alice, now.plus_ms(SignInThrottle::WINDOW_MS)).unwrap();
        throttle.note(&alice, true, now);
        throttle.check(&alice, now).unwrap();
    }
}
