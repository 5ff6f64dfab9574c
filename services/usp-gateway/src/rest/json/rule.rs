//! Rules, and what one would do to a file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use usp_api::RuleTest;
use usp_model::limits::RULE_TIMEOUT_S_DEFAULT;
use usp_model::{
    Error, ErrorKind, FileId, Release, Result, RetryPolicy, Rule, RuleName, RuleStep, Violation,
};
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

/// A rule to be written. What is left out has the value that it has in a rules file.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewRule)]
pub(crate) struct NewRuleJson {
    /// Optional; if given, the name in the path.
    #[schema(value_type = Option<String>, example = "tables")]
    name: Option<RuleName>,
    #[serde(default)]
    description: String,
    /// Ignored.
    #[serde(default, rename = "version")]
    _version: Option<u32>,
    /// A CEL condition over `file`; empty applies only when asked for by name.
    #[serde(default)]
    #[schema(example = "file.media_type == 'text/csv'")]
    when: String,
    steps: Vec<NewRuleStepJson>,
    #[serde(default)]
    retry: NewRetryJson,
    /// Bounds one attempt of the whole run, in seconds; 3,600 by default.
    timeout_s: Option<u64>,
    /// Higher goes first.
    #[serde(default)]
    priority: i32,
    /// How many runs of this rule may be at work at once; `null` is as many as there are slots.
    concurrency: Option<u32>,
    /// `null` leaves it to the bucket.
    #[schema(schema_with = words::release_or_null)]
    release: Option<Release>,
    /// Whether a dead run makes its file `failed`; true by default.
    required: Option<bool>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewRuleStep)]
pub(crate) struct NewRuleStepJson {
    #[schema(example = "profile")]
    name: String,
    #[schema(example = "profile")]
    uses: String,
    #[serde(default)]
    with: BTreeMap<String, Value>,
    timeout_s: Option<u64>,
}

/// What is left out has its default: 5 attempts, 1,000 ms, 300,000 ms.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewRetry)]
pub(crate) struct NewRetryJson {
    attempts_max: Option<u32>,
    backoff_ms_min: Option<u64>,
    backoff_ms_max: Option<u64>,
}

impl NewRuleJson {
    /// Errors: `InvalidInput` when the body names another rule than the path.
    pub(crate) fn named(self, name: RuleName) -> Result<Rule> {
        if self.name.as_ref().is_some_and(|other| *other != name) {
            let violation = Violation::new("/name", format!("the path says '{name}'"));
            return Err(Error::new(ErrorKind::InvalidInput, "read rule")
                .because("the rule has another name than its path")
                .with_violations(vec![violation]));
        }
        let retry = RetryPolicy::default();
        Ok(Rule {
            name,
            description: self.description,
            version: 1,
            when: self.when,
            steps: self.steps.into_iter().map(NewRuleStepJson::step).collect(),
            retry: RetryPolicy {
                attempts_max: self.retry.attempts_max.unwrap_or(retry.attempts_max),
                backoff_ms_min: self.retry.backoff_ms_min.unwrap_or(retry.backoff_ms_min),
                backoff_ms_max: self.retry.backoff_ms_max.unwrap_or(retry.backoff_ms_max),
            },
            timeout_s: self.timeout_s.unwrap_or(RULE_TIMEOUT_S_DEFAULT),
            priority: self.priority,
            concurrency: self.concurrency,
            release: self.release,
            required: self.required.unwrap_or(true),
        })
    }
}

impl NewRuleStepJson {
    fn step(self) -> RuleStep {
        let Self { name, uses, with, timeout_s } = self;
        RuleStep { name, uses, with, timeout_s: timeout_s.unwrap_or(RULE_TIMEOUT_S_DEFAULT) }
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
