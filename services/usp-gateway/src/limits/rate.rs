//! How often a client may ask: each address, each credential, each try to sign in, each upload that is known.
//!
//! Which of them a request counts against, its dialect says ([`RateKey`]). A credential that cannot be read counts only
//! against its address: it is refused before it costs anything.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use governor::clock::Clock;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use parking_lot::Mutex;
use usp_model::{Error, ErrorKind, Result, UploadId, UserName};

use super::Door;
use super::client::ClientAddress;
use crate::accept::AddressKey;
use crate::config::{GatewayConfig, Rate};
use crate::dialect::{Dialect, RateKey};
use crate::request;
use crate::request::{ConfirmedUpload, Head};

/// Counters of one limit. Keys share counters by a keyed hash, so that no flood of invented keys grows memory.
const SLOT_COUNT: u64 = 1 << 16;
/// Counters that have run full again are dropped after so many checks.
const SWEEP_EVERY: u32 = 1 << 14;
/// Uploads whose requests are counted apart, and for how long after the last of them.
const UPLOAD_COUNT_MAX: usize = 1 << 16;
const UPLOAD_KEPT: Duration = Duration::from_secs(3600);
const SWEEP_UPLOADS_EVERY: Duration = Duration::from_secs(10);

/// Every rate limit of the gateway.
#[derive(Debug)]
pub(crate) struct Rates {
    by_address: Limiter,
    by_principal: Limiter,
    sign_in_by_address: Limiter,
    sign_in_by_user: Limiter,
    /// A known upload is one piece of work, however many requests continue it: it has a budget of its own.
    by_upload: Limiter,
    known_uploads: Mutex<KnownUploads>,
}

#[derive(Debug, Default)]
struct KnownUploads {
    /// When each was continued last.
    seen_at: HashMap<UploadId, Instant>,
    swept_at: Option<Instant>,
}

impl Rates {
    pub(crate) fn new(config: &GatewayConfig) -> Self {
        Self {
            by_address: Limiter::new("address", config.rate_per_address),
            by_principal: Limiter::new("principal", config.rate_per_principal),
            sign_in_by_address: Limiter::new("sign_in_address", config.rate_sign_in),
            sign_in_by_user: Limiter::new("sign_in_user", config.rate_sign_in),
            by_upload: Limiter::new("upload", config.rate_per_principal),
            known_uploads: Mutex::default(),
        }
    }

    /// Counts a try to sign in as this user, from any address. Errors: `RateLimited`.
    pub(crate) fn try_sign_in(&self, user: &UserName) -> Result<()> {
        self.sign_in_by_user.check(user.as_str()).map_err(|refusal| refusal.error)
    }

    fn check(&self, counted: &Counted) -> Result<(), Refusal> {
        if let RateKey::Upload(upload) = counted.key
            && self.is_known(&upload)
        {
            return self.by_upload.check(upload);
        }
        if let Some(address) = counted.address {
            self.by_address.check(address)?;
            if counted.key == RateKey::SignIn {
                self.sign_in_by_address.check(address)?;
            }
        }
        match &counted.claim {
            Some(claim) => self.by_principal.check(claim),
            None => Ok(()),
        }
    }

    fn is_known(&self, upload: &UploadId) -> bool {
        let mut known = self.known_uploads.lock();
        match known.seen_at.get_mut(upload) {
            Some(last) if last.elapsed() < UPLOAD_KEPT => {
                *last = Instant::now();
                true
            }
            _ => false,
        }
    }

    /// Called only with ids that storage has confirmed.
    fn remember(&self, upload: UploadId) {
        let now = Instant::now();
        let mut known = self.known_uploads.lock();
        if let Some(last) = known.seen_at.get_mut(&upload) {
            *last = now;
            return;
        }
        // Sweeping reads all entries: too much for every request.
        let may_sweep = known.swept_at.is_none_or(|at| now.duration_since(at) >= SWEEP_UPLOADS_EVERY);
        if known.seen_at.len() >= UPLOAD_COUNT_MAX && may_sweep {
            known.seen_at.retain(|_, last| last.elapsed() < UPLOAD_KEPT);
            known.swept_at = Some(now);
        }
        if known.seen_at.len() < UPLOAD_COUNT_MAX {
            known.seen_at.insert(upload, now);
        }
    }
}

pub(super) async fn admit(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    let rates = &door.limits.rates;
    if let Err(Refusal { scope, error }) = rates.check(&Counted::of(door.dialect, &request)) {
        door.metrics.rate_limited(scope);
        return door.dialect.refuse(error, &request::id::of(request.extensions()));
    }
    let response = next.run(request).await;
    if let Some(ConfirmedUpload(upload)) = response.extensions().get() {
        rates.remember(*upload);
    }
    response
}

/// What one request counts against.
#[derive(Debug)]
struct Counted {
    key: RateKey,
    address: Option<AddressKey>,
    /// Names the claimed caller, if one is claimed. A hash: the secret itself is not copied.
    claim: Option<[u8; 32]>,
}

impl Counted {
    fn of(dialect: &dyn Dialect, request: &Request) -> Self {
        let head = Head::of(request);
        let presented = dialect.present(head).ok();
        let claim = presented.as_ref().and_then(|presented| presented.claim());
        Self {
            key: dialect.rate_key(head),
            address: request.extensions().get().map(|ClientAddress(address)| AddressKey::from(*address)),
            claim: claim.map(|claim| *blake3::hash(claim.as_bytes()).as_bytes()),
        }
    }
}

/// Which limit refused, and the error for the client.
#[derive(Debug)]
struct Refusal {
    scope: &'static str,
    error: Error,
}

#[derive(Debug)]
struct Limiter {
    scope: &'static str,
    limiter: DefaultKeyedRateLimiter<u64>,
    slots: RandomState,
    check_count: AtomicU32,
}

impl Limiter {
    fn new(scope: &'static str, rate: Rate) -> Self {
        let at_least_one = |count| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(at_least_one(rate.per_second)).allow_burst(at_least_one(rate.burst));
        Self {
            scope,
            limiter: RateLimiter::keyed(quota),
            slots: RandomState::new(),
            check_count: AtomicU32::new(0),
        }
    }

    fn check(&self, key: impl Hash) -> Result<(), Refusal> {
        if self.check_count.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            self.limiter.retain_recent();
        }
        let slot = self.slots.hash_one(key) % SLOT_COUNT;
        self.limiter.check_key(&slot).map_err(|not_until| {
            let wait = not_until.wait_time_from(self.limiter.clock().now());
            let error = Error::new(ErrorKind::RateLimited, "admit request")
                .because("too many requests; wait as long as Retry-After says")
                .retry_after(wait.max(Duration::from_millis(1)));
            Refusal { scope: self.scope, error }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn rates(rate: Rate) -> Rates {
        let config = GatewayConfig {
            rate_per_address: rate,
            rate_per_principal: Rate { per_second: 1, burst: 2 },
            rate_sign_in: Rate { per_second: 1, burst: 1 },
            ..GatewayConfig::default()
        };
        Rates::new(&config)
    }

    fn counted(key: RateKey, address: &str, claim: Option<u8>) -> Counted {
        let address = AddressKey::from(address.parse::<IpAddr>().unwrap());
        Counted { key, address: Some(address), claim: claim.map(|byte| [byte; 32]) }
    }

    const PLENTY: Rate = Rate { per_second: 1000, burst: 1000 };

    #[test]
    fn each_address_has_its_own_budget() {
        let rates = rates(Rate { per_second: 1, burst: 1 });
        let from = |address| counted(RateKey::Caller, address, None);
        assert!(rates.check(&from("10.0.0.1")).is_ok());
        let refusal = rates.check(&from("10.0.0.1")).unwrap_err();
        assert_eq!(refusal.error.kind(), ErrorKind::RateLimited);
        assert!(refusal.error.retry_after_hint().unwrap() <= Duration::from_secs(1));
        assert!(rates.check(&from("10.0.0.2")).is_ok());
    }

    #[test]
    fn one_credential_is_counted_wherever_it_comes_from() {
        let rates = rates(PLENTY);
        let from = |address| counted(RateKey::Caller, address, Some(1));
        assert!(rates.check(&from("10.0.0.1")).is_ok());
        assert!(rates.check(&from("10.0.0.2")).is_ok());
        assert_eq!(rates.check(&from("10.0.0.3")).unwrap_err().scope, "principal");
    }

    #[test]
    fn signing_in_is_counted_more_strictly() {
        let rates = rates(PLENTY);
        let sign_in = || counted(RateKey::SignIn, "10.0.0.1", None);
        assert!(rates.check(&sign_in()).is_ok());
        assert_eq!(rates.check(&sign_in()).unwrap_err().scope, "sign_in_address");
        let alice = UserName::parse("alice").unwrap();
        assert!(rates.try_sign_in(&alice).is_ok());
        assert!(rates.try_sign_in(&alice).is_err());
    }

    #[test]
    fn the_requests_of_one_upload_count_once() {
        let rates = rates(PLENTY);
        let [first, second, third] = [1, 2, 3].map(|n| UploadId::from_bytes([n; 32]));
        let patch = |id: UploadId| counted(RateKey::Upload(id), "10.0.0.1", Some(1));
        assert!(rates.check(&patch(first)).is_ok());
        rates.remember(first);
        assert!(rates.check(&patch(first)).is_ok());
        assert!(rates.check(&patch(first)).is_ok());
        // The credential has one more request left; the upload took only one.
        assert!(rates.check(&patch(second)).is_ok());
        assert_eq!(rates.check(&patch(third)).unwrap_err().scope, "principal");
        // Nor is a known upload free of charge: its own budget is used up.
        assert_eq!(rates.check(&patch(first)).unwrap_err().scope, "upload");
    }

    #[test]
    fn invented_keys_do_not_grow_memory() {
        let limiter = Limiter::new("test", Rate { per_second: 1, burst: 1 });
        for key in 0..(SLOT_COUNT + SLOT_COUNT / 4) {
            let _ = limiter.check(key);
        }
        assert!(limiter.limiter.len() as u64 <= SLOT_COUNT);
    }
}
