//! What storage and workers tell each other about runs.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{File, LabelKey, Rule, Run, RunId, StepState, Timestamp};

/// A run that a worker holds until `expires_at`, under a number that every write of it must carry.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LeasedRun {
    pub run: Run,
    pub lease_no: i64,
    pub expires_at: Timestamp,
    pub rule: Rule,
    pub file: File,
    /// The W3C trace context of the request that asked for the run.
    pub trace: Option<String>,
}

/// What a worker says of its run. All of it is written in one transaction, or none of it when the lease is lost.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct RunReport {
    pub run: RunId,
    pub lease_no: i64,
    pub steps: Vec<StepReport>,
    /// `None`: the run goes on, and its lease is extended.
    pub outcome: Option<RunOutcome>,
}

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct StepReport {
    pub name: String,
    pub state: StepState,
    /// 0..=100.
    pub percent: u8,
    pub error: Option<String>,
    /// How long ago the step began, by the worker's clock that never jumps. `None`: not begun.
    pub began_ms_ago: Option<u32>,
    /// How long ago it ended. `None`: not ended.
    pub ended_ms_ago: Option<u32>,
    /// Published with the end of the step.
    pub report: Option<Value>,
    pub labels: BTreeMap<LabelKey, String>,
    pub metadata: BTreeMap<LabelKey, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum RunOutcome {
    Succeeded,
    /// `is_permanent`: another attempt cannot help.
    Failed {
        reason: String,
        is_permanent: bool,
    },
    /// Handed back unharmed (drain): due again at once, and the attempt does not count.
    Released,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum ReportOutcome {
    /// Written. `run_cancelled`: stop, someone cancelled the run.
    Held { run_cancelled: bool },
    /// Someone else holds the run or it ended; nothing was written.
    Lost,
}
