//! The store as a whole: giving back the space of what was deleted, and checking what is kept.

use axum::Json;
use axum::extract::State;

use super::input::caller::By;
use super::input::json::{Answer, JsonBody};
use super::json::store::{
    CheckJson, CheckReportJson, CollectJson, CollectReportJson, DamageReportJson, ScrubJson, ScrubStatusJson,
};
use crate::Gateway;

/// Collect what nothing refers to
///
/// Deleted content leaves the disk in three steps, one cycle each at least: its chunks lose their rows, packs that hold
/// nothing else are doomed, and two cycles and a grace period later they are erased. The server also does it by itself from
/// time to time. A cycle runs to its end even if the connection breaks.
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

/// Begin to check every byte that is kept
///
/// Every frame of every pack is read from the disk and compared with its checksums, while the server goes on. It answers at
/// once; `GET` shows the progress. A pack with damage is set aside and kept; what is damaged can be uploaded again, which
/// mends every file that has it. With `resume` a scrub that was cut off goes on, and one that runs takes the new pace.
#[utoipa::path(
    post,
    path = "/store/scrub",
    tag = "administration",
    request_body = ScrubJson,
    responses((status = 200, body = ScrubStatusJson), (status = 423, description = "A scrub is running."))
)]
pub(crate) async fn start_scrub(
    State(gateway): State<Gateway>,
    By(caller): By,
    JsonBody(asked): JsonBody<ScrubJson>,
) -> Answer<ScrubStatusJson> {
    Ok(Json(gateway.storage.start_scrub(&caller, asked.into()).await?.into()))
}

/// How far is the scrub?
#[utoipa::path(
    get,
    path = "/store/scrub",
    tag = "administration",
    responses((status = 200, body = ScrubStatusJson))
)]
pub(crate) async fn show_scrub(State(gateway): State<Gateway>, By(caller): By) -> Answer<ScrubStatusJson> {
    Ok(Json(gateway.storage.scrub_status(&caller).await?.into()))
}

/// Stop the scrub
///
/// What it did counts: it goes on where it stood when it is resumed, or at the next start of the server.
#[utoipa::path(
    delete,
    path = "/store/scrub",
    tag = "administration",
    responses((status = 200, body = ScrubStatusJson))
)]
pub(crate) async fn stop_scrub(State(gateway): State<Gateway>, By(caller): By) -> Answer<ScrubStatusJson> {
    Ok(Json(gateway.storage.stop_scrub(&caller).await?.into()))
}

/// Compare catalogue and packs
///
/// Both ways, while both are in use: contents without holes, a frame for every chunk, a file for every pack, sums against
/// what they count. With `deep` every frame is read as well. It may take long; the answer comes at its end.
#[utoipa::path(
    post,
    path = "/store/check",
    tag = "administration",
    request_body = CheckJson,
    responses((status = 200, body = CheckReportJson), (status = 423, description = "A collection is running."))
)]
pub(crate) async fn check(
    State(gateway): State<Gateway>,
    By(caller): By,
    JsonBody(asked): JsonBody<CheckJson>,
) -> Answer<CheckReportJson> {
    Ok(Json(gateway.storage.check_store(&caller, asked.deep).await?.into()))
}

/// What did the last scrub find, and which files are affected?
#[utoipa::path(
    get,
    path = "/store/damage",
    tag = "administration",
    responses((status = 200, body = DamageReportJson))
)]
pub(crate) async fn show_damage(State(gateway): State<Gateway>, By(caller): By) -> Answer<DamageReportJson> {
    Ok(Json(gateway.storage.store_damage(&caller).await?.into()))
}
