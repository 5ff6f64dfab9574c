//! Whose turn it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use usp_model::{LeasedRun, Timestamp};

/// A worker's wish for due runs.
#[derive(Debug, Clone)]
pub struct ClaimRuns {
    pub count_max: u32,
    /// Until when the runs are held unless they are reported on.
    pub lease_until: Timestamp,
    /// How many runs of a rule may be held at once, for rules that say so, by name.
    pub bounds: Arc<BTreeMap<String, Option<u32>>>,
    /// As the claim before gave it.
    pub turn: Turn,
}

/// What a claim took, and where the next one goes on.
#[derive(Debug, Clone)]
pub struct ClaimedRuns {
    pub runs: Vec<LeasedRun>,
    pub turn: Turn,
}

/// The rule and bucket that were served last, at each priority. The default begins at the beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Turn(BTreeMap<i32, (String, i64)>);

impl Turn {
    /// Priorities that are remembered; at others the turn begins anew.
    const PRIORITY_COUNT_MAX: usize = 64;

    pub fn last(&self, priority: i32) -> Option<(&str, i64)> {
        self.0.get(&priority).map(|(rule, bucket)| (rule.as_str(), *bucket))
    }

    pub fn served(&mut self, priority: i32, rule: &str, bucket: i64) {
        self.0.insert(priority, (rule.to_owned(), bucket));
    }

    /// Forgets the lowest priorities beyond the bound.
    pub fn keep_highest(&mut self) {
        while self.0.len() > Self::PRIORITY_COUNT_MAX {
            self.0.pop_first();
        }
    }
}
