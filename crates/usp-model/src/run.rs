//! Runs: one rule applied to one version, step by step, attempt by attempt.

use crate::{BucketName, FileId, RuleName, RunId, Timestamp};

words! {
    /// `queued → running ⇄ retrying → succeeded | dead | cancelled`.
    pub enum RunState {
        Queued = "queued",
        Running = "running",
        Retrying = "retrying",
        Succeeded = "succeeded",
        Dead = "dead",
        Cancelled = "cancelled",
    }
}

impl RunState {
    /// Whether nothing more happens unless someone asks for it.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Dead | Self::Cancelled)
    }
}

words! {
    pub enum StepState {
        Pending = "pending",
        Running = "running",
        Succeeded = "succeeded",
        Failed = "failed",
        Skipped = "skipped",
    }
}

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Run {
    pub id: RunId,
    pub file_id: FileId,
    pub bucket: BucketName,
    /// The version of the file that is processed.
    pub version: u32,
    pub rule: RuleName,
    pub rule_version: u32,
    pub state: RunState,
    /// Attempts begun so far; 0 while queued for the first time.
    pub attempt: u32,
    pub attempts_max: u32,
    pub priority: i32,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub next_attempt_at: Option<Timestamp>,
    /// Why the last attempt failed.
    pub error: Option<String>,
    pub steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Step {
    pub name: String,
    pub uses: String,
    pub state: StepState,
    pub attempt: u32,
    /// 0..=100.
    pub percent: u8,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub error: Option<String>,
}
