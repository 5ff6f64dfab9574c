//! The queue of runs, for operators.

use axum::Json;
use axum::extract::State;

use super::input::caller::By;
use super::input::json::Answer;
use super::json::queue::QueueStatusJson;
use crate::Gateway;

/// How is the queue doing?
///
/// Which runs are due is in the catalogue; the queue only tells workers that there are some. It answers also when the
/// broker cannot be reached: `trouble` says so then, uploads go on, and runs are announced again once it is back.
#[utoipa::path(get, path = "/queue", tag = "administration", responses((status = 200, body = QueueStatusJson)))]
pub(crate) async fn show_queue(State(gateway): State<Gateway>, By(caller): By) -> Answer<QueueStatusJson> {
    Ok(Json(gateway.storage.queue_status(&caller).await?.into()))
}
