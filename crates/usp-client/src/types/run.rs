//! Runs: one rule applied to one version of a file.

use serde::{Deserialize, Serialize};
use usp_model::{BucketName, FileId, RuleName, RunId, RunState, StepState, Timestamp};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub run_id: RunId,
    pub file_id: FileId,
    pub bucket: BucketName,
    pub version: u32,
    pub rule: RuleName,
    #[serde(default)]
    pub rule_version: u32,
    pub state: RunState,
    /// Attempts begun so far.
    pub attempt: u32,
    #[serde(default)]
    pub attempts_max: u32,
    #[serde(default)]
    pub priority: i32,
    pub created_at: Timestamp,
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    #[serde(default)]
    pub ended_at: Option<Timestamp>,
    #[serde(default)]
    pub next_attempt_at: Option<Timestamp>,
    /// Why the last attempt failed.
    #[serde(default)]
    pub error: Option<String>,
    #[serde(default)]
    pub steps: Vec<Step>,
}

/// A run as the status of its file shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunStatus {
    pub run_id: RunId,
    pub rule: RuleName,
    pub state: RunState,
    #[serde(default)]
    pub error: Option<String>,
    #[serde(default)]
    pub steps: Vec<Step>,
}

impl From<Run> for RunStatus {
    fn from(run: Run) -> Self {
        Self { run_id: run.run_id, rule: run.rule, state: run.state, error: run.error, steps: run.steps }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub name: String,
    pub state: StepState,
    #[serde(default)]
    pub attempt: u32,
    /// 0 to 100.
    #[serde(default)]
    pub percent: u8,
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    #[serde(default)]
    pub ended_at: Option<Timestamp>,
    #[serde(default)]
    pub error: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunPage {
    pub items: Vec<Run>,
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// How many runs are tried again, and where to go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetriedRuns {
    pub retried: u64,
    #[serde(default)]
    pub next_cursor: Option<String>,
}
