//! What storage counts, and what it measures from time to time.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use usp_api::PutOutcome;
use usp_model::{Result, RunOutcome, StoreTotals};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

/// The counters of one storage. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct StorageMetrics {
    uploads: Counter,
    uploaded_bytes: Counter,
    stored_bytes: Counter,
    deduplicated_bytes: Counter,
    leases: Counter,
    reports: Family<OutcomeLabel, Counter>,
    errors: Family<KindLabel, Counter>,
    runs: Family<StateLabel, Gauge>,
    queue_depth: Gauge,
    queue_age_s: Gauge,
    open_uploads: Gauge,
    chunks: Gauge,
    frame_bytes: Gauge,
    plain_bytes: Gauge,
}

impl StorageMetrics {
    /// Adds them below `usp_storage`.
    #[rustfmt::skip]
    pub fn register(&self, registry: &mut Registry) {
        let storage = registry.sub_registry_with_prefix("usp_storage");
        storage.register("uploads", "Contents that were committed", self.uploads.clone());
        storage.register_with_unit("uploaded", "Plain bytes of committed contents", Unit::Bytes, self.uploaded_bytes.clone());
        storage.register_with_unit("stored", "Bytes that committed contents took on the disk", Unit::Bytes, self.stored_bytes.clone());
        storage.register_with_unit("deduplicated", "Plain bytes of committed contents that were there already", Unit::Bytes, self.deduplicated_bytes.clone());
        storage.register("leases", "Runs that were handed out to workers", self.leases.clone());
        storage.register("reports", "Reports of workers by what they said or how they were taken", self.reports.clone());
        storage.register("errors", "Calls that ended with an error, by its kind", self.errors.clone());
        storage.register("runs", "Runs that wait, and runs that are dead", self.runs.clone());
        storage.register("queue_depth", "Offers that wait in the queue", self.queue_depth.clone());
        storage.register_with_unit("queue_age", "How long the run that waits longest has been due", Unit::Seconds, self.queue_age_s.clone());
        storage.register("open_uploads", "Upload sessions that are open", self.open_uploads.clone());
        storage.register("chunks", "Chunks that are stored", self.chunks.clone());
        storage.register_with_unit("frame", "Stored bytes of all chunks", Unit::Bytes, self.frame_bytes.clone());
        storage.register_with_unit("plain", "Plain bytes of all chunks", Unit::Bytes, self.plain_bytes.clone());
    }

    /// Counts what an upload came to.
    pub(crate) fn uploaded(&self, outcome: &Result<PutOutcome>) {
        match outcome {
            Ok(put) => {
                self.uploads.inc();
                self.uploaded_bytes.inc_by(put.file.size_bytes);
                self.stored_bytes.inc_by(put.file.stored.bytes);
                self.deduplicated_bytes.inc_by(put.file.stored.deduplicated_bytes);
            }
            Err(_) => self.failed(outcome),
        }
    }

    /// Counts an error; what went well is not counted here.
    pub(crate) fn failed<T>(&self, outcome: &Result<T>) {
        if let Err(error) = outcome {
            self.errors.get_or_create(&KindLabel { kind: error.kind().code() }).inc();
        }
    }

    pub(crate) fn leased(&self, count: usize) {
        self.leases.inc_by(count as u64);
    }

    pub(crate) fn reported(&self, outcome: Option<&RunOutcome>) {
        let outcome = match outcome {
            None => "progress",
            Some(RunOutcome::Succeeded) => "succeeded",
            Some(RunOutcome::Failed { .. }) => "failed",
            Some(RunOutcome::Released) => "handed_back",
        };
        self.reports.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// A worker reported under a lease that it had lost.
    pub(crate) fn lease_lost(&self) {
        self.reports.get_or_create(&OutcomeLabel { outcome: "lost" }).inc();
    }

    pub(crate) fn measured(&self, totals: &StoreTotals, queue_depth: u64, queue_age_s: i64) {
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.runs.get_or_create(&StateLabel { state: "waiting" }).set(gauge(totals.runs_waiting));
        self.runs.get_or_create(&StateLabel { state: "dead" }).set(gauge(totals.runs_dead));
        self.queue_depth.set(gauge(queue_depth));
        self.queue_age_s.set(queue_age_s);
        self.open_uploads.set(gauge(totals.open_uploads));
        self.chunks.set(gauge(totals.chunks));
        self.frame_bytes.set(gauge(totals.frame_bytes));
        self.plain_bytes.set(gauge(totals.plain_bytes));
    }
}
