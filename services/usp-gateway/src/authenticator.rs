//! The one place where a presented credential becomes a proven caller, for every dialect.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use usp_api::{Caller, StorageApi};
use usp_model::{Error, ErrorKind, Principal, Result};

use crate::presented::Presented;
use crate::request;

/// Verified credentials that are remembered at once; the oldest make room.
const REMEMBERED_COUNT_MAX: usize = 10_000;

/// Asks storage who a credential belongs to and believes the answer for a few seconds.
pub(crate) struct Authenticator {
    storage: Arc<dyn StorageApi>,
    believe_for: Duration,
    /// By [`Presented::fingerprint`]: the credential itself is not kept.
    remembered: Mutex<HashMap<[u8; 32], (Instant, Principal)>>,
}

impl Authenticator {
    pub(crate) fn new(storage: Arc<dyn StorageApi>, believe_for: Duration) -> Self {
        Self { storage, believe_for, remembered: Mutex::new(HashMap::new()) }
    }

    /// Proves who presents a credential, and names the caller in the access log.
    ///
    /// An answer of storage is believed for a few seconds. Errors: `Unauthenticated`, `Unavailable`.
    pub(crate) async fn authenticate(&self, presented: &Presented, request_id: &str) -> Result<Caller> {
        let principal = match self.recall(presented) {
            Some(principal) => principal,
            None => self.verify(presented).await?,
        };
        request::principal::note(&principal);
        Ok(Caller { principal, request_id: request_id.to_owned() })
    }

    /// Asks storage now, whatever is remembered: for streams that last longer than an answer is believed.
    ///
    /// Errors: `Unauthenticated`, `Unavailable`.
    pub(crate) async fn verify(&self, presented: &Presented) -> Result<Principal> {
        // What storage looked at may have changed while its answer was under way.
        let asked_at = Instant::now();
        let verified = match presented {
            Presented::Nothing => Err(nothing_presented()),
            Presented::Bearer(credential) => self.storage.authenticate(credential.clone()).await,
        };
        if let Some(fingerprint) = presented.fingerprint() {
            match &verified {
                Ok(principal) => self.remember(fingerprint, asked_at, principal.clone()),
                Err(_) => {
                    self.remembered.lock().remove(&fingerprint);
                }
            }
        }
        verified
    }

    fn recall(&self, presented: &Presented) -> Option<Principal> {
        let fingerprint = presented.fingerprint()?;
        let remembered = self.remembered.lock();
        let (at, principal) = remembered.get(&fingerprint)?;
        (at.elapsed() < self.believe_for).then(|| principal.clone())
    }

    fn remember(&self, fingerprint: [u8; 32], asked_at: Instant, principal: Principal) {
        let mut remembered = self.remembered.lock();
        if remembered.len() >= REMEMBERED_COUNT_MAX {
            remembered.retain(|_, (at, _)| at.elapsed() < self.believe_for);
        }
        if remembered.len() >= REMEMBERED_COUNT_MAX {
            remembered.clear();
        }
        remembered.insert(fingerprint, (asked_at, principal));
    }
}

fn nothing_presented() -> Error {
    Error::new(ErrorKind::Unauthenticated, "authenticate")
        .because("this needs a token: send 'Authorization: Bearer TOKEN' (usp token mints one)")
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator").field("believe_for", &self.believe_for).finish_non_exhaustive()
    }
}
