//! The one place where a credential becomes a caller, for every dialect.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use usp_api::{Caller, StorageApi};
use usp_auth::Credential;
use usp_model::{Error, ErrorKind, Principal, Result};

use crate::limits::access_log::note_principal;

/// Verified credentials that are remembered at once; the oldest make room.
const REMEMBERED_COUNT_MAX: usize = 10_000;

/// Asks storage who a credential belongs to and believes the answer for a few seconds.
pub(crate) struct Authenticator {
    storage: Arc<dyn StorageApi>,
    believe_for: Duration,
    /// By BLAKE3 of the credential: the credential itself is not kept.
    remembered: Mutex<HashMap<[u8; 32], (Instant, Principal)>>,
}

impl Authenticator {
    pub(crate) fn new(storage: Arc<dyn StorageApi>, believe_for: Duration) -> Self {
        Self { storage, believe_for, remembered: Mutex::new(HashMap::new()) }
    }

    /// Verifies the value of an `Authorization` header. Errors: `Unauthenticated`, `Unavailable`.
    pub(crate) async fn authenticate(&self, authorization: Option<&str>, request_id: &str) -> Result<Caller> {
        let value = authorization.ok_or_else(|| {
            Error::new(ErrorKind::Unauthenticated, "authenticate")
                .because("this needs a token: send 'Authorization: Bearer TOKEN' (usp token mints one)")
        })?;
        let fingerprint = *blake3::hash(value.as_bytes()).as_bytes();
        let principal = match self.recall(&fingerprint) {
            Some(principal) => principal,
            None => self.verify(value).await?,
        };
        note_principal(&principal);
        Ok(Caller { principal, request_id: request_id.to_owned() })
    }

    /// Asks storage now, whatever is remembered: for streams that outlive what is believed.
    pub(crate) async fn verify(&self, authorization: &str) -> Result<Principal> {
        let fingerprint = *blake3::hash(authorization.as_bytes()).as_bytes();
        // What storage looked at may have changed while its answer was under way.
        let asked_at = Instant::now();
        let verified = self.storage.authenticate(Credential::from_authorization(authorization)?).await;
        match &verified {
            Ok(principal) => self.remember(fingerprint, asked_at, principal.clone()),
            Err(_) => {
                self.remembered.lock().remove(&fingerprint);
            }
        }
        verified
    }

    fn recall(&self, fingerprint: &[u8; 32]) -> Option<Principal> {
        let remembered = self.remembered.lock();
        let (at, principal) = remembered.get(fingerprint)?;
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

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator").field("believe_for", &self.believe_for).finish_non_exhaustive()
    }
}
