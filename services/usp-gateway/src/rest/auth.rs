//! Tokens, and who the caller is.

use axum::Json;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use usp_api::TokenGrant;

use super::input::caller::By;
use super::input::json::{Answer, JsonBody};
use super::json::token::{MeJson, TokenJson, TokenRequestJson};
use crate::Gateway;
use crate::problem::Failure;

/// Trade a password or a refresh token for tokens
///
/// A refresh token is good for one use: each answer brings the next one.
#[utoipa::path(
    post,
    path = "/auth/token",
    tag = "auth",
    request_body = TokenRequestJson,
    responses(
        (status = 200, body = TokenJson),
        (status = 400, description = "A field is missing or does not belong to the grant type."),
        (status = 401, description = "Wrong name, password or refresh token; which one is not told."),
        (status = 429, description = "Too many tries; `Retry-After` says when."),
    )
)]
pub(crate) async fn issue_token(
    State(gateway): State<Gateway>,
    JsonBody(request): JsonBody<TokenRequestJson>,
) -> Result<impl IntoResponse, Failure> {
    let grant = request.into_grant()?;
    if let TokenGrant::Password { user, .. } = &grant {
        gateway.limits.rates.try_sign_in(user)?;
    }
    let pair = gateway.storage.issue_token(grant).await?;
    Ok(([(CACHE_CONTROL, "no-store")], Json(TokenJson::from(pair))))
}

/// Who am I, and what may I do?
#[utoipa::path(get, path = "/me", tag = "auth", responses((status = 200, body = MeJson)))]
pub(crate) async fn show_me(By(caller): By) -> Answer<MeJson> {
    Ok(Json(caller.principal.into()))
}
