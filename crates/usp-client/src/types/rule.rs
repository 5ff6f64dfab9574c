//! Rules as the server holds them, and what one would do to a file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use usp_model::{Release, RuleName};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    pub name: RuleName,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub version: u32,
    /// A CEL condition; empty applies only when asked for by name.
    #[serde(default)]
    pub when: String,
    pub steps: Vec<RuleStep>,
    pub retry: Retry,
    #[serde(default)]
    pub timeout_s: u64,
    #[serde(default)]
    pub priority: i32,
    /// How many runs of this rule may be at work at once.
    #[serde(default)]
    pub concurrency: Option<u32>,
    #[serde(default)]
    pub release: Option<Release>,
    #[serde(default)]
    pub required: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleStep {
    pub name: String,
    pub uses: String,
    #[serde(default)]
    pub with: BTreeMap<String, Value>,
    #[serde(default)]
    pub timeout_s: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    pub attempts_max: u32,
    pub backoff_ms_min: u64,
    pub backoff_ms_max: u64,
}

/// What a rule would do to a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleTest {
    pub rule: RuleName,
    pub matches: bool,
    /// Why the condition could not be evaluated.
    #[serde(default)]
    pub error: Option<String>,
    #[serde(default)]
    pub steps: Vec<String>,
}
