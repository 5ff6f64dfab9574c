//! The state that every handler shares.

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

/// Serves the public dialects over one [`StorageApi`]. Clones share everything and are cheap.
#[derive(Debug, Clone)]
pub struct Gateway(Arc<Shared>);

/// The shared part of a [`Gateway`]; only this crate sees into it.
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
    /// Makes a gateway that answers from `storage`; nothing is opened yet.
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

    /// Ends open event streams, which have no end of their own, so that a drain need not wait for them. Requests go on.
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
