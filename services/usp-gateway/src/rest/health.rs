//! Whether this process lives, and whether it can work.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use usp_api::Readiness;
use utoipa::ToSchema;

use crate::Gateway;

/// Whether requests can be served.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Readiness)]
pub(crate) struct ReadinessJson {
    ready: bool,
    /// One sentence each. What a process that is ready still waits for, it can do without.
    waiting_for: Vec<String>,
    /// `full`: what was acknowledged survives a power cut.
    #[schema(example = "full")]
    durability: &'static str,
}

/// Does this process answer?
///
/// It checks nothing beyond the process itself; one that fails this should be restarted.
#[utoipa::path(
    get,
    path = "/livez",
    tag = "service",
    responses((status = 200, description = "`ok`", body = String, content_type = "text/plain"))
)]
pub(crate) async fn livez() -> &'static str {
    "ok\n"
}

/// Can requests be served right now?
///
/// A process that fails this should get no requests for the time being.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "service",
    responses(
        (status = 200, body = ReadinessJson),
        (status = 503, description = "Not now; `waiting_for` says why.",
            body = ReadinessJson, content_type = "application/json"),
    )
)]
pub(crate) async fn readyz(State(gateway): State<Gateway>) -> Response {
    let Readiness { ready, waiting_for } =
        gateway.storage.readiness().await.unwrap_or_else(|error| Readiness {
            ready: false,
            waiting_for: vec![if error.kind().is_callers_business() {
                error.detail()
            } else {
                "storage failed inside; the log knows more".to_owned()
            }],
        });
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = ReadinessJson { ready, waiting_for, durability: "full" };
    (status, [(CACHE_CONTROL, "no-store")], Json(body)).into_response()
}
