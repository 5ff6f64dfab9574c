//! Rules: which files are processed, by which steps, how often to try.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::limits::{RULE_STEP_COUNT_MAX, RULE_TIMEOUT_S_DEFAULT, RULE_WHEN_BYTES_MAX};
use crate::{Release, RuleName, Violation};

/// A rule as it is written in YAML.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub name: RuleName,
    #[serde(default)]
    pub description: String,
    /// Rises with every change of meaning; a run remembers the version that it applied.
    #[serde(default = "one")]
    pub version: u32,
    /// A CEL condition over `file` (bucket, key, media_type, size, labels, metadata, owner). Empty: never by itself,
    /// only when asked for by name.
    #[serde(default)]
    pub when: String,
    pub steps: Vec<RuleStep>,
    #[serde(default)]
    pub retry: RetryPolicy,
    /// Bounds one attempt of the whole run, in seconds.
    #[serde(default = "timeout_default")]
    pub timeout_s: u64,
    /// Higher goes first.
    #[serde(default)]
    pub priority: i32,
    /// How many runs of this rule may be at work at once, over all processors. None: as many as there are slots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// Overrides the bucket's release.
    #[serde(default)]
    pub release: Option<Release>,
    /// Whether a dead run makes its file `failed` (true) or is only noted (false).
    #[serde(default = "yes")]
    pub required: bool,
}

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleStep {
    /// Names the report; unique in the rule.
    pub name: String,
    /// Which step: `sniff`, `digest`, `profile`, `validate`.
    pub uses: String,
    /// Parameters of the step.
    #[serde(default)]
    pub with: BTreeMap<String, Value>,
    /// Bounds one attempt of this step, in seconds.
    #[serde(default = "timeout_default")]
    pub timeout_s: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetryPolicy {
    /// Attempts in all, the first included. A crash counts as one.
    pub attempts_max: u32,
    pub backoff_ms_min: u64,
    pub backoff_ms_max: u64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { attempts_max: 5, backoff_ms_min: 1_000, backoff_ms_max: 300_000 }
    }
}

impl RetryPolicy {
    /// The wait before the attempt that follows `attempt` failed ones: doubles each time, up to the bound. Jitter is
    /// the caller's.
    pub fn backoff(&self, attempt: u32) -> Duration {
        let doubled = self.backoff_ms_min.saturating_mul(1_u64 << attempt.saturating_sub(1).min(32));
        Duration::from_millis(doubled.min(self.backoff_ms_max))
    }
}

impl Rule {
    /// All that is wrong with the rule apart from its CEL text and step parameters.
    pub fn violations(&self) -> Vec<Violation> {
        const ATTEMPTS_MAX: u32 = 100;
        const TIMEOUT_S_MAX: u64 = 86_400;
        const CONCURRENCY_MAX: u32 = 10_000;
        const DESCRIPTION_BYTES_MAX: usize = 4 << 10;
        const PARAMETER_BYTES_MAX: usize = 64 << 10;
        let mut found = Vec::new();
        if self.description.len() > DESCRIPTION_BYTES_MAX {
            found.push(Violation::new("/description", format!("at most {DESCRIPTION_BYTES_MAX} bytes")));
        }
        let parameters = self.steps.iter().flat_map(|step| &step.with);
        if parameters.map(|(name, value)| name.len() + value.to_string().len()).sum::<usize>()
            > PARAMETER_BYTES_MAX
        {
            found
                .push(Violation::new("/steps", format!("at most {PARAMETER_BYTES_MAX} bytes of parameters")));
        }
        if self.when.len() > RULE_WHEN_BYTES_MAX {
            found.push(Violation::new("/when", format!("at most {RULE_WHEN_BYTES_MAX} bytes")));
        }
        if self.steps.is_empty() || self.steps.len() > RULE_STEP_COUNT_MAX {
            found.push(Violation::new("/steps", format!("1 to {RULE_STEP_COUNT_MAX} steps")));
        }
        if !(1..=ATTEMPTS_MAX).contains(&self.retry.attempts_max) {
            found.push(Violation::new("/retry/attempts_max", format!("1 to {ATTEMPTS_MAX}")));
        }
        if self.retry.backoff_ms_max < self.retry.backoff_ms_min {
            found.push(Violation::new("/retry/backoff_ms_max", "at least backoff_ms_min"));
        }
        if !(1..=TIMEOUT_S_MAX).contains(&self.timeout_s) {
            found.push(Violation::new("/timeout_s", format!("1 to {TIMEOUT_S_MAX} seconds")));
        }
        if self.concurrency.is_some_and(|count| !(1..=CONCURRENCY_MAX).contains(&count)) {
            found.push(Violation::new("/concurrency", format!("1 to {CONCURRENCY_MAX}")));
        }
        let mut names = std::collections::BTreeSet::new();
        for (index, step) in self.steps.iter().enumerate() {
            if RuleName::parse(&step.name).is_err() {
                found.push(Violation::new(format!("/steps/{index}/name"), "use a-z, 0-9, '_' and '-'"));
            }
            if !names.insert(&step.name) {
                found.push(Violation::new(
                    format!("/steps/{index}/name"),
                    "each step needs a name of its own",
                ));
            }
            if !(1..=TIMEOUT_S_MAX).contains(&step.timeout_s) {
                found.push(Violation::new(
                    format!("/steps/{index}/timeout_s"),
                    format!("1 to {TIMEOUT_S_MAX} seconds"),
                ));
            }
        }
        found
    }
}

fn one() -> u32 {
    1
}

fn yes() -> bool {
    true
}

fn timeout_default() -> u64 {
    RULE_TIMEOUT_S_DEFAULT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_bound() {
        let retry = RetryPolicy { attempts_max: 5, backoff_ms_min: 100, backoff_ms_max: 1_000 };
        let waits: Vec<u128> = (1..=6).map(|attempt| retry.backoff(attempt).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1_000, 1_000]);
        assert_eq!(retry.backoff(u32::MAX).as_millis(), 1_000);
    }
}
