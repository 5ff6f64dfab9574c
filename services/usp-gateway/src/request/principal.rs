//! The name of the caller for the access log: set where a credential is proven, read when the request has ended.

use std::future::Future;
use std::sync::{Arc, OnceLock};

use usp_model::Principal;

tokio::task_local! {
    /// The slot of the request that this task answers.
    static SLOT: Arc<OnceLock<String>>;
}

/// Receives the name of the caller of one request.
#[derive(Debug, Clone, Default)]
pub(crate) struct PrincipalSlot(Arc<OnceLock<String>>);

impl PrincipalSlot {
    /// Runs `work`; a caller that [`note`]s itself meanwhile ends up in this slot.
    pub(crate) async fn scope<T>(&self, work: impl Future<Output = T>) -> T {
        SLOT.scope(Arc::clone(&self.0), work).await
    }

    /// The name, once a caller was proven.
    pub(crate) fn name(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }
}

/// Names the caller of the request that is being answered. The first one stays; outside of a request nothing happens.
pub(crate) fn note(principal: &Principal) {
    let _outside_of_a_request = SLOT.try_with(|slot| slot.set(principal.name.to_string()));
}
