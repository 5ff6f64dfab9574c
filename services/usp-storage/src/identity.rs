//! Who calls: users, API keys, tokens.

use std::sync::Arc;

use tokio::sync::Mutex;
use usp_auth::TokenService;
use usp_catalog::AccountFacts;
use usp_rt::Pool;

use crate::core::Core;

mod api_keys;
mod credentials;
mod throttle;
mod users;

use throttle::SignInThrottle;

/// The part of storage that knows callers. Clones share everything.
#[derive(Clone)]
pub(crate) struct Identity {
    core: Arc<Core>,
    facts: Arc<dyn AccountFacts>,
    tokens: Arc<TokenService>,
    passwords: Pool,
    throttle: Arc<SignInThrottle>,
    /// Held by the change of a user that runs.
    changing_users: Arc<Mutex<()>>,
}

impl Identity {
    pub(crate) fn new(core: Arc<Core>, facts: Arc<dyn AccountFacts>, tokens: TokenService) -> Self {
        /// Password hashing costs 19 MiB and 25 ms each.
        const PASSWORD_JOBS_MAX: usize = 2;
        Self {
            core,
            facts,
            tokens: Arc::new(tokens),
            passwords: Pool::new("password", PASSWORD_JOBS_MAX),
            throttle: Arc::default(),
            changing_users: Arc::default(),
        }
    }
}
