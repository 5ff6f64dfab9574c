//! Rules, and what one would do to a file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use usp_api::RuleTest;
use usp_model::{FileId, Release, RetryPolicy, Rule, RuleName, RuleStep};
use utoipa::ToSchema;

use super::words;

/// Which files are processed, by which steps.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Rule)]
pub(crate) struct RuleJson {
    #[schema(value_type = String, example = "tables")]
    name: RuleName,
    description: String,
    version: u32,
    /// A CEL condition over `file`; empty applies only when asked for by name.
    #[schema(example = "file.media_type == 'text/csv'")]
    when: String,
    steps: Vec<RuleStepJson>,
    retry: RetryJson,
    /// Bounds one attempt of the whole run, in seconds.
    timeout_s: u64,
    /// Higher goes first.
    priority: i32,
    /// How many runs of this rule may be at work at once; `null` is as many as there are slots.
    concurrency: Option<u32>,
    /// `null` leaves it to the bucket.
    #[schema(schema_with = words::release_or_null)]
    release: Option<Release>,
    /// Whether a dead run makes its file `failed`.
    required: bool,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RuleStep)]
pub(crate) struct RuleStepJson {
    /// Names the report.
    #[schema(example = "profile")]
    name: String,
    /// Which step.
    #[schema(example = "profile")]
    uses: String,
    with: BTreeMap<String, Value>,
    timeout_s: u64,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Retry)]
pub(crate) struct RetryJson {
    /// The first attempt included.
    attempts_max: u32,
    backoff_ms_min: u64,
    backoff_ms_max: u64,
}

impl From<Rule> for RuleJson {
    fn from(rule: Rule) -> Self {
        Self {
            name: rule.name,
            description: rule.description,
            version: rule.version,
            when: rule.when,
            steps: rule.steps.into_iter().map(RuleStepJson::from).collect(),
            retry: rule.retry.into(),
            timeout_s: rule.timeout_s,
            priority: rule.priority,
            concurrency: rule.concurrency,
            release: rule.release,
            required: rule.required,
        }
    }
}

impl From<RuleStep> for RuleStepJson {
    fn from(step: RuleStep) -> Self {
        Self { name: step.name, uses: step.uses, with: step.with, timeout_s: step.timeout_s }
    }
}

impl From<RetryPolicy> for RetryJson {
    fn from(retry: RetryPolicy) -> Self {
        Self {
            attempts_max: retry.attempts_max,
            backoff_ms_min: retry.backoff_ms_min,
            backoff_ms_max: retry.backoff_ms_max,
        }
    }
}

/// Which file to try a rule on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewRuleTest)]
pub(crate) struct NewRuleTestJson {
    #[schema(value_type = String)]
    pub(crate) file_id: FileId,
}

/// What a rule would do to a file.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RuleTest)]
pub(crate) struct RuleTestJson {
    #[schema(value_type = String, example = "tables")]
    rule: RuleName,
    matches: bool,
    /// Why the condition could not be evaluated; such a rule does not match.
    error: Option<String>,
    /// Steps that would run, in order.
    steps: Vec<String>,
}

impl From<RuleTest> for RuleTestJson {
    fn from(test: RuleTest) -> Self {
        Self { rule: test.rule, matches: test.matches, error: test.error, steps: test.steps }
    }
}
