//! The store as a whole: giving back the space of what was deleted.

use axum::Json;
use axum::extract::State;

use super::input::caller::By;
use super::input::json::{Answer, JsonBody};
use super::json::store::{CollectJson, CollectReportJson};
use crate::Gateway;

/// Collect what nothing refers to
///
/// Deleted content leaves the disk in three steps, one cycle each at least: its chunks lose their rows, packs that hold
/// nothing else are doomed, and two cycles and a grace period later they are erased. The server does it by itself now and
/// then. One cycle runs to its end even if the connection does not.
#[utoipa::path(
    post,
    path = "/store/collect",
    tag = "administration",
    request_body = CollectJson,
    responses(
        (status = 200, body = CollectReportJson),
        (status = 423, description = "A collection is running.")
    )
)]
pub(crate) async fn collect(
    State(gateway): State<Gateway>,
    By(caller): By,
    JsonBody(asked): JsonBody<CollectJson>,
) -> Answer<CollectReportJson> {
    Ok(Json(gateway.storage.collect(&caller, asked.dry_run).await?.into()))
}
