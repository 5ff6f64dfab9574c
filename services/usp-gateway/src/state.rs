//! What every handler holds.

use std::ops::Deref;
use std::sync::Arc;

use prometheus_client::registry::Registry;
use usp_api::StorageApi;
use usp_rt::{ByteBudget, Shutdown};

use crate::authenticator::Authenticator;
use crate::config::GatewayConfig;
use crate::limits::Limits;
use crate::metrics::Metrics;

/// Memory for all bodies that are kept until their checksum is known.
const CHECKED_BYTES_BUDGET: u64 = 64 << 20;

/// The gateway: storage behind it, configuration, and who is known. Clones share everything, and every layer of every
/// request makes some.
#[derive(Debug, Clone)]
pub struct Gateway(Arc<Shared>);

#[derive(Debug)]
pub struct Shared {
    pub(crate) storage: Arc<dyn StorageApi>,
    pub(crate) config: Arc<GatewayConfig>,
    pub(crate) authenticator: Arc<Authenticator>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) limits: Arc<Limits>,
    /// Hands out [`CHECKED_BYTES_BUDGET`].
    pub(crate) checked_bytes: ByteBudget,
    /// Cancelled by `end_streams`.
    pub(crate) stopping: Shutdown,
}

impl Gateway {
    pub fn new(config: GatewayConfig, storage: Arc<dyn StorageApi>) -> Self {
        let authenticator = Authenticator::new(Arc::clone(&storage), config.credential_cache);
        let limits = Limits::new(&config);
        Self(Arc::new(Shared {
            storage,
            config: Arc::new(config),
            authenticator: Arc::new(authenticator),
            metrics: Arc::new(Metrics::new()),
            limits: Arc::new(limits),
            checked_bytes: ByteBudget::new(CHECKED_BYTES_BUDGET),
            stopping: Shutdown::new(),
        }))
    }

    /// Adds metrics of other parts of the process to `/metrics`. Names begin with `usp_`.
    pub fn register_metrics(&self, add: impl FnOnce(&mut Registry)) {
        self.metrics.register(add);
    }

    /// Ends what would go on for ever (open event streams), so that a drain need not wait for it. Requests go on.
    pub fn end_streams(&self) {
        self.stopping.cancel();
    }
}

impl Deref for Gateway {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}
