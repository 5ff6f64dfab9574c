//! Rules: which files are processed, by which steps.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use usp_model::{FileRef, RuleName};

use super::input::caller::By;
use super::input::json::{Answer, JsonBody};
use super::input::path::At;
use super::json::Items;
use super::json::rule::{NewRuleJson, NewRuleTestJson, RuleJson, RuleTestJson};
use crate::Gateway;
use crate::problem::Failure;

/// List the rules
#[utoipa::path(get, path = "/rules", tag = "rules", responses((status = 200, body = Items<RuleJson>)))]
pub(crate) async fn list_rules(State(gateway): State<Gateway>, By(caller): By) -> Answer<Items<RuleJson>> {
    Ok(Json(Items::of(gateway.storage.list_rules(&caller).await?)))
}

/// Show a rule
#[utoipa::path(
    get,
    path = "/rules/{name}",
    tag = "rules",
    params(("name" = String, Path, example = "tables")),
    responses((status = 200, body = RuleJson), (status = 404, description = "There is no such rule."))
)]
pub(crate) async fn show_rule(
    State(gateway): State<Gateway>,
    By(caller): By,
    At(name): At<String>,
) -> Answer<RuleJson> {
    Ok(Json(gateway.storage.get_rule(&caller, RuleName::parse(&name)?).await?.into()))
}

/// Make or replace a rule
///
/// It counts for every file that is committed from then on; runs that were planned keep the version that they began with.
/// What `GET` shows can be sent back: its version is ignored, and rises when the meaning changes. A file of the server's
/// rules directory goes before a rule that is written here.
#[utoipa::path(
    put,
    path = "/rules/{name}",
    tag = "rules",
    params(("name" = String, Path, example = "tables")),
    request_body = NewRuleJson,
    responses(
        (status = 200, body = RuleJson, description = "Replaced."),
        (status = 201, body = RuleJson, description = "New."),
        (status = 400, description = "Not a valid rule; `errors` point at what is wrong."),
        (status = 409, description = "A file of the rules directory has a rule of that name."),
    )
)]
pub(crate) async fn put_rule(
    State(gateway): State<Gateway>,
    By(caller): By,
    At(name): At<String>,
    JsonBody(rule): JsonBody<NewRuleJson>,
) -> Result<(StatusCode, Json<RuleJson>), Failure> {
    let rule = rule.named(RuleName::parse(&name)?)?;
    let written = gateway.storage.put_rule(&caller, rule).await?;
    let status = if written.is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(written.rule.into())))
}

/// Delete a rule
///
/// A rule that comes with usp and was replaced counts again as it was. Runs that were planned go on.
#[utoipa::path(
    delete,
    path = "/rules/{name}",
    tag = "rules",
    params(("name" = String, Path, example = "tables")),
    responses(
        (status = 204, description = "It counts no more."),
        (status = 404, description = "There is no such rule."),
        (status = 409, description = "It comes with usp, or stands in a file of the rules directory."),
    )
)]
pub(crate) async fn delete_rule(
    State(gateway): State<Gateway>,
    By(caller): By,
    At(name): At<String>,
) -> Result<StatusCode, Failure> {
    gateway.storage.delete_rule(&caller, RuleName::parse(&name)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What would a rule do to a file?
///
/// Nothing is run and nothing changes.
#[utoipa::path(
    post,
    path = "/rules/{name}/test",
    tag = "rules",
    params(("name" = String, Path, example = "tables")),
    request_body = NewRuleTestJson,
    responses(
        (status = 200, body = RuleTestJson),
        (status = 404, description = "No such rule or file, or not the caller's to see."),
    )
)]
pub(crate) async fn test_rule(
    State(gateway): State<Gateway>,
    By(caller): By,
    At(name): At<String>,
    JsonBody(test): JsonBody<NewRuleTestJson>,
) -> Answer<RuleTestJson> {
    let (name, file) = (RuleName::parse(&name)?, FileRef::Id(test.file_id));
    Ok(Json(gateway.storage.test_rule(&caller, name, file).await?.into()))
}
