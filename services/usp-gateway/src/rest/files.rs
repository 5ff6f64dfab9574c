//! Files by id, lists of them, their status.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use usp_model::{BucketName, FileKey, FileRef};

use super::headers::conditions;
use super::input::caller::By;
use super::input::json::{Answer, JsonBody};
use super::input::path::{At, file_id};
use super::input::query::Parameters;
use super::json::Items;
use super::json::file::{FileJson, FilePageJson, FilePatchJson, FileStatusJson};
use super::parameters::VersionParameters;
use crate::Gateway;
use crate::problem::Failure;

mod list;

use list::ListParameters;

/// List the files of a bucket
///
/// Pages stay in order while files come and go: ask again with `next_cursor` and the same filters until it is `null`.
/// With a `delimiter`, keys that share a beginning up to it are folded into one entry of `prefixes`.
#[utoipa::path(
    get,
    path = "/buckets/{bucket}/files",
    tag = "files",
    params(
        ("bucket" = String, Path, example = "default"),
        ListParameters,
        ("label" = Option<String>, Query, description = "`key=value`; several times for several labels, all of \
            which must be there.", example = "team=billing"),
        ("meta.*" = Option<String>, Query, description = "The name is `meta.` and the metadata key, the value is \
            what it must be.", example = "42"),
    ),
    responses(
        (status = 200, body = FilePageJson),
        (status = 400, description = "A parameter is unknown or will not do; `errors` names it."),
        (status = 404, description = "No such bucket, or not the caller's to see."),
    )
)]
pub(crate) async fn list_files(
    State(gateway): State<Gateway>,
    By(caller): By,
    At(bucket): At<String>,
    uri: Uri,
) -> Answer<FilePageJson> {
    let bucket = BucketName::parse(&bucket)?;
    let query = list::query(&uri)?;
    Ok(Json(gateway.storage.list_files(&caller, bucket, query).await?.into()))
}

/// Delete a file by key, with all its versions
#[utoipa::path(
    delete,
    path = "/buckets/{bucket}/files/{*key}",
    tag = "files",
    params(
        ("bucket" = String, Path, example = "default"),
        ("key" = String, Path, example = "2026/orders.csv"),
        ("If-Match" = Option<String>, Header, description = "Only if the file stands at one of these etags."),
    ),
    responses(
        (status = 204, description = "Gone."),
        (status = 404, description = "Absent, or not the caller's to see."),
        (status = 412, description = "If-Match does not hold."),
    )
)]
pub(crate) async fn delete_by_key(
    State(gateway): State<Gateway>,
    By(caller): By,
    At((bucket, key)): At<(String, String)>,
    headers: HeaderMap,
) -> Result<StatusCode, Failure> {
    let file = FileRef::Key(BucketName::parse(&bucket)?, FileKey::parse(&key)?);
    gateway.storage.delete_file(&caller, file, conditions::change_condition(&headers)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Show a file
#[utoipa::path(
    get,
    path = "/files/{file_id}",
    tag = "files",
    params(("file_id" = String, Path), VersionParameters),
    responses(
        (status = 200, body = FileJson),
        (status = 404, description = "Absent, or not the caller's to see."),
    )
)]
pub(crate) async fn show_file(
    State(gateway): State<Gateway>,
    By(caller): By,
    At(id): At<String>,
    Parameters(query): Parameters<VersionParameters>,
) -> Answer<FileJson> {
    let file = FileRef::Id(file_id(&id)?);
    Ok(Json(gateway.storage.get_file(&caller, file, query.version).await?.into()))
}

/// Change metadata, labels or expiry
///
/// The content and its version stay as they are.
#[utoipa::path(
    patch,
    path = "/files/{file_id}",
    tag = "files",
    params(
        ("file_id" = String, Path),
        ("If-Match" = Option<String>, Header, description = "Only if the file stands at one of these etags."),
    ),
    request_body = FilePatchJson,
    responses(
        (status = 200, body = FileJson),
        (status = 400, description = "A field is unknown or will not do; `errors` says where."),
        (status = 404, description = "Absent, or not the caller's to see."),
        (status = 412, description = "If-Match does not hold."),
    )
)]
pub(crate) async fn change_file(
    State(gateway): State<Gateway>,
    By(caller): By,
    At(id): At<String>,
    headers: HeaderMap,
    JsonBody(patch): JsonBody<FilePatchJson>,
) -> Answer<FileJson> {
    let patch = patch.into_patch(conditions::change_condition(&headers)?)?;
    Ok(Json(gateway.storage.update_file(&caller, file_id(&id)?, patch).await?.into()))
}

/// Delete a file with all its versions
#[utoipa::path(
    delete,
    path = "/files/{file_id}",
    tag = "files",
    params(
        ("file_id" = String, Path),
        ("If-Match" = Option<String>, Header, description = "Only if the file stands at one of these etags."),
    ),
    responses(
        (status = 204, description = "Gone."),
        (status = 404, description = "Absent, or not the caller's to see."),
        (status = 412, description = "If-Match does not hold."),
    )
)]
pub(crate) async fn delete_file(
    State(gateway): State<Gateway>,
    By(caller): By,
    At(id): At<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Failure> {
    let file = FileRef::Id(file_id(&id)?);
    gateway.storage.delete_file(&caller, file, conditions::change_condition(&headers)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List the versions of a file, newest first
#[utoipa::path(
    get,
    path = "/files/{file_id}/versions",
    tag = "files",
    params(("file_id" = String, Path)),
    responses(
        (status = 200, body = Items<FileJson>),
        (status = 404, description = "Absent, or not the caller's to see."),
    )
)]
pub(crate) async fn list_versions(
    State(gateway): State<Gateway>,
    By(caller): By,
    At(id): At<String>,
) -> Answer<Items<FileJson>> {
    Ok(Json(Items::of(gateway.storage.list_versions(&caller, file_id(&id)?).await?)))
}

/// Where is a file, from its first byte to the end of its last run?
///
/// Works from the first byte on: also for the id that an open upload has announced.
#[utoipa::path(
    get,
    path = "/files/{file_id}/status",
    tag = "files",
    params(("file_id" = String, Path)),
    responses(
        (status = 200, body = FileStatusJson),
        (status = 404, description = "Absent, or not the caller's to see."),
    )
)]
pub(crate) async fn show_status(
    State(gateway): State<Gateway>,
    By(caller): By,
    At(id): At<String>,
) -> Answer<FileStatusJson> {
    Ok(Json(gateway.storage.file_status(&caller, file_id(&id)?).await?.into()))
}
