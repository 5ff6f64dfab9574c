//! `/metrics` of a process without a gateway, on a listener of its own.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, StatusCode};
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use usp_rt::Shutdown;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A bound listener, so that port 0 is known before anything is served.
pub(crate) struct MetricsDoor {
    listener: TcpListener,
    pub(crate) address: SocketAddr,
}

impl MetricsDoor {
    pub(crate) async fn bind(address: SocketAddr) -> Result<Self> {
        let listener =
            TcpListener::bind(address).await.with_context(|| format!("failed to listen on {address}"))?;
        let address = listener.local_addr().context("failed to read the address of /metrics")?;
        Ok(Self { listener, address })
    }

    pub(crate) async fn serve(self, mut registry: Registry, shutdown: Shutdown) -> Result<()> {
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("usp_build", "The release that runs", build);
        let registry = Arc::new(registry);
        let router = Router::new().route("/metrics", get(move || show(Arc::clone(&registry))));
        axum::serve(self.listener, router)
            .with_graceful_shutdown(shutdown.cancelled_owned())
            .await
            .context("the listener of /metrics failed")
    }
}

async fn show(registry: Arc<Registry>) -> (StatusCode, [(HeaderName, &'static str); 1], String) {
    let mut text = String::new();
    match encode(&mut text, &registry) {
        Ok(()) => (StatusCode::OK, [(CONTENT_TYPE, OPEN_METRICS)], text),
        Err(error) => {
            tracing::error!(error = %error, "metrics could not be written");
            (StatusCode::INTERNAL_SERVER_ERROR, [(CONTENT_TYPE, "text/plain")], String::new())
        }
    }
}
