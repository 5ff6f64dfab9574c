//! Probes for a process without a gateway: whether it lives, whether it can work, and what it waits for.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use tokio::net::TcpListener;
use usp_api::{Readiness, StorageApi};
use usp_queue::Queue;
use usp_rt::Shutdown;

/// What the answer depends on.
#[derive(Clone)]
pub(super) struct Watched {
    pub(super) storage: Arc<dyn StorageApi>,
    /// The broker, for a processor that reaches it itself.
    pub(super) queue: Option<Arc<dyn Queue>>,
}

/// A bound listener, so that port 0 is known before anything is served.
pub(super) struct ProbeDoor {
    listener: TcpListener,
    pub(super) address: SocketAddr,
}

impl ProbeDoor {
    pub(super) async fn bind(address: SocketAddr) -> Result<Self> {
        let listener =
            TcpListener::bind(address).await.with_context(|| format!("failed to listen on {address}"))?;
        let address = listener.local_addr().context("failed to read the probe address")?;
        Ok(Self { listener, address })
    }

    pub(super) async fn serve(self, watched: Watched, stop: Shutdown) -> Result<()> {
        let routes = Router::new()
            .route("/livez", get(async || "ok\n"))
            .route("/readyz", get(readyz))
            .with_state(watched);
        axum::serve(self.listener, routes)
            .with_graceful_shutdown(stop.cancelled_owned())
            .await
            .context("failed to serve the probes")
    }
}

async fn readyz(State(watched): State<Watched>) -> Response {
    let Readiness { ready, waiting_for } = watched.readiness().await;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = Json(json!({"ready": ready, "waiting_for": waiting_for}));
    (status, [(CACHE_CONTROL, "no-store")], body).into_response()
}

impl Watched {
    async fn readiness(&self) -> Readiness {
        let mut readiness = self.storage.readiness().await.unwrap_or_else(|error| Readiness {
            ready: false,
            waiting_for: vec![format!("the storage role: {}", error.detail())],
        });
        // Storage may have said the same of its own connection; this one is ours.
        if let Some(trouble) = self.queue.as_ref().and_then(|queue| queue.trouble()) {
            let ours = format!("the queue: {trouble}");
            if !readiness.waiting_for.contains(&ours) {
                readiness.waiting_for.push(ours);
            }
        }
        readiness
    }
}
