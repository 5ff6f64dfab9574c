//! Rules: which files are processed, by which steps.

use axum::Json;
use axum::extract::State;
use usp_model::{FileRef, RuleName};

use super::input::caller::By;
use super::input::json::{Answer, JsonBody};
use super::input::path::At;
use super::json::Items;
use super::json::rule::{NewRuleTestJson, RuleJson, RuleTestJson};
use crate::Gateway;

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
