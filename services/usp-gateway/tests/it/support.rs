//! A gateway that serves in the background, and the simplest ways to speak to it.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up may stop at once")]

pub(crate) mod fake;
mod fake_calls;
mod log;
mod raw;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::task::JoinHandle;
use usp_gateway::{Gateway, GatewayConfig};
use usp_rt::Shutdown;

pub(crate) use fake::FakeStorage;
pub(crate) use log::captured_log;
pub(crate) use raw::RawClient;

/// Stops when dropped.
#[derive(Debug)]
pub(crate) struct TestGateway {
    pub(crate) http: SocketAddr,
    pub(crate) grpc: SocketAddr,
    pub(crate) storage: Arc<FakeStorage>,
    pub(crate) shutdown: Shutdown,
    serving: JoinHandle<usp_model::Result<()>>,
}

impl TestGateway {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// Starts with the defaults changed by `change`, on free ports.
    pub(crate) async fn with(change: impl FnOnce(&mut GatewayConfig)) -> Self {
        let mut config = GatewayConfig {
            http: SocketAddr::from(([127, 0, 0, 1], 0)),
            grpc: SocketAddr::from(([127, 0, 0, 1], 0)),
            ..GatewayConfig::default()
        };
        change(&mut config);
        let storage = Arc::new(FakeStorage::new());
        let gateway = Gateway::new(config, Arc::clone(&storage) as _).bind().await.unwrap();
        let (http, grpc) = (gateway.http_addr(), gateway.grpc_addr());
        let shutdown = Shutdown::new();
        let serving = tokio::spawn(gateway.serve(shutdown.clone()));
        Self { http, grpc, storage, shutdown, serving }
    }

    /// Stops and waits until every connection has ended.
    pub(crate) async fn stopped(mut self) {
        self.shutdown.cancel();
        (&mut self.serving).await.unwrap().unwrap();
    }
}

impl Drop for TestGateway {
    fn drop(&mut self) {
        self.shutdown.cancel();
        self.serving.abort();
    }
}
