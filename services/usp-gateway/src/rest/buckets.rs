//! Buckets and their policy.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use usp_model::BucketName;

use super::input::caller::By;
use super::input::json::{Answer, JsonBody};
use super::input::path::At;
use super::json::Items;
use super::json::bucket::{BucketJson, BucketPatchJson, NewBucketJson};
use crate::Gateway;
use crate::problem::Failure;

/// Make a bucket
#[utoipa::path(
    post,
    path = "/buckets",
    tag = "buckets",
    request_body = NewBucketJson,
    responses(
        (status = 201, body = BucketJson, headers(("Location" = String, description = "The new bucket."))),
        (status = 400, description = "The name or the policy will not do."),
        (status = 403, description = "Takes the role manager in all buckets."),
        (status = 409, description = "The name is taken."),
    )
)]
pub(crate) async fn create_bucket(
    State(gateway): State<Gateway>,
    By(caller): By,
    JsonBody(bucket): JsonBody<NewBucketJson>,
) -> Result<impl IntoResponse, Failure> {
    let bucket = gateway.storage.create_bucket(&caller, bucket.into_new()?).await?;
    let location = format!("/api/v1/buckets/{}", bucket.name);
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(BucketJson::from(bucket))))
}

/// List the buckets that the caller may read
#[utoipa::path(get, path = "/buckets", tag = "buckets", responses((status = 200, body = Items<BucketJson>)))]
pub(crate) async fn list_buckets(
    State(gateway): State<Gateway>,
    By(caller): By,
) -> Answer<Items<BucketJson>> {
    Ok(Json(Items::of(gateway.storage.list_buckets(&caller).await?)))
}

/// Show a bucket
#[utoipa::path(
    get,
    path = "/buckets/{bucket}",
    tag = "buckets",
    params(("bucket" = String, Path, example = "default")),
    responses(
        (status = 200, body = BucketJson),
        (status = 404, description = "Absent, or not the caller's to see."),
    )
)]
pub(crate) async fn show_bucket(
    State(gateway): State<Gateway>,
    By(caller): By,
    At(bucket): At<String>,
) -> Answer<BucketJson> {
    Ok(Json(gateway.storage.get_bucket(&caller, BucketName::parse(&bucket)?).await?.into()))
}

/// Change the policy of a bucket
///
/// A JSON merge patch: fields that are absent stay, `null` goes back to the default. What two callers change at the
/// same moment is merged field by field only if they do it one after the other.
#[utoipa::path(
    patch,
    path = "/buckets/{bucket}",
    tag = "buckets",
    params(("bucket" = String, Path, example = "default")),
    request_body = BucketPatchJson,
    responses(
        (status = 200, body = BucketJson),
        (status = 400, description = "The policy would not be valid; `errors` says where."),
        (status = 403, description = "Takes the role manager in the bucket."),
        (status = 404, description = "Absent, or not the caller's to see."),
        (status = 409, description = "The dedup domain is fixed."),
    )
)]
pub(crate) async fn change_bucket(
    State(gateway): State<Gateway>,
    By(caller): By,
    At(bucket): At<String>,
    JsonBody(patch): JsonBody<BucketPatchJson>,
) -> Answer<BucketJson> {
    let name = BucketName::parse(&bucket)?;
    let current = gateway.storage.get_bucket(&caller, name.clone()).await?;
    let policy = patch.apply_to(current.policy)?;
    Ok(Json(gateway.storage.update_bucket(&caller, name, policy).await?.into()))
}

/// Delete an empty bucket
#[utoipa::path(
    delete,
    path = "/buckets/{bucket}",
    tag = "buckets",
    params(("bucket" = String, Path, example = "default")),
    responses(
        (status = 204, description = "Gone."),
        (status = 403, description = "Takes the role admin in the bucket."),
        (status = 404, description = "Absent, or not the caller's to see."),
        (status = 409, description = "It still holds files."),
    )
)]
pub(crate) async fn delete_bucket(
    State(gateway): State<Gateway>,
    By(caller): By,
    At(bucket): At<String>,
) -> Result<StatusCode, Failure> {
    gateway.storage.delete_bucket(&caller, BucketName::parse(&bucket)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
