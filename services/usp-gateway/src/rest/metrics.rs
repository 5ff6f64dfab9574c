//! `GET /metrics`: the counters of all doors. Beside the table of routes, because an operator may make it public.

use axum::Router;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use usp_auth::{Permission, authorize};
use usp_model::Result;

use crate::Gateway;
use crate::presented;
use crate::problem::Failure;
use crate::request::id::RequestId;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The route, ready to stand beside those of REST.
pub(crate) fn router(gateway: Gateway) -> Router {
    Router::new().route("/metrics", get(show)).with_state(gateway)
}

async fn show(
    State(gateway): State<Gateway>,
    Extension(RequestId(request_id)): Extension<RequestId>,
    headers: HeaderMap,
) -> Response {
    match text(&gateway, &headers, &request_id).await {
        Ok(text) => ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => Failure::from(error).respond(&request_id),
    }
}

async fn text(gateway: &Gateway, headers: &HeaderMap, request_id: &str) -> Result<String> {
    if !gateway.config.metrics_public {
        let presented = presented::authorization(headers)?;
        let caller = gateway.authenticator.authenticate(&presented, request_id).await?;
        authorize(&caller.principal, Permission::StoreManage, None)?;
    }
    gateway.metrics.text()
}
