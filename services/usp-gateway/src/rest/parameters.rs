//! Query parameters of the routes, as they are read and as they are documented.

use serde::Deserialize;
use usp_model::{BucketName, EventSeq, FileId, RuleName, RunState};
use utoipa::IntoParams;

use super::json::words;

/// Which version of a file.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct VersionParameters {
    /// A version by its number; the current one without it.
    #[param(minimum = 1)]
    pub(crate) version: Option<u32>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PutParameters {
    /// A rule to apply even if its condition does not hold.
    #[param(value_type = Option<String>)]
    pub(crate) rule: Option<RuleName>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RunParameters {
    #[param(schema_with = words::run_state, required = false)]
    pub(crate) state: Option<RunState>,
    #[param(value_type = Option<String>, example = "default")]
    pub(crate) bucket: Option<BucketName>,
    #[param(value_type = Option<String>)]
    pub(crate) file_id: Option<FileId>,
    #[param(value_type = Option<String>, example = "tables")]
    pub(crate) rule: Option<RuleName>,
    /// 100 by default.
    #[param(minimum = 1, maximum = 1000)]
    pub(crate) limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub(crate) cursor: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RunOfFileParameters {
    #[param(schema_with = words::run_state, required = false)]
    pub(crate) state: Option<RunState>,
    /// 100 by default.
    #[param(minimum = 1, maximum = 1000)]
    pub(crate) limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub(crate) cursor: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct FollowParameters {
    /// Only events of this bucket; of all that the caller may read without it.
    #[param(value_type = Option<String>, example = "default")]
    pub(crate) bucket: Option<BucketName>,
    /// Events after this number first; `Last-Event-ID` goes before it.
    #[param(value_type = Option<i64>, minimum = 0)]
    pub(crate) after: Option<EventSeq>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct FollowFileParameters {
    /// Events after this number first; `Last-Event-ID` goes before it.
    #[param(value_type = Option<i64>, minimum = 0)]
    pub(crate) after: Option<EventSeq>,
}
