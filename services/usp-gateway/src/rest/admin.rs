//! Users, API keys, sums.

use axum::Json;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderName, StatusCode};
use axum::response::IntoResponse;
use usp_model::{ApiKeyId, UserName};

use super::input::caller::By;
use super::input::json::{Answer, JsonBody};
use super::input::path::At;
use super::json::Items;
use super::json::admin::{
    ApiKeyJson, CreatedApiKeyJson, CreatedUserJson, NewApiKeyJson, NewUserJson, StatsJson, UserJson,
    UserPatchJson,
};
use crate::Gateway;
use crate::problem::Failure;

/// Keeps answers that hold a secret out of every cache.
const NOT_KEPT: [(HeaderName, &str); 1] = [(CACHE_CONTROL, "no-store")];

/// Make a user
#[utoipa::path(
    post,
    path = "/users",
    tag = "administration",
    request_body = NewUserJson,
    responses((status = 201, body = CreatedUserJson), (status = 409, description = "The name is taken."))
)]
pub(crate) async fn create_user(
    State(gateway): State<Gateway>,
    By(caller): By,
    JsonBody(user): JsonBody<NewUserJson>,
) -> Result<impl IntoResponse, Failure> {
    let created = gateway.storage.create_user(&caller, user.into()).await?;
    Ok((StatusCode::CREATED, NOT_KEPT, Json(CreatedUserJson::from(created))))
}

/// List the users
#[utoipa::path(get, path = "/users", tag = "administration", responses((status = 200, body = Items<UserJson>)))]
pub(crate) async fn list_users(State(gateway): State<Gateway>, By(caller): By) -> Answer<Items<UserJson>> {
    Ok(Json(Items::of(gateway.storage.list_users(&caller).await?)))
}

/// Change a user's password, grants, or whether the user may sign in
///
/// It acts within 5 seconds, also on what is open already.
#[utoipa::path(
    patch,
    path = "/users/{name}",
    tag = "administration",
    params(("name" = String, Path, example = "alice")),
    request_body = UserPatchJson,
    responses((status = 200, body = UserJson), (status = 404, description = "There is no such user."))
)]
pub(crate) async fn change_user(
    State(gateway): State<Gateway>,
    By(caller): By,
    At(name): At<String>,
    JsonBody(patch): JsonBody<UserPatchJson>,
) -> Answer<UserJson> {
    Ok(Json(gateway.storage.update_user(&caller, UserName::parse(&name)?, patch.into()).await?.into()))
}

/// Delete a user
#[utoipa::path(
    delete,
    path = "/users/{name}",
    tag = "administration",
    params(("name" = String, Path, example = "alice")),
    responses((status = 204, description = "Gone."), (status = 404, description = "There is no such user."))
)]
pub(crate) async fn delete_user(
    State(gateway): State<Gateway>,
    By(caller): By,
    At(name): At<String>,
) -> Result<StatusCode, Failure> {
    gateway.storage.delete_user(&caller, UserName::parse(&name)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Make an API key
///
/// For oneself, or for another user as an administrator. The key is shown once.
#[utoipa::path(
    post,
    path = "/api-keys",
    tag = "administration",
    request_body = NewApiKeyJson,
    responses(
        (status = 201, body = CreatedApiKeyJson),
        (status = 403, description = "A key for someone else takes the role admin in all buckets."),
    )
)]
pub(crate) async fn create_api_key(
    State(gateway): State<Gateway>,
    By(caller): By,
    JsonBody(key): JsonBody<NewApiKeyJson>,
) -> Result<impl IntoResponse, Failure> {
    let created = gateway.storage.create_api_key(&caller, key.into()).await?;
    Ok((StatusCode::CREATED, NOT_KEPT, Json(CreatedApiKeyJson::from(created))))
}

/// List the caller's API keys; an administrator sees everybody's
#[utoipa::path(
    get,
    path = "/api-keys",
    tag = "administration",
    responses((status = 200, body = Items<ApiKeyJson>))
)]
pub(crate) async fn list_api_keys(
    State(gateway): State<Gateway>,
    By(caller): By,
) -> Answer<Items<ApiKeyJson>> {
    Ok(Json(Items::of(gateway.storage.list_api_keys(&caller).await?)))
}

/// Revoke an API key
///
/// It acts within 5 seconds, also on what is open already.
#[utoipa::path(
    delete,
    path = "/api-keys/{id}",
    tag = "administration",
    params(("id" = String, Path, example = "0123456789abcdef")),
    responses((status = 204, description = "Gone."), (status = 404, description = "There is no such key."))
)]
pub(crate) async fn revoke_api_key(
    State(gateway): State<Gateway>,
    By(caller): By,
    At(id): At<String>,
) -> Result<StatusCode, Failure> {
    gateway.storage.revoke_api_key(&caller, ApiKeyId::parse(&id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What is stored, and what waits?
#[utoipa::path(get, path = "/stats", tag = "administration", responses((status = 200, body = StatsJson)))]
pub(crate) async fn show_stats(State(gateway): State<Gateway>, By(caller): By) -> Answer<StatsJson> {
    Ok(Json(gateway.storage.stats(&caller).await?.into()))
}
