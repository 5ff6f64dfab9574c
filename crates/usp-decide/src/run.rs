//! The life of a run.

use usp_model::{RetryPolicy, RuleName, RuleStep, RunId, RunReport, Timestamp};

#[derive(Debug, Clone)]
pub struct NewRun {
    pub id: RunId,
    pub rule: RuleName,
    pub rule_version: u32,
    pub retry: RetryPolicy,
    pub priority: i32,
    /// A dead run that is required makes the file `failed`.
    pub required: bool,
    /// Name and kind of each step, in order.
    pub steps: Vec<(String, String)>,
}

/// What a worker said, and what storage makes of it.
#[derive(Debug, Clone)]
pub struct ReportRun {
    pub report: RunReport,
    /// Until when the run is held from now on, if it goes on.
    pub lease_until: Timestamp,
    /// Wait before the next attempt if the outcome is a failure that is worth one (jitter included).
    pub retry_wait_ms: i64,
}

/// A step of a rule as a run row keeps it.
pub fn step_names(steps: &[RuleStep]) -> Vec<(String, String)> {
    steps.iter().map(|step| (step.name.clone(), step.uses.clone())).collect()
}
