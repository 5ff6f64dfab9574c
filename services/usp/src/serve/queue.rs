//! Where the processor of this process learns of work.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::sleep;
use usp_api::{Caller, StorageApi};
use usp_model::{Grant, Principal, PrincipalKind, QueueKind, Role, UserName};
use usp_queue::{NatsQueue, Queue};
use usp_rt::{Shutdown, jittered};

use super::local::Local;
use crate::config::Config;

/// The broker's queue, if there is one; without it the processor asks storage.
pub(super) async fn of_processor(config: &Config, local: Option<&Local>) -> Result<Option<Arc<dyn Queue>>> {
    if let Some(nats) = local.and_then(|local| local.nats.clone()) {
        return Ok(Some(nats));
    }
    match config.nats_config()? {
        Some(settings) => Ok(Some(Arc::new(NatsQueue::join(&settings).await?))),
        None => Ok(None),
    }
}

/// Waits until storage says which queue it has.
///
/// Errors: it is not a broker's, so that no offer would ever come.
pub(super) async fn must_match(storage: &dyn StorageApi, stop: &Shutdown) -> Result<()> {
    const PAUSE: Duration = Duration::from_secs(1);
    let principal = Principal {
        kind: PrincipalKind::Service,
        name: UserName::parse("processor")?,
        api_key: None,
        grants: vec![Grant { bucket: None, role: Role::Reader }],
    };
    let caller = Caller { principal, request_id: String::new() };
    loop {
        match storage.queue_status(&caller).await {
            Ok(status) if status.kind == QueueKind::Nats => return Ok(()),
            Ok(_) => bail!(
                "this processor takes work from a broker, but the storage role has the embedded queue and would never \
                 tell it: set queue.kind = \"nats\" and queue.url there too, or drop queue.kind here"
            ),
            Err(error) if error.kind().is_temporary() => {
                tracing::info!(error = %error.chain(), "waiting for the storage role");
            }
            Err(error) => return Err(error.into()),
        }
        tokio::select! {
            () = sleep(jittered(PAUSE)) => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}
