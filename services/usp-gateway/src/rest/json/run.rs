//! Runs and their steps.

use serde::{Deserialize, Serialize};
use usp_api::RetriedRuns;
use usp_model::{BucketName, FileId, RuleName, Run, RunId, RunPage, RunState, Step, StepState, Timestamp};
use utoipa::ToSchema;

use super::words;

/// One rule applied to one version of a file.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Run)]
pub(crate) struct RunJson {
    #[schema(value_type = String)]
    pub(crate) run_id: RunId,
    #[schema(value_type = String)]
    file_id: FileId,
    #[schema(value_type = String, example = "default")]
    bucket: BucketName,
    /// The version of the file that is processed.
    version: u32,
    #[schema(value_type = String, example = "tables")]
    rule: RuleName,
    rule_version: u32,
    #[schema(schema_with = words::run_state)]
    state: RunState,
    /// Attempts begun so far.
    attempt: u32,
    attempts_max: u32,
    /// Higher goes first.
    priority: i32,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    started_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    ended_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    next_attempt_at: Option<Timestamp>,
    /// Why the last attempt failed.
    error: Option<String>,
    steps: Vec<StepJson>,
}

/// A run as the status of its file shows it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RunStatus)]
pub(crate) struct RunStatusJson {
    #[schema(value_type = String)]
    run_id: RunId,
    #[schema(value_type = String, example = "tables")]
    rule: RuleName,
    #[schema(schema_with = words::run_state)]
    state: RunState,
    /// Why the last attempt failed.
    error: Option<String>,
    steps: Vec<StepJson>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Step)]
pub(crate) struct StepJson {
    #[schema(example = "profile")]
    name: String,
    #[schema(schema_with = words::step_state)]
    state: StepState,
    attempt: u32,
    /// 0 to 100.
    percent: u8,
    #[schema(value_type = Option<String>, format = DateTime)]
    started_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    ended_at: Option<Timestamp>,
    error: Option<String>,
}

impl From<Run> for RunJson {
    fn from(run: Run) -> Self {
        Self {
            run_id: run.id,
            file_id: run.file_id,
            bucket: run.bucket,
            version: run.version,
            rule: run.rule,
            rule_version: run.rule_version,
            state: run.state,
            attempt: run.attempt,
            attempts_max: run.attempts_max,
            priority: run.priority,
            created_at: run.created_at,
            started_at: run.started_at,
            ended_at: run.ended_at,
            next_attempt_at: run.next_attempt_at,
            error: run.error,
            steps: run.steps.into_iter().map(StepJson::from).collect(),
        }
    }
}

impl From<Run> for RunStatusJson {
    fn from(run: Run) -> Self {
        Self {
            run_id: run.id,
            rule: run.rule,
            state: run.state,
            error: run.error,
            steps: run.steps.into_iter().map(StepJson::from).collect(),
        }
    }
}

impl From<Step> for StepJson {
    fn from(step: Step) -> Self {
        Self {
            name: step.name,
            state: step.state,
            attempt: step.attempt,
            percent: step.percent,
            started_at: step.started_at,
            ended_at: step.ended_at,
            error: step.error,
        }
    }
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RunPage)]
pub(crate) struct RunPageJson {
    items: Vec<RunJson>,
    /// Ask again with it; `null` on the last page.
    next_cursor: Option<String>,
}

impl From<RunPage> for RunPageJson {
    fn from(page: RunPage) -> Self {
        Self { items: page.runs.into_iter().map(RunJson::from).collect(), next_cursor: page.next_cursor }
    }
}

/// Which runs to try again. All conditions that are set must hold.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = RetryRuns)]
pub(crate) struct RetryRunsJson {
    /// `dead` (the default) or `cancelled`.
    #[schema(value_type = Option<String>, example = "dead")]
    pub(crate) state: Option<RunState>,
    #[schema(value_type = Option<String>, example = "default")]
    pub(crate) bucket: Option<BucketName>,
    #[schema(value_type = Option<String>, example = "tables")]
    pub(crate) rule: Option<RuleName>,
    #[schema(value_type = Option<String>)]
    pub(crate) file_id: Option<FileId>,
    /// How many runs at most: 1 to 10000, 1000 by default.
    pub(crate) limit: Option<u32>,
    /// From the answer before.
    pub(crate) cursor: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RetriedRuns)]
pub(crate) struct RetriedRunsJson {
    retried: u64,
    /// Ask again with it; `null` once there are no more.
    next_cursor: Option<String>,
}

impl From<RetriedRuns> for RetriedRunsJson {
    fn from(retried: RetriedRuns) -> Self {
        Self { retried: retried.retried, next_cursor: retried.next_cursor }
    }
}

/// Which rule to apply.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewRun)]
pub(crate) struct NewRunJson {
    #[schema(value_type = String, example = "tables")]
    pub(crate) rule: RuleName,
}
