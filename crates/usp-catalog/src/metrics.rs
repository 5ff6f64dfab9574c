//! What the catalogue's writer counts. Registered or not, it is kept.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// From a quiet disk to one that is about to fail.
const SECONDS_BUCKETS: [f64; 10] = [0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0];
/// A group has 256 jobs at most.
const JOBS_BUCKETS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// The counters of one catalogue. Clones share them.
#[derive(Debug, Clone)]
pub struct CatalogMetrics {
    commit_seconds: Histogram,
    commit_jobs: Histogram,
    refused: Counter,
}

impl Default for CatalogMetrics {
    fn default() -> Self {
        Self {
            commit_seconds: Histogram::new(SECONDS_BUCKETS),
            commit_jobs: Histogram::new(JOBS_BUCKETS),
            refused: Counter::default(),
        }
    }
}

impl CatalogMetrics {
    /// Adds them below `usp_catalog`.
    #[rustfmt::skip]
    pub fn register(&self, registry: &mut Registry) {
        let catalog = registry.sub_registry_with_prefix("usp_catalog");
        catalog.register_with_unit("commit_duration", "One COMMIT with its sync", Unit::Seconds, self.commit_seconds.clone());
        catalog.register("commit_jobs", "Writes that one COMMIT made durable", self.commit_jobs.clone());
        catalog.register("commits_refused", "Groups of writes that were taken back whole", self.refused.clone());
    }

    pub(crate) fn committed(&self, took: Duration, jobs: usize) {
        self.commit_seconds.observe(took.as_secs_f64());
        self.commit_jobs.observe(u32::try_from(jobs).unwrap_or(u32::MAX).into());
    }

    pub(crate) fn refused(&self) {
        self.refused.inc();
    }
}
