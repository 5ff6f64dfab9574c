//! Runs: rules applied to files.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use usp_model::{RunId, RunQuery};

use super::input::caller::By;
use super::input::json::{self, Answer, JsonBody};
use super::input::path::{At, file_id};
use super::input::query::{Parameters, limit};
use super::json::run::{NewRunJson, RetriedRunsJson, RetryRunsJson, RunJson, RunPageJson};
use super::parameters::{RunOfFileParameters, RunParameters};
use crate::Gateway;
use crate::problem::Failure;

/// Runs that one request may try again.
const RETRY_COUNT_MAX: u32 = 10_000;

/// List the runs of a file, newest first
#[utoipa::path(
    get,
    path = "/files/{file_id}/runs",
    tag = "runs",
    params(("file_id" = String, Path), RunOfFileParameters),
    responses(
        (status = 200, body = RunPageJson),
        (status = 404, description = "Absent, or not the caller's to see."),
    )
)]
pub(crate) async fn list_runs_of_file(
    State(gateway): State<Gateway>,
    By(caller): By,
    At(id): At<String>,
    Parameters(asked): Parameters<RunOfFileParameters>,
) -> Answer<RunPageJson> {
    let id = file_id(&id)?;
    // A list of no runs would not tell a file without runs from a file that is not there.
    gateway.storage.file_status(&caller, id).await?;
    let query = RunQuery {
        file: Some(id),
        state: asked.state,
        limit: limit(asked.limit)?,
        cursor: asked.cursor,
        ..RunQuery::default()
    };
    Ok(Json(gateway.storage.list_runs(&caller, query).await?.into()))
}

/// Apply a rule to a file, whether its condition holds or not
#[utoipa::path(
    post,
    path = "/files/{file_id}/runs",
    tag = "runs",
    params(("file_id" = String, Path)),
    request_body = NewRunJson,
    responses(
        (status = 202, body = RunJson),
        (status = 404, description = "No such file or rule, or not the caller's to see."),
    )
)]
pub(crate) async fn start_run(
    State(gateway): State<Gateway>,
    By(caller): By,
    At(id): At<String>,
    JsonBody(run): JsonBody<NewRunJson>,
) -> Result<(StatusCode, Json<RunJson>), Failure> {
    let run = gateway.storage.create_run(&caller, file_id(&id)?, run.rule).await?;
    Ok((StatusCode::ACCEPTED, Json(run.into())))
}

/// List runs, dead ones included, newest first
#[utoipa::path(
    get,
    path = "/runs",
    tag = "runs",
    params(RunParameters),
    responses(
        (status = 200, body = RunPageJson),
        (status = 400, description = "A parameter is unknown or will not do; `errors` names it."),
    )
)]
pub(crate) async fn list_runs(
    State(gateway): State<Gateway>,
    By(caller): By,
    Parameters(asked): Parameters<RunParameters>,
) -> Answer<RunPageJson> {
    let query = RunQuery {
        state: asked.state,
        bucket: asked.bucket,
        file: asked.file_id,
        rule: asked.rule,
        buckets: None,
        limit: limit(asked.limit)?,
        cursor: asked.cursor,
    };
    Ok(Json(gateway.storage.list_runs(&caller, query).await?.into()))
}

/// Show a run
#[utoipa::path(
    get,
    path = "/runs/{run_id}",
    tag = "runs",
    params(("run_id" = String, Path)),
    responses(
        (status = 200, body = RunJson),
        (status = 404, description = "Absent, or not the caller's to see."),
    )
)]
pub(crate) async fn show_run(
    State(gateway): State<Gateway>,
    By(caller): By,
    At(id): At<String>,
) -> Answer<RunJson> {
    Ok(Json(gateway.storage.get_run(&caller, RunId::parse(&id)?).await?.into()))
}

/// Try a dead or cancelled run again
#[utoipa::path(
    post,
    path = "/runs/{run_id}/retry",
    tag = "runs",
    params(("run_id" = String, Path)),
    responses(
        (status = 202, body = RunJson),
        (status = 404, description = "Absent, or not the caller's to see."),
        (status = 409, description = "It is neither dead nor cancelled."),
    )
)]
pub(crate) async fn retry_run(
    State(gateway): State<Gateway>,
    By(caller): By,
    At(id): At<String>,
) -> Result<(StatusCode, Json<RunJson>), Failure> {
    let run = gateway.storage.retry_run(&caller, RunId::parse(&id)?).await?;
    Ok((StatusCode::ACCEPTED, Json(run.into())))
}

/// 0 leaves the number to storage. Errors: `InvalidInput` outside `1..=10000`.
fn retry_limit(asked: Option<u32>) -> usp_model::Result<u32> {
    match asked {
        None => Ok(0),
        Some(limit) if (1..=RETRY_COUNT_MAX).contains(&limit) => Ok(limit),
        Some(_) => Err(json::refused("/limit", format!("1 to {RETRY_COUNT_MAX}"))),
    }
}

/// Try many dead or cancelled runs again
///
/// Does as many as `limit` says; with `next_cursor` in the answer, ask again with it.
#[utoipa::path(
    post,
    path = "/runs/retry",
    tag = "runs",
    request_body = RetryRunsJson,
    responses(
        (status = 202, body = RetriedRunsJson),
        (status = 400, description = "A field is unknown or will not do; `errors` names it."),
        (status = 404, description = "No such bucket or file, or not the caller's to see."),
    )
)]
pub(crate) async fn retry_runs(
    State(gateway): State<Gateway>,
    By(caller): By,
    JsonBody(asked): JsonBody<RetryRunsJson>,
) -> Result<(StatusCode, Json<RetriedRunsJson>), Failure> {
    let query = RunQuery {
        state: asked.state,
        bucket: asked.bucket,
        file: asked.file_id,
        rule: asked.rule,
        buckets: None,
        limit: retry_limit(asked.limit)?,
        cursor: asked.cursor,
    };
    let retried = gateway.storage.retry_runs(&caller, query).await?;
    Ok((StatusCode::ACCEPTED, Json(retried.into())))
}

/// Cancel a run that has not ended
#[utoipa::path(
    post,
    path = "/runs/{run_id}/cancel",
    tag = "runs",
    params(("run_id" = String, Path)),
    responses(
        (status = 200, body = RunJson),
        (status = 404, description = "Absent, or not the caller's to see."),
        (status = 409, description = "It ended already."),
    )
)]
pub(crate) async fn cancel_run(
    State(gateway): State<Gateway>,
    By(caller): By,
    At(id): At<String>,
) -> Answer<RunJson> {
    Ok(Json(gateway.storage.cancel_run(&caller, RunId::parse(&id)?).await?.into()))
}
